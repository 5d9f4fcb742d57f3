"""What the copy of a vfolder is made of while it moves: on disk, so that millions of files cost no memory, and so that what was copied before a
crash is known after it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from vfgateway.blocking import Pool
from vfgateway.model import FileType
from vfgateway.paths import LONGEST_PATH, FolderPath, parse_text

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key BLOB PRIMARY KEY, path BLOB NOT NULL, mark TEXT NOT NULL, kind TEXT NOT NULL, turn INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS twins (identity TEXT PRIMARY KEY, path BLOB NOT NULL, turn INTEGER NOT NULL) WITHOUT ROWID;
"""
#: After all paths there can be.
_BEYOND = b"\xff" * (LONGEST_PATH + 1)


@attrs.frozen
class Copied:
    """One entry of the copy.

    :ivar key: its path as the new place folds names
    :ivar path: its path
    :ivar mark: of what it was copied (the identity of a file, the target of a link, the mode of a directory); empty while that is not certain
    :ivar turn: the last pass that met it
    """

    key: bytes
    path: FolderPath
    mark: str
    kind: FileType
    turn: int


def _copied(row: Sequence[Any]) -> Copied:
    return Copied(row[0], _path(row[1]), row[2], FileType(row[3]), row[4])


def _path(raw: bytes) -> FolderPath:
    return parse_text(raw.decode("utf-8", "surrogateescape"))


class Index:
    """See the module. One file for one move; calls run one after the other in the pool's thread.

    :param pool: with one thread
    """

    def __init__(self, path: Path, pool: Pool) -> None:
        self._path = path
        self._pool = pool
        self._database: sqlite3.Connection

    async def open(self) -> None:
        """Open or make it."""
        await self._pool.run(self._open)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._database = sqlite3.connect(self._path, check_same_thread=False)
        self._database.executescript(_SCHEMA)

    async def close(self) -> None:
        """Let go of it."""
        await self._pool.run(lambda: self._database.close())

    async def last_turn(self) -> int:
        """The number of the latest pass."""
        found = await self._all("SELECT max(turn) FROM entries", ())
        return found[0][0] or 0

    async def find(self, keys: Sequence[bytes]) -> Mapping[bytes, Copied]:
        """Those of some entries that are known."""

        def read() -> Mapping[bytes, Copied]:
            rows = [self._database.execute("SELECT * FROM entries WHERE key = ?", (key,)).fetchone() for key in keys]
            return {row[0]: _copied(row) for row in rows if row is not None}

        return await self._pool.run(read)

    async def twin(self, identity: str, turn: int) -> FolderPath | None:
        """Where pass ``turn`` has met the same file by another name."""
        rows = await self._all("SELECT path FROM twins WHERE identity = ? AND turn = ?", (identity, turn))
        return _path(rows[0][0]) if rows else None

    async def note_twin(self, identity: str, path: FolderPath, turn: int) -> None:
        """A file with several names has been met."""
        await self._change("INSERT OR REPLACE INTO twins VALUES (?, ?, ?)", [(identity, bytes(path), turn)])

    async def stale(self, turn: int, top: FolderPath) -> Sequence[Copied]:
        """Some entries below ``top`` that pass ``turn`` has not met, each after those below it."""
        query = "SELECT * FROM entries WHERE turn != ? AND key > ? AND key < ? ORDER BY key DESC LIMIT 500"
        return [_copied(row) for row in await self._all(query, (turn, *_below(top)))]

    async def names(self, folded: Collection[bytes], fold: Callable[[FolderPath], FolderPath]) -> Mapping[bytes, bytes]:
        """The paths that become ``folded`` by ``fold``, by what they become."""

        def read() -> Mapping[bytes, bytes]:
            found = {}
            for (path,) in self._database.execute("SELECT path FROM entries"):
                key = bytes(fold(_path(path)))
                if key in folded:
                    found[key] = path
            return found

        return await self._pool.run(read)

    async def note(self, entries: Iterable[Copied]) -> None:
        """Enter or replace entries; they are known after a crash."""
        rows = [(each.key, bytes(each.path), each.mark, each.kind.value, each.turn) for each in entries]
        await self._change("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", rows)

    async def forget(self, keys: Iterable[bytes]) -> None:
        """Strike entries."""
        await self._change("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])

    async def forget_below(self, top: FolderPath) -> None:
        """Strike all below ``top``."""
        await self._change("DELETE FROM entries WHERE key > ? AND key < ?", [_below(top)])

    async def _all(self, query: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        def read() -> Sequence[Sequence[Any]]:
            with closing(self._database.execute(query, values)) as cursor:
                return cursor.fetchall()

        return await self._pool.run(read)

    async def _change(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        def write() -> None:
            with self._database:
                self._database.executemany(statement, rows)

        await self._pool.run(write)


def _below(top: FolderPath) -> tuple[bytes, bytes]:
    """Between which keys all below ``top`` lies, which is folded already."""
    if top.is_root:
        return b"", _BEYOND
    return bytes(top) + b"/", bytes(top) + b"0"  # "0" is the byte after "/"
