"""Dead properties: what clients keep beside files and directories, in the database, and what becomes of it when those move or go.

Paths are folded as the volume folds names, like those of locks. The functions that take a connection run within a write of whoever
changes the tree, so that a property never outlives its file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, func, insert, or_, select

from vfgateway.errors import TooLarge
from vfgateway.model import VFolder
from vfgateway.paths import FolderPath
from vfgateway.services.database import Database, bump
from vfgateway.services.locktable import below
from vfgateway.services.schema import locks, properties

#: Bytes of all properties of one file together.
MOST: Final = 1 << 20
#: Bytes of memory that the properties of the entries of one directory may take while it is listed, and those of all that are listed at once.
MOST_HELD, MOST_HELD_IN_ALL = 8 << 20, 64 << 20
#: Bytes that one takes, beside its value.
COST: Final = 400
#: The numbers that count up when a vfolder may have got its first property or lock.
SET, LOCKED = "properties", "fence"

#: By name (``{namespace}local``), the element in XML.
type_properties = Mapping[str, str]

_ANY = select(
    exists().where(properties.c.vfolder == bindparam("vfolder")),
    exists().where(locks.c.vfolder == bindparam("vfolder")),
)
_ALL_CHILDREN = select(properties.c.path, properties.c.name, properties.c.value).where(
    properties.c.vfolder == bindparam("vfolder"), properties.c.parent == bindparam("parent")
)
_CHILDREN = _ALL_CHILDREN.where(properties.c.path.in_(bindparam("paths", expanding=True)))
_held = _ALL_CHILDREN.limit(MOST_HELD // COST + 1).subquery()
_COUNT = select(func.count(), func.coalesce(func.sum(func.length(_held.c.value)), 0))


class Properties:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, tuple[tuple[int, int], tuple[bool, bool]]] = {}
        self._held = 0

    async def any_in(self, vfolder: VFolder) -> tuple[bool, bool]:
        """Whether a vfolder has any properties, and any locks. What another process did within the last
        :data:`vfgateway.services.database.FRESH` seconds may be missing."""
        stamp = (await self._database.generation(SET), await self._database.generation(LOCKED))
        known = self._known.get(vfolder.key)
        if known is not None and known[0] == stamp:
            return known[1]
        row = await self._database.read(lambda connection: connection.execute(_ANY, {"vfolder": vfolder.key}).one())
        found = (bool(row[0]), bool(row[1]))
        self._known[vfolder.key] = (stamp, found)
        return found

    def any_at_hand(self, vfolder: VFolder) -> tuple[bool, bool] | None:
        """As :meth:`any_in`, if that is known without waiting. Not a coroutine."""
        known = self._known.get(vfolder.key)
        stamp = self._database.at_hand(SET, LOCKED)
        return None if known is None or known[0] != stamp else known[1]

    async def of(self, vfolder: VFolder, path: FolderPath) -> type_properties:
        """The properties of one file or directory."""
        query = select(properties.c.name, properties.c.value).where(_at(vfolder.key, path))
        return await self._database.read(lambda connection: {row.name: row.value for row in connection.execute(query)})

    @asynccontextmanager
    async def of_all_children(
        self, vfolder: VFolder, parent: FolderPath
    ) -> AsyncGenerator[Mapping[bytes, type_properties] | None, None]:
        """The properties of all entries of one directory, by path, as long as they are needed; those without any are left out. ``None`` if they are
        more than should be held (:data:`MOST_HELD`): then :meth:`of_children` has to be asked, which takes several times as long for each."""
        values = {"vfolder": vfolder.key, "parent": bytes(parent)}
        room = min(MOST_HELD, MOST_HELD_IN_ALL - self._held)
        taken = room  # until it is known how much it is: others may be reading theirs
        self._held += taken

        def read(connection: Connection) -> tuple[int, Mapping[bytes, type_properties] | None]:
            count, characters = connection.execute(_COUNT, values).one()
            size = COST * count + characters
            return (size, _by_path(connection.execute(_ALL_CHILDREN, values))) if size <= room else (0, None)

        try:
            size, found = await self._database.read(read)
            self._held -= taken - size
            taken = size
            yield found
        finally:
            self._held -= taken

    async def of_children(
        self, vfolder: VFolder, parent: FolderPath, paths: Sequence[bytes]
    ) -> Mapping[bytes, type_properties]:
        """The properties of some entries of one directory, by path; those without any are left out."""
        values = {"vfolder": vfolder.key, "parent": bytes(parent), "paths": paths}
        return await self._database.read(lambda connection: _by_path(connection.execute(_CHILDREN, values)))


def _by_path(rows: Iterable[Sequence[Any]]) -> Mapping[bytes, type_properties]:
    found: dict[bytes, dict[str, str]] = {}
    names: dict[str, str] = {}  # many have the same
    for path, name, value in rows:
        found.setdefault(path, {})[names.setdefault(name, name)] = value
    return found


def _at(vfolder: int, path: FolderPath) -> ColumnElement[bool]:
    return and_(properties.c.vfolder == vfolder, properties.c.path == bytes(path))


def _from(vfolder: int, path: FolderPath) -> ColumnElement[bool]:
    """``path`` and all below it."""
    here = or_(properties.c.path == bytes(path), below(properties.c.path, path))
    return and_(properties.c.vfolder == vfolder, here)


def change(connection: Connection, vfolder: int, path: FolderPath, changes: Mapping[str, str | None]) -> None:
    """Set properties, or remove them with ``None``. ``TooLarge`` if the file would have more than :data:`MOST` bytes of them."""
    connection.execute(delete(properties).where(_at(vfolder, path), properties.c.name.in_(list(changes))))
    rows = [_row(vfolder, path, name, value) for name, value in changes.items() if value is not None]
    if not rows:
        return
    connection.execute(insert(properties), rows)
    kept = connection.execute(select(properties.c.value).where(_at(vfolder, path))).scalars()
    size = sum(len(value) for value in kept)
    if size > MOST:
        raise TooLarge(MOST, size)
    bump(connection, SET)


def _row(vfolder: int, path: FolderPath, name: str, value: str) -> dict[str, Any]:
    parent = None if path.is_root else bytes(path.parent)
    return {"vfolder": vfolder, "path": bytes(path), "name": name, "parent": parent, "value": value}


def forget(connection: Connection, vfolder: int, path: FolderPath, tree: bool) -> None:
    """The file is gone, or the directory with all below it."""
    connection.execute(delete(properties).where((_from if tree else _at)(vfolder, path)))


def move(connection: Connection, vfolder: int, source: FolderPath, target: FolderPath) -> None:
    """``source``, with all below it, has become ``target``; what that had is gone."""
    if source == target:
        return
    forget(connection, vfolder, target, True)
    _copy(connection, vfolder, source, vfolder, target, True)
    forget(connection, vfolder, source, True)


def copy(connection: Connection, vfolder: int, source: FolderPath, into: int, target: FolderPath) -> None:
    """``target`` in the vfolder ``into`` is a copy of ``source``, and has its properties alone. What lies below is copied by itself."""
    forget(connection, into, target, False)
    if _copy(connection, vfolder, source, into, target, False):
        bump(connection, SET)


def _copy(connection: Connection, vfolder: int, source: FolderPath, into: int, target: FolderPath, tree: bool) -> int:
    query = select(properties.c.path, properties.c.name, properties.c.value)
    rows = []
    for raw, name, value in connection.execute(query.where((_from if tree else _at)(vfolder, source))):
        rest = bytes(raw)[len(bytes(source)) :]
        place = bytes(target) + rest
        parent = None if not place else place.rpartition(b"/")[0]
        rows.append({"vfolder": into, "path": place, "name": name, "parent": parent, "value": value})
    if rows:
        connection.execute(insert(properties), rows)
    return len(rows)
