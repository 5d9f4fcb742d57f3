"""The content of one vfolder on disk: the interface over ``tree`` and ``staging``, through the volume's pool."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, ParamSpec

from zope.interface import implementer

from vfgateway.abilities import (
    IAtHand,
    IJobLinks,
    ILinks,
    IModes,
    IResumableStaging,
    IServerSideCopy,
    IStageOwners,
    IUsageWalk,
    IWholeStore,
)
from vfgateway.backends.vfs.athand import AtHand
from vfgateway.backends.vfs.descriptors import Calls, Descriptor
from vfgateway.backends.vfs.files import Listing, VfsDirectory, VfsFile, VfsWritableFile
from vfgateway.backends.vfs.measuring import Measuring
from vfgateway.backends.vfs.near import Near
from vfgateway.backends.vfs.publish import EXCHANGES
from vfgateway.backends.vfs.stagedfile import VfsStagedFile
from vfgateway.backends.vfs.staging import Stage, Staging
from vfgateway.backends.vfs.syscalls import TMPFS
from vfgateway.backends.vfs.tree import STAGING, Tree
from vfgateway.backends.vfs.whole import WholeStore
from vfgateway.errors import Unsupported
from vfgateway.interfaces import IDirectory, IFile, IFolder, IStagedFile, type_chunk
from vfgateway.model import Attrs, Expect, FileStat, OpenMode, Published
from vfgateway.paths import FolderPath
from vfgateway.treeusage import TreeUsage

P = ParamSpec("P")

_READS: Final = OpenMode.READ.value
_MAKES: Final = (OpenMode.WRITE | OpenMode.CREATE | OpenMode.EXCLUSIVE).value


@implementer(IAtHand, IFolder, IJobLinks, IResumableStaging, IServerSideCopy, ILinks, IModes, IUsageWalk, IWholeStore)
class VfsFolder:
    """One vfolder on behalf of one actor.

    :param near: what is open of the volume for who reads again; nothing of storage that others may change from afar
    """

    def __init__(self, calls: Calls, tree: Tree, staging: Staging, near: Near | None = None) -> None:
        self._calls = calls
        self._tree = tree
        self._staging = staging
        self._in_memory = staging.file_system == TMPFS
        self._at_hand = AtHand(tree, self._in_memory, near)
        self._waits = staging.syncs(True)
        self._whole = WholeStore(tree, staging)
        self.stores_together = staging.file_system in EXCHANGES

    def seen_by_jobs_at(self, places: Sequence[str]) -> None:
        self._tree.jobs.paths = places

    # --- reading

    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        return await self._calls.quick(self._tree.stat, path, follow)

    async def open_dir(self, path: FolderPath) -> IDirectory:
        def make() -> Listing:
            number, is_root = self._tree.open_dir(path)
            return Listing(number, STAGING if is_root else None, self._tree.names, self._tree.shown_in)

        listing = await self._calls.obtain(make, lambda made: made.descriptor.close())
        return VfsDirectory(self._calls, listing)

    async def walk_usage(self, path: FolderPath, progress: Callable[[int], Awaitable[None]] | None = None) -> TreeUsage:
        number, is_root = await self._calls.obtain(partial(self._tree.open_dir, path), lambda made: os.close(made[0]))
        measuring = Measuring(self._tree.resolver, STAGING if is_root else None, self._tree.names)
        descriptor = Descriptor(number, measuring.close)
        try:
            while await self._calls.with_descriptor(descriptor, False, measuring.go_on):
                if progress is not None:
                    await progress(measuring.usage.total.files)
        finally:
            await self._calls.close(descriptor)
        return measuring.usage

    async def open(self, path: FolderPath, mode: OpenMode) -> IFile:
        if OpenMode.TRUNCATE not in mode or OpenMode.WRITE not in mode:
            return self._opened(await self._calls.obtain(self._opening(path, mode), os.close), mode)
        present = OpenMode(mode & ~OpenMode.TRUNCATE)
        number = await self._calls.obtain(self._opening(path, present), os.close)
        file = VfsWritableFile(self._calls, Descriptor(number), self._tree.durable)
        try:
            await file.truncate(0)  # by itself, since of a large file it takes long
        except BaseException:
            await file.close()
            raise
        return file

    def _opening(self, path: FolderPath, mode: OpenMode) -> Callable[[], int]:
        changes = OpenMode.WRITE in mode or OpenMode.CREATE in mode
        return partial(self._tree.open_to_write, path, mode) if changes else partial(self._tree.open_to_read, path)

    def _opened(self, number: int, mode: OpenMode) -> IFile:
        if OpenMode.WRITE in mode:
            return VfsWritableFile(self._calls, Descriptor(number), self._tree.durable)
        return VfsFile(self._calls, Descriptor(number), self._in_memory)

    # --- at hand

    def stat_now(self, path: FolderPath) -> FileStat | None:
        return self._calls.check().at_once(self._at_hand.stat, path)

    def read_now(
        self, path: FolderPath, choose: Callable[[FileStat], tuple[int, int] | None]
    ) -> tuple[FileStat, type_chunk] | None:
        return self._calls.check().at_once(self._at_hand.read, path, choose)

    def reread_now(
        self, path: FolderPath, stat: FileStat, part: tuple[int, int] | None
    ) -> Callable[[], type_chunk | None] | None:
        again = self._at_hand.again(path, stat, part)
        return None if again is None else self._calls.check().over_again(again)

    @property
    def stores_now(self) -> bool:
        return not self._waits and self._calls.check().in_place

    def store_now(self, path: FolderPath, content: type_chunk, alone: bool = True) -> Published | None:
        return None if self._waits else self._calls.check().at_once(self._whole.store, False, path, content, alone)

    async def store_whole(self, path: FolderPath, content: type_chunk, alone: bool = True) -> Published | None:
        if self.stores_now:
            return self.store_now(path, content, alone)
        return await self._calls.run(self._whole.store, True, path, content, alone)

    def open_now(self, path: FolderPath, mode: OpenMode) -> IFile | None:
        pool = self._calls.check()
        if not pool.in_place:
            return None
        bits = mode._value_  # what it holds, asked for in the usual way, takes as long as opening
        if bits == _READS and (number := pool.call(self._at_hand.open, path)) is not None:
            return VfsFile(self._calls, Descriptor(number), self._in_memory)
        if bits & _MAKES == _MAKES and (number := pool.call(self._at_hand.create, path)) is not None:
            return VfsWritableFile(self._calls, Descriptor(number), self._tree.durable)
        if OpenMode.TRUNCATE in mode and OpenMode.EXCLUSIVE not in mode:
            return None  # of a large file it takes long
        return self._opened(pool.call(self._opening(path, mode)), mode)

    # --- names

    async def make_dir(self, path: FolderPath) -> None:
        await self._change(self._tree.make_dir, path)

    async def make_link(self, path: FolderPath, target: str) -> None:
        await self._change(self._tree.make_link, path, target)

    async def hard_link(self, source: FolderPath, target: FolderPath) -> None:
        await self._change(self._tree.hard_link, source, target)

    async def remove(self, path: FolderPath, expect: Expect) -> Published:
        return await self._calls.publish(True, lambda wait: self._tree.remove(wait, path, expect))

    async def remove_dir(self, path: FolderPath) -> None:
        await self._calls.quick(self._tree.remove_dir, path)

    async def rename(self, source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        return await self._calls.publish(
            not self._tree.durable, lambda wait: self._tree.rename(wait, source, target, expect)
        )

    async def set_attrs(self, path: FolderPath, attrs: Attrs) -> FileStat:
        return await self._calls.quick(self._tree.set_attrs, path, attrs)

    async def _change(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call what syncs a directory at its end if the volume is durable."""
        await (self._calls.run if self._tree.durable else self._calls.quick)(function, *args, **kwargs)

    # --- staging

    async def stage(self, target: FolderPath, expected_size: int | None) -> IStagedFile:
        return await self._obtain_stage(partial(self._staging.begin, expected_size))

    async def _obtain_stage(self, make: Callable[[], Stage], short: bool = True) -> IStagedFile:
        """A new stage; one that nobody waits for any more is removed."""
        stage = await self._calls.obtain(make, self._staging.drop, short)
        return VfsStagedFile(self._calls, self._staging, stage)

    async def resume(self, token: str, keep: int | None = None) -> IStagedFile:
        stage = await self._calls.obtain(
            partial(self._staging.resume, token, keep), lambda made: os.close(made.descriptor)
        )
        return VfsStagedFile(self._calls, self._staging, stage)

    async def stages(self) -> Sequence[tuple[str, FileStat]]:
        return await self._calls.run(self._staging.all)

    async def join(self, target: FolderPath, tokens: Sequence[str]) -> IStagedFile:
        return await self._obtain_stage(partial(self._staging.join, list(tokens)), short=False)

    async def copy_file(self, source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        if not isinstance(folder, VfsFolder) or not await self._is_near(folder):
            raise Unsupported("copying to another volume")
        open_source = partial(self._tree.open_to_read, source)
        return await folder._calls.run(folder._staging.copy_here, open_source, target, expect)

    async def _is_near(self, other: VfsFolder) -> bool:
        """Whether it is on the same file system: what may hang on one, hangs on both. Until that is known, each is asked by its own threads."""
        if other._calls.check() is self._calls.check():
            return True
        here = await self._calls.quick(self._staging.storage)
        return here == await other._calls.quick(other._staging.storage)


@implementer(IStageOwners)
class LocalFolder(VfsFolder):
    """One on a file system of this machine, which knows who has a file open."""

    async def abandoned(self) -> Sequence[str]:
        return await self._calls.run(self._staging.abandoned)
