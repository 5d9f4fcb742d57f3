"""The SFTP server on one channel: takes requests out of the stream, deals with them in order, and answers each.

Requests are dealt with one after the other, so that what a client sees is what it asked for; only reads that have to wait for the
storage wait side by side, and writes that follow upon each other go to it together. What can be answered at once is answered within the
event that brought the request.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vfgateway.eager import begin
from vfgateway.errors import GatewayError
from vfgateway.protocols.sftp import faults, wire
from vfgateway.protocols.sftp.extensions import Extensions
from vfgateway.protocols.sftp.files import Files
from vfgateway.protocols.sftp.names import Names
from vfgateway.protocols.sftp.opened import Table
from vfgateway.protocols.sftp.pieces import Pieces, type_begun, type_request
from vfgateway.protocols.sftp.places import Places
from vfgateway.protocols.sftp.wire import Malformed, Reader
from vfgateway.services.session import Session

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.channel import SessionChannel

#: Reads that wait for the storage at once.
MOST_READS = 16
#: Seconds for which requests are dealt with before other connections have their turn.
TURN = 0.004
#: Buffers of requests that are kept for the next ones.
MOST_SPARE = 4
#: Requests that wait taken apart; further ones wait as the bytes that they are, since the smallest would take twenty times their room. And the
#: bytes of those that are taken apart at once.
MOST_WAITING, PORTION = 1024, 32 << 10

#: Stands in the queue where the client said that nothing follows.
_END = -1
_NOTHING = memoryview(b"")
#: Of each request: its length, what it is, and its number.
_HEAD = struct.Struct(">IBI").unpack_from


class SftpServer:
    """See the module.

    :param channel: where answers go
    :ivar big_answers: the client has shown that it takes answers of 256 KiB
    :ivar version: what the client calls itself
    """

    log = Logger(namespace="vfgateway.sftp")

    def __init__(self, channel: SessionChannel, session: Session) -> None:
        factory = channel.conn.transport.factory
        self._channel = channel
        self._transport = channel.conn.transport
        self._clock = factory.reactor
        self._queue: deque[type_request] = deque()
        self._unread = bytearray()
        self._ended = False
        self._head = b""
        self._body: bytearray | None = None
        self._target = _NOTHING
        self._filled = self._wanted = 0
        self._spare: list[bytearray] = []
        self._reads = 0
        self._working = False
        self._pumping = False
        self._stopped = False
        self.big_answers = False
        self.version: bytes = channel.conn.transport.otherVersionString
        self.table = Table(session, factory.gateway, channel.conn.transport.afterwards)
        places = Places(session, factory.reactor)
        files = Files(places, self.table)
        names = Names(places, self.table, factory.owners, self)
        self._pieces = Pieces(channel, self.table, self._perform)
        self._handlers_now = {**files.handlers_now(), **names.handlers_now()}
        self._handlers = {
            **files.handlers(),
            **names.handlers(),
            wire.EXTENDED: Extensions(places, self.table, files, names, factory.owners, self).handle,
        }

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._queue) or self._working or bool(self._reads)

    @property
    def gone(self) -> bool:
        """Whether the client has gone: there is nobody to answer."""
        return self._stopped

    @property
    def transfers(self) -> bool:
        """See ``Program``."""
        return self.table.has_files

    # --- taking requests out of the stream ---

    def data(self, view: memoryview) -> bool:
        """See ``Program``."""
        if self._stopped:
            return True
        if self._body is not None and not self._unread:  # most of what comes is the middle of a large WRITE
            begin = self._filled
            end = begin + len(view)
            if end < self._wanted:
                self._target[begin:end] = view
                self._filled = end
                return not self._queue
        elif self._body is None and not self._head and not self._unread and len(self._queue) < MOST_WAITING:
            count = len(view)
            if 9 <= count <= wire.LONGEST_REQUEST:  # most come in one message each
                length, kind, request = _HEAD(view)
                if length + 4 == count:
                    body = bytes(view[4:])
                    if not (self._queue or self._working or self._reads or self._pumping) and self._transport.at_last:
                        return self._deal_with_one(kind, request, body)
                    self._enter(body)
                    return False
        took = 0 if self._unread else self._take_apart(view)
        if took < len(view) and not self._stopped:
            self._unread += view[took:]
        return False

    def _deal_with_one(self, kind: int, request: int, body: bytes) -> bool:
        """Deal with a request that has come alone: clients that move small files wait for each answer, and for that alone. Whether nothing waits."""
        if not self._channel.writable:
            self._enter(body)
            return False
        self._pumping = True
        try:
            if kind == wire.READ:
                self._transport.active = self._transport.heard
                answer = self._pieces.read_end(request, body)
                if answer is not None:
                    self._channel.answer(answer, len(body) + 4)
                else:
                    self._queue.append((kind, request, body, len(body) + 4))
                    self._step()
            elif kind == wire.INIT:
                self._enter(body)
            else:
                self._transport.active = self._transport.heard
                self._act(kind, request, body, len(body) + 4)
        finally:
            self._pumping = False
        return not self._queue

    def _take_apart(self, view: memoryview) -> int:
        """How far it came: to the end, unless too many wait."""
        at, end = 0, len(view)
        while at < end and not self._stopped and len(self._queue) < MOST_WAITING:
            if self._body is None:
                at = self._begin(view, at, end)
                continue
            count = min(end - at, self._wanted - self._filled)
            self._target[self._filled : self._filled + count] = view[at : at + count]
            self._filled += count
            at += count
            if self._filled == self._wanted:
                body, self._body = self._body, None
                self._target = _NOTHING
                self._enter(body)
        return at

    def _refill(self) -> None:
        """Take more apart, when few wait."""
        while self._unread and len(self._queue) < MOST_WAITING and not self._stopped:
            took = self._take_apart(memoryview(bytes(self._unread[:PORTION])))
            del self._unread[:took]
        if self._ended and not self._unread:
            self._queue.append((_END, 0, b"", 0))

    def _begin(self, view: memoryview, at: int, end: int) -> int:
        """Read the length of a request, and the whole of it if it is there."""
        if self._head or end - at < 4:
            count = min(4 - len(self._head), end - at)
            self._head += bytes(view[at : at + count])
            at += count
            if len(self._head) < 4:
                return at
            length, self._head = int.from_bytes(self._head, "big"), b""
        else:
            length = int.from_bytes(view[at : at + 4], "big")
            at += 4
        if not 5 <= length <= wire.LONGEST_REQUEST:
            self._give_up(f"a request of {length} bytes")
        elif end - at >= length:
            self._enter(bytes(view[at : at + length]))
            at += length
        else:
            self._body, self._filled, self._wanted = self._buffer(length), 0, length
            self._target = memoryview(self._body)
        return at

    def _buffer(self, length: int) -> bytearray:
        for index in range(len(self._spare) - 1, -1, -1):  # the one used last is still in the processor's cache
            if len(self._spare[index]) == length:
                return self._spare.pop(index)
        return bytearray(length)

    def _enter(self, body: bytes | bytearray) -> None:
        self._transport.active = self._transport.heard
        kind, request = body[0], int.from_bytes(body[1:5], "big")
        if kind == wire.INIT:
            version = wire.VERSION.to_bytes(1, "big") + (3).to_bytes(4, "big") + Extensions.offered()
            self._channel.send(len(version).to_bytes(4, "big") + version)
            self._channel.consumed(len(body) + 4)
        else:
            self._queue.append((kind, request, body, len(body) + 4))

    def _give_up(self, why: str) -> None:
        """What follows cannot be understood any more."""
        self.log.info("ending a channel of {user}: {why}", user=self.table.session.principal.name, why=why)
        self._queue.clear()
        self._channel.finish(11)
        self.stop()

    def ended(self) -> None:
        """See ``Program``: the client is through; end once all is answered."""
        self._ended = True
        self._refill()
        self.pump()

    # --- dealing with them ---

    def pump(self) -> None:
        """See ``Program``."""
        if self._pumping or not self._queue:
            return
        self._pumping = True
        seconds = self._clock.seconds
        until = 0.0
        try:
            while self._queue and not self._working and not self._stopped and self._channel.writable:
                if not self._step():
                    break
                if self._unread and len(self._queue) < MOST_WAITING // 2:
                    self._refill()
                if self._queue:
                    now = seconds()
                    until = until or now + TURN
                    if now > until:
                        self._give_way()
                        break
        finally:
            self._pumping = False

    def _give_way(self) -> None:
        """Others have their turn before the rest."""
        self._working = True

        def go_on() -> None:
            self._working = False
            if self._stopped:
                self._end_if_idle()
            else:
                self.pump()
                self._channel.conn.transport.flush()

        self._clock.callLater(0, go_on)

    def _step(self) -> bool:
        """Begin with the next request; ``False`` if it has to wait."""
        kind, request, body, cost = self._queue[0]
        if kind == wire.READ:
            if self._reads >= MOST_READS:
                return False
            if (answer := self._pieces.read_end(request, body)) is not None:
                self._queue.popleft()
                self._channel.answer(answer, cost)
            elif (count := self._pieces.read_now(self._queue)) > 0:
                for _ in range(min(count, len(self._queue))):
                    self._channel.consumed(self._queue.popleft()[3])
            else:
                self._queue.popleft()
                self._start(self._perform(kind, request, body), [(request, body, cost)], True)
            return True
        if self._reads:
            return False
        self._queue.popleft()
        self._act(kind, request, body, cost)
        return True

    def _act(self, kind: int, request: int, body: bytes | bytearray, cost: int) -> None:
        """Begin with what is no READ, and has left the queue or never was in it."""
        handler = self._handlers_now.get(kind)
        if handler is not None:
            if kind == wire.OPEN and self._transport.factory.stopping:
                return  # not answered: the connection ends when the other files are through, and the client asks again on a new one
            answer: bytes | None
            try:
                answer = handler(request, body)
            except Exception as error:
                answer = self._failed(kind, request, error)
            if answer is not None:
                self._channel.answer(answer, cost)
            else:
                self._start(self._perform(kind, request, body), [(request, body, cost)], False)
        elif kind == wire.WRITE:
            one = (request, body, cost)
            batch = self._pieces.with_followers(one, self._queue) if self._queue else [one]
            if (answer := self._pieces.write_now(batch)) is not None:
                self._channel.answer(answer, self._used(batch))
            else:
                self._start(self._pieces.write(batch), batch, False)
        elif kind != _END:
            self._start(self._perform(kind, request, body), [(request, body, cost)], False)
        else:
            self._channel.finish(0)

    def _start(self, work: Any, batch: Sequence[type_begun], reads: bool) -> None:
        """Do what ``batch`` asks for; nothing else begins in between, since :meth:`pump` is under way."""
        outcome = begin(work)
        if not isinstance(outcome, Deferred):
            self._answer(outcome, batch)
            return
        if reads:
            self._reads += 1
        else:
            self._working = True
        outcome.addBoth(self._done, batch, reads)

    def _done(self, answer: Any, batch: Sequence[type_begun], reads: bool) -> None:
        if reads:
            self._reads -= 1
        else:
            self._working = False
        self._answer(answer, batch)
        if not self._pumping and not self._stopped:
            self.pump()
            self._channel.conn.transport.flush()

    def _answer(self, answer: Any, batch: Sequence[type_begun]) -> None:
        if self._stopped:
            self._end_if_idle()
            return
        if isinstance(answer, bytes):
            self._channel.send(answer)
        self._channel.consumed(self._used(batch))

    def _used(self, batch: Sequence[type_begun]) -> int:
        """Keep the buffers of what has been dealt with for what comes; how many bytes of the client's window it was."""
        count = 0
        for _, body, cost in batch:
            count += cost
            if type(body) is bytearray and len(self._spare) < MOST_SPARE:
                self._spare.append(body)
        return count

    def _failed(self, kind: int, request: int, error: Exception) -> bytes:
        """The answer to a request that failed."""
        if isinstance(error, GatewayError | Malformed):
            faults.enter_refusal(self.table.session, self.table.gateway, error)
        else:
            self.log.failure("request {kind} failed", kind=kind)
        return faults.status(request, error)

    async def _perform(self, kind: int, request: int, body: bytes | bytearray) -> bytes:
        """The answer to one request, whatever happens."""
        try:
            handler = self._handlers.get(kind)
            if handler is None:
                return wire.status(request, wire.OP_UNSUPPORTED, f"no such request: {kind}")
            answer: bytes = await handler(request, Reader(body, 5))
            return answer
        except Exception as error:
            return self._failed(kind, request, error)

    def stop(self) -> None:
        """See ``Program``."""
        self._stopped = True
        self._queue.clear()
        self._unread.clear()
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if not self.busy:
            self._channel.conn.transport.factory.finish(self.table.close_all())
