"""READ answers by the shortest way: from the page cache into packets that are laid out already, sealed, and handed to the socket.

Answers that follow upon each other share packets, as they do where a stream is cut into messages: some clients take as long for a small one as for
a large one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from vfgateway.protocols.sftp import wire
from vfgateway.protocols.sftp.ciphers import Gcm
from vfgateway.services.handles import Handle

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.channel import SessionChannel

#: Layouts that are kept for the next answers, those used last: clients ask for pieces of one or two sizes.
MOST_LAYOUTS = 8
#: Bytes of an answer before the data: length, kind, request, length of the data.
_HEAD = struct.Struct(">IBII")
_CHANNEL = struct.Struct(">L")


@attrs.frozen
class _Packet:
    """One packet: where the channel's number goes, what of it the channel carries and how many bytes that is, and where it ends among all."""

    channel: memoryview
    carried: memoryview
    size: int
    end: int


class Layout:
    """The packets of some answers with ``length`` bytes of data each, for a client that takes messages of ``most`` bytes.

    :ivar slots: where the data goes
    :ivar sealed: all packets, to be sent
    :ivar done: packets that were sealed and sent
    """

    def __init__(self, length: int, most: int, answers: int) -> None:
        self.key = (length, most, answers)
        self.length = length
        self.done = 0
        unit = _HEAD.size + length
        sizes = [min(most, unit * answers - at) for at in range(0, unit * answers, most)]
        # Each packet: length of padding, kind of message, channel, length; data; padding up to a multiple of 16.
        inner = [10 + size + 16 - (10 + size) % 16 + (16 if 16 - (10 + size) % 16 < 4 else 0) for size in sizes]
        plain, self.sealed = memoryview(bytearray(sum(inner))), memoryview(bytearray(sum(inner) + 20 * len(inner)))
        self.packets: list[_Packet] = []
        self._to_seal: list[tuple[memoryview, memoryview, memoryview]] = []
        self._size = unit * answers
        at = out = 0
        for size, count in zip(sizes, inner, strict=True):
            pad = count - 10 - size
            packet = plain[at : at + count]
            packet[:10] = struct.pack(">BBLL", pad, 94, 0, size)
            packet[10 + size :] = os.urandom(pad)
            carried = packet[10 : 10 + size]
            header = self.sealed[out : out + 4]
            header[:] = struct.pack(">I", count)
            at, out = at + count, out + 20 + count
            self.packets.append(_Packet(packet[2:6], carried, size, out))
            self._to_seal.append((packet, header, self.sealed[out - 16 - count : out]))
        self.slots: list[memoryview] = []
        self._heads: list[list[memoryview]] = []
        for begin in range(0, unit * answers, unit):
            self._heads.append(self._carried(begin, begin + _HEAD.size, most))
            self.slots += self._carried(begin + _HEAD.size, begin + unit, most)

    def _carried(self, begin: int, end: int, most: int) -> list[memoryview]:
        """Where bytes ``begin`` to ``end`` of the answers lie: in one packet after the other."""
        found = []
        while begin < end:
            number, at = divmod(begin, most)
            found.append(self.packets[number].carried[at : at + end - begin])
            begin += len(found[-1])
        return found

    def prepare(self, requests: Sequence[int], channel: int) -> None:
        """Fill in what differs from time to time."""
        self.done = 0
        for request, pieces in zip(requests, self._heads, strict=True):
            head = _HEAD.pack(9 + self.length, wire.DATA, request, self.length)
            for piece in pieces:
                piece[:], head = head[: len(piece)], head[len(piece) :]
        number = _CHANNEL.pack(channel)
        for packet in self.packets:
            packet.channel[:] = number

    def send(self, channel: SessionChannel, sealer: Gcm) -> bool:
        """Send what the channel's window takes of what is left, if that is worth while; whether that is all."""
        packets, first, window = self.packets, self.done, channel.remoteWindowLeft
        count = len(packets)
        if not first and self._size <= window:
            channel.remoteWindowLeft = window - self._size
            sealer.seal_into(self._to_seal)
            channel.conn.transport.send_directly(count, self.sealed)
            return True
        if window < channel.worth_while:
            return False
        at = first
        while at < count and packets[at].size <= window:
            window -= packets[at].size
            at += 1
        if at > first:
            channel.remoteWindowLeft, self.done = window, at
            sealer.seal_into(self._to_seal[first:at])
            begin, end = packets[first - 1].end if first else 0, packets[at - 1].end
            channel.conn.transport.send_directly(at - first, self.sealed[begin:end])
        return at == count

    def data(self, count: int) -> bytes:
        """Of a single answer the first ``count`` bytes that were read."""
        found = []
        for slot in self.slots:
            found.append(slot[:count])
            count -= len(found[-1])
            if not count:
                break
        return b"".join(found)

    def rest(self) -> Sequence[bytes]:
        """What is left, to be sent another way."""
        return [bytes(packet.carried) for packet in self.packets[self.done :]]


class Direct:
    """Answers for all connections of a front end; a layout belongs to one answer until the client's window has taken all of that.

    :ivar ended: the last READ that was answered came to the end of its file
    """

    def __init__(self) -> None:
        self.ended = False
        self._spare: list[Layout] = []
        self._buffer = memoryview(bytearray(wire.LARGEST_PIECE))

    def _take(self, length: int, most: int, answers: int) -> Layout:
        key = (length, most, answers)
        for index, layout in enumerate(self._spare):
            if layout.key == key:
                return self._spare.pop(index)
        return Layout(length, most, answers)

    def give_back(self, layout: Layout) -> None:
        """It was sent, or need not be any more."""
        self._spare.insert(0, layout)
        del self._spare[MOST_LAYOUTS:]

    def read(self, channel: SessionChannel, handle: Handle, requests: Sequence[int], offset: int, length: int) -> int:
        """Answer READs of ``length`` bytes each that follow upon each other; how many of them, and no more has happened where the storage would
        have to be waited for."""
        transport = channel.conn.transport
        sealer = transport.currentEncryptions.sealer
        if length < 4096 or not isinstance(sealer, Gcm) or not channel.takes_packets or not channel.writable:
            count = handle.read_ready(offset, self._buffer[:length]) if length else None
            if count is None:
                return 0
            self._answer(channel, handle, requests[0], bytes(self._buffer[:count]))
            return 1
        layout = self._take(length, channel.remoteMaxPacket, len(requests))
        count = handle.read_now(offset, layout.slots)
        if count == length * len(requests):
            handle.read_bytes += count
            transport.flush_before()
            layout.prepare(requests, channel.conn.channelsToRemoteChannel[channel])
            if layout.send(channel, sealer):
                self.give_back(layout)
            else:
                channel.rest_of(layout)
            self.ended = False
            return len(requests)
        self.give_back(layout)
        if len(requests) > 1:
            return self.read(channel, handle, requests[:1], offset, length)
        # A cold page ends such a read early, too; asking again tells it from the end.
        if count is None or (count and not handle.ends_at(offset + count, self._buffer[: length - count])):
            return 0
        self._answer(channel, handle, requests[0], layout.data(count))
        return 1

    def _answer(self, channel: SessionChannel, handle: Handle, request: int, data: bytes) -> None:
        """With what there is, at the end of the file or before."""
        self.ended = True
        channel.send(_answer(handle, request, data))

    def read_end(self, handle: Handle, request: int, offset: int, length: int) -> bytes | None:
        """The answer to a READ that comes to the end of its file, if that is at hand: of a small file it is the only one, and needs no
        layout."""
        buffer = self._buffer[:length]
        count = handle.read_ready(offset, buffer)
        self.ended = count is not None and count < length
        return _answer(handle, request, bytes(buffer[:count])) if self.ended else None


_END = wire.status(0, wire.EOF, "end of file")


def _answer(handle: Handle, request: int, data: bytes) -> bytes:
    count = len(data)
    if not count:
        return b"%b%b%b" % (_END[:5], request.to_bytes(4, "big"), _END[9:])
    handle.read_bytes += count
    return _HEAD.pack(9 + count, wire.DATA, request, count) + data
