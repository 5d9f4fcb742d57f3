"""The gateway's database: SQLite in WAL mode or PostgreSQL, through SQLAlchemy Core, off the reactor.

Reads run in a small pool of threads. Writes go through one thread that takes all that wait and commits them together,
each behind its own savepoint: under load one sync serves many transactions. A write that need not survive a power loss (it
can be recounted) says ``durable=False``; a group of only such writes is committed without a sync.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import attrs
from sqlalchemy import URL, Connection, Engine, Select, create_engine, event, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, TimeoutError
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vfgateway.blocking import Pool
from vfgateway.errors import DatabaseUnavailable
from vfgateway.services.schema import counters
from vfgateway.services.sharing import Shared

T = TypeVar("T")
_log = Logger()

#: Most writes in one commit.
GROUP = 256
#: Seconds for which a write waits for those of other processes.
PATIENCE = 10.0
#: How often, at most, a write is begun that has to give way to another process's, and what PostgreSQL calls that (its manual, appendix A):
#: serialization_failure, deadlock_detected.
TRIES = 5
_GAVE_WAY = frozenset({"40001", "40P01"})
#: Seconds for which a generation number may be believed (``design.md`` section 4.9).
FRESH = 0.25


@attrs.define(eq=False)
class _Write:
    function: Callable[[Connection], Any]
    durable: bool
    done: Deferred[Any]
    outcome: Any = None
    failure: Exception | None = None


class Database:
    """One database, shared by all services.

    :param url: an SQLAlchemy URL (``sqlite:///…``, ``postgresql://…``)
    :param reactor: provides time and ``callFromThread``
    :ivar looks: counts whatever may change the answers of :meth:`at_hand`
    """

    def __init__(self, url: str, reactor: Any) -> None:
        self.url = driven(url)
        self._reactor = reactor
        self._readers = Pool(reactor, 4, "database")
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._engine: Engine | None = None
        self._generations: dict[str, tuple[float, int]] = {}
        self._forgotten = 0
        self.looks = 0
        self._looks: Shared[tuple[str, int], int] = Shared()
        self._numbers: sqlite3.Connection | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def engine(self) -> Engine:
        """The engine, once started; for migrations and for those that run in a thread already."""
        if self._engine is None:
            raise RuntimeError("the database is not open")
        return self._engine

    async def start(self, prepare: Callable[[Engine], None]) -> None:
        """Open; ``prepare`` runs in a thread before anything else does (migrations)."""
        engine = self._engine = make_engine(self.url)
        self._readers.start()
        await self._readers.run(prepare, engine)
        self._writer = threading.Thread(target=self._write_all, name="database-writer", daemon=True)
        self._writer.start()
        if self.is_sqlite:
            self._numbers = sqlite3.connect(self.url.database or "", timeout=0, isolation_level=None)
            self._numbers.execute("PRAGMA query_only=ON")

    async def stop(self) -> None:
        """Finish queued writes and close. Idempotent."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            self._queue.put(None)
            await self._readers.run(writer.join)
        await self._readers.stop()
        if self._numbers is not None:
            self._numbers.close()
            self._numbers = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run ``function(connection)`` in a thread, in a snapshot of its own. ``DatabaseUnavailable``."""
        engine = self.engine

        def call() -> T:
            try:
                with engine.connect().execution_options(vfgateway_read=True) as connection:
                    return function(connection)
            except Exception as failure:
                raise _in_our_words(failure)

        return await self._readers.run(call)

    async def look(self, query: Select[Any], **values: Any) -> Sequence[Sequence[Any]]:
        """The rows of a short query that is asked many times a second, so that all it reads is in memory: on SQLite in this thread, to hand it to
        another takes far longer. Booleans may come as numbers. ``DatabaseUnavailable``."""
        if self._numbers is not None:
            try:
                return self._numbers.execute(_text_of(query), values).fetchall()
            except sqlite3.Error:  # another process puts the database right; a thread can wait for it
                pass
        return await self.read(lambda connection: connection.execute(query, values).all())

    def write(self, function: Callable[[Connection], T], durable: bool = True) -> Awaitable[T]:
        """Run ``function(connection)`` in the writer's thread; the answer comes when it is committed. An error of the function rolls
        back that function alone; where it had to give way to another process's (PostgreSQL), it is called again. ``DatabaseUnavailable``: nothing of
        it has happened, as far as can be told. Cancelling abandons the answer, not the write."""
        if self._writer is None:
            raise RuntimeError("the database is not open")
        done: Deferred[T] = Deferred(lambda _: None)
        self._queue.put(_Write(function, durable, done))
        return done

    async def change(self, generation: str, function: Callable[[Connection], T]) -> T:
        """A durable write after which every cache of that generation is stale, in this process at once.

        On PostgreSQL two processes may both find nothing and insert the same row. Who comes second is run again, and finds it."""

        def call(connection: Connection) -> T:
            outcome = function(connection)
            bump(connection, generation)
            return outcome

        try:
            return await self.write(call)
        except IntegrityError:
            return await self.write(call)
        finally:
            self.forget_generations()

    async def generation(self, name: str) -> int:
        """The number that :func:`bump` counts up, at most :data:`FRESH` seconds old: a cache with another number is stale."""
        values = self.at_hand(name)
        if values is not None:
            return values[0]
        # One look for all who ask meanwhile, but not for those who ask after a write that an earlier look may have missed.
        now = self._reactor.seconds()
        return await self._looks.run((name, self._forgotten), lambda: self._look(name, now))

    def at_hand(self, *names: str) -> tuple[int, ...] | None:
        """What :meth:`generation` answers, if that is known for all of them without waiting. Not a coroutine."""
        now = self._reactor.seconds()
        values = []
        for name in names:
            known = self._generations.get(name)
            fresh = known is not None and 0 <= now - known[0] < FRESH
            if self._numbers is None and (known is None or not fresh or now - known[0] >= FRESH / 2):
                self._look_ahead(name, now)
            if not fresh:
                known = self._read_in_place(name, now)
            if known is None:
                return None
            values.append(known[1])
        return tuple(values)

    def good_until(self, *names: str) -> float:
        """Until when :meth:`at_hand`, which has just answered, needs not be asked again while :attr:`looks` stays what it is."""
        oldest = min(self._generations[name][0] for name in names)
        return oldest + (FRESH if self._numbers is not None else FRESH / 2)

    def _read_in_place(self, name: str, now: float) -> tuple[float, int] | None:
        """A look at SQLite's memory, which takes less time than handing it to a thread: the few numbers that everybody asks for are always
        there, and whoever reads waits for no writer."""
        if self._numbers is None:
            return None
        try:
            rows = self._numbers.execute("SELECT name, value FROM counters").fetchall()
        except sqlite3.Error:  # another process puts the database right; a thread can wait for it
            return None
        self.looks += 1
        self._generations.update({each: (now, value) for each, value in rows})
        known = self._generations[name] = (now, dict(rows).get(name, 0))
        return known

    def _look_ahead(self, name: str, now: float) -> None:
        """Look before the last look is too old, so that whoever asks again and again never waits."""
        key = (name, self._forgotten)
        if not self._looks.running(key):
            self._looks.run(key, lambda: self._look(name, now)).addErrback(lambda _: None)

    async def _look(self, name: str, now: float) -> int:
        forgotten = self._forgotten
        value = await self.read(lambda connection: counter(connection, name))
        if forgotten == self._forgotten:  # else it may have been read before the write that made us forget
            self.looks += 1
            self._generations[name] = (now, value)
        return value

    def forget_generations(self) -> None:
        """Look again at the next question; called by a service after its own write, so that this process sees it at once."""
        self._generations.clear()
        self._forgotten += 1
        self.looks += 1

    # --- the writer's thread ---

    def _write_all(self) -> None:
        with self.engine.connect() as connection:
            while (first := self._queue.get()) is not None:
                group, last = [first], False
                while len(group) < GROUP:
                    try:
                        more = self._queue.get_nowait()
                    except queue.Empty:
                        break
                    if more is None:
                        last = True
                        break
                    group.append(more)
                self._commit(connection, group)
                if last:
                    return

    def _commit(self, connection: Connection, group: list[_Write]) -> None:
        left = group
        for _ in range(TRIES):
            try:
                self._commit_all(connection, left)
            except Exception as failure:
                for write in left:
                    write.failure = failure
            left = [write for write in left if _gave_way(write.failure)]
            if not left:
                break
        self._reactor.callFromThread(_answer, group)

    def _commit_all(self, connection: Connection, group: list[_Write]) -> None:
        if self.is_sqlite:
            level = "FULL" if any(write.durable for write in group) else "NORMAL"
            connection.connection.cursor().execute(f"PRAGMA synchronous={level}")
        with connection.begin():
            if len(group) == 1:  # rolled back as a whole
                group[0].failure = None
                group[0].outcome = group[0].function(connection)
            else:
                self._run_each(connection, group)

    def _run_each(self, connection: Connection, group: list[_Write]) -> None:
        # By hand: SQLAlchemy's nested transaction costs as much as all that a small write does within it.
        cursor = connection.connection.cursor()
        for write in group:
            write.failure = None
            cursor.execute("SAVEPOINT one_of_many")
            try:
                write.outcome = write.function(connection)
            except Exception as failure:
                write.failure = failure
                cursor.execute("ROLLBACK TO SAVEPOINT one_of_many")
            cursor.execute("RELEASE SAVEPOINT one_of_many")
        cursor.close()


@lru_cache(maxsize=64)
def _text_of(query: Select[Any]) -> str:
    """A query that was built once, as SQLite reads it."""
    return str(query.compile(dialect=sqlite.dialect(paramstyle="named")))


def _answer(group: list[_Write]) -> None:
    for write in group:
        if write.done.called:
            continue
        if write.failure is not None:
            write.done.errback(_in_our_words(write.failure))
        else:
            write.done.callback(write.outcome)


def counter(connection: Connection, name: str) -> int:
    """The number that :func:`bump` counts up."""
    value = connection.execute(select(counters.c.value).where(counters.c.name == name)).scalar()
    return int(value or 0)


def bump(connection: Connection, name: str) -> int:
    """Count a counter up within the caller's write, and return its new value."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(
        insert(counters)
        .values(name=name, value=1)
        .on_conflict_do_update(index_elements=[counters.c.name], set_={"value": counters.c.value + 1})
    )
    return counter(connection, name)


def driven(url: str) -> URL:
    """The URL with the driver that is used."""
    found = make_url(url)
    return found.set(drivername="postgresql+psycopg") if found.drivername == "postgresql" else found


def make_engine(url: URL) -> Engine:
    """An engine whose transactions are those of this module: for :class:`Database`, and for what works while no gateway runs."""
    engine = create_engine(url, pool_size=8, max_overflow=0)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _gave_way(failure: Exception | None) -> bool:
    """Whether a write was undone because two processes waited for each other."""
    return isinstance(failure, OperationalError) and getattr(failure.orig, "sqlstate", None) in _GAVE_WAY


def _in_our_words(failure: Exception) -> Exception:
    """What a database says that is locked, full, read-only or away; any other failure as it is."""
    if not isinstance(failure, (OperationalError, TimeoutError, sqlite3.OperationalError)):
        return failure
    unavailable = DatabaseUnavailable(str(getattr(failure, "orig", None) or failure))
    unavailable.__cause__ = failure
    _log.warn("the database is not available: {reason}", reason=unavailable.reason)
    return unavailable


def _prepare_sqlite(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # transactions are ours: see _begin_sqlite
    cursor = raw.cursor()
    _write_ahead(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", f"busy_timeout={round(PATIENCE * 1000)}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Several processes that meet a new database at once may each wait for the others to let go of it while they switch (sqlite.org/c3ref/busy_handler.html), so
    nobody waits long: whoever is refused lets go, and tries again."""
    cursor.execute("PRAGMA busy_timeout=20")
    until = time.monotonic() + PATIENCE
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    """Writers take the lock at once, so that two processes queue instead of failing half-way."""
    reading = connection.get_execution_options().get("vfgateway_read")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
