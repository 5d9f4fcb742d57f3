"""Open files, as SFTP and whatever else works as POSIX does have them: here those that are read; see :mod:`vfgateway.services.inplace` for those
that are written.

Beside each call stands one that ends in ``_now``: it does the same if nothing has to be waited for, and nothing at all otherwise. A small
file is opened, read or written, and closed by those alone; a coroutine for each would cost more than what is done in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from vfgateway.abilities import IDescriptorRead, IFileAtHand, IFileAttributes
from vfgateway.errors import PermissionDenied, StorageFailure
from vfgateway.interfaces import type_chunk
from vfgateway.model import Attrs, FileStat, Permission
from vfgateway.paths import FolderPath
from vfgateway.services.context import FolderContext

#: The last byte that a file can have.
LARGEST = (1 << 63) - 1


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
        self._descriptor: int | None = None
        self._closed = False
        self._use_file(file)
        self.read_bytes = 0
        self.written_bytes = 0
        self._lost = False
        self._unguard = context.standing.guard(Permission.RW if self.writable else Permission.RO, self._lose)

    def _use_file(self, file: Any) -> None:
        self._file = file  # an IFile, with the abilities that were asked for
        self._nowait = IDescriptorRead.providedBy(file)
        self._at_hand = IFileAtHand.providedBy(file)
        # What lies in memory needs no flag, and knows none.
        self._flags = 0 if self._nowait and file.in_memory else os.RWF_NOWAIT

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
        try:
            count = os.preadv(self._number(), buffers, offset, self._flags)
        except BlockingIOError:
            return None
        except (OSError, OverflowError):  # this storage does not know the flag, or has an error that read() will tell
            self._nowait = False
            return None
        return count

    def ends_at(self, offset: int, buffer: memoryview) -> bool:
        """Whether the file ends there, after a read by :meth:`read_now` that came no further."""
        return not self._flags or self.read_now(offset, [buffer]) == 0

    def read_ready(self, offset: int, buffer: memoryview) -> int | None:
        """As :meth:`read_now` into one buffer; less than it holds is the end of the file."""
        count = self.read_now(offset, [buffer])
        if count is None or not count or count == len(buffer):
            return count
        # A cold page ends such a read early, too; asking again tells it from the end.
        return count if self.ends_at(offset + count, buffer[count:]) else None

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

    def stat_now(self) -> FileStat | None:
        """See :meth:`stat`, and the module. Not a coroutine."""
        self._check()
        stat: FileStat | None = self._file.stat_now() if self._at_hand else None
        return stat

    def write_now(self, offset: int, chunks: Sequence[type_chunk]) -> bool:
        """See :meth:`write`, and the module. Not a coroutine."""
        return False

    def set_attrs_now(self, attributes: Attrs) -> FileStat | None:
        """See :meth:`set_attrs`, and the module. Not a coroutine."""
        return None

    async def set_attrs(self, attributes: Attrs) -> FileStat:
        """Change mode and times. Needs ``rw``, whatever the file was opened for."""
        self._check()
        self.context.allow(Permission.RW, self.path, "change this")
        async with self.context.publishing((self.path, False)) as intent:
            stat = await set_attrs_of(self.context, self.path, self._file, attributes)
            intent.touches(stat)
            return stat

    async def rest(self) -> None:
        """Let others change the file by its path now, not only when the window is over."""

    async def close(self) -> None:
        """Let go. Idempotent. What cannot be published any more raises here, if the file is closed all the same."""
        self._closed = True
        await self._let_go()

    @property
    def closes_quietly(self) -> bool:
        """Whether :meth:`close_now` will do, has nothing to tell, and is waited for by nobody: it may come after the answer, in the same turn of the
        reactor. Where calls are made in place, the storage tells what failed when it is written, not when it is closed."""
        return not self._closed and self._at_hand and bool(self._file.in_place)

    def close_now(self) -> bool:
        """See :meth:`close`, and the module; what raises has closed it all the same. Not a coroutine."""
        if self._closed or not self._at_hand:
            return False
        self._give_back()
        self._closed = True
        try:
            self._closed = self._file.close_now()
        finally:
            if self._closed:
                self._unguard()
        return self._closed

    async def _let_go(self) -> None:
        self._unguard()
        self._give_back()
        await self._file.close()

    def _number(self) -> int:
        """The descriptor, borrowed until the file is closed."""
        if self._descriptor is None:
            self._descriptor = self._file.borrow()
        return self._descriptor

    def _give_back(self) -> None:
        if self._descriptor is not None:
            self._descriptor = None
            self._file.give_back()

    def _check(self) -> None:
        if self._closed:
            raise StorageFailure("the file is closed")
        if self._lost:
            raise PermissionDenied(self.path, "go on with this: the rights to it have changed")

    def _read_only(self) -> StorageFailure:
        return StorageFailure(f"was opened for reading only: {self.path}")


async def set_attrs_of(context: FolderContext, path: FolderPath, file: Any, attributes: Attrs) -> FileStat:
    """Change the open file itself, whatever its name is by now, where the storage can."""
    if IFileAttributes.providedBy(file):
        stat: FileStat = await file.set_attrs(attributes)
        return stat
    return await context.folder.set_attrs(path, attributes)
