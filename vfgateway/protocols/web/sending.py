"""Bytes of a file onto a connection: by ``sendfile`` where kernel and connection allow it, by reading ahead elsewhere. Memory stays
the same at any size, and a slow client is waited for."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection
from zope.interface import implementer

from vfgateway.abilities import IDescriptorRead
from vfgateway.errors import StorageFailure
from vfgateway.eventloop import give_way
from vfgateway.interfaces import IFile
from vfgateway.protocols.web.request import StreamingRequest

#: Bytes that one writable event may send, so that other connections get their turn; where several send they share them, down to the second.
SLICE, LEAST = 4 << 20, 512 << 10
#: Bytes up to which a body is read and written at once; ``sendfile`` gains nothing there.
SMALL = 64 << 10
#: Bytes read at once where they pass through the gateway, without and with TLS.
CHUNK = 256 << 10
TLS_CHUNK = 1 << 20
#: Bytes that are encrypted in one turn of the reactor, where they are in memory.
TLS_SLICE = 512 << 10
#: Bytes that the kernel is asked to have ready ahead of what is being sent.
AHEAD = 8 << 20
#: Seconds without progress after which a client that does not read is given up.
STALLED = 300.0


async def send_part(request: StreamingRequest, file: IFile, offset: int, count: int) -> None:
    """Write ``count`` bytes of ``file`` from ``offset`` on, and return when they are on their way.

    Raises ``StorageFailure`` if the file turns out to be shorter, and whatever reading raises. Cancelled when the client leaves.
    """
    if count == 0 or request.gone:
        return
    transport = request.channel.plain_transport if request.channel is not None else None
    if not IDescriptorRead.providedBy(file):
        await send_reading(request, file, offset, count, CHUNK if transport is not None else TLS_CHUNK)
        return
    with_descriptor = cast(IDescriptorRead, file)
    descriptor = with_descriptor.borrow()
    try:
        if transport is not None and count > SMALL:
            await send_by_kernel(request, transport, file, descriptor, offset, count)
        else:
            await _send_cached(request, file, descriptor, offset, count)
    finally:
        with_descriptor.give_back()


async def _send_cached(request: StreamingRequest, file: IFile, descriptor: int, offset: int, count: int) -> None:
    """What is in memory is read in place; anything else goes through the volume."""
    if count <= SMALL:
        data = bytearray(count)
        try:
            if os.preadv(descriptor, [data], offset, os.RWF_NOWAIT) == count:
                request.write(bytes(data))
                return
        except OSError:
            pass  # not in memory, or the file system cannot tell
    in_memory = _asker(descriptor, offset) if count > SMALL else None
    if in_memory is None:
        await send_reading(request, file, offset, count, TLS_CHUNK)
        return
    end = offset + count
    with Gate(request) as gate:
        while offset < end:
            part = min(TLS_SLICE, end - offset)
            if in_memory(descriptor, offset, part):
                piece = os.pread(descriptor, part, offset)
            else:
                os.posix_fadvise(descriptor, offset, min(AHEAD, end - offset), os.POSIX_FADV_WILLNEED)
                piece = await file.read(offset, part)
            if not piece:
                raise StorageFailure("the file became shorter while it was sent")
            request.write(piece)
            offset += len(piece)
            await gate.passed()
            await deferLater(request.site.reactor, 0)  # others have their turn


# --- by the kernel ---------------------------------------------------------------------------------------


async def send_by_kernel(
    request: StreamingRequest, transport: Connection, file: IFile, descriptor: int, offset: int, count: int
) -> None:
    """Send with ``sendfile``, a slice at each time when the socket can take one.

    Before each slice the kernel is asked whether it is in memory; if not, the volume's own threads read it first, so that
    the reactor never waits for a disk.
    """
    in_memory = _asker(descriptor, offset)
    if in_memory is None:
        await send_reading(request, file, offset, count, CHUNK)
        return
    end = offset + count
    os.posix_fadvise(descriptor, offset, min(AHEAD, count), os.POSIX_FADV_WILLNEED)
    async with _Pump(request, transport) as pump:
        while offset < end:
            await pump.writable()
            part = min(max(LEAST, SLICE // _Pump.running), end - offset)
            if not in_memory(descriptor, offset, part):
                part = await _warm(file, offset, min(part, TLS_CHUNK))
            try:
                sent = os.sendfile(transport.fileno(), descriptor, offset, part)
            except BlockingIOError:
                continue
            except OSError:
                request.abort()  # the reactor tells everybody that the connection is gone
                raise CancelledError from None
            if sent == 0:
                raise StorageFailure("the file became shorter while it was sent")
            offset += sent
            request.sentLength += sent
            pump.progressed()
            ahead = min(AHEAD, end - offset)
            if ahead and not in_memory(descriptor, offset, ahead):  # looking is cheap, asking for what is there is not
                os.posix_fadvise(descriptor, offset, ahead, os.POSIX_FADV_WILLNEED)


def _asker(descriptor: int, offset: int) -> Callable[[int, int, int], bool] | None:
    """What tells whether a part of the file can be sent without waiting for storage; ``None`` if nothing can (NFS)."""
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError:
        return _always if _is_memory(os.fstat(descriptor).st_dev) else None
    return _in_memory


def _always(descriptor: int, offset: int, count: int) -> bool:
    return True


def _is_memory(device: int) -> bool:
    """Whether a device is a ``tmpfs``, which cannot be asked, and never has to be."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return False
    for line in mounts.splitlines():  # proc_pid_mountinfo(5)
        fields, _, kind = line.partition(" - ")
        if fields.split(" ")[2] == wanted:
            return kind.split(" ")[0] in ("tmpfs", "ramfs")
    return False


def _in_memory(descriptor: int, offset: int, count: int) -> bool:
    """Whether both ends of a slice are in memory; the kernel reads ahead in order, so that what is between them then is too."""
    byte = [bytearray(1)]
    try:
        os.preadv(descriptor, byte, offset, os.RWF_NOWAIT)
        os.preadv(descriptor, byte, offset + count - 1, os.RWF_NOWAIT)
    except OSError:
        return False
    return True


async def _warm(file: IFile, offset: int, count: int) -> int:
    """Have ``count`` bytes read into memory elsewhere; how many there are."""
    got = len(await file.read(offset, count))
    if got == 0:
        raise StorageFailure("the file became shorter while it was sent")
    return got


@implementer(IPullProducer)
class _Pump:
    """Takes the place of the channel as the transport's producer, to be told when the socket can take more.

    The transport asks a pull producer for more each time its own buffer is empty and the socket writable, so that what
    was written before (the head, the head of a part) always goes first. Only public interfaces are used.

    :cvar running: how many there are in this process
    """

    running = 0

    def __init__(self, request: StreamingRequest, transport: Connection) -> None:
        self._request = request
        self._transport: Any = transport
        self._channel = request.channel
        self._waiting: Deferred[None] | None = None
        self._progress = True
        self._watch: Any = None

    async def __aenter__(self) -> _Pump:
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, False)
        self._arm()
        _Pump.running += 1
        give_way(self._transport)
        return self

    async def __aexit__(self, *exception: Any) -> None:
        _Pump.running -= 1
        give_way(self._transport, False)
        self._watch.cancel()
        if self._transport.producer is self:
            self._transport.unregisterProducer()
            if self._transport.connected:
                self._transport.registerProducer(self._channel, True)

    async def writable(self) -> None:
        """Return when everything before is sent and the socket takes more. Cancelled when the client leaves."""
        self._waiting = Deferred()
        self._transport.startWriting()
        await self._waiting

    def progressed(self) -> None:
        """Bytes went out."""
        self._progress = True

    def resumeProducing(self) -> None:
        """Called by the transport."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone; the request's own notification cancels the handler."""

    def _arm(self) -> None:
        self._watch = self._request.site.reactor.callLater(STALLED, self._check)

    def _check(self) -> None:
        self._arm()
        if not self._progress:
            self._request.abort()
        self._progress = False


# --- by reading ------------------------------------------------------------------------------------------


@implementer(IPushProducer)
class Gate:
    """A producer that only remembers whether the connection takes more; :meth:`passed` waits until it does.

    Use as a context manager around a stretch of ``request.write``.
    """

    def __init__(self, request: StreamingRequest) -> None:
        self._request = request
        self._open = True
        self._waiting: Deferred[None] | None = None

    def __enter__(self) -> Gate:
        self._request.registerProducer(self, True)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._request.unregisterProducer()

    async def passed(self) -> None:
        """Return when the connection takes more. Cancelled when the client leaves, or reads nothing for :data:`STALLED` seconds."""
        if self._open:
            return
        stalled = self._request.site.reactor.callLater(STALLED, self._request.abort)
        self._waiting = Deferred()
        try:
            await self._waiting
        finally:
            self._waiting = None
            if stalled.active():
                stalled.cancel()

    def pauseProducing(self) -> None:
        """Called by the transport when its buffer is full."""
        self._open = False

    def resumeProducing(self) -> None:
        """Called by the transport when its buffer is empty."""
        self._open = True
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.resumeProducing()


async def send_reading(request: StreamingRequest, file: IFile, offset: int, count: int, chunk: int) -> None:
    """Read and write, one chunk ahead of what the connection takes."""
    with Gate(request) as gate:
        coming = _begin(file.read(offset, min(chunk, count)))
        try:
            while count:
                data = await coming
                if not data:
                    raise StorageFailure("the file became shorter while it was sent")
                offset += len(data)
                count -= len(data)
                if count:
                    coming = _begin(file.read(offset, min(chunk, count)))
                request.write(data)
                await gate.passed()
        finally:
            coming.cancel()
            coming.addErrback(lambda _: None)


def _begin(reading: Coroutine[Any, Any, bytes]) -> Deferred[bytes]:
    return Deferred.fromCoroutine(reading)
