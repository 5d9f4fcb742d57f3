"""Changes of usage that are true but not yet in the database: gathered by the reactor's thread, taken by the writer's."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

import attrs
from sqlalchemy import Connection

from vfgateway.model import Usage
from vfgateway.services import holds
from vfgateway.services.subjects import keys_of


@attrs.frozen
class Batch:
    """What one write enters.

    :ivar changes: by vfolder
    :ivar spent: what of it came out of this process's slab, by subject
    :ivar ended: uploads whose room goes with it: some of the changes are what they became
    """

    changes: Mapping[int, Usage]
    spent: Mapping[str, Usage]
    ended: Collection[str] = ()

    def enter(self, connection: Connection, slab: str) -> None:
        """Write it. The owner and the scope charged are those that the vfolder has now."""
        sums: dict[str, Usage] = {}
        for vfolder, change in self.changes.items():
            if change != Usage():
                for key in keys_of(connection, vfolder):
                    sums[key] = sums.get(key, Usage()) + change
        holds.add_usage(connection, sums)
        holds.spend(connection, slab, self.spent)
        for upload in self.ended:
            holds.drop_holds(connection, upload)


class Unwritten:
    """The changes of one process. Safe to use from both threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._changes: dict[int, Usage] = {}
        self._spent: dict[str, Usage] = {}
        self._ended: list[str] = []

    def add(self, batch: Batch) -> None:
        """Count changes in."""
        with self._guard:
            for vfolder, change in batch.changes.items():
                if change != Usage():
                    self._changes[vfolder] = self._changes.get(vfolder, Usage()) + change
            for subject, amount in batch.spent.items():
                if amount != Usage():
                    self._spent[subject] = self._spent.get(subject, Usage()) + amount
            self._ended.extend(batch.ended)

    def take(self) -> Batch:
        """All there is; the caller enters it, or gives it to :meth:`add` again."""
        with self._guard:
            batch = Batch(self._changes, self._spent, self._ended)
            self._changes, self._spent, self._ended = {}, {}, []
        return batch

    @property
    def vfolders(self) -> Collection[int]:
        """The vfolders with changes."""
        with self._guard:
            return set(self._changes)

    def __bool__(self) -> bool:
        with self._guard:
            return bool(self._changes or self._spent or self._ended)
