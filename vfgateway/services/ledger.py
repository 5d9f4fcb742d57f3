"""What one process knows of quota beyond the database: its slabs, and changes that are not written yet. Every write enters those."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vfgateway.model import Usage
from vfgateway.services import holds, slabs
from vfgateway.services.database import Database
from vfgateway.services.slabs import Slab
from vfgateway.services.unwritten import Batch, Unwritten
from vfgateway.treeusage import LOOSE

T = TypeVar("T")


def _nothing(_: object) -> None:
    """Nothing more to do."""


class Ledger:
    """The slabs of a process and its unwritten changes, kept in step with the database.

    :param holder: the name of the process's slabs
    :param delayed: called when a write failed and its changes wait again
    :param changed: told the vfolders whose usage was written
    :ivar slabs: by subject, empty where there was none
    :ivar touched: whether anything was ever written
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        holder: str,
        delayed: Callable[[], object],
        changed: Callable[[Collection[int]], object],
    ) -> None:
        self._database = database
        self._changed = changed
        self._delayed = delayed
        self._unwritten = Unwritten()
        self._writing = 0
        self.holder = holder
        self.slabs: defaultdict[str, Slab] = defaultdict(Slab)
        self.touched = False

    @property
    def waiting(self) -> set[int]:
        """The vfolders with unwritten changes."""
        return set(self._unwritten.vfolders)

    @property
    def is_settled(self) -> bool:
        """Whether the database knows everything."""
        return not self._unwritten and not self._writing

    def change(
        self,
        vfolder: int,
        change: Usage,
        covered: Mapping[str, Usage] = {},
        upload: str | None = None,
        folder: bytes = LOOSE,
    ) -> None:
        """Count a true change in a folder at the vfolder's top, and end what was held for it: ``covered`` out of the slabs, or all that
        ``upload`` has."""
        spent = {key: self.slabs[key].settle(amount, change) for key, amount in covered.items()} if covered else covered
        if upload is not None:
            self._unwritten.add(Batch({(vfolder, folder): change}, spent, (upload,)))
        elif change.bytes or change.files:
            self._unwritten.count((vfolder, folder), change, spent)

    async def give_back(self, keys: Sequence[str]) -> None:
        """Let others have what is free of the slabs."""
        amounts = {key: slabs.at_least_zero(self.slabs[key].free) for key in dict.fromkeys(keys)}

        def move(sign: int) -> None:
            for key, amount in amounts.items():
                self.slabs[key].leased += Usage(sign * amount.bytes, sign * amount.files)

        move(-1)  # before the write, so that nobody takes it meanwhile
        await self.write(
            lambda connection: holds.give_back(connection, self.holder, amounts), otherwise=lambda: move(+1)
        )

    async def flush(self) -> None:
        """Return when all changes up to now are in the database."""
        if not self.is_settled:
            await self.write(_nothing)

    def write(
        self,
        function: Callable[[Connection], T],
        durable: bool = False,
        then: Callable[[T], None] = _nothing,
        otherwise: Callable[[], None] = lambda: None,
    ) -> Deferred[T]:
        """One write that also enters all that is unwritten.

        :param then: called with the outcome when it is committed, whether or not the caller still waits
        :param otherwise: called when it failed, likewise
        """
        taken: list[Batch] = []

        def write(connection: Connection) -> T:
            taken.append(self._unwritten.take())
            for batch in taken:  # several, if this is called again
                batch.enter(connection, self.holder)
            return function(connection)

        waiter: Deferred[T] = Deferred(_nothing)
        self._writing += 1
        self.touched = True
        done = cast("Deferred[T]", self._database.write(write, durable))
        done.addCallbacks(self._written, self._not_written, (taken, then, waiter), {}, (taken, otherwise, waiter), {})
        return waiter

    def _written(self, outcome: T, taken: Sequence[Batch], then: Callable[[T], None], waiter: Deferred[T]) -> None:
        self._writing -= 1
        for batch in taken:
            for key, amount in batch.spent.items():
                self.slabs[key].enter(amount)
            if batch.changes:
                self._changed({vfolder for vfolder, _ in batch.changes})
        then(outcome)
        if not waiter.called:
            waiter.callback(outcome)

    def _not_written(
        self, failure: Failure, taken: Sequence[Batch], otherwise: Callable[[], None], waiter: Deferred[Any]
    ) -> None:
        self._writing -= 1
        for batch in taken:
            self._unwritten.add(batch)
        otherwise()
        if self._unwritten:
            self._delayed()
        if not waiter.called:
            waiter.errback(failure)
        else:
            self.log.failure("could not write figures", failure=failure)
