"""The tree of one vfolder on a share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from vfgateway.abilities import IResumableStaging, IServerSideCopy
from vfgateway.backends.smb import publish, wire
from vfgateway.backends.smb.faults import FILE_IS_A_DIRECTORY, Refused
from vfgateway.backends.smb.files import READ_ACCESS, WRITE_ACCESS, SmbDirectory, SmbFile, SmbWritableFile, held
from vfgateway.backends.smb.names import STAGING
from vfgateway.backends.smb.staging import Staging
from vfgateway.backends.smb.tree import Tree
from vfgateway.backends.smb.wire import Entry, Opening
from vfgateway.errors import (
    AlreadyExists,
    InvalidPath,
    IsADirectory,
    NotADirectory,
    NotFound,
    PreconditionFailed,
    Unsupported,
    UnsupportedFileType,
)
from vfgateway.interfaces import IDirectory, IFile, IFolder, IStagedFile
from vfgateway.model import Attrs, Expect, FileStat, OpenMode, Published
from vfgateway.paths import FolderPath
from vfgateway.uninterrupted import whole


@implementer(IFolder, IResumableStaging, IServerSideCopy)
class SmbFolder:
    """One vfolder on behalf of one actor."""

    def __init__(self, tree: Tree, clock: Any) -> None:
        self.tree = tree
        self._share = tree.share
        self._clock = clock
        self.staging = Staging(tree)

    # --- reading

    @whole
    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        async with self.tree.faults(path):
            return self.tree.shown.stat(await self._share.stat(self.tree.place.to_read(path)))

    async def open_dir(self, path: FolderPath) -> IDirectory:
        return await held(self._open_dir(path))

    async def _open_dir(self, path: FolderPath) -> SmbDirectory:
        tree = self.tree
        async with tree.faults(path):
            handle, entry = await self._share.open_dir(tree.place.to_read(path))
            if entry.is_link:
                await handle.close()
                raise NotADirectory(path)
        hide = STAGING if path.is_root else None
        return SmbDirectory(tree.volume, handle, tree.shown, tree.place.names.fold, hide)

    async def open(self, path: FolderPath, mode: OpenMode) -> IFile:
        if mode & (OpenMode.WRITE | OpenMode.CREATE):
            return await held(self._open_to_write(path, mode))
        return await held(self._open_to_read(path))

    async def _open_to_read(self, path: FolderPath) -> SmbFile:
        tree = self.tree
        if path.is_root:
            raise IsADirectory(path)
        where = tree.place.to_read(path)
        async with tree.faults(path):
            handle, entry = await self._share.open(Opening(where, READ_ACCESS, options=wire.NON_DIRECTORY_FILE))
        return SmbFile(self._share, tree.volume, where, handle, entry, tree.shown, self._clock)

    async def _open_to_write(self, path: FolderPath, mode: OpenMode) -> SmbWritableFile:
        tree = self.tree
        if path.is_root:
            raise IsADirectory(path)
        create = bool(mode & OpenMode.CREATE)
        disposition = wire.OPEN_IF if create else wire.OPEN
        if create and mode & OpenMode.EXCLUSIVE:
            disposition = wire.CREATE_NEW
        access = WRITE_ACCESS if mode & OpenMode.WRITE else READ_ACCESS
        through = NotADirectory if create else NotFound
        where = tree.place.to_write(path, InvalidPath if create else NotFound)
        async with tree.faults(path, through=through):
            opening = Opening(where, access, disposition, wire.NON_DIRECTORY_FILE | wire.OPEN_REPARSE_POINT)
            try:
                handle, entry = await self._share.open(opening)
            except Refused as error:
                if disposition == wire.CREATE_NEW and error.status == FILE_IS_A_DIRECTORY:
                    raise AlreadyExists(path) from None
                raise
            if entry.is_link:
                await handle.close()
                raise UnsupportedFileType(path)
            if mode & OpenMode.TRUNCATE and entry.size:
                await handle.do(wire.set_size(0))
        return SmbWritableFile(tree.volume, handle, tree.shown, tree.durable)

    # --- names

    @whole
    async def make_dir(self, path: FolderPath) -> None:
        if path.is_root:
            raise AlreadyExists(path)
        where = self.tree.place.to_write(path)
        async with self.tree.faults(path, through=NotADirectory):
            await self._share.make_dir(where)

    @whole
    async def remove(self, path: FolderPath, expect: Expect) -> Published:
        tree = self.tree
        if path.is_root:
            raise IsADirectory(path)
        where = tree.place.to_write(path, NotFound)
        async with tree.faults(path):
            async with publish.turn(tree, path, expect):
                entry = await self._share.stat(where)
                if entry.is_dir:
                    raise IsADirectory(path)
                before = tree.shown.stat(entry)
                if expect.absent or expect.identity not in (None, before.identity):
                    raise PreconditionFailed(path)
                await publish.take_away(tree, where, entry)
        return Published(None, before)

    @whole
    async def remove_dir(self, path: FolderPath) -> None:
        if path.is_root:
            raise InvalidPath(path, "the top of a folder cannot be removed")
        where = self.tree.place.to_write(path, NotFound)
        async with self.tree.faults(path):
            await publish.take_dir_away(self.tree, where)

    @whole
    async def rename(self, source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        tree = self.tree
        if source.is_root or target.is_root:
            raise InvalidPath(source, "the top of a folder cannot be renamed")
        where = tree.place.to_write(source, NotFound)
        async with tree.faults(source):
            moved = await self._share.stat(where)
        tree.place.to_write(target)
        async with tree.faults(target, through=NotADirectory):
            if moved.is_dir and tree.place.folded(target.parent).within(tree.place.folded(source)):
                await self._check_parent(target)
                raise InvalidPath(target, f"lies inside of what is moved: {target}")
            if tree.place.key(source) == tree.place.key(target):
                return await self._respell(where, moved, source, target)
            async with publish.turn(tree, target, expect):
                return await self._move(where, moved, target, expect)

    async def _respell(self, where: str, moved: Entry, source: FolderPath, target: FolderPath) -> Published:
        """Give a name another case."""
        tree = self.tree
        if source != target:
            moved = await self._share.rename(where, tree.place.to_write(target), replace=False)
        return Published(tree.shown.stat(moved))

    async def _move(self, where: str, moved: Entry, target: FolderPath, expect: Expect) -> Published:
        tree = self.tree
        there = await tree.find(target)
        if there is None:
            await self._check_parent(target)
        publish.check_target(tree, moved.is_dir, there, target, expect)
        put = await publish.move(tree, where, moved, there, target, expect)
        replaced = None if there is None or there.is_dir else tree.shown.stat(there)
        return Published(tree.shown.stat(put), replaced)

    async def _check_parent(self, target: FolderPath) -> None:
        """Some servers take the directory of a new name for the file that is moved."""
        parent = await self._share.stat(self.tree.place.to_write(target.parent))
        if not parent.is_dir:
            raise NotADirectory(target)

    @whole
    async def set_attrs(self, path: FolderPath, attrs: Attrs) -> FileStat:
        tree = self.tree
        where = tree.place.to_write(path, NotFound)
        async with tree.faults(path):
            return tree.shown.stat(await self._share.set_times(where, attrs.atime_ns, attrs.mtime_ns))

    # --- stages and copies

    async def stage(self, target: FolderPath, expected_size: int | None) -> IStagedFile:
        return await held(self.staging.begin())

    async def resume(self, token: str, keep: int | None = None) -> IStagedFile:
        return await held(self.staging.resume(token, keep))

    @whole
    async def stages(self) -> Sequence[tuple[str, FileStat]]:
        return await self.staging.all()

    async def join(self, target: FolderPath, tokens: Sequence[str]) -> IStagedFile:
        return await held(self.staging.join(tokens))

    @whole
    async def copy_file(self, source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        if not isinstance(folder, SmbFolder) or folder.tree.share.links is not self._share.links:
            raise Unsupported("copying to another volume")
        where = self.tree.place.to_read(source)
        async with self.tree.faults(source):
            original = await self._share.stat(where)
        if original.is_dir:
            raise IsADirectory(source)
        staged = await folder.staging.begin()
        try:
            async with self.tree.faults(source):
                await staged.take(where, original.size)
            times = Attrs(mtime_ns=original.modified, atime_ns=original.accessed)
            return await staged.publish_copy(target, expect, times)
        except BaseException:
            await staged.discard()
            raise
