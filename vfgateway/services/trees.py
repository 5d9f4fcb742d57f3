"""Whole trees of one vfolder: walk, measure, remove, copy. No rules here; the session and the tasks apply them.

Walking keeps one directory open at a time and remembers only the directories still to visit, so a folder with a million
files in it costs no more memory than one with ten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import attrs

from vfgateway.abilities import ILinks, IModes, IServerSideCopy, IUsageWalk
from vfgateway.errors import AlreadyExists, DirectoryNotEmpty, GatewayError, NotADirectory, NotFound, Unsupported
from vfgateway.interfaces import IDirectory, IFolder, IStagedFile
from vfgateway.model import ANY, Attrs, Expect, FileStat, FileType, OpenMode, Published, Usage
from vfgateway.paths import ROOT, FolderPath
from vfgateway.services.folderusage import folder_of
from vfgateway.treeusage import TreeUsage

#: Entries read from a directory at once.
BATCH = 500
#: Bytes copied at once where the storage cannot copy by itself.
COPY_CHUNK = 1 << 20
#: How often a directory is emptied again when others keep adding to it.
ATTEMPTS = 5

type_progress = Callable[[int], Awaitable[None]]


@attrs.frozen
class Walked:
    """One entry met on a walk. ``error`` says why a directory could not be listed (``stat`` is then what is known)."""

    path: FolderPath
    stat: FileStat
    error: GatewayError | None = None


class Walk:
    """A walk under way below (not including) ``top``. Parents come before their children; links are not followed."""

    def __init__(self, folder: IFolder, top: FolderPath) -> None:
        self._folder = folder
        self._pending: list[tuple[FolderPath, FileStat | None]] = [(top, None)]
        self._directory: IDirectory | None = None
        self._at = top
        self._stat: FileStat | None = None

    async def read(self, limit: int = BATCH) -> Sequence[Walked]:
        """Up to ``limit`` further entries; empty at the end. Raises only if ``top`` itself cannot be listed."""
        while True:
            try:
                if self._directory is None:
                    if not self._pending:
                        return ()
                    self._at, self._stat = self._pending.pop()
                    self._directory = await self._folder.open_dir(self._at)
                entries = await self._directory.read(limit)
            except (NotFound, NotADirectory) as error:
                if self._stat is None:  # the top
                    raise
                await self._leave()
                del error  # it vanished, or became something else: nothing to tell
                continue
            except GatewayError as error:
                if self._stat is None:
                    raise
                await self._leave()
                return (Walked(self._at, self._stat, error),)
            if not entries:
                await self._leave()
                continue
            walked = [Walked(self._at.child(entry.name), entry.stat) for entry in entries]
            self._pending.extend((item.path, item.stat) for item in walked if item.stat.is_dir)
            return walked

    async def _leave(self) -> None:
        if self._directory is not None:
            directory, self._directory = self._directory, None
            await directory.close()

    async def close(self) -> None:
        """Let go. Idempotent."""
        self._pending.clear()
        await self._leave()


class Tally:
    """Adds up usage, each inode once: names that share a file are known by its identity."""

    def __init__(self) -> None:
        self.usage = TreeUsage()
        self._shared: set[str] = set()

    def add(self, path: FolderPath, stat: FileStat) -> None:
        """Count one entry; ``path`` begins where counting begins."""
        size = stat.size if stat.is_file else 0
        if stat.is_file and stat.nlink > 1:
            if stat.identity in self._shared:
                size = 0
            self._shared.add(stat.identity)
        self.usage.add(folder_of(path, stat.is_dir), Usage(size, 1))


async def measure(folder: IFolder, top: FolderPath = ROOT, progress: type_progress | None = None) -> Usage:
    """Usage below ``top``, by walking."""
    return (await measure_by_folder(folder, top, progress)).total


async def measure_by_folder(
    folder: IFolder, top: FolderPath = ROOT, progress: type_progress | None = None
) -> TreeUsage:
    """As :meth:`measure`, with the shares of the directories in ``top``."""
    if IUsageWalk.providedBy(folder):
        counted: TreeUsage = await folder.walk_usage(top, progress)
        return counted
    tally = Tally()
    walk = Walk(folder, top)
    try:
        while entries := await walk.read():
            for entry in entries:
                if entry.error is None:
                    tally.add(entry.path.relative_to(top), entry.stat)
            if progress is not None:
                await progress(tally.usage.total.files)
    finally:
        await walk.close()
    return tally.usage


def freed(replaced: FileStat | None) -> Usage:
    """What a name gives back when it goes away: its entry, and its bytes if no other name shares them."""
    if replaced is None:
        return Usage()
    return Usage(replaced.size if replaced.is_file and replaced.nlink <= 1 else 0, 1)


async def remove_tree(
    folder: IFolder, top: FolderPath, removed: Callable[[Usage], None], progress: type_progress | None = None
) -> None:
    """Remove ``top`` with all below it (of the root: all below it). ``removed`` is told each loss as it happens, so that what was
    freed is known even when an error ends the work half-way."""
    for attempt in range(ATTEMPTS):
        directories = [] if top.is_root else [top]
        walk = Walk(folder, top)
        count = 0
        try:
            while entries := await walk.read():
                for entry in entries:
                    if entry.error is not None:
                        raise entry.error
                    if entry.stat.is_dir:
                        directories.append(entry.path)
                    else:
                        await _remove_file(folder, entry.path, removed)
                        count += 1
                if progress is not None:
                    await progress(count)
        finally:
            await walk.close()
        try:
            for path in reversed(directories):
                await _remove_dir(folder, path, removed)
            return
        except DirectoryNotEmpty:
            if attempt == ATTEMPTS - 1:
                raise


async def _remove_file(folder: IFolder, path: FolderPath, removed: Callable[[Usage], None]) -> None:
    with contextlib.suppress(NotFound):  # somebody else was quicker
        removed(freed((await folder.remove(path, ANY)).replaced))


async def _remove_dir(folder: IFolder, path: FolderPath, removed: Callable[[Usage], None]) -> None:
    with contextlib.suppress(NotFound):
        await folder.remove_dir(path)
        removed(Usage(0, 1))


async def copy_file(source: IFolder, path: FolderPath, target: IFolder, to: FolderPath, expect: Expect) -> Published:
    """Copy one regular file, atomically at its target, with its mode and times: by the storage itself where it can, through us elsewhere."""
    if IServerSideCopy.providedBy(source):
        with contextlib.suppress(Unsupported):
            return await source.copy_file(path, target, to, expect)
    original = await source.stat(path)
    stage = await stage_copy(source, path, target, to)
    try:
        published = await stage.commit(to, expect)
    finally:
        await stage.discard()
    with contextlib.suppress(NotFound):  # somebody removed it past us
        return attrs.evolve(published, stat=await target.set_attrs(to, kept_of(source, original)))
    return published


def kept_of(source: IFolder, original: FileStat) -> Attrs:
    """What a copy of a file has of it, beside the content. Where storage shows one mode for all, the copy gets that of its own place."""
    mode = original.mode if IModes.providedBy(source) else None
    return Attrs(mode, original.mtime_ns, original.atime_ns or None)


async def stage_copy(
    source: IFolder, path: FolderPath, target: IFolder, to: FolderPath, go_on: Callable[[], object] = lambda: None
) -> IStagedFile:
    """A stage in ``target``, bound for ``to``, with the content of a regular file; ``go_on`` is called before each piece."""
    file = await source.open(path, OpenMode.READ)
    try:
        stage = await target.stage(to, (await file.stat()).size)
        try:
            while chunk := await file.read(stage.size, COPY_CHUNK):
                go_on()
                await stage.append([chunk])
        except BaseException:
            await stage.discard()
            raise
        return stage
    finally:
        await file.close()


async def copy_link(source: FileStat, target: IFolder, to: FolderPath) -> bool:
    """Make the same link at ``to``; ``False`` where the target cannot hold links."""
    if source.type is not FileType.SYMLINK or not ILinks.providedBy(target):
        return False
    await target.make_link(to, source.target or "")
    return True


async def missing_parents(folder: IFolder, path: FolderPath) -> Sequence[FolderPath]:
    """The directories above ``path`` that are not there, outermost first. ``NotADirectory`` if something else is in the way."""
    missing: list[FolderPath] = []
    at = path.parent
    while not at.is_root:
        try:
            stat = await folder.stat(at)
        except NotFound:
            missing.append(at)
            at = at.parent
            continue
        if not stat.is_dir:
            raise NotADirectory(at)
        break
    return missing[::-1]


async def make_dirs(folder: IFolder, paths: Sequence[FolderPath], made: Callable[[Usage], None]) -> None:
    """Make directories, outermost first; one that somebody else made meanwhile will do. ``made`` is told each that is new."""
    for path in paths:
        try:
            await folder.make_dir(path)
            made(Usage(0, 1))
        except AlreadyExists:
            if not (await folder.stat(path)).is_dir:
                raise NotADirectory(path) from None
