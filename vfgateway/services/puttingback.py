"""Making a place of a vfolder what it is in a snapshot, by the rules that hold for every change: what was not there goes, what has changed or is
missing is copied, what is the same stays. Each member on its own, so that locks and limits are those of whoever does it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from vfgateway.errors import InvalidPath, NotFound
from vfgateway.model import ANY, Attrs, DirEntry, FileStat, FileType
from vfgateway.paths import FolderPath
from vfgateway.services import copying, trees
from vfgateway.services.trees import type_progress

if TYPE_CHECKING:
    from vfgateway.services.session import FolderSession


async def put_back(
    folder: FolderSession, source: FolderPath, target: FolderPath, progress: type_progress | None = None
) -> None:
    """Make ``target`` what ``source`` is. Permission bits are those of before, of directories as well. ``NotFound``, and all that changing
    may raise: what was done until then stays.

    :param source: in a snapshot of the same vfolder
    :param progress: told how many members have been looked at
    """
    stat = await folder.stat(source)
    if not stat.is_dir:
        if target.is_root:
            raise InvalidPath(target, "the top of a vfolder cannot become a file")
        await _put_one(folder, source, stat, target)
        return
    work = _Tree(folder, progress)
    await work.enter(source, stat, target)
    await work.run()


class _Tree:
    def __init__(self, folder: FolderSession, progress: type_progress | None) -> None:
        self._folder = folder
        self._progress = progress
        self._waiting: list[tuple[FolderPath, FolderPath]] = []
        self._modes: list[tuple[FolderPath, int]] = []
        self._count = 0

    async def enter(self, source: FolderPath, stat: FileStat, target: FolderPath) -> None:
        """Have a directory stand at ``target``, and look into it later."""
        present = await _present(self._folder, target)
        if present is not None and not present.is_dir:
            await self._folder.remove(target)
            present = None
        if present is None:
            await self._folder.make_dir(target)
            present = await self._folder.stat(target)
        if present.mode & 0o777 != stat.mode & 0o777 and not target.is_root:
            self._modes.append((target, stat.mode))
        self._waiting.append((source, target))

    async def run(self) -> None:
        """Do it all; modes last, since one may shut us out."""
        while self._waiting:
            source, target = self._waiting.pop()
            await self._clear(source, target)
            async for entry in _entries(self._folder, source):
                here, there = source.child(entry.name), target.child(entry.name)
                if entry.stat.is_dir:
                    await self.enter(here, entry.stat, there)
                else:
                    await _put_one(self._folder, here, entry.stat, there)
                await self._went_on()
        for path, mode in reversed(self._modes):
            await self._folder.set_attrs(path, Attrs(mode=mode))

    async def _clear(self, source: FolderPath, target: FolderPath) -> None:
        """Remove what was not there."""
        async for entry in _entries(self._folder, target):
            if await _present(self._folder, source.child(entry.name)) is None:
                with contextlib.suppress(NotFound):  # somebody else was quicker
                    await _remove(self._folder, target.child(entry.name), entry.stat)
                await self._went_on()

    async def _went_on(self) -> None:
        self._count += 1
        if self._progress is not None:
            await self._progress(self._count)


async def _put_one(folder: FolderSession, source: FolderPath, stat: FileStat, target: FolderPath) -> None:
    present = await _present(folder, target)
    if present is not None:
        if present.identity == stat.identity and present.type is stat.type and present.mode == stat.mode:
            return
        if present.type is not stat.type or stat.type is FileType.SYMLINK:
            if stat.type is FileType.SYMLINK and present.target == stat.target:
                return
            await _remove(folder, target, present)
    await copying.copy(folder, source, folder, target, expect=ANY)


async def _remove(folder: FolderSession, path: FolderPath, stat: FileStat) -> None:
    await (folder.remove_tree(path) if stat.is_dir else folder.remove(path))


async def _present(folder: FolderSession, path: FolderPath) -> FileStat | None:
    try:
        return await folder.stat(path)
    except NotFound:
        return None


async def _entries(folder: FolderSession, path: FolderPath) -> AsyncIterator[DirEntry]:
    listing = await folder.list(path)
    try:
        while entries := await listing.read(trees.BATCH):
            for entry in entries:
                yield entry
    finally:
        await listing.close()
