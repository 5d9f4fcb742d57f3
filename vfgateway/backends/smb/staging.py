"""Stages: files in the making, under ``.upload`` at the top of their vfolder."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, DeferredLock
from zope.interface import implementer

from vfgateway.backends.smb import publish, wire
from vfgateway.backends.smb.copying import copy_content
from vfgateway.backends.smb.faults import Lost, Refused, faults
from vfgateway.backends.smb.files import WRITE_ACCESS
from vfgateway.backends.smb.link import Handle
from vfgateway.backends.smb.tree import Tree
from vfgateway.backends.smb.wire import Entry, Opening
from vfgateway.backends.smb.writing import WriteBehind
from vfgateway.errors import IsADirectory, NotADirectory, StorageFailure, UploadNotFound
from vfgateway.interfaces import IStagedFile, type_chunk
from vfgateway.model import Attrs, Expect, FileStat, Published
from vfgateway.paths import FolderPath
from vfgateway.uninterrupted import whole

_TOKEN = re.compile("[0-9a-f]{32}")
_ACCESS = WRITE_ACCESS | wire.DELETE


class Staging:
    """The stages of one vfolder."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def path(self, token: str) -> str:
        return f"{self.tree.place.staging}\\{token}"

    async def begin(self) -> SmbStagedFile:
        """A new, empty stage. Nobody else can have its name, so that it may be asked for again when the answer is lost."""
        token = uuid4().hex
        opening = Opening(self.path(token), _ACCESS, wire.OPEN_IF, wire.NON_DIRECTORY_FILE)
        async with self.tree.faults(FolderPath()):
            try:
                handle, entry = await self.tree.share.open(opening)
            except Refused as error:
                if not error.missing:
                    raise
                await publish.ensure_staging(self.tree)
                handle, entry = await self.tree.share.open(opening)
        return SmbStagedFile(self, token, handle, entry)

    async def resume(self, token: str, keep: int | None) -> SmbStagedFile:
        """An existing stage, cut back to ``keep`` bytes."""
        if not _TOKEN.fullmatch(token):
            raise UploadNotFound(token)
        async with self.tree.faults(FolderPath()):
            try:
                handle, entry = await self.open(token)
            except Refused as error:
                if not error.missing:
                    raise
                await self.tree.check()
                raise UploadNotFound(token) from None
            if keep is not None and entry.size < keep:
                await handle.close()
                raise UploadNotFound(token)
            if keep is not None and entry.size > keep:
                await handle.do(wire.set_size(keep))
                entry = entry._replace(size=keep)
        return SmbStagedFile(self, token, handle, entry)

    async def open(self, token: str) -> tuple[Handle, Entry]:
        """Open the file of a stage. ``Refused``, ``Lost``."""
        return await self.tree.share.open(Opening(self.path(token), _ACCESS, options=wire.NON_DIRECTORY_FILE))

    async def all(self) -> Sequence[tuple[str, FileStat]]:
        """Every stage with its facts."""
        async with self.tree.faults(FolderPath()):
            try:
                return [
                    (entry.name, self.tree.shown.stat(entry))
                    for entry in await self.tree.share.entries(self.tree.place.staging)
                    if _TOKEN.fullmatch(entry.name) and not entry.is_dir
                ]
            except Refused as error:
                if not error.missing:
                    raise
        await self.tree.check()
        return []

    async def join(self, tokens: Sequence[str]) -> SmbStagedFile:
        """A new stage with the content of others, which stay."""
        joined = await self.begin()
        try:
            for token in tokens:
                part = await self.resume(token, None)
                try:
                    async with self.tree.faults(FolderPath()):
                        await joined.take(self.path(token), part.size)
                finally:
                    await part.close()
        except BaseException:
            await joined.discard()
            raise
        return joined

    async def publish(
        self, token: str, moved: Entry, target: FolderPath, expect: Expect, attrs: Attrs | None = None
    ) -> Published:
        """Give a stage the name ``target``; on any refusal it stays what it was.

        :param attrs: to be set on the way
        """
        tree = self.tree
        if target.is_root:
            raise IsADirectory(target)
        tree.place.to_write(target)
        async with tree.faults(target, through=NotADirectory):
            async with publish.turn(tree, target, expect):
                there = await tree.find(target)
                publish.check_target(tree, False, there, target, expect)
                await self._check_there(token)
                if attrs is not None:
                    await tree.share.set_times(self.path(token), attrs.atime_ns, attrs.mtime_ns)
                put = await publish.move(tree, self.path(token), moved, there, target, expect)
        return Published(tree.shown.stat(put), None if there is None else tree.shown.stat(there))

    async def _check_there(self, token: str) -> None:
        if await self.tree.share.find(self.path(token)) is None:
            raise UploadNotFound(token)

    async def discard(self, token: str) -> None:
        """Remove a stage; one that has gone already, with or without its vfolder, is fine."""
        with faults(self.tree.volume):
            try:
                await self.tree.share.remove_file(self.path(token))
            except Refused as error:
                if not error.missing:
                    raise


@implementer(IStagedFile)
class SmbStagedFile:
    """One stage. Its calls run one after the other. What could not be written is told by the next call, and ``size`` then says what is
    there; the stage has to be resumed to be gone on with."""

    def __init__(self, staging: Staging, token: str, handle: Handle, entry: Entry) -> None:
        self._staging = staging
        self._volume = staging.tree.volume
        self._entry = entry
        self._writing: WriteBehind | None = WriteBehind(handle, entry.size)
        self._size = entry.size
        self._ended = False
        self._discarded = False
        self._published: Published | None = None
        self._line = DeferredLock()
        self.token = token

    @property
    def size(self) -> int:
        """Bytes appended so far; after an error, bytes that are there."""
        return self._size if self._writing is None else self._writing.size

    @whole
    async def append(self, chunks: Sequence[type_chunk]) -> None:
        await self._in_line(lambda: self._append(b"".join(chunks)))

    async def _append(self, data: bytes) -> None:
        writing = await self._opened()
        if data:
            await writing.add(data)

    @whole
    async def sync(self) -> None:
        await self._in_line(self._sync)

    async def _sync(self) -> None:
        writing = await self._opened()
        await writing.drained()
        writing.check()
        if self._staging.tree.durable:
            await writing.handle.do(wire.flush())

    @whole
    async def commit(self, target: FolderPath, expect: Expect, sync: bool = True) -> Published:
        published: Published = await self._in_line(lambda: self._commit(target, expect, sync))
        return published

    async def _commit(self, target: FolderPath, expect: Expect, sync: bool, attrs: Attrs | None = None) -> Published:
        if self._published is None:
            if self._discarded:
                raise UploadNotFound(self.token)
            if self._writing is not None:
                if sync:
                    await self._sync()
                await self._let_go()
            self._published = await self._staging.publish(self.token, self._entry, target, expect, attrs)
        return self._published

    async def publish_copy(self, target: FolderPath, expect: Expect, attrs: Attrs) -> Published:
        """As :meth:`commit`, with times."""
        published: Published = await self._in_line(lambda: self._commit(target, expect, True, attrs))
        return published

    @whole
    async def discard(self) -> None:
        await self._in_line(self._discard)

    async def _discard(self) -> None:
        if self._published is None and not self._discarded:
            writing, self._writing = self._writing, None
            if writing is not None:
                writing.forget()
                await writing.drained()
                await writing.handle.close()
            await self._staging.discard(self.token)
            self._discarded = True

    @whole
    async def close(self) -> None:
        await self._in_line(self._close)

    async def _close(self) -> None:
        self._ended = True
        with suppress(Refused, Lost):  # whoever resumes it sees what is there
            await self._let_go()

    async def _let_go(self) -> None:
        """Write what is on its way and close the handle, with which the server gives the file its final times."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing.drained()
            self._size = writing.size
            await writing.handle.close()
            try:
                writing.check()
            except BaseException:
                self._writing = writing  # it has failed for good
                raise

    async def _opened(self) -> WriteBehind:
        """The writer; opened again after a commit that was refused."""
        if self._ended or self._published is not None or self._discarded:
            raise StorageFailure("the staged file is closed")
        if self._writing is None:
            handle, _ = await self._staging.open(self.token)
            self._writing = WriteBehind(handle, self._size)
        return self._writing

    async def _in_line(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        with faults(self._volume):
            return await self._line.run(lambda: Deferred.fromCoroutine(work()))

    async def take(self, path: str, size: int) -> None:
        """Append what lies at another path, on the server. ``Refused``, ``Lost``."""
        writing = await self._opened()
        await copy_content(self._staging.tree.share, path, size, writing.handle, writing.written)
        writing.written += size
