"""Open files, staged files and listings of the memory volume."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from vfgateway.abilities import IRandomWrite
from vfgateway.backends.memory.tree import Node, Tree
from vfgateway.errors import StorageFailure, UploadNotFound
from vfgateway.interfaces import IDirectory, IFile, IStagedFile, type_chunk
from vfgateway.model import DirEntry, Expect, FileStat, Published
from vfgateway.paths import FolderPath

if TYPE_CHECKING:
    from vfgateway.backends.memory.folder import MemoryFolder


class _Open:
    """Keeps content, whatever becomes of its name, until it is closed."""

    def __init__(self, tree: Tree, node: Node) -> None:
        self._tree = tree
        self._node = node
        self._closed = False
        node.users += 1

    async def sync(self) -> None:
        self._check()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._tree.inodes.released(self._node)

    def _check(self) -> None:
        if self._closed:
            raise StorageFailure("the file is closed")


@implementer(IFile)
class MemoryFile(_Open):
    """A file opened for reading."""

    async def read(self, offset: int, length: int) -> bytes:
        self._check()
        return bytes(memoryview(self._node.data)[offset : offset + length])

    async def stat(self) -> FileStat:
        self._check()
        return self._node.stat()


@implementer(IRandomWrite)
class MemoryWritableFile(MemoryFile):
    """A file opened with ``WRITE``."""

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        self._check()
        self._tree.inodes.write(self._node, offset, chunks)

    async def truncate(self, size: int) -> None:
        self._check()
        self._tree.inodes.resize(self._node, size)


@implementer(IStagedFile)
class MemoryStagedFile(_Open):
    """A file in the making; the stage outlives this object until it is committed or discarded."""

    def __init__(self, folder: MemoryFolder, tree: Tree, token: str, node: Node) -> None:
        super().__init__(tree, node)
        self._folder = folder
        self._discarded = False
        self._published: Published | None = None
        self.token = token
        self.size = len(node.data)

    async def append(self, chunks: Sequence[type_chunk]) -> None:
        self._check()
        self.size += self._tree.inodes.write(self._node, self.size, chunks)

    async def commit(self, target: FolderPath, expect: Expect, sync: bool = True) -> Published:
        if self._published is None:
            if self._discarded:
                raise UploadNotFound(self.token)
            self._check()
            self._published = self._folder.publish(self._tree, self.token, self._node, target, expect)
            await self.close()
        return self._published

    async def discard(self) -> None:
        if self._published is None and not self._discarded:
            self._discarded = True
            if self._tree.stages.get(self.token) is self._node:
                del self._tree.stages[self.token]
                self._tree.inodes.unlinked(self._node)
            await self.close()


@implementer(IDirectory)
class MemoryDirectory:
    """A listing: the names as they were when it began, without those that have vanished since."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._left = deque(node.entries)
        self._closed = False

    async def read(self, limit: int) -> Sequence[DirEntry]:
        if self._closed:
            raise StorageFailure("the listing is closed")
        batch: list[DirEntry] = []
        while self._left and len(batch) < limit:
            found = self._node.entries.get(self._left.popleft())
            if found is not None:
                batch.append(DirEntry(found[0], found[1].stat()))
        return batch

    async def close(self) -> None:
        self._closed = True
