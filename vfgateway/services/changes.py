"""What has changed in a vfolder since when, for clients that follow it by sync tokens (RFC 6578).

A vfolder is tracked from the moment in which somebody first asks, so that nothing is written for all others. From then on every change is
entered in the write that ends its intent, after it became visible: a token that was given out before knows nothing of it. What may have
happened is entered like what has. Only the latest change of a path is kept, and of what became of it nothing: whoever asks looks.

When a process dies, the vfolders that it was changing begin a new epoch, and so do those whose log cannot be right for another reason:
tokens of the old one are refused, and their owners list anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vfgateway.interfaces import IVolume
from vfgateway.model import VFolder
from vfgateway.paths import ROOT, FolderPath, parse_text
from vfgateway.services import locktable
from vfgateway.services.database import Database
from vfgateway.services.schema import changes, tracked

if TYPE_CHECKING:
    from vfgateway.services.locks import Locks

#: Paths that are remembered for one vfolder; beyond them the oldest are dropped.
MOST: Final = 100_000
#: Seconds after which a change is dropped, and after which a vfolder that nobody asked about is tracked no more.
KEPT: Final = 30 * 24 * 3600.0
#: How many changes go by between looks for what is to be dropped.
ROUND: Final = 1000
#: Seconds after which it is noted again that somebody asks.
NOTED: Final = 3600.0


@attrs.frozen
class Change:
    """One path that has changed, or may have.

    :ivar tree: all below it came along with it
    :ivar lost: what was below it is gone, and was not named
    :ivar collection: an empty directory is gone
    """

    path: FolderPath
    tree: bool = False
    lost: bool = False
    collection: bool = False


@attrs.frozen
class Mark:
    """A moment in the life of a vfolder: the changes of ``epoch`` up to number ``serial`` had happened."""

    epoch: str
    serial: int


@attrs.frozen
class Logged:
    """The latest change of one path.

    :ivar tree: when all below it came along; 0: never
    :ivar lost: when what was below it went without being named; 0: never
    :ivar collection: whether it was a directory, if it is gone
    """

    path: FolderPath
    serial: int
    tree: int
    lost: int
    collection: bool


def can_track(volume: IVolume) -> bool:
    """Whether every change of the volume's vfolders passes through here, under the one name that a file has."""
    return not volume.shared and not volume.names.case_folding


class Changes:
    """The log as one process sees it."""

    def __init__(self, database: Database, clock: Any, locks: Locks) -> None:
        self._database = database
        self._clock = clock
        self._locks = locks

    async def now(self, vfolder: VFolder) -> Mark:
        """The present moment; tracking begins with the first question."""
        row = await self._database.read(lambda connection: _row(connection, vfolder.key))
        now = self._clock.seconds()
        if row is None or row.asked < now - KEPT:
            return await self._begin(vfolder)
        if row.asked < now - NOTED:
            noted = update(tracked).where(tracked.c.vfolder == vfolder.key).values(asked=now)
            await self._database.write(lambda connection: connection.execute(noted), durable=False)
        return Mark(row.epoch, row.serial)

    async def _begin(self, vfolder: VFolder) -> Mark:
        """Begin while nobody changes anything: every later change finds that it is to be entered."""
        async with self._locks.publishing(vfolder, [(ROOT, True)], frozenset(), "internal", recount=True):

            def write(connection: Connection) -> Mark:
                now = self._clock.seconds()
                row = _row(connection, vfolder.key)
                if row is not None and row.asked >= now - KEPT:  # another process was quicker
                    return Mark(row.epoch, row.serial)
                begin_epoch(connection, [vfolder.key])
                values = {"vfolder": vfolder.key, "epoch": secrets.token_hex(8), "serial": 0, "floor": 0, "asked": now}
                if row is None:
                    connection.execute(insert(tracked).values(values))
                else:
                    connection.execute(update(tracked).where(tracked.c.vfolder == vfolder.key).values(values))
                return Mark(values["epoch"], 0)

            mark = await self._database.write(write)
            self._locks.changes += 1  # what this process knows of the vfolder is out of date
        return mark

    async def since(self, vfolder: VFolder, mark: Mark, path: FolderPath) -> tuple[Mark, Sequence[Logged]] | None:
        """What has changed at ``path``, above it or below it after ``mark``, in the order in which it last did; and the moment up to which
        that is all. ``None`` if it is not known any more."""

        def read(connection: Connection) -> tuple[Mark, Sequence[Logged]] | None:
            row = _row(connection, vfolder.key)
            if row is None or row.epoch != mark.epoch or not row.floor <= mark.serial <= row.serial:
                return None
            above = [bytes(ancestor) for ancestor in (*locktable.ancestors(path), path)]
            near = or_(changes.c.path.in_(above), locktable.below(changes.c.path, path))
            query = select(changes).where(changes.c.vfolder == vfolder.key, changes.c.serial > mark.serial, near)
            found = [_logged(entry) for entry in connection.execute(query.order_by(changes.c.serial))]
            return Mark(row.epoch, row.serial), found

        return await self._database.read(read)


def _row(connection: Connection, vfolder: int) -> Any:
    return connection.execute(select(tracked).where(tracked.c.vfolder == vfolder)).first()


def _logged(row: Any) -> Logged:
    path = parse_text(row.path.decode("utf-8", "surrogateescape"))
    return Logged(path, row.serial, row.tree, row.lost, row.collection)


_COUNT_UP = (
    update(tracked)
    .where(tracked.c.vfolder == bindparam("of"))
    .values(serial=tracked.c.serial + bindparam("count"))
    .returning(tracked.c.serial)
)


def record(connection: Connection, vfolder: int, happened: Iterable[Change], at: float) -> None:
    """Enter changes, within the write that ends their intent. Nothing if the vfolder is not tracked (any more)."""
    latest = list({change.path: change for change in happened}.values())
    if not latest:
        return
    last = connection.execute(_COUNT_UP, {"of": vfolder, "count": len(latest)}).scalar()
    if last is None:
        return
    upsert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    for serial, change in enumerate(latest, last - len(latest) + 1):
        values = {"serial": serial, "at": at, "collection": change.collection or change.lost}
        if change.tree:
            values["tree"] = serial
        if change.lost:
            values["lost"] = serial
        row = {"vfolder": vfolder, "path": bytes(change.path), "tree": 0, "lost": 0, **values}
        place = [changes.c.vfolder, changes.c.path]
        connection.execute(upsert(changes).values(row).on_conflict_do_update(index_elements=place, set_=values))
    if last // ROUND != (last - len(latest)) // ROUND:
        _prune(connection, vfolder, at)


def _prune(connection: Connection, vfolder: int, now: float) -> None:
    """Drop what is too old, and the oldest of what is too much."""
    row = _row(connection, vfolder)
    if row.asked < now - KEPT:
        connection.execute(delete(tracked).where(tracked.c.vfolder == vfolder))
        return
    mine = changes.c.vfolder == vfolder
    floor = connection.execute(select(func.max(changes.c.serial)).where(mine, changes.c.at < now - KEPT)).scalar() or 0
    beyond = select(changes.c.serial).where(mine).order_by(changes.c.serial.desc()).offset(MOST).limit(1)
    floor = max(floor, connection.execute(beyond).scalar() or 0)
    if floor > row.floor:
        connection.execute(delete(changes).where(mine, changes.c.serial <= floor))
        connection.execute(update(tracked).where(tracked.c.vfolder == vfolder).values(floor=floor))


def begin_epoch(connection: Connection, vfolders: Sequence[int]) -> None:
    """Refuse all tokens of some vfolders from now on. Nothing for those that are not tracked."""
    for vfolder in vfolders:
        fresh = update(tracked).where(tracked.c.vfolder == vfolder)
        if connection.execute(fresh.values(epoch=secrets.token_hex(8), serial=0, floor=0)).rowcount:
            connection.execute(delete(changes).where(changes.c.vfolder == vfolder))
