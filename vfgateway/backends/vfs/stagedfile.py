"""Staged files on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from zope.interface import implementer

from vfgateway.abilities import IDescriptorWrite
from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.descriptors import Calls, Descriptor, Line
from vfgateway.backends.vfs.files import SHORT
from vfgateway.backends.vfs.gather import length_of, write_all
from vfgateway.backends.vfs.publish import Busy
from vfgateway.backends.vfs.staging import Stage, Staging
from vfgateway.errors import UploadNotFound
from vfgateway.interfaces import IStagedFile, type_chunk, type_fill
from vfgateway.model import Expect, Published
from vfgateway.paths import FolderPath

#: Bytes after which the disk begins to write what will have to be durable in the end.
BATCH: Final = 16 << 20
#: What is begun with ends at a page, which is not written twice then.
PAGE: Final = 4096


@implementer(IStagedFile, IDescriptorWrite)
class VfsStagedFile:
    """A stage on disk. Its calls run one after the other, so that one that was cancelled cannot overtake the next."""

    def __init__(self, calls: Calls, staging: Staging, stage: Stage) -> None:
        self._calls = calls
        self._staging = staging
        self._descriptor = Descriptor(stage.descriptor)
        self._line = Line(calls, self._descriptor)
        self._discarded = False
        self._published: Published | None = None
        self._begun = stage.size if staging.writes_out else None
        self.token = stage.token
        self.size = stage.size

    async def append(self, chunks: Sequence[type_chunk]) -> None:
        size = length_of(chunks)
        due = self._begun is not None and self.size + size - self._begun >= BATCH
        await self._line.call(size <= SHORT and not due, self._append, partial(write_all, chunks=chunks), due)

    async def append_from(self, fill: type_fill) -> None:
        await self._line.call(False, self._append, fill, True)

    def _append(self, number: int, fill: type_fill, may_wait: bool) -> None:
        for written in fill(number, self.size):
            self.size += written
            if may_wait and self._begun is not None and self.size - self._begun >= BATCH:
                self._write_out(number, self._begun)

    def _write_out(self, number: int, begun: int) -> None:
        """Have the disk begin while more comes in, so that little is left for :meth:`sync` and :meth:`commit` to wait for."""
        end = self.size // PAGE * PAGE
        syscalls.begin_to_write_out(number, begun, end - begun)
        self._begun = end

    async def sync(self) -> None:
        await self._line.call(not self._staging.tree.durable, self._staging.sync)

    async def commit(self, target: FolderPath, expect: Expect, sync: bool = True) -> Published:
        if self._published is not None:
            return self._published
        if self._discarded:
            raise UploadNotFound(self.token)
        published = await self._publish(target, expect, sync)
        await self.close()
        return published

    async def _publish(self, target: FolderPath, expect: Expect, sync: bool) -> Published:
        if not self._staging.syncs(sync):
            try:
                return await self._line.call(True, self._commit, False, target, expect, sync)
            except Busy:
                pass
        return await self._line.call(False, self._commit, True, target, expect, sync)

    def _commit(self, number: int, wait: bool, target: FolderPath, expect: Expect, sync: bool) -> Published:
        if self._published is None:  # else a cancelled call has done it
            stage = Stage(self.token, number, self.size)
            self._published = self._staging.commit(wait, stage, target, expect, sync)
        return self._published

    async def discard(self) -> None:
        if self._published is None and not self._discarded:
            if self._descriptor.closed:
                await self._calls.quick(self._discard, -1)
            else:
                await self._line.call(True, self._discard)
        await self.close()

    def _discard(self, number: int) -> None:
        if self._published is None:
            self._staging.discard(self.token)
            self._discarded = True

    async def close(self) -> None:
        await self._calls.close(self._descriptor)
