"""In-place work on storage that cannot do it: a bounded copy on local disk, published whole at sync and close."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import DeferredLock
from zope.interface import implementer

from vfgateway.abilities import IRandomWrite
from vfgateway.blocking import Pool
from vfgateway.errors import AlreadyExists, GatewayError, NoSpace, NotFound, StorageFailure, TooLarge
from vfgateway.interfaces import IFile, type_chunk
from vfgateway.model import ABSENT, ANY, Attrs, FileStat, OpenMode, Usage
from vfgateway.paths import FolderPath
from vfgateway.services.following import present
from vfgateway.services.reservations import Reservation
from vfgateway.services.transfer import Upload, growth

if TYPE_CHECKING:
    from vfgateway.services.context import FolderContext

T = TypeVar("T")

#: Bytes of the largest file that is edited so, and of all such copies together.
LARGEST_COPY, LARGEST_SUM = 4 << 30, 16 << 30
#: Bytes moved at once.
PIECE = 1 << 20


class LocalCopies:
    """The copies of one process.

    :ivar held: bytes of all of them
    """

    def __init__(self, folder: Path, reactor: Any) -> None:
        self._folder = folder
        self._pool = Pool(reactor, 4, "copies")
        self._started = False
        self.held = 0

    async def stop(self) -> None:
        """Wait for calls under way. Idempotent."""
        if self._started:
            self._started = False
            await self._pool.stop()

    async def run(self, function: Callable[[], T]) -> T:
        """Call in a thread. Whatever the local disk says is ``StorageFailure``."""
        if not self._started:
            self._started = True
            self._pool.start()
        try:
            return await self._pool.run(function)
        except OSError as error:
            raise StorageFailure(f"the local copy cannot be used: {error.strerror}") from None

    async def make(self) -> int:
        """A descriptor of a new file that has no name."""

        def make() -> int:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                return os.dup(file.fileno())

        return await self.run(make)

    def grow(self, before: int, after: int) -> None:
        """Account for a copy that changes its size. ``TooLarge``, ``NoSpace``."""
        if after > LARGEST_COPY:
            raise TooLarge(LARGEST_COPY, after)
        if after > before and self.held + after - before > LARGEST_SUM:
            raise NoSpace("too many files are being edited at once on storage that cannot change them in place")
        self.held += after - before


@implementer(IFile, IRandomWrite)
class LocalCopy:
    """One file being edited. Made by :meth:`open`."""

    def __init__(self, context: FolderContext, path: FolderPath, number: int, fence: int, absent: bool) -> None:
        self._context = context
        self._path = path
        self._number = number
        self._fence = fence
        self._absent = absent
        self._dirty = absent
        self._attributes: Attrs | None = None
        self._closed = False
        self._known: FileStat | None = None
        self._reservation: Reservation | None = None
        self._credit = 0  # bytes that the file to be replaced will give back
        self._turns = DeferredLock()
        self._refusal: GatewayError | None = None
        self.size = 0

    @classmethod
    async def open(cls, context: FolderContext, path: FolderPath, mode: OpenMode) -> LocalCopy:
        """Fetch what is there. Raises as ``IFolder.open``; ``TooLarge``."""
        fence = await context.fence(path)
        source = None
        try:
            source = await context.folder.open(path, OpenMode.READ)
            if OpenMode.EXCLUSIVE in mode:
                raise AlreadyExists(path)
        except NotFound:
            if OpenMode.CREATE not in mode:
                raise
            await growth(context, path, 0)
        except BaseException:
            if source is not None:
                await source.close()
            raise
        copy = cls(context, path, await context.gateway.copies.make(), fence, source is None)
        try:
            if source is not None:
                copy._known = await source.stat()
                if OpenMode.TRUNCATE in mode:
                    copy._dirty = True
                else:
                    await copy._fetch(source)
        except BaseException:
            await copy.close()
            raise
        finally:
            if source is not None:
                await source.close()
        return copy

    async def _fetch(self, source: IFile) -> None:
        while data := await source.read(self.size, PIECE):
            await self._store(self.size, [data])

    async def read(self, offset: int, length: int) -> bytes:
        self._check()
        return await self._run(lambda: os.pread(self._number, length, offset))

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        self._check()
        await self._make_room(offset + sum(map(len, chunks)))
        self._dirty = True
        await self._store(offset, chunks)

    async def _store(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        self._resize(max(self.size, offset + sum(map(len, chunks))))

        def write() -> None:
            at = offset
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    written = os.pwrite(self._number, view, at)
                    view, at = view[written:], at + written

        await self._run(write)

    async def truncate(self, size: int) -> None:
        self._check()
        await self._make_room(size)
        self._resize(size)
        self._dirty = True
        await self._run(lambda: os.ftruncate(self._number, size))

    async def _make_room(self, size: int) -> None:
        """Have room for what is to be published, so that whoever writes is told where it ends, and not only when all is written.
        ``QuotaExceeded``: nothing is published after that."""
        await self._turns.acquire()
        try:
            if size <= self.size:
                return
            if self._reservation is None:
                wanted = await self._growth(size)
                self._reservation = await self._context.gateway.quota.reserve(self._context.vfolder, wanted)
                self._credit = max(0, size - wanted.bytes)
            else:
                await self._reservation.stretch(size - self._credit)
        except GatewayError as error:
            self._refusal = error
            raise
        finally:
            self._turns.release()

    async def _growth(self, size: int) -> Usage:
        return await growth(self._context, self._path, size, ABSENT if self._absent else ANY)

    def _resize(self, size: int) -> None:
        self._context.gateway.copies.grow(self.size, size)
        self.size = size

    async def stat(self) -> FileStat:
        """Facts as they will be once it is published."""
        self._check()
        if self._known is None:
            await self.sync()
        assert self._known is not None
        return self._known._replace(size=self.size) if self._dirty else self._known

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        """Kept until the file is published."""
        self._attributes = attributes
        if not self._dirty:
            self._known = await self._set_attrs(attributes)
            return self._known
        return await self.stat()

    async def sync(self) -> None:
        """Publish what has changed. Raises as an upload."""
        self._check()
        if self._refusal is not None:
            raise self._refusal
        if not self._dirty:
            return
        self._context = context = await present(self._context)
        size = self.size
        expect = ABSENT if self._absent else ANY
        wanted = await self._growth(size)
        reservation, self._reservation = self._reservation, None
        if reservation is None:
            reservation = await context.gateway.quota.reserve(context.vfolder, wanted)
        try:
            stage = await context.folder.stage(self._path, size)
        except BaseException:
            await reservation.release()
            raise
        credit = max(0, size - wanted.bytes)
        upload = Upload(
            context, self._path, stage, reservation, size=size, expect=expect, fence=self._fence, parents=False,
            digests=(), credit=credit,
        )  # fmt: skip
        async with upload:
            while upload.received < size:
                at = upload.received
                await upload.write([await self.read(at, min(PIECE, size - at))])
            self._known = await upload.commit()
        self._dirty = self._absent = False
        if self._attributes is not None:
            self._known = await self._set_attrs(self._attributes)

    async def _set_attrs(self, attributes: Attrs) -> FileStat:
        async with self._context.publishing((self._path, False)) as intent:
            stat = await self._context.folder.set_attrs(self._path, attributes)
            intent.touches(stat)
            return stat

    async def close(self) -> None:
        """Forget the copy. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._reservation is not None:
                await self._reservation.release()
            self._context.gateway.copies.grow(self.size, 0)
            await self._run(lambda: os.close(self._number))

    async def _run(self, function: Callable[[], T]) -> T:
        return await self._context.gateway.copies.run(function)

    def _check(self) -> None:
        if self._closed:
            raise StorageFailure("the file is closed")
