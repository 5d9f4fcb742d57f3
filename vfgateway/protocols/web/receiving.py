"""What has arrived on a socket: large bodies over plain TCP, taken into large buffers instead of through the protocol in small pieces."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import main
from twisted.internet.tcp import Connection

from vfgateway.eventloop import give_way, large_transfers
from vfgateway.protocols.web.body import BodyStream, type_write
from vfgateway.protocols.web.splicing import MOST, Splice

#: Bytes of one buffer: what the storage then gets in one call.
SLAB = 512 << 10
#: Buffers kept for reuse by one body: one being written, one being filled or waiting.
KEPT = 2
#: Bytes that lie in the socket, and that are to come, from which on they are moved by the kernel.
WORTH_MOVING = 64 << 10
#: Large transfers at once up to which bodies are moved, each in a thread. Where there are more, the reactor is busy with some of them, and threads that
#: take the processors from it would have everybody else wait: it serves all of them in turn then.
MOST_MOVED = 4
#: That the other end sends no more: asked for where a system can tell; that the connection is broken is told by all of them.
_ENDED: Final = getattr(select, "POLLRDHUP", 0)


def has_mail(transport: Any) -> bool:
    """Whether something has arrived that nobody has read yet."""
    descriptor = getattr(transport, "fileno", None)
    if descriptor is None:  # a test's, without a socket
        return False
    return _is_so(descriptor(), select.POLLIN)


def has_ended(transport: Any) -> bool:
    """Whether nothing more comes than what has arrived, though nobody may have read that yet."""
    descriptor = getattr(transport, "fileno", None)
    return descriptor is not None and (descriptor() < 0 or _is_so(descriptor(), _ENDED))


def _is_so(descriptor: int, what: int) -> bool:
    looking = select.poll()
    looking.register(descriptor, what)
    return bool(looking.poll(0))


def at_rest(transport: Connection) -> bool:
    """Whether the transport has nothing more to send, so that what is given to its socket now comes in order."""
    waiting = transport.dataBuffer or transport._tempDataBuffer
    return bool(transport.connected) and not waiting and not transport.disconnecting


class Receiver:
    """Stands in for ``doRead`` of one plain TCP transport while the body of one request comes in.

    A buffer is used again once nobody holds a view of it any more, which the buffer itself tells: Python refuses to resize a
    ``bytearray`` that somebody looks into. The last byte of the body is always left to the protocol, which so ends it as
    usual.

    :param left: bytes of the body that have not arrived
    :param took: told how many bytes were taken off the socket
    :ivar held: bytes taken and not yet put into the body
    """

    def __init__(self, transport: Connection, body: BodyStream, left: int, took: Callable[[int], None]) -> None:
        self._transport = transport
        self._receive = transport.getHandle().recv_into
        self._body = body
        self._left = left - 1
        self._took = took
        self._slabs: list[bytearray] = []
        self._slab: bytearray | None = None
        self._can_move = hasattr(os, "splice")
        self.held = 0
        self._read_once = self._read  # one bound method, to be known again
        transport.doRead = self._read_once  # type: ignore[method-assign]
        give_way(transport)

    def _read(self) -> Any:
        """Called by the reactor in place of ``Connection.doRead``, with the same outcomes."""
        start = self.held
        slab = self._slab
        if slab is None:
            slab = self._slab = self._fresh()
        with memoryview(slab) as view:
            try:
                count = self._receive(view[start : start + min(SLAB - start, self._left)])
            except BlockingIOError:
                return None
            except OSError:
                return main.CONNECTION_LOST
        if not count:
            return main.CONNECTION_DONE
        self.held = held = start + count
        self._left -= count
        self._took(count)
        if not self._left:
            self.remove()
        if held == SLAB or not self._left or self._body.would_wake(held):
            self.flush()
        return None

    def flush(self) -> None:
        """Put what has been taken into the body."""
        if self.held:
            assert self._slab is not None
            view = memoryview(self._slab)[: self.held]
            self._slab, self.held = None, 0
            self._body.put(view)

    @property
    def flows(self) -> bool:
        """Whether the client is ahead of us. Nobody reads meanwhile."""
        if self.held or self._left < WORTH_MOVING or not self._can_move or large_transfers() > MOST_MOVED:
            return False
        try:
            there = fcntl.ioctl(self._transport.fileno(), termios.FIONREAD, bytes(4))
        except (OSError, ValueError):  # the connection is gone
            return False
        return bool(struct.unpack("i", there)[0] >= WORTH_MOVING)

    async def move(self, write: type_write) -> int:
        """Have ``write`` move a part of what comes, while the transport reads nothing; how many bytes were taken."""
        most = min(MOST, self._left)
        try:
            splice = Splice(self._transport.getHandle(), most)
        except OSError:  # there are too many files open
            self._can_move = False
            return 0
        try:
            await write(splice, most)
        finally:
            splice.close()
            self._left -= splice.taken
            self._body.received += splice.taken
            self._took(splice.taken)
            if not self._left:
                self.remove()
        self._can_move = splice.taken > 0
        return splice.taken

    def remove(self) -> None:
        """Give the transport its own ``doRead`` back. Idempotent; what is held can still be flushed."""
        if self._transport.__dict__.get("doRead") is self._read_once:
            del self._transport.doRead
            give_way(self._transport, False)

    def _fresh(self) -> bytearray:
        for slab in self._slabs:
            try:
                slab.append(0)  # within what is allocated: nothing moves
                slab.pop()
            except BufferError:
                continue
            return slab
        slab = bytearray(SLAB + 1)
        slab.pop()
        if len(self._slabs) < KEPT:
            self._slabs.append(slab)
        return slab
