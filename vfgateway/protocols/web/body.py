"""The body of a request as its handler sees it: pulled when wanted, held back when not."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from vfgateway.errors import IncompleteBody, TooLarge
from vfgateway.interfaces import type_chunk, type_fill
from vfgateway.uninterrupted import uninterrupted

#: Bytes that may wait for the handler before the client is held back.
MOST_WAITING = 512 << 10
#: Bytes for which a waiting reader is woken before the body ends: below it, a storage call costs more than it carries.
WORTH_WAKING = 256 << 10


#: Has what it is given write so many bytes at most.
type_write = Callable[[type_fill, int], Awaitable[None]]


class Flow(Protocol):
    """The connection, as far as a body needs it.

    :ivar has_ended: whether nothing more will come than has arrived, read or not
    """

    @property
    def has_ended(self) -> bool:
        """See above."""

    def want_body(self) -> None:
        """A reader waits for the client."""

    def hold_body(self) -> None:
        """Enough is waiting: read no more for now."""

    def release_body(self) -> None:
        """There is room again."""


class Source(Protocol):
    """Where bytes may be that have arrived and were not :meth:`BodyStream.put` yet."""

    held: int

    @property
    def flows(self) -> bool:
        """Whether so much has arrived that it is better moved than read."""

    def flush(self) -> None:
        """Put them."""

    async def move(self, write: type_write) -> int:
        """As :meth:`BodyStream.move`; the number of bytes."""


class BodyStream:
    """A request's body.

    :ivar length: bytes that the client declared; ``None`` if it did not say (chunked)
    :ivar received: bytes that have arrived, read or not
    :ivar complete: whether all of it has arrived
    :ivar source: see :class:`Source`
    """

    def __init__(self, flow: Flow, length: int | None) -> None:
        self._flow = flow
        self._waiting: deque[type_chunk] = deque()
        self._queued = 0
        self._held_back = False
        self._moves = False
        self._reader: Deferred[None] | None = None
        self._least = 0
        self._error: IncompleteBody | None = None
        self.length = length
        self.received = 0
        self.complete = length == 0
        self.source: Source | None = None

    # --- for handlers ---

    @property
    def arrived(self) -> int:
        """Bytes that have arrived, those included that lie in a :class:`Source` still."""
        return self.received + (self.source.held if self.source is not None else 0)

    @property
    def over(self) -> bool:
        """Whether no more will arrive. Known at once when the client has left, though much may lie in the socket that nobody has read."""
        return self.complete or self._error is not None or self._flow.has_ended

    async def read(self, limit: int = MOST_WAITING, least: int = WORTH_WAKING) -> list[type_chunk]:
        """The next bytes, as chunks to be written one after the other; ``[]`` at the end.

        Waits for ``least`` bytes or for the end of the body. ``limit`` bounds the sum of the chunks, but for a single larger chunk. One
        reader at a time. Nothing is copied: a chunk may be a view of a buffer, which stays untouched for as long as the view is kept.

        Raises ``IncompleteBody`` once everything that did arrive has been read, if the client left or broke the coding.
        """
        while True:
            if self.source is not None and self._queued + self.source.held >= least:
                self.source.flush()
            if self._queued >= least or self.complete or self._error is not None:
                break
            self._go_on()
            self._reader, self._least = Deferred(), least
            self._flow.want_body()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._waiting:
            if self._error is not None:
                raise self._error
            return []
        return self._take(limit)

    async def move(self, write: type_write) -> bool:
        """Have what comes next moved to where ``write`` has it moved, without reading it. A caller that is cancelled waits until that has ended.

        :return: whether anything was moved; if not, it has to be read, or there is nothing yet
        """
        source = self.source
        self._moves = source is not None
        if source is None or self._waiting or self.complete or self._error is not None or not source.flows:
            return False
        self._hold()
        return await uninterrupted(source.move(write)) > 0

    async def read_all(self, limit: int) -> bytes:
        """The whole body at once, for small ones. ``TooLarge`` beyond ``limit`` bytes, before reading where the length is declared."""
        if self.length is not None and self.length > limit:
            raise TooLarge(limit, self.length)
        parts: list[type_chunk] = []
        while chunks := await self.read():
            parts += chunks
            if self.received > limit:
                raise TooLarge(limit, self.received)
        return b"".join(parts)

    def _take(self, limit: int) -> list[type_chunk]:
        chunks = [self._waiting.popleft()]
        size = len(chunks[0])
        while self._waiting and size + len(self._waiting[0]) <= limit:
            chunks.append(self._waiting.popleft())
            size += len(chunks[-1])
        self._queued -= size
        if not self._moves:  # else it waits for the client again, or wants what has piled up to be moved
            self._go_on()
        return chunks

    def _hold(self) -> None:
        if not self._held_back:
            self._held_back = True
            self._flow.hold_body()

    def _go_on(self) -> None:
        if self._held_back and self._queued < MOST_WAITING:
            self._held_back = False
            self._flow.release_body()

    # --- for the connection ---

    def would_wake(self, more: int) -> bool:
        """Whether a reader waits who would be content with what is queued and ``more`` bytes."""
        return self._reader is not None and self._queued + more >= self._least

    def put(self, chunk: type_chunk) -> None:
        """Bytes have arrived."""
        self._waiting.append(chunk)
        self._queued += len(chunk)
        self.received += len(chunk)
        if self.would_wake(0):
            self._wake()
        if self._queued >= MOST_WAITING:
            self._hold()

    def end(self) -> None:
        """The last byte has arrived."""
        self.complete = True
        self._wake()

    def fail(self) -> None:
        """No more will come, though more was due. No effect on a complete body."""
        if not self.complete and self._error is None:
            if self.source is not None:
                self.source.flush()
            self._error = IncompleteBody(self.length, self.received)
            self._wake()

    @property
    def failed(self) -> bool:
        """Whether the body ended before its time."""
        return self._error is not None

    def forget(self) -> None:
        """Nobody will read what is waiting."""
        self._waiting.clear()
        self._queued = 0

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.called:
            reader.callback(None)
