"""Open files and listings on disk."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from zope.interface import implementer

from vfgateway.abilities import (
    IDescriptorRead,
    IFileAtHand,
    IFileAttributes,
    IMappedListing,
    IRandomWrite,
)
from vfgateway.backends.vfs.attributes import change_attrs
from vfgateway.backends.vfs.descriptors import Calls, Descriptor, Line
from vfgateway.backends.vfs.facts import entry_facts, facts, facts_of, name_of
from vfgateway.backends.vfs.faults import would_block
from vfgateway.backends.vfs.gather import length_of, write_all
from vfgateway.backends.vfs.publish import LARGE
from vfgateway.interfaces import IDirectory, IFile, type_chunk
from vfgateway.model import Attrs, DirEntry, FileStat, NameRules
from vfgateway.posix import IPosixListing, type_entries, type_file

#: The most bytes that are written, or read from the cache, in place.
SHORT: Final = 1 << 20
CACHED: Final = 256 << 10
#: Bytes of one read at most, since a buffer for all that is asked for is made before.
PIECE: Final = 16 << 20
#: Entries of one batch at most, so that a thread is not held for long.
BATCH: Final = 512
_TYPE_BITS: Final = 0o170000
_REGULAR: Final = stat.S_IFREG
#: Whether Python decodes names as the gateway does, whatever the locale is.
_AS_IS: Final = sys.getfilesystemencoding().lower() == "utf-8"

T = TypeVar("T")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name if _AS_IS else name_of(os.fsencode(entry.name))


def _is_there(entry: os.DirEntry[str]) -> bool:
    try:
        entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read_all(descriptor: int, offset: int, length: int) -> bytes:
    """``pread`` until ``length`` bytes or the end of the file."""
    first = os.pread(descriptor, min(length, PIECE), offset)
    if len(first) in (0, length):
        return first
    pieces = [first]
    done = len(first)
    while done < length:
        piece = os.pread(descriptor, min(length - done, PIECE), offset + done)
        if not piece:
            break
        pieces.append(piece)
        done += len(piece)
    return b"".join(pieces)


@implementer(IFile, IDescriptorRead, IFileAtHand, IFileAttributes)
class VfsFile:
    """A regular file opened for reading.

    :param in_memory: whether the storage is memory, so that no read ever waits for it
    """

    def __init__(self, calls: Calls, descriptor: Descriptor, in_memory: bool = False) -> None:
        self._calls = calls
        self._descriptor = descriptor
        self.in_memory = in_memory
        self._flags = 0 if in_memory else os.RWF_NOWAIT  # tmpfs does not know the flag, nor does it need it
        self._nowait = True

    async def read(self, offset: int, length: int) -> bytes:
        if self._nowait and 0 < length <= CACHED:
            cached = self._cached(offset, length)
            if cached is not None:
                return cached
        return await self._calls.with_descriptor(self._descriptor, False, read_all, offset, length)

    def _cached(self, offset: int, length: int) -> bytes | None:
        """The bytes if all of them are in the page cache; a call that cannot wait for the storage, wherever it is."""
        buffer = bytearray(length)
        number = self._descriptor.borrow()
        try:
            got = os.preadv(number, [buffer], offset, self._flags)
        except OSError as error:
            self._nowait = would_block(error)
            return None
        finally:
            self._descriptor.give_back()
        if got == length:
            return bytes(buffer)
        return None if self._flags else bytes(buffer[:got])  # without the flag, fewer means the end of the file

    async def stat(self) -> FileStat:
        return await self._calls.with_descriptor(self._descriptor, True, facts_of)

    @property
    def in_place(self) -> bool:
        return self._calls.check().in_place

    def stat_now(self) -> FileStat | None:
        return self._calls.now(self._descriptor, facts_of)

    async def set_attrs(self, attrs: Attrs) -> FileStat:
        return await self._calls.with_descriptor(self._descriptor, True, change_attrs, attrs)

    def set_attrs_now(self, attrs: Attrs) -> FileStat | None:
        return self._calls.now(self._descriptor, change_attrs, attrs)

    async def sync(self) -> None:
        self._descriptor.borrow()
        self._descriptor.give_back()

    async def close(self) -> None:
        await self._calls.close(self._descriptor)

    def close_now(self) -> bool:
        pool = self._calls.check()
        if pool.in_place:
            pool.call(self._descriptor.close)
            return True
        return False

    def write_now(self, offset: int, chunks: Sequence[type_chunk]) -> bool:
        return False

    def truncate_now(self, size: int) -> bool:
        return False

    def borrow(self) -> int:
        return self._descriptor.borrow()

    def give_back(self) -> None:
        self._descriptor.give_back()


@implementer(IRandomWrite)
class VfsWritableFile(VfsFile):
    """A regular file opened with ``WRITE``.

    :param durable: whether ``sync`` reaches the storage
    """

    def __init__(self, calls: Calls, descriptor: Descriptor, durable: bool) -> None:
        super().__init__(calls, descriptor)
        self._durable = durable

    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        short = length_of(chunks) <= SHORT
        await self._calls.with_descriptor(self._descriptor, short, _write, offset, chunks)

    def write_now(self, offset: int, chunks: Sequence[type_chunk]) -> bool:
        size = len(chunks[0]) if len(chunks) == 1 else length_of(chunks)
        return size <= SHORT and bool(self._calls.now(self._descriptor, _write, offset, chunks))

    def truncate_now(self, size: int) -> bool:
        return bool(self._calls.now(self._descriptor, _truncate, size))

    async def truncate(self, size: int) -> None:
        if not self.truncate_now(size):
            await self._calls.with_descriptor(self._descriptor, False, os.ftruncate, size)

    async def sync(self) -> None:
        if self._durable:
            await self._calls.with_descriptor(self._descriptor, False, os.fsync)
        else:
            await super().sync()


def _write(descriptor: int, offset: int, chunks: Sequence[type_chunk]) -> bool:
    if len(chunks) == 1 and os.pwrite(descriptor, chunks[0], offset) == len(chunks[0]):
        return True
    for _ in write_all(descriptor, offset, chunks):
        pass
    return True


def _truncate(descriptor: int, size: int) -> bool:
    """Cut or extend in place; ``False``, and nothing has happened, where so much is cut that it takes a while."""
    if os.fstat(descriptor).st_size - size > LARGE:
        return False
    os.ftruncate(descriptor, size)
    return True


class Listing:
    """What a thread opened of a directory.

    :param hide: a name that is not shown
    :param names: of the volume, some of which are not shown either
    :param shown: given the descriptor and the facts of a link, makes them what clients are to see
    """

    def __init__(
        self, number: int, hide: str | None, names: NameRules, shown: Callable[[int, FileStat], FileStat]
    ) -> None:
        try:
            entries = os.scandir(number)
        except BaseException:
            os.close(number)
            raise
        self.descriptor = Descriptor(number, entries.close)
        self._hide = hide
        self._names = names
        self._shown = shown
        all_are = hide is None and not names.hidden
        self.shown: Iterator[os.DirEntry[str]] = entries if all_are else filter(self._is_shown, entries)

    def _is_shown(self, entry: os.DirEntry[str]) -> bool:
        name = _name(entry)
        return name != self._hide and not self._names.hides(name)

    def facts(self, entry: os.DirEntry[str], number: int) -> FileStat | None:
        """Facts about an entry; ``None`` if it has vanished. ``number`` is that of the directory."""
        try:
            found = entry.stat(follow_symlinks=False)
            if found.st_mode & _TYPE_BITS != stat.S_IFLNK:
                return facts(found)
            known = entry_facts(number, os.fsencode(entry.name))
            return known if known is None or known.target is None else self._shown(number, known)
        except FileNotFoundError:
            return None


@implementer(IDirectory, IMappedListing, IPosixListing)
class VfsDirectory:
    """A listing on disk."""

    def __init__(self, calls: Calls, listing: Listing) -> None:
        self._calls = calls
        self._listing = listing
        self._line = Line(calls, listing.descriptor)

    async def read(self, limit: int) -> Sequence[DirEntry]:
        return await self._line.call(False, self._read, min(limit, BATCH))

    async def read_mapped(self, limit: int, function: Callable[[Sequence[DirEntry]], T]) -> T | None:
        return await self._line.call(False, self._read_mapped, min(limit, BATCH), function)

    def _read_mapped(self, number: int, limit: int, function: Callable[[Sequence[DirEntry]], T]) -> T | None:
        batch = self._read(number, limit)
        return function(batch) if batch else None

    async def read_posix(self, limit: int, function: type_entries) -> Any:
        return await self._line.call(False, self._read_posix, min(limit, BATCH), function)

    def _read_posix(self, number: int, limit: int, function: type_entries) -> Any:
        while taken := list(islice(self._listing.shown, limit)):
            try:
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in taken]
            except FileNotFoundError:  # one has vanished; the others remember what they were told
                taken = [entry for entry in taken if _is_there(entry)]
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in taken]
            files = [each for each in found if each[1].st_mode & _TYPE_BITS == _REGULAR]
            if not _AS_IS:
                files = [(name_of(os.fsencode(name)), told) for name, told in files]
            others = self._facts_of(number, taken, found) if len(files) < len(found) else []
            if files or others:
                return function(files, others)
        return None

    def _facts_of(
        self, number: int, taken: Sequence[os.DirEntry[str]], found: Sequence[type_file]
    ) -> Sequence[DirEntry]:
        """Of those that are no regular files."""
        kinds = [told.st_mode & _TYPE_BITS for _, told in found]
        others = [
            (entry, self._listing.facts(entry, number))
            for entry, kind in zip(taken, kinds, strict=True)
            if kind != _REGULAR
        ]
        return [DirEntry(_name(entry), known) for entry, known in others if known is not None]

    def _read(self, number: int, limit: int) -> Sequence[DirEntry]:
        batch: list[DirEntry] = []
        for entry in self._listing.shown:
            found = self._listing.facts(entry, number)
            if found is not None:
                batch.append(
                    tuple.__new__(DirEntry, (_name(entry), found))
                )  # as it does itself, without a call in between
                if len(batch) == limit:
                    break
        return batch

    async def close(self) -> None:
        await self._calls.close(self._listing.descriptor)
