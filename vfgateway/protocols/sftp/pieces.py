"""READ and WRITE as most clients send them: for a handle of ours, and many that follow upon each other."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from twisted.logger import Logger

from vfgateway.errors import GatewayError
from vfgateway.protocols.sftp import faults, wire
from vfgateway.protocols.sftp.opened import OpenFile, Table

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.channel import SessionChannel

#: Bytes of writes that go to the storage together.
TOGETHER = 512 << 10
#: Bytes of reads that are answered together, and of the smallest of which this is tried.
RUN, SMALLEST = 256 << 10, 4096
#: READ and WRITE: length of the handle, handle, offset, length of the data.
_PIECE = struct.Struct(">I12sQI")

#: Kind of a request, its number, the whole of it, and the bytes of the window that it took.
type_request = tuple[int, int, bytes | bytearray, int]
#: The same of one that has been begun with, whose kind is known.
type_begun = tuple[int, bytes | bytearray, int]


class Pieces:
    """See the module.

    :param perform: deals with what is laid out in another way
    """

    _log = Logger(namespace="vfgateway.sftp")

    def __init__(
        self,
        channel: SessionChannel,
        table: Table,
        perform: Callable[[int, int, bytes | bytearray], Awaitable[bytes]],
    ) -> None:
        transport = channel.conn.transport
        self._channel = channel
        self._table = table
        self._perform = perform
        self._direct = transport.factory.direct
        self._version: bytes = transport.otherVersionString

    def read_now(self, queue: deque[type_request]) -> int:
        """Answer the READ at the head of the queue, and those behind it that go on where it ends, at once, if all of it is at hand; how many."""
        _, request, body, _ = queue[0]
        if len(body) != 33:  # that of a handle of ours
            return 0
        size, handle, offset, length = _PIECE.unpack_from(body, 5)
        opened = self._table.get(handle)
        if size != 12 or not isinstance(opened, OpenFile) or not opened.reads:
            return 0
        length = min(length, wire.LARGEST_PIECE)
        requests = [request]
        run = RUN // length if length >= SMALLEST else 1
        if 1 < run <= len(queue):
            for number in range(1, run):
                kind, following, more, _ = queue[number]
                if kind != wire.READ or more[5:] != _PIECE.pack(12, handle, offset + number * length, length):
                    del requests[1:]
                    break
                requests.append(following)
        return self._direct.read(self._channel, opened.handle, requests, offset, length)

    def read_end(self, request: int, body: bytes | bytearray) -> bytes | None:
        """The answer to a READ that comes to the end of its file, where the one before did so, too: clients that fetch small files ask for all
        of one at once, and then for more. ``None``: :meth:`read_now` is to be asked. Not a coroutine."""
        if not self._direct.ended or len(body) != 33:
            return None
        size, handle, offset, length = _PIECE.unpack_from(body, 5)
        opened = self._table.get(handle)
        if size != 12 or not isinstance(opened, OpenFile) or not opened.reads:
            return None
        return self._direct.read_end(opened.handle, request, offset, min(length, wire.LARGEST_PIECE))

    def with_followers(self, first: type_begun, queue: deque[type_request]) -> Sequence[type_begun]:
        """A WRITE with those that wait behind it and go on where it ends, which leave the queue."""
        batch = [first]
        body = first[1]
        place = _place(body)
        total = len(body)
        while place is not None and queue and total < TOGETHER:
            kind, following, more, more_cost = queue[0]
            if kind != wire.WRITE or (following_place := _place(more)) is None:
                break
            if (following_place[0], following_place[1]) != (place[0], place[2]):
                break
            queue.popleft()
            batch.append((following, more, more_cost))
            place = following_place
            total += len(more)
        return batch

    def write_now(self, batch: Sequence[type_begun]) -> bytes | None:
        """The answers to WRITEs that follow upon each other, if nothing has to be waited for. Not a coroutine."""
        first, body, _ = batch[0]
        place = _place(body)
        opened = None if place is None else self._table.get(place[0])
        if place is None or not isinstance(opened, OpenFile) or not opened.writes or opened.appends:
            return None
        try:
            if not opened.handle.write_now(place[1], [memoryview(each)[33:] for _, each, _ in batch]):
                return None
        except Exception as error:
            return self._not_written(first, opened, error) if len(batch) == 1 else None
        return wire.success(first) if len(batch) == 1 else b"".join([wire.success(request) for request, _, _ in batch])

    def _not_written(self, request: int, opened: OpenFile, error: Exception) -> bytes:
        """The answer to a WRITE that failed."""
        if not isinstance(error, GatewayError):
            self._log.failure("a write failed")
        faults.enter_refusal(self._table.session, self._table.gateway, error)
        self._explain(opened, faults.text(error))
        return faults.status(request, error)

    async def write(self, batch: Sequence[type_begun]) -> bytes:
        first, body, _ = batch[0]
        place = _place(body)
        opened = None if place is None else self._table.get(place[0])
        if place is not None and isinstance(opened, OpenFile) and opened.writes:
            chunks = [memoryview(each)[33:] for _, each, _ in batch]
            try:
                offset = place[1]
                if opened.appends:
                    offset = (await opened.handle.stat()).size
                await opened.handle.write(offset, chunks)
                return b"".join([wire.success(request) for request, _, _ in batch])
            except Exception as error:
                if len(batch) == 1:
                    return self._not_written(first, opened, error)
        # Each by itself, so that what fits is kept and each gets its own answer.
        if len(batch) > 1:
            return b"".join([await self.write([one]) for one in batch])
        return await self._perform(wire.WRITE, first, body)

    def _explain(self, opened: OpenFile, text: str) -> None:
        """OpenSSH shows people the code of a failed write, which is the same for a full quota, a lock and a broken disk; what comes on
        the standard error of the channel, it prints."""
        if opened.error != text and self._version.startswith(b"SSH-2.0-OpenSSH"):
            self._channel.send_error(f"{opened.place}: {text}\r\n".encode("utf-8", "backslashreplace"))
        opened.error = text


def _place(body: bytes | bytearray) -> tuple[bytes, int, int] | None:
    """Handle, first offset and the offset after a WRITE; ``None`` if it is not laid out as one for a handle of ours."""
    if len(body) < 33:
        return None
    size, handle, offset, length = _PIECE.unpack_from(body, 5)
    return (handle, offset, offset + length) if size == 12 and length == len(body) - 33 else None
