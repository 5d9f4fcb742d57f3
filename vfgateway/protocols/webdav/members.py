"""All members of a collection: as the storage lists them, or in an order in which one can go on later."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from heapq import nsmallest
from typing import Final

import attrs

from vfgateway.errors import NotADirectory, NotFound
from vfgateway.model import DirEntry, FileStat, FileType
from vfgateway.paths import FolderPath
from vfgateway.services.session import FolderSession

#: Entries that are read at once.
BATCH: Final = 500

_SHOWN: Final = frozenset({FileType.FILE, FileType.DIRECTORY})

type_member = tuple[FolderPath, FileStat]


@attrs.frozen
class Members:
    """Files and directories, without links.

    :ivar infinite: members of members, too, after what they are in
    :ivar limit: the most that will be looked at; then they come in the order of their names, and no more of them are kept than that of
        each directory
    """

    folder: FolderSession
    infinite: bool
    limit: int | None

    def below(self, top: FolderPath, after: tuple[str, ...] = ()) -> AsyncGenerator[type_member, None]:
        """What is below ``top``; in order, only what comes after these names. What vanishes meanwhile is left out."""
        if self.limit is not None or after:
            return self._ordered(top, after)
        return self._walked(top) if self.infinite else self._listed(top)

    async def _listed(self, top: FolderPath) -> AsyncGenerator[type_member, None]:
        listing = await self.folder.list(top)
        try:
            while entries := await listing.read(BATCH):
                for entry in entries:
                    if entry.stat.type in _SHOWN:
                        yield top.child(entry.name), entry.stat
        finally:
            await listing.close()

    async def _walked(self, top: FolderPath) -> AsyncGenerator[type_member, None]:
        walk = self.folder.walk(top)
        try:
            while entries := await walk.read(BATCH):
                for entry in entries:
                    if entry.error is not None:
                        raise entry.error
                    if entry.stat.type in _SHOWN:
                        yield entry.path, entry.stat
        finally:
            await walk.close()

    async def _ordered(self, top: FolderPath, after: tuple[str, ...]) -> AsyncGenerator[type_member, None]:
        first = after[0] if after else None
        for entry in await self._smallest(top, first):
            path, known = top.child(entry.name), entry.name == first
            if not known:
                yield path, entry.stat
            if self.infinite and entry.stat.is_dir:
                async with aclosing(self._ordered(path, after[1:] if known else ())) as inside:
                    async for member in inside:
                        yield member

    async def _smallest(self, directory: FolderPath, first: str | None) -> Sequence[DirEntry]:
        """The next entries of one directory, by name."""
        try:
            listing = await self.folder.list(directory)
        except (NotFound, NotADirectory):
            return ()
        found: list[DirEntry] = []
        wanted = None if self.limit is None else self.limit + 2
        try:
            while entries := await listing.read(BATCH):
                found += [e for e in entries if e.stat.type in _SHOWN and (first is None or e.name >= first)]
                if wanted is not None:
                    found = nsmallest(wanted, found, key=lambda entry: entry.name)
        finally:
            await listing.close()
        return sorted(found, key=lambda entry: entry.name)
