"""What lies in each directory at the top of a vfolder, as the database keeps it; each function runs within one read or write.

Shares move with the changes of usage that they are part of. A directory that goes from one top directory to another takes along what nobody has
added up: where that is not measured in time, both shares are known to be wrong from then on ("stale"), until they are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vfgateway.model import NameRules, Usage
from vfgateway.paths import FolderPath
from vfgateway.services.usage_tables import folder_usage
from vfgateway.treeusage import LOOSE, MOST, OTHERS, TreeUsage


@attrs.frozen
class FolderUsage:
    """A share.

    :ivar name: of a directory at the top as its bytes are, folded as the volume folds names; ``LOOSE`` or ``OTHERS``
    :ivar stale: since when it is known to be wrong, in epoch seconds; ``None`` if it is not
    """

    name: bytes
    usage: Usage
    stale: float | None = None


def folder_of(path: FolderPath, is_dir: bool) -> bytes:
    """To whose share an entry belongs. The path is folded already."""
    if len(path.parts) > 1 or (is_dir and path.parts):
        return path.parts[0].encode("utf-8", "surrogateescape")
    return LOOSE


def folded(usage: TreeUsage, names: NameRules) -> TreeUsage:
    """The same, with the names folded as the volume folds them."""
    if not names.case_folding:
        return usage
    found = TreeUsage(usage.total)
    for name, share in usage.folders.items():
        name = names.fold(name.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        found.folders[name] = found.folders.get(name, Usage()) + share
    return found


_ROW = (folder_usage.c.vfolder == bindparam("of")) & (folder_usage.c.name == bindparam("folder"))
# Statements of the hot path are built once, as in ``holds``.
_ADD = (
    update(folder_usage)
    .where(_ROW)
    .values(bytes=folder_usage.c.bytes + bindparam("more"), files=folder_usage.c.files + bindparam("entries"))
)
_STRIKE = delete(folder_usage).where(
    _ROW, folder_usage.c.bytes == 0, folder_usage.c.files == 0, folder_usage.c.stale.is_(None)
)
_PRESENT = select(literal(1)).where(_ROW)
_COUNT = select(func.count()).where(folder_usage.c.vfolder == bindparam("of"))


def add(connection: Connection, vfolder: int, changes: Mapping[bytes, Usage]) -> None:
    """Count changes in, by folder. In an order that all processes share, so that none waits for another that waits for it."""
    for name, change in sorted(changes.items()):
        if change != Usage() and not _add(connection, vfolder, name, change):
            place = _place(connection, vfolder, name)
            if place == name or not _add(connection, vfolder, place, change):
                _insert(connection, vfolder, place, change)


def _add(connection: Connection, vfolder: int, name: bytes, change: Usage) -> bool:
    row = {"of": vfolder, "folder": name}
    found = connection.execute(_ADD, row | {"more": change.bytes, "entries": change.files}).rowcount > 0
    if found and change.files < 0:
        connection.execute(_STRIKE, row)
    return found


def _insert(connection: Connection, vfolder: int, name: bytes, usage: Usage, stale: float | None = None) -> None:
    """Make a row, unless another process has made it meanwhile."""
    adding = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(folder_usage)
    more = {
        "bytes": folder_usage.c.bytes + adding.excluded.bytes,
        "files": folder_usage.c.files + adding.excluded.files,
        "stale": func.coalesce(folder_usage.c.stale, adding.excluded.stale),
    }
    adding = adding.on_conflict_do_update(index_elements=["vfolder", "name"], set_=more)
    row = {"vfolder": vfolder, "name": name, "bytes": usage.bytes, "files": usage.files, "stale": stale}
    connection.execute(adding, row)


def _is_there(connection: Connection, vfolder: int, name: bytes) -> bool:
    return connection.execute(_PRESENT, {"of": vfolder, "folder": name}).first() is not None


def _place(connection: Connection, vfolder: int, name: bytes) -> bytes:
    """Where the share of a folder without a row is kept. Once there is a row for others, it may be one of them."""
    if name in (LOOSE, OTHERS):
        return name
    full = _is_there(connection, vfolder, OTHERS)
    full = full or connection.execute(_COUNT, {"of": vfolder}).scalar_one() >= MOST
    return OTHERS if full else name


# --- what moves ---


def move(connection: Connection, vfolder: int, source: bytes, target: bytes, amount: Usage | None, now: float) -> None:
    """Something went from one folder to another. ``None``: nobody knows how much."""
    if source == target:
        return
    if amount is not None:
        add(connection, vfolder, {source: -amount, target: amount})
        return
    places = {
        name if _is_there(connection, vfolder, name) else _place(connection, vfolder, name) for name in (source, target)
    }
    if len(places) > 1:  # else both are among the others
        for place in sorted(places):
            _insert(connection, vfolder, place, Usage(), now)


def move_all(connection: Connection, vfolder: int, source: bytes, target: bytes, renamed: bool, now: float) -> None:
    """A directory at the top went elsewhere with all that lies in it.

    :param renamed: it is at the top still, under another name
    """
    if source == target:
        return
    row = connection.execute(_of(vfolder).where(folder_usage.c.name == source)).first()
    if row is None:  # it is among the others
        move(connection, vfolder, source, target, None, now)
        return
    here = (folder_usage.c.vfolder == vfolder) & (folder_usage.c.name == source)
    if renamed and not _is_there(connection, vfolder, target):
        connection.execute(update(folder_usage).where(here).values(name=target))
        return
    connection.execute(delete(folder_usage).where(here))
    place = target if _is_there(connection, vfolder, target) else _place(connection, vfolder, target)
    _insert(connection, vfolder, place, Usage(row.bytes, row.files), row.stale)


# --- what is counted ---


def replace(connection: Connection, vfolder: int, usage: TreeUsage) -> None:
    """Put what was counted in place of what was known."""
    forget(connection, vfolder)
    rows = [
        {"vfolder": vfolder, "name": name, "bytes": share.bytes, "files": share.files, "stale": None}
        for name, share in usage.folders.items()
    ]
    if rows:
        connection.execute(insert(folder_usage), rows)


def correct(connection: Connection, vfolder: int, change: Usage, now: float) -> None:
    """The sum of all is another, and nobody knows whose share is."""
    if change != Usage():
        _insert(connection, vfolder, OTHERS, change, now)


def forget(connection: Connection, vfolder: int) -> None:
    """Strike all shares of a vfolder."""
    connection.execute(delete(folder_usage).where(folder_usage.c.vfolder == vfolder))


# --- what is known ---


def _of(vfolder: int) -> Select[Any]:
    return select(folder_usage).where(folder_usage.c.vfolder == vfolder).order_by(folder_usage.c.name)


def shares(connection: Connection, vfolder: int) -> Sequence[FolderUsage]:
    """All shares of a vfolder by name. Figures may be negative for a while, as in ``holds.usage_of``."""
    return [FolderUsage(row.name, Usage(row.bytes, row.files), row.stale) for row in connection.execute(_of(vfolder))]


def stale_vfolders(connection: Connection) -> Sequence[int]:
    """The vfolders with stale shares."""
    query = select(folder_usage.c.vfolder).where(folder_usage.c.stale.is_not(None)).distinct()
    return list(connection.execute(query.order_by(folder_usage.c.vfolder)).scalars())
