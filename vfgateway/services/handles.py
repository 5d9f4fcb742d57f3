"""Open files for in-place work: SFTP, and whatever else writes as POSIX does.

A writer has its file to itself for short windows of time: locks are checked exactly when one begins, a LOCK waits until it is over, and
its growth is reserved and settled at its end. So whoever was granted a lock sees no further
byte of somebody else, a limit is never exceeded, and after a crash a recount is all that is needed.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from vfgateway.eager import in_background
from vfgateway.errors import (
    AlreadyExists,
    IsADirectory,
    Locked,
    NotFound,
    PermissionDenied,
    StorageFailure,
    TooLarge,
    Unsupported,
)
from vfgateway.interfaces import IDescriptorRead, IFile, IFileAttributes, IRandomWrite, type_chunk
from vfgateway.model import Attrs, FileStat, OpenMode, Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.services.context import FolderContext
from vfgateway.services.gaps import Gap
from vfgateway.services.localcopies import LocalCopy
from vfgateway.services.windows import Window

#: The last byte that a file can have.
LARGEST = (1 << 63) - 1
#: Modes, combined once: that takes longer than much else here.
_CHANGES, _BOTH = OpenMode.WRITE | OpenMode.CREATE, OpenMode.READ | OpenMode.WRITE
log = Logger()


async def open_handle(context: FolderContext, path: FolderPath, mode: OpenMode) -> Handle:
    """Open a regular file; see ``FolderSession.open``."""
    if not mode & _CHANGES:
        context.allow(Permission.RO, path, "read this")
        return Handle(context, path, await context.folder.open(path, OpenMode.READ))
    context.allow(Permission.RW, path, "write this")
    if path.is_root:
        raise IsADirectory(path)
    window = await Window.begin(context, path)
    try:
        return await _open_to_write(context, path, mode | _BOTH, window)
    except BaseException:
        await window.end()
        raise


async def _open_to_write(context: FolderContext, path: FolderPath, mode: OpenMode, window: Window) -> Handle:
    try:
        file = None
        if OpenMode.CREATE in mode and not await context.gateway.quota.is_limited(context.vfolder):
            file = await _make(context, path, mode, window)
        if file is None:
            file = await _open_or_make(context, path, mode, window)
        if not IRandomWrite.providedBy(file):
            await file.close()
            raise Unsupported("writing in place")
    except Unsupported:
        await window.end()
        return CopyHandle(context, path, await LocalCopy.open(context, path, mode))
    if window.made:
        window.also = context.after_creation(window.intent, path)
    handle = WritableHandle(context, path, file, window)
    if window.made:
        try:
            await context.remember_creation(path)
        except BaseException:
            await handle.close()
            raise
    return handle


async def _make(context: FolderContext, path: FolderPath, mode: OpenMode, window: Window) -> IFile | None:
    """Make a file without looking first, where no limit can be in the way; ``None`` if one is there, or none must be made."""
    try:
        window.intent.names(context.lock_path(path))
        file: IFile = await context.folder.open(path, mode | OpenMode.EXCLUSIVE)
    except (AlreadyExists, Locked):
        return None
    window.made = 1
    return file


async def _open_or_make(context: FolderContext, path: FolderPath, mode: OpenMode, window: Window) -> IFile:
    present = await _present(context, path)
    makes = present is None and OpenMode.CREATE in mode
    if makes:
        window.intent.names(context.lock_path(path))
        await window.reservation.ensure(Usage(0, 1))
    file: IFile = await context.folder.open(path, mode)
    if makes:
        window.made = 1
    elif present is not None:
        window.began_with = window.size = present.size
        if OpenMode.TRUNCATE in mode:
            window.size = 0
    return file


async def _present(context: FolderContext, path: FolderPath) -> FileStat | None:
    try:
        return await context.folder.stat(path)
    except NotFound:
        return None


class Handle:
    """A file opened for reading.

    :ivar path: where it was opened, or has been moved to as far as is known here
    :ivar read_bytes: read so far
    :ivar written_bytes: written so far
    """

    writable = False

    def __init__(self, context: FolderContext, path: FolderPath, file: Any) -> None:
        self.context = context
        self.path = path
        self._file = file  # an IFile, with the abilities that were asked for
        self._descriptor: int | None = None
        self._closed = False
        self._nowait = IDescriptorRead.providedBy(file)
        # What lies in memory needs no flag, and knows none.
        self._flags = 0 if self._nowait and file.in_memory else os.RWF_NOWAIT
        self.read_bytes = 0
        self.written_bytes = 0
        self._lost = False
        self._unguard = context.standing.guard(Permission.RW if self.writable else Permission.RO, self._lose)

    def _lose(self) -> None:
        """The rights that it was opened with are gone: nothing can be done with it any more but to close it."""
        self._lost = True
        self._nowait = False

    async def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer only at the end of the file, where it is ``b""``."""
        self._check()
        if offset > LARGEST - length:
            return b""
        data: bytes = await self._file.read(offset, length)
        self.read_bytes += len(data)
        return data

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> int | None:
        """Read into ``buffers``, one after the other, what can be had without waiting for the storage; the count of bytes, or ``None``
        where :meth:`read` has to be asked. Fewer than there is room for is no sign of the end. Whoever uses them counts them into
        :attr:`read_bytes`. Not a coroutine."""
        if not self._nowait or self._closed:
            return None
        if self._descriptor is None:
            self._descriptor = self._file.borrow()
        try:
            count = os.preadv(self._descriptor, buffers, offset, self._flags)
        except BlockingIOError:
            return None
        except (OSError, OverflowError):  # this storage does not know the flag, or has an error that read() will tell
            self._nowait = False
            return None
        return count

    def read_ready(self, offset: int, buffer: memoryview) -> int | None:
        """As :meth:`read_now` into one buffer; less than it holds is the end of the file."""
        count = self.read_now(offset, [buffer])
        if count is None or not count or count == len(buffer):
            return count
        # A cold page ends such a read early, too; asking again tells it from the end.
        return count if self.read_now(offset + count, [buffer[count:]]) == 0 else None

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        """Write ``chunks`` one after the other from ``offset`` on; a gap becomes zeros. ``QuotaExceeded``, ``Locked``."""
        raise self._read_only()

    async def truncate(self, size: int) -> None:
        """Cut or extend with zeros."""
        raise self._read_only()

    async def sync(self) -> None:
        """Return when what was written is durable."""
        self._check()
        await self._file.sync()

    async def stat(self) -> FileStat:
        """Facts about the open file."""
        self._check()
        stat: FileStat = await self._file.stat()
        return stat

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        """Change mode and times. Needs ``rw``, whatever the file was opened for."""
        self._check()
        self.context.allow(Permission.RW, self.path, "change this")
        async with self.context.publishing((self.path, False)) as intent:
            stat = await _set_attrs(self.context, self.path, self._file, attributes)
            intent.touches(stat)
            return stat

    async def rest(self) -> None:
        """Let others change the file by its path now, not only when the window is over."""

    async def close(self) -> None:
        """Let go. Idempotent. What cannot be published any more raises here, if the file is closed all the same."""
        self._closed = True
        await self._let_go()

    async def _let_go(self) -> None:
        self._unguard()
        if self._descriptor is not None:
            self._descriptor = None
            self._file.give_back()
        await self._file.close()

    def _check(self) -> None:
        if self._closed:
            raise StorageFailure("the file is closed")
        if self._lost:
            raise PermissionDenied(self.path, "go on with this: the rights to it have changed")

    def _read_only(self) -> StorageFailure:
        return StorageFailure(f"was opened for reading only: {self.path}")


class WritableHandle(Handle):
    """A file opened for reading and writing in place."""

    writable = True

    def __init__(self, context: FolderContext, path: FolderPath, file: Any, window: Window) -> None:
        super().__init__(context, path, file)
        self._gate = DeferredLock()
        self._window: Window | None = None
        self._failed = False
        self._gap = Gap()
        self._unnamed: int | None = None
        self._use(window)

    def _use(self, window: Window) -> None:
        self._window = window
        window.when_late(lambda: self._in_background(self._end(window)))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        in_background(work, lambda: log.failure("could not settle what was written in place"))

    async def _enter(self) -> Window:
        window = self._window
        if window is None or window.over:
            window = await self._new_window()
        window.users += 1
        return window

    async def _new_window(self) -> Window:
        async with self._gate:
            self._check()
            if self._window is not None and not self._window.over:
                return self._window
            if self._window is not None:
                await self._finish(self._window)
            window = await Window.begin(self.context, self.path)
            try:
                # Under the intent nobody else here changes it; what others did since the last window is theirs to settle.
                stat: FileStat = await self._file.stat()
                window.began_with = window.size = stat.size
                if not stat.nlink:
                    window.unnamed = self._unnamed or 0
            except BaseException:
                await window.end()
                raise
            self._use(window)
            return window

    async def _end(self, window: Window) -> None:
        window.over = True
        if self._window is window:
            await self._finish(window)

    async def _finish(self, window: Window) -> None:
        window.over = True
        self._window = None
        try:
            if self._failed:
                window.size = (await self._file.stat()).size
                self._failed = False
            if window.intent.standing.tracked:
                await self._tell_names(window)
        finally:
            await window.end()
            self._unnamed = window.unnamed
            if self._closed:
                await self._forget_unnamed()

    async def _forget_unnamed(self) -> None:
        """What was written to the file since it lost its name is gone with it, as far as it can be told from here."""
        unnamed, self._unnamed = self._unnamed, None
        if unnamed:
            folder = self.context.folder_of(self.path)
            await self.context.gateway.quota.change(self.context.vfolder, Usage(-unnamed), folder=folder)

    async def _tell_names(self, window: Window) -> None:
        """Whoever follows the vfolder is told of the file's path: see whether it still is that, and no other."""
        window.intent.unclear = True  # unless it turns out well
        stat = await self._file.stat()
        with suppress(NotFound):
            named = await self.context.folder.stat(self.path)
            window.intent.unclear = named.identity != stat.identity or stat.nlink > 1

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        self._check()
        count = sum(map(len, chunks))
        end = offset + count
        if end > LARGEST:
            raise TooLarge(LARGEST, end)
        with self._gap.writing(offset):
            await self._write(offset, end, chunks)
        self.written_bytes += count

    async def _write(self, offset: int, end: int, chunks: Sequence[type_chunk]) -> None:
        window = await self._enter()
        try:
            if end > window.size:
                await window.make_room(end)
                self._gap.check(offset)  # others may have been refused meanwhile
            try:
                await self._file.write(offset, chunks)
            except BaseException:
                self._failed = True
                raise
            if end > window.size and end > offset:
                window.size = end
        finally:
            window.leave()

    async def truncate(self, size: int) -> None:
        self._check()
        if size > LARGEST:
            raise TooLarge(LARGEST, size)
        window = await self._enter()
        try:
            await window.make_room(size)
            await self._file.truncate(size)
            window.size = size
            self._gap.cut(size)
        finally:
            window.leave()

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        self._check()
        window = await self._enter()
        try:
            return await _set_attrs(self.context, self.path, self._file, attributes)
        finally:
            window.leave()

    async def rest(self) -> None:
        window = self._window
        if window is not None:
            await self._end(window)

    async def close(self) -> None:
        """As in the base class. What was written is settled at once; that it stands in the database is not waited for."""
        window = self._window
        if not self._closed:
            self._closed = True
            if window is None:
                await self._forget_unnamed()
            elif self._failed or window.intent.standing.tracked:  # the file is looked at once more
                await self._end(window)
            else:
                self._in_background(self._end(window))
        await self._let_go()


class CopyHandle(Handle):
    """A file on storage that cannot write in place: a bounded local copy, published at :meth:`sync` and :meth:`close`."""

    writable = True

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        self._check()
        await self._file.write(offset, chunks)
        self.written_bytes += sum(map(len, chunks))

    async def truncate(self, size: int) -> None:
        self._check()
        await self._file.truncate(size)

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        self._check()
        stat: FileStat = await self._file.set_attrs(attributes)
        return stat

    async def close(self) -> None:
        if self._closed:
            return
        try:
            await self._file.sync()
        finally:
            await super().close()


async def _set_attrs(context: FolderContext, path: FolderPath, file: Any, attributes: Attrs) -> FileStat:
    """Change the open file itself, whatever its name is by now, where the storage can."""
    if IFileAttributes.providedBy(file):
        stat: FileStat = await file.set_attrs(attributes)
        return stat
    return await context.folder.set_attrs(path, attributes)
