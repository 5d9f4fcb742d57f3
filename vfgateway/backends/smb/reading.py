"""Reading a file in order, ahead of who reads it: several pieces are on their way at once, and memory stays bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

#: Bytes and pieces on their way, or waiting to be read, at most.
MOST_AHEAD: Final = 4 << 20
MOST_PIECES: Final = 16
#: Seconds for which a piece that was fetched ahead is good: others may write to the file.
FRESH: Final = 2.0

type_fetch = Callable[[int, int], Coroutine[Any, Any, bytes]]


class ReadAhead:
    """A file being read.

    :param fetch: bytes at an offset, fewer only at the end of the file
    :param size: bytes of the file when it was opened; nothing beyond is read ahead
    :param piece: bytes fetched at once
    :param seconds: the time now
    """

    def __init__(self, fetch: type_fetch, size: int, piece: int, seconds: Callable[[], float]) -> None:
        self._fetch = fetch
        self._size = size
        self._piece = piece
        self._most = min(MOST_PIECES, max(1, MOST_AHEAD // piece))
        self._seconds = seconds
        self._next = 0  # where the next read begins if it goes on in order
        self._depth = 0  # pieces to have ahead; grows while reading goes on in order
        self._ahead: deque[_Piece] = deque()

    async def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer only at the end of the file."""
        in_order = offset == self._next
        self._next = offset + length
        if not in_order or offset >= self._size:
            self._forget()
            return await self._fetch_all(offset, length)
        wanted = self._take(offset, min(offset + length, self._size))
        self._go_ahead(wanted[-1][0].end)
        found = bytearray()
        for piece, start, end in wanted:
            data = await piece.content()
            found += memoryview(data)[start:end]
            if len(data) < piece.length:
                self._forget()  # it became shorter
                return bytes(found)
        if len(found) < length:
            found += await self._fetch_all(offset + len(found), length - len(found))
        return bytes(found)

    def _take(self, offset: int, end: int) -> list[tuple[_Piece, int, int]]:
        """The pieces that hold a range, with the part of each; they are asked for where they are not yet."""
        oldest = self._seconds() - FRESH
        if self._ahead and (self._ahead[0].begin > offset or self._ahead[0].asked < oldest):
            self._forget()
        parts = []
        while offset < end:
            if not self._ahead:
                self._ask(offset)
            piece = self._ahead[0]
            upto = min(end, piece.end)
            parts.append((piece, offset - piece.begin, upto - piece.begin))
            offset = upto
            if offset == piece.end:
                self._ahead.popleft()
        return parts

    def _go_ahead(self, offset: int) -> None:
        """Ask for what comes after ``offset``, more the longer reading goes on in order."""
        if self._ahead:
            offset = max(offset, self._ahead[-1].end)
        while len(self._ahead) < self._depth and offset < self._size:
            offset = self._ask(offset)
        self._depth = min(self._most, self._depth * 2 or 1)

    def _ask(self, offset: int) -> int:
        length = min(self._piece, self._size - offset)
        self._ahead.append(_Piece(offset, length, self._fetch(offset, length), self._seconds()))
        return offset + length

    async def _fetch_all(self, offset: int, length: int) -> bytes:
        """A range as it is now, in pieces side by side."""
        pieces = [
            _Piece(
                at, min(self._piece, offset + length - at), self._fetch(at, min(self._piece, offset + length - at)), 0
            )
            for at in range(offset, offset + length, self._piece)
        ]
        found = []
        for piece in pieces:
            found.append(await piece.content())
        return b"".join(found)

    def _forget(self) -> None:
        self._ahead.clear()
        self._depth = 0

    async def settled(self) -> None:
        """Return when nothing is on its way any more."""
        for piece in list(self._ahead):
            await piece.over()
        self._forget()


class _Piece:
    """A part of the file that is on its way, or is here."""

    def __init__(self, begin: int, length: int, coming: Coroutine[Any, Any, bytes], asked: float) -> None:
        self.begin = begin
        self.length = length
        self.end = begin + length
        self.asked = asked
        self._outcome: bytes | Failure | None = None
        self._waiters: list[Deferred[None]] = []
        Deferred.fromCoroutine(coming).addBoth(self._came)

    def _came(self, outcome: bytes | Failure) -> None:
        self._outcome = outcome
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)

    async def over(self) -> None:
        """Return when it is here, or has failed."""
        if self._outcome is None:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter

    async def content(self) -> bytes:
        """Its bytes; fewer than its length only at the end of the file."""
        await self.over()
        outcome = self._outcome
        if isinstance(outcome, Failure):
            outcome.raiseException()
        assert isinstance(outcome, bytes)
        return outcome
