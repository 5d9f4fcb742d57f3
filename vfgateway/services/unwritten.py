"""Changes of usage that are true but not yet in the database: gathered by the reactor's thread, taken by the writer's."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Final, TypeVar

import attrs
from sqlalchemy import Connection

from vfgateway.model import Usage
from vfgateway.services import folderusage, holds
from vfgateway.services.subjects import keys_of

K = TypeVar("K")
type_share = tuple[int, bytes]

#: Changes that are kept one by one, at most.
MOST: Final = 1000
_NONE: Final = Usage()


@attrs.frozen
class Batch:
    """What one write enters.

    :ivar changes: by vfolder, and by the folder at its top that has the share (:mod:`vfgateway.services.folderusage`)
    :ivar spent: what of it came out of this process's slab, by subject
    :ivar ended: uploads whose room goes with it: some of the changes are what they became
    """

    changes: Mapping[type_share, Usage]
    spent: Mapping[str, Usage]
    ended: Collection[str] = ()

    def enter(self, connection: Connection, slab: str) -> None:
        """Write it. The owner and the scope charged are those that the vfolder has now."""
        sums: dict[str, Usage] = {}
        shares: dict[int, dict[bytes, Usage]] = {}
        for (vfolder, folder), change in self.changes.items():
            if change != Usage():
                shares.setdefault(vfolder, {})[folder] = change
        gone = []
        for vfolder, changes in shares.items():
            keys, change = keys_of(connection, vfolder), sum(changes.values(), Usage())
            for key in keys:
                sums[key] = sums.get(key, Usage()) + change
            if not keys:
                gone.append(vfolder)
        holds.add_usage(connection, sums)
        for vfolder in sorted(shares.keys() - set(gone)):
            folderusage.add(connection, vfolder, shares[vfolder])
        holds.spend(connection, slab, self.spent)
        for upload in self.ended:
            holds.drop_holds(connection, upload)


def _add(sums: dict[K, Usage], key: K, amount: Usage) -> None:
    if amount.bytes or amount.files:
        before = sums.get(key, _NONE)
        sums[key] = Usage(before.bytes + amount.bytes, before.files + amount.files)


class Unwritten:
    """The changes of one process. Safe to use from both threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._counted: list[tuple[type_share, Usage, Mapping[str, Usage]]] = []
        self._changes: dict[type_share, Usage] = {}
        self._spent: dict[str, Usage] = {}
        self._ended: list[str] = []

    def count(self, share: type_share, change: Usage, spent: Mapping[str, Usage]) -> None:
        """As :meth:`add`, for one change that ends no upload. They come by the thousand, and are added up together."""
        self._counted.append((share, change, spent))
        if len(self._counted) >= MOST:
            with self._guard:
                self._add_up()

    def _add_up(self) -> None:
        while self._counted:
            share, change, spent = self._counted.pop()
            _add(self._changes, share, change)
            for subject, amount in spent.items():
                _add(self._spent, subject, amount)

    def add(self, batch: Batch) -> None:
        """Count changes in."""
        with self._guard:
            for share, change in batch.changes.items():
                _add(self._changes, share, change)
            for subject, amount in batch.spent.items():
                _add(self._spent, subject, amount)
            self._ended.extend(batch.ended)

    def take(self) -> Batch:
        """All there is; the caller enters it, or gives it to :meth:`add` again."""
        with self._guard:
            self._add_up()
            batch = Batch(self._changes, self._spent, self._ended)
            self._changes, self._spent, self._ended = {}, {}, []
        return batch

    @property
    def vfolders(self) -> Collection[int]:
        """The vfolders with changes."""
        with self._guard:
            self._add_up()
            return {vfolder for vfolder, _ in self._changes}

    def __bool__(self) -> bool:
        with self._guard:
            return bool(self._counted or self._changes or self._spent or self._ended)
