"""The tree of one vfolder in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from zope.interface import implementer

from vfgateway.abilities import IAttributes, ILinks, IModes, IResumableStaging, IServerSideCopy
from vfgateway.backends.memory.files import MemoryDirectory, MemoryFile, MemoryStagedFile, MemoryWritableFile
from vfgateway.backends.memory.tree import Node, Tree
from vfgateway.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidPath,
    IsADirectory,
    LeavesFolder,
    NoSpace,
    NotADirectory,
    NotFound,
    PreconditionFailed,
    Unsupported,
    UnsupportedFileType,
    UploadNotFound,
)
from vfgateway.interfaces import IDirectory, IFile, IFolder, IStagedFile
from vfgateway.model import Actor, Attrs, Expect, FileStat, FileType, OpenMode, Published, VFolderId
from vfgateway.paths import FolderPath
from vfgateway.targets import check_expected, check_kind

if TYPE_CHECKING:
    from vfgateway.backends.memory.volume import MemoryVolume


@implementer(IFolder, IResumableStaging, IServerSideCopy, ILinks, IModes, IAttributes)
class MemoryFolder:
    """One vfolder on behalf of one actor; looks its tree up at each call, as a path on disk would be.

    :param label: of the snapshot that is meant in its place
    """

    def __init__(self, volume: MemoryVolume, vfid: VFolderId, actor: Actor, label: str | None = None) -> None:
        self._volume = volume
        self._vfid = vfid
        self._actor = actor
        self._label = label

    def _tree(self) -> Tree:
        return self._volume.tree(self._vfid, self._label)

    # --- reading

    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        return self._tree().find(path, follow).stat()

    async def open_dir(self, path: FolderPath) -> IDirectory:
        node = self._tree().find(path, follow=True)
        if not node.is_dir:
            raise NotADirectory(path)
        return MemoryDirectory(node)

    async def open(self, path: FolderPath, mode: OpenMode) -> IFile:
        tree = self._tree()
        if mode & (OpenMode.WRITE | OpenMode.CREATE):
            node = self._open_for_writing(tree, path, mode)
        else:
            node = tree.find(path, follow=True)
        if node.is_dir:
            raise IsADirectory(path)
        if not node.is_file:
            raise UnsupportedFileType(path)
        if mode & OpenMode.WRITE:
            if mode & OpenMode.TRUNCATE and node.data:
                tree.inodes.resize(node, 0)
            return MemoryWritableFile(tree, node)
        return MemoryFile(tree, node)

    def _open_for_writing(self, tree: Tree, path: FolderPath, mode: OpenMode) -> Node:
        create = bool(mode & OpenMode.CREATE)
        if path.is_root:
            raise IsADirectory(path)
        parent = tree.place(path, NotADirectory if create else NotFound)
        node = tree.entry(parent, path)
        if node is None:
            if not create:
                raise NotFound(path)
            node = tree.inodes.make(FileType.FILE, self._actor)
            tree.put(parent, path, node)
        elif create and mode & OpenMode.EXCLUSIVE:
            raise AlreadyExists(path)
        elif node.target is not None:
            raise LeavesFolder(path)
        return node

    # --- names

    async def make_dir(self, path: FolderPath) -> None:
        self._new_entry(path, FileType.DIRECTORY)

    async def make_link(self, path: FolderPath, target: str) -> None:
        if not target or "\0" in target:
            raise InvalidPath(path, f"not a usable target of a link: {path}")
        self._new_entry(path, FileType.SYMLINK, target)

    def _new_entry(self, path: FolderPath, kind: FileType, target: str | None = None) -> None:
        tree = self._tree()
        if path.is_root:
            raise AlreadyExists(path)
        parent = tree.place(path)
        if tree.entry(parent, path) is not None:
            raise AlreadyExists(path)
        tree.put(parent, path, tree.inodes.make(kind, self._actor, target=target))

    async def hard_link(self, source: FolderPath, target: FolderPath) -> None:
        tree = self._tree()
        if source.is_root:
            raise IsADirectory(source)
        if target.is_root:
            raise AlreadyExists(target)
        node = tree.entry(tree.place(source, NotFound), source)
        if node is None:
            raise NotFound(source)
        if node.is_dir:
            raise IsADirectory(source)
        parent = tree.place(target)
        if tree.entry(parent, target) is not None:
            raise AlreadyExists(target)
        tree.put(parent, target, node)
        node.nlink += 1
        tree.inodes.changed(node)

    async def remove(self, path: FolderPath, expect: Expect) -> Published:
        tree = self._tree()
        if path.is_root:
            raise IsADirectory(path)
        parent = tree.place(path, NotFound)
        node = tree.entry(parent, path)
        if node is None:
            raise NotFound(path)
        if node.is_dir:
            raise IsADirectory(path)
        before = node.stat()
        if expect.absent or expect.identity not in (None, before.identity):
            raise PreconditionFailed(path)
        tree.take(parent, path)
        tree.inodes.unlinked(node)
        return Published(None, before)

    async def remove_dir(self, path: FolderPath) -> None:
        tree = self._tree()
        if path.is_root:
            raise InvalidPath(path, "the top of a folder cannot be removed")
        parent = tree.place(path, NotFound)
        node = tree.entry(parent, path)
        if node is None:
            raise NotFound(path)
        if not node.is_dir:
            raise NotADirectory(path)
        if node.entries:
            raise DirectoryNotEmpty(path)
        tree.take(parent, path)
        tree.inodes.unlinked(node)

    async def rename(self, source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        tree = self._tree()
        if source.is_root or target.is_root:
            raise InvalidPath(source, "the top of a folder cannot be renamed")
        old_parent = tree.place(source, NotFound)
        node = tree.entry(old_parent, source)
        if node is None:
            raise NotFound(source)
        new_parent = tree.place(target)
        tree.check_name(target)
        if node.is_dir and _folded(tree, target.parent).within(_folded(tree, source)):
            raise InvalidPath(target, f"lies inside of what is moved: {target}")
        there = tree.entry(new_parent, target)
        if there is node and old_parent is new_parent and tree.names.fold(source.name) == tree.names.fold(target.name):
            if source.name != target.name:
                tree.put(new_parent, target, node)
                tree.inodes.changed(node)
            return Published(node.stat())
        check_expected(None if there is None else there.stat(), target, expect)
        replaced = self._make_way(tree, node, new_parent, target)
        tree.take(old_parent, source)
        tree.put(new_parent, target, node)
        tree.inodes.changed(node)
        return Published(node.stat(), replaced)

    def _make_way(self, tree: Tree, node: Node, parent: Node, target: FolderPath) -> FileStat | None:
        """Take away what stands at ``target`` so that ``node`` can have the name; the file that lost it."""
        there = tree.entry(parent, target)
        if there is None:
            return None
        check_kind(node.is_dir, there.is_dir, target)
        if there.entries:
            raise DirectoryNotEmpty(target)
        before = there.stat()
        tree.take(parent, target)
        tree.inodes.unlinked(there)
        return None if there.is_dir else before

    async def set_attrs(self, path: FolderPath, attrs: Attrs) -> FileStat:
        tree = self._tree()
        node = tree.root
        if not path.is_root:
            found = tree.entry(tree.place(path, NotFound), path)
            if found is None:
                raise NotFound(path)
            node = found
        if attrs.mode is not None and node.target is None:
            node.mode = attrs.mode & 0o777
        if attrs.mtime_ns is not None:
            node.mtime_ns = attrs.mtime_ns
        if attrs.atime_ns is not None:
            node.atime_ns = attrs.atime_ns
        tree.inodes.changed(node)
        return node.stat()

    # --- staging

    async def stage(self, target: FolderPath, expected_size: int | None) -> IStagedFile:
        tree = self._tree()
        if expected_size is not None and tree.inodes.used + expected_size > tree.inodes.capacity:
            raise NoSpace
        token = uuid4().hex
        tree.stages[token] = tree.inodes.make(FileType.FILE, self._actor)
        return MemoryStagedFile(self, tree, token, tree.stages[token])

    async def resume(self, token: str, keep: int | None = None) -> IStagedFile:
        tree = self._tree()
        node = tree.stages.get(token)
        if node is None or (keep is not None and len(node.data) < keep):
            raise UploadNotFound(token)
        if keep is not None and keep < len(node.data):
            tree.inodes.resize(node, keep)
        return MemoryStagedFile(self, tree, token, node)

    async def stages(self) -> Sequence[tuple[str, FileStat]]:
        return [(token, node.stat()) for token, node in self._tree().stages.items()]

    async def join(self, target: FolderPath, tokens: Sequence[str]) -> IStagedFile:
        tree = self._tree()
        missing = next((token for token in tokens if token not in tree.stages), None)
        if missing is not None:
            raise UploadNotFound(missing)
        content = [bytes(tree.stages[token].data) for token in tokens]
        joined = await self.stage(target, sum(map(len, content)))
        await joined.append(content)
        return joined

    def publish(self, tree: Tree, token: str, node: Node, target: FolderPath, expect: Expect) -> Published:
        """Give the stage ``token`` the name ``target``; called by the staged file."""
        if self._tree() is not tree or tree.stages.get(token) is not node:
            raise UploadNotFound(token)
        replaced = self._put_file(tree, node, target, expect)
        del tree.stages[token]
        return Published(node.stat(), replaced)

    def _put_file(self, tree: Tree, node: Node, target: FolderPath, expect: Expect) -> FileStat | None:
        if target.is_root:
            raise IsADirectory(target)
        parent = tree.place(target)
        tree.check_name(target)
        there = tree.entry(parent, target)
        check_expected(None if there is None else there.stat(), target, expect)
        replaced = self._make_way(tree, node, parent, target)
        if replaced is not None and replaced.is_file:
            node.mode = replaced.mode  # an edited script stays executable
        tree.put(parent, target, node)
        tree.inodes.changed(node)
        return replaced

    # --- more

    async def copy_file(self, source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        if not isinstance(folder, MemoryFolder) or folder._volume is not self._volume:
            raise Unsupported("copying to another volume")
        original = self._tree().find(source, follow=True)
        if original.is_dir:
            raise IsADirectory(source)
        there = folder._tree()
        copy = there.inodes.make(FileType.FILE, folder._actor)
        there.inodes.write(copy, 0, [bytes(original.data)])
        try:
            replaced = folder._put_file(there, copy, target, expect)
        except BaseException:
            there.inodes.unlinked(copy)
            raise
        copy.mode, copy.mtime_ns, copy.atime_ns = original.mode, original.mtime_ns, original.atime_ns
        return Published(copy.stat(), replaced)

    async def attributes(self, path: FolderPath) -> Mapping[str, bytes]:
        return dict(self._tree().find(path, follow=False).attributes)

    async def set_attribute(self, path: FolderPath, name: str, value: bytes | None) -> None:
        tree = self._tree()
        node = tree.find(path, follow=False)
        if value is None:
            node.attributes.pop(name, None)
        else:
            node.attributes[name] = bytes(value)
        tree.inodes.changed(node)


def _folded(tree: Tree, path: FolderPath) -> FolderPath:
    return FolderPath(tuple(map(tree.names.fold, path.parts)))
