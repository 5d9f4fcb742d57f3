"""What the tables of locks and intents say; each function runs within one read or write of the database.

Every write first locks the vfolder's row (SQLite lets one writer in at a time anyway), so that of two processes one sees the
other's rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, exists, func, insert, or_, select

from vfgateway.errors import Locked, LockLost, QuotaExceeded, VFolderMoved, VFolderNotFound
from vfgateway.model import VFolder
from vfgateway.paths import FolderPath, parse_text
from vfgateway.services.schema import intents, locks, properties, tracked, vfolders
from vfgateway.services.turns import type_change

#: Locks that one principal may have in a vfolder: whoever forgets to end them would fill the database.
MOST: Final = 5000


@attrs.frozen
class Lock:
    """One lock.

    :ivar token: ``opaquelocktoken:`` and a UUID; who knows it and is ``principal_id`` may write
    :ivar path: as the volume folds names
    :ivar infinite: whether it covers all below ``path``
    :ivar exclusive: whether it stands alone
    :ivar owner: how the client describes itself
    :ivar fence: greater than that of every earlier lock
    :ivar created: epoch seconds
    :ivar expires: epoch seconds; ``None``: never
    :ivar description: what the protocol keeps for its client
    """

    token: str
    vfolder: int
    path: FolderPath
    infinite: bool
    exclusive: bool
    principal_id: str
    owner: str
    fence: int
    created: float
    expires: float | None
    description: str = ""

    def covers(self, path: FolderPath) -> bool:
        """Whether ``path`` lies under it."""
        return self.path == path or (self.infinite and path.within(self.path))

    def blame(self, path: FolderPath) -> Locked:
        """The error for whoever it keeps from ``path``."""
        error = Locked(path, self.owner, self.expires)
        error.vfolder_key = self.vfolder
        return error


def _lock_of(row: Row[Any]) -> Lock:
    path = parse_text(row.path.decode("utf-8", "surrogateescape"))
    values = (row.infinite, row.exclusive, row.principal, row.owner, row.fence, row.created, row.expires)
    return Lock(row.token, row.vfolder, path, *values, row.description)


def ancestors(path: FolderPath) -> Sequence[FolderPath]:
    """The directories above ``path``, the root included."""
    return [FolderPath(path.parts[:count]) for count in range(len(path.parts))]


def below(column: ColumnElement[bytes], path: FolderPath) -> ColumnElement[bool]:
    """Whether the path in ``column`` lies below ``path``. Bytes are compared, so no character needs escaping."""
    if path.is_root:
        return column != b""
    prefix = bytes(path)
    return and_(column > prefix + b"/", column < prefix + b"0")  # "0" is the byte after "/"


@attrs.frozen
class Standing:
    """What there is in a vfolder, so that the usual answer, nothing, costs one look.

    :ivar locks: whether there are any locks, live or not
    :ivar others: whether other processes have announced changes
    :ivar properties: whether anything has dead properties
    :ivar tracked: whether changes are to be entered (:mod:`vfgateway.services.changes`)
    """

    locks: bool
    others: bool
    properties: bool
    tracked: bool = False


# Statements of the hot path are built once: building costs SQLAlchemy more than SQLite takes to answer.
_HERE = vfolders.c.key == bindparam("vfolder")
_ENTER = select(vfolders.c.key).where(_HERE).with_for_update()
_STANDING = select(
    vfolders.c.key,
    exists().where(locks.c.vfolder == bindparam("vfolder")),
    exists().where(intents.c.vfolder == bindparam("vfolder"), intents.c.process != bindparam("process")),
    exists().where(properties.c.vfolder == bindparam("vfolder")),
    exists().where(tracked.c.vfolder == bindparam("vfolder")),
    vfolders.c.volume,
).where(_HERE)
_LOCKED = select(exists().where(locks.c.vfolder == bindparam("vfolder")))
_ANNOUNCE = insert(intents)
_END = delete(intents).where(intents.c.intent == bindparam("ended"))


def enter(connection: Connection, vfolder: VFolder, process: str) -> Standing:
    """Keep other processes out of the tables for this vfolder until the write ends. ``VFolderNotFound`` if it is gone,
    ``VFolderMoved`` if it is not where ``vfolder`` says."""
    if connection.dialect.name != "sqlite":  # first the lock, then a fresh look
        connection.execute(_ENTER, {"vfolder": vfolder.key})
    row = connection.execute(_STANDING, {"vfolder": vfolder.key, "process": process}).first()
    if row is None:
        raise VFolderNotFound(vfolder.id)
    if row[5] != vfolder.volume:
        raise VFolderMoved(vfolder.volume)
    return Standing(row[1], row[2], row[3], row[4])


def is_locked(connection: Connection, vfolder: int) -> bool:
    """Whether a vfolder has any locks, live or not."""
    return bool(connection.execute(_LOCKED, {"vfolder": vfolder}).scalar())


def locks_over(connection: Connection, vfolder: int, changes: Sequence[type_change], now: float) -> Sequence[Lock]:
    """The live locks that concern the changes: on a path itself, over it with infinite depth, or, for a tree, below it."""
    concerned: list[ColumnElement[bool]] = []
    for path, tree in changes:
        concerned.append(locks.c.path == bytes(path))
        above = [bytes(ancestor) for ancestor in ancestors(path)]
        concerned.append(and_(locks.c.infinite, locks.c.path.in_(above)))
        if tree:
            concerned.append(below(locks.c.path, path))
    found = select(locks).where(locks.c.vfolder == vfolder, or_(*concerned), live(now))
    return [_lock_of(row) for row in connection.execute(found)]


def live(now: float) -> ColumnElement[bool]:
    """Not expired."""
    return or_(locks.c.expires.is_(None), locks.c.expires > now)


def all_locks(connection: Connection, now: float, vfolder: int | None = None) -> Sequence[Lock]:
    """All live locks, the oldest first."""
    query = select(locks).where(live(now)).order_by(locks.c.fence)
    if vfolder is not None:
        query = query.where(locks.c.vfolder == vfolder)
    return [_lock_of(row) for row in connection.execute(query)]


def by_token(connection: Connection, token: str, now: float) -> Lock | None:
    """The live lock of that token."""
    row = connection.execute(select(locks).where(locks.c.token == token, live(now))).first()
    return None if row is None else _lock_of(row)


def check(
    found: Iterable[Lock],
    changes: Sequence[type_change],
    tokens: frozenset[str],
    principal: str | None,
    fence: int | None = None,
) -> None:
    """Raise ``Locked`` unless ``principal`` holds, by ``tokens``, what lies over each of the changes; ``LockLost`` if the lock that had
    number ``fence`` (0: none) when the writer began is gone.

    Of several shared locks on one path, one that is held suffices (RFC 4918 section 6.2).
    """
    found = list(found)
    held = {lock.token for lock in found if lock.token in tokens and principal in (None, lock.principal_id)}
    if fence and not any(lock.fence == fence for lock in found):
        raise LockLost(changes[0][0])
    for path, tree in changes:
        _check_place([lock for lock in found if lock.covers(path)], held, path)
        if tree:
            for inner in {lock.path for lock in found if lock.path != path and lock.path.within(path)}:
                _check_place([lock for lock in found if lock.path == inner], held, inner)


def _check_place(over: Sequence[Lock], held: set[str], path: FolderPath) -> None:
    strange = [lock for lock in over if lock.token not in held]
    exclusive = [lock for lock in strange if lock.exclusive]
    if exclusive:
        raise exclusive[0].blame(path)
    if strange and len(strange) == len(over):
        raise strange[0].blame(path)


def guards(
    found: Iterable[Lock], parents: Iterable[FolderPath], tokens: frozenset[str], principal: str
) -> dict[FolderPath, Lock]:
    """The locks of others that keep the names in ``parents`` as they are: a lock on a collection, of whatever depth, covers which members
    it has (RFC 4918 section 7.4). Those of infinite depth cover the members themselves, and are refused by :func:`check`."""
    over: dict[FolderPath, list[Lock]] = {}
    for lock in found:
        over.setdefault(lock.path, []).append(lock)
    guarding: dict[FolderPath, Lock] = {}
    for parent in parents:
        here = over.get(parent, [])
        if here and not any(lock.token in tokens and lock.principal_id == principal for lock in here):
            guarding[parent] = here[0]
    return guarding


def release_below(connection: Connection, vfolder: int, path: FolderPath) -> None:
    """What was locked is gone: strike the locks on ``path`` and on all below it (RFC 4918 section 9.6)."""
    here = or_(locks.c.path == bytes(path), below(locks.c.path, path))
    connection.execute(delete(locks).where(locks.c.vfolder == vfolder, here))


def refuse_overlapping(found: Iterable[Lock], exclusive: bool) -> None:
    """Raise ``Locked``, with the root of the other lock, if a new one cannot stand beside those found (RFC 4918 section 6.2)."""
    for lock in found:
        if exclusive or lock.exclusive:
            raise lock.blame(lock.path)


def refuse_too_many(connection: Connection, vfolder: int, principal: str, owner: str) -> None:
    """``QuotaExceeded`` for a principal that has :data:`MOST` locks in the vfolder."""
    mine = (locks.c.vfolder == vfolder) & (locks.c.principal == principal)
    count = connection.execute(select(func.count()).select_from(locks).where(mine)).scalar_one()
    if count >= MOST:
        raise QuotaExceeded(f"user {owner}", "locks", MOST, count, 1)


# --- intents ---


def insert_intent(
    connection: Connection,
    intent: str,
    vfolder: int,
    changes: Sequence[type_change],
    process: str,
    now: float,
    shared: bool = False,
) -> None:
    """Announce changes; those that are ``shared`` wait for no others that are."""
    row = {"intent": intent, "vfolder": vfolder, "process": process, "created": now, "shared": shared}
    connection.execute(_ANNOUNCE, [{**row, "path": bytes(path), "tree": tree} for path, tree in changes])


def must_wait(
    connection: Connection,
    intent: str,
    vfolder: int,
    changes: Sequence[type_change],
    process: str,
    shared: bool = False,
) -> bool:
    """Whether another process announced an overlapping change before ``intent``."""
    mine = select(func.min(intents.c.serial)).where(intents.c.intent == intent).scalar_subquery()
    overlapping: list[ColumnElement[bool]] = []
    for path, tree in changes:
        overlapping.append(intents.c.path == bytes(path))
        above = [bytes(ancestor) for ancestor in ancestors(path)]
        overlapping.append(and_(intents.c.tree, intents.c.path.in_(above)))
        if tree:
            overlapping.append(below(intents.c.path, path))
    earlier = select(intents.c.serial).where(
        intents.c.vfolder == vfolder, intents.c.process != process, intents.c.serial < mine, or_(*overlapping)
    )
    if shared:
        earlier = earlier.where(~intents.c.shared)
    return connection.execute(earlier.limit(1)).first() is not None


def delete_intent(connection: Connection, intent: str) -> None:
    """End it. Idempotent."""
    connection.execute(_END, {"ended": intent})
