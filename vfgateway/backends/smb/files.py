"""Open files and listings of a share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from zope.interface import implementer

from vfgateway.abilities import IFileAttributes, IRandomWrite
from vfgateway.backends.smb import wire
from vfgateway.backends.smb.facts import Shown
from vfgateway.backends.smb.faults import END_OF_FILE, Lost, Refused, faults
from vfgateway.backends.smb.link import Handle
from vfgateway.backends.smb.reading import ReadAhead
from vfgateway.backends.smb.share import Share, next_page
from vfgateway.backends.smb.wire import Entry, Opening
from vfgateway.errors import StorageFailure
from vfgateway.interfaces import IDirectory, IFile, type_chunk
from vfgateway.model import Attrs, DirEntry, FileStat
from vfgateway.uninterrupted import uninterrupted

P = ParamSpec("P")
T = TypeVar("T")

READ_ACCESS = wire.READ_DATA | wire.READ_ATTRIBUTES
WRITE_ACCESS = READ_ACCESS | wire.WRITE_DATA | wire.WRITE_ATTRIBUTES


class Closable(Protocol):
    """What must be closed."""

    async def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


async def held(work: Coroutine[Any, Any, C]) -> C:
    """What ``work`` opens. It goes on to its end when its caller is cancelled, and what was opened is closed then."""
    opened: list[C] = []

    async def note() -> C:
        opened.append(await work)
        return opened[0]

    try:
        return await uninterrupted(note())
    except CancelledError:
        for each in opened:
            await each.close()
        raise


@attrs.define(eq=False)
class Uses:
    """Calls under way, so that closing can wait for them."""

    what: str
    count: int = 0
    closed: bool = False
    idle: Deferred[None] | None = None

    @contextmanager
    def one(self) -> Iterator[None]:
        """``StorageFailure`` once it is closed."""
        if self.closed:
            raise StorageFailure(f"the {self.what} is closed")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            if self.count == 0 and self.idle is not None:
                self.idle.callback(None)

    async def end(self) -> bool:
        """Let no more calls begin and wait for those under way; whether this was the first time."""
        if self.closed:
            return False
        self.closed = True
        if self.count:
            self.idle = Deferred()
            await self.idle
        return True


def used(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A method that is a use of its object, goes on to its end, and speaks the family's language."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        itself: Any = args[0]

        async def work() -> T:
            with itself._uses.one(), faults(itself._volume):
                return await method(*args, **kwargs)

        return await uninterrupted(work())

    return call


@implementer(IFile)
class SmbFile:
    """A file opened for reading. When its connection is lost it is opened again, if it is still the same."""

    def __init__(
        self, share: Share, volume: str, path: str, handle: Handle, entry: Entry, shown: Shown, clock: Any
    ) -> None:
        self._share = share
        self._volume = volume
        self._path = path
        self._handle = handle
        self._entry = entry
        self._shown = shown
        self._uses = Uses("file")
        self._again = DeferredLock()
        self._ahead = ReadAhead(self._fetch, entry.size, handle.link.driver.largest_read, clock.seconds)

    @used
    async def read(self, offset: int, length: int) -> bytes:
        return await self._ahead.read(offset, length) if length else b""

    async def _fetch(self, offset: int, length: int) -> bytes:
        handle = self._handle
        try:
            return await read_piece(handle, offset, length)
        except Lost:
            await self._again.run(lambda: Deferred.fromCoroutine(self._open_again(handle)))
            return await read_piece(self._handle, offset, length)

    async def _open_again(self, lost: Handle) -> None:
        if self._handle is not lost:
            return
        handle, entry = await self._share.open(Opening(self._path, READ_ACCESS, options=wire.NON_DIRECTORY_FILE))
        before = self._entry
        if (entry.number, entry.size, entry.changed) != (before.number, before.size, before.changed):
            await handle.close()
            raise StorageFailure("the connection to the storage was lost, and the file has changed meanwhile")
        self._handle = handle

    @used
    async def stat(self) -> FileStat:
        [found] = await self._handle.do(wire.query_all())
        return self._shown.stat(wire.facts(found.body))

    @used
    async def sync(self) -> None:
        """There is nothing to sync."""

    async def close(self) -> None:
        await uninterrupted(self._close())

    async def _close(self) -> None:
        if await self._uses.end():
            await self._ahead.settled()
            await self._handle.close()


async def read_piece(handle: Handle, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes, which a single command may ask for; fewer only at the end of the file."""
    reply = await handle.ask(wire.read(offset, length))
    if reply.status == END_OF_FILE:
        return b""
    if reply.status:
        raise Refused(reply.status)
    return wire.read_data(reply.body)


@implementer(IFile, IRandomWrite, IFileAttributes)
class SmbWritableFile:
    """A file opened with ``WRITE``. What it was told is on the server when a call returns, and on its disk after :meth:`sync`; so
    it ends with its connection.

    :param durable: whether ``sync`` waits for the server's disk
    """

    def __init__(self, volume: str, handle: Handle, shown: Shown, durable: bool) -> None:
        self._volume = volume
        self._handle = handle
        self._shown = shown
        self._durable = durable
        self._uses = Uses("file")

    @used
    async def read(self, offset: int, length: int) -> bytes:
        largest = self._handle.link.driver.largest_read
        found = bytearray()
        while len(found) < length:
            wanted = min(largest, length - len(found))
            piece = await read_piece(self._handle, offset + len(found), wanted)
            found += piece
            if len(piece) < wanted:
                break
        return bytes(found)

    @used
    async def write(self, offset: int, chunks: Sequence[type_chunk]) -> None:
        await write_all(self._handle, offset, b"".join(chunks))

    @used
    async def truncate(self, size: int) -> None:
        await self._handle.do(wire.set_size(size))

    @used
    async def stat(self) -> FileStat:
        [found] = await self._handle.do(wire.query_all())
        return self._shown.stat(wire.facts(found.body))

    @used
    async def set_attrs(self, attrs: Attrs) -> FileStat:
        _, found = await self._handle.do(wire.set_times(attrs.atime_ns, attrs.mtime_ns), wire.query_all())
        return self._shown.stat(wire.facts(found.body))

    @used
    async def sync(self) -> None:
        if self._durable:
            await self._handle.do(wire.flush())

    async def close(self) -> None:
        await uninterrupted(self._close())

    async def _close(self) -> None:
        if await self._uses.end():
            await self._handle.close()


async def write_all(handle: Handle, offset: int, data: bytes) -> None:
    """Write from ``offset`` on, one command after the other, so that what is there has no gaps."""
    largest = handle.link.driver.largest_write
    done = 0
    while done < len(data):
        piece = data if len(data) <= largest else data[done : done + largest]
        [reply] = await handle.do(wire.write(offset + done, piece))
        done += wire.written(reply.body) or len(piece)


@implementer(IDirectory)
class SmbDirectory:
    """A listing.

    :param hide: a folded name that is not shown
    """

    def __init__(self, volume: str, handle: Handle, shown: Shown, fold: Callable[[str], str], hide: str | None) -> None:
        self._volume = volume
        self._handle = handle
        self._shown = shown
        self._fold = fold
        self._hide = hide
        self._uses = Uses("listing")
        self._line = DeferredLock()
        self._page: list[Entry] = []
        self._ended = False

    @used
    async def read(self, limit: int) -> Sequence[DirEntry]:
        batch: list[DirEntry] = await self._line.run(lambda: Deferred.fromCoroutine(self._read(limit)))
        return batch

    async def _read(self, limit: int) -> list[DirEntry]:
        found: list[DirEntry] = []
        while len(found) < limit and not self._ended:
            if not self._page:
                self._page = (await next_page(self._handle))[::-1]
                self._ended = not self._page
            while self._page and len(found) < limit:
                entry = self._page.pop()
                if self._hide is None or self._fold(entry.name) != self._hide:
                    found.append(DirEntry(entry.name, self._shown.stat(entry)))
        return found

    async def close(self) -> None:
        await uninterrupted(self._close())

    async def _close(self) -> None:
        if await self._uses.end():
            await self._handle.close()
