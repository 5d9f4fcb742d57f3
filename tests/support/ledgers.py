"""A database that does what it is told when it is told, so that a test can choose every interleaving of several processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import attrs
from sqlalchemy import Connection, Select, create_engine, event, func, select
from sqlalchemy.pool import StaticPool
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from vfgateway.services.database import bump
from vfgateway.services.schema import counters, metadata

T = TypeVar("T")


@attrs.define(eq=False)
class _Write:
    function: Callable[[Connection], Any]
    done: Deferred[Any]
    process: str


class SteppedDatabase:
    """Stands for :class:`~vfgateway.services.database.Database` with one SQLite in memory. Reads answer at once; writes wait for
    :meth:`step`. Use :meth:`of` to get what one process sees."""

    def __init__(self) -> None:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _prepare)
        metadata.create_all(engine)
        self.connection = engine.connect()
        self._queue: deque[_Write] = deque()
        self._dead: set[str] = set()

    def of(self, process: str) -> ProcessDatabase:
        """The database as one process sees it."""
        return ProcessDatabase(self, process)

    def now(self, function: Callable[[Connection], T]) -> T:
        """Do something at once, as if from outside."""
        with self.connection.begin():
            return function(self.connection)

    def enqueue(self, function: Callable[[Connection], T], process: str) -> Deferred[T]:
        """Take a write in. One of a dead process is never answered: its coroutines may still be closed by the collector of garbage,
        at any time, and what they do then is done by nobody."""
        done: Deferred[T] = Deferred(lambda _: None)
        if process not in self._dead:
            self._queue.append(_Write(function, done, process))
        return done

    def step(self, fail: bool = False) -> bool:
        """Commit the oldest write, or let it fail; whether there was one."""
        if not self._queue:
            return False
        write = self._queue.popleft()
        outcome: Any
        try:
            with self.connection.begin():
                outcome = write.function(self.connection)
                if fail:
                    raise OSError("the disk is full")
        except Exception:
            outcome = Failure()
        if not write.done.called:
            (write.done.errback if isinstance(outcome, Failure) else write.done.callback)(outcome)
        return True

    def lose(self, process: str) -> None:
        """A process dies: what it has not got committed never happens, and it hears nothing any more."""
        self._dead.add(process)
        self._queue = deque(write for write in self._queue if write.process != process)


@attrs.frozen(eq=False)
class ProcessDatabase:
    """See :class:`SteppedDatabase`."""

    shared: SteppedDatabase
    process: str

    def write(self, function: Callable[[Connection], T], durable: bool = True) -> Awaitable[T]:
        return self.shared.enqueue(function, self.process)

    async def read(self, function: Callable[[Connection], T]) -> T:
        return await succeed(self.shared.now(function))

    async def look(self, query: Select[Any], **values: Any) -> Sequence[Sequence[Any]]:
        return await self.read(lambda connection: connection.execute(query, values).all())

    async def generation(self, name: str) -> int:
        value = select(func.max(counters.c.value)).where(counters.c.name == name)
        return int(self.shared.now(lambda connection: connection.execute(value).scalar()) or 0)

    def forget_generations(self) -> None:
        """Nothing is remembered."""


def changed(connection: Connection, name: str) -> None:
    """Count a generation up."""
    bump(connection, name)


def _prepare(raw: Any, _record: Any) -> None:
    raw.execute("PRAGMA foreign_keys=ON")
