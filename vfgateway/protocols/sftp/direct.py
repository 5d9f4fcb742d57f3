"""READ answers by the shortest way: from the page cache into packets that are laid out already, sealed, and handed to the socket."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import attrs

from vfgateway.protocols.sftp import wire
from vfgateway.protocols.sftp.ciphers import Gcm
from vfgateway.services.handles import Handle

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.channel import SessionChannel

#: Layouts that are kept: clients ask for pieces of one or two sizes.
MOST_LAYOUTS = 8
#: Bytes of an answer before the data: length, kind, request, length of the data.
_HEAD = struct.Struct(">IBII")
_CHANNEL = struct.Struct(">L")


@attrs.frozen
class _Packet:
    """Views of one packet: where the channel's number goes, what is sealed, its clear length, and where it goes."""

    channel: memoryview
    plain: memoryview
    header: memoryview
    target: memoryview


class Layout:
    """The packets of one answer with ``length`` bytes of data, for a client that takes messages of ``most`` bytes.

    :ivar total: bytes of the answer as the channel's window counts them
    :ivar slots: where the data goes
    :ivar sealed: all packets, to be sent
    """

    def __init__(self, length: int, most: int) -> None:
        self.total = _HEAD.size + length
        sizes = [min(most, self.total - at) for at in range(0, self.total, most)]
        # Each packet: length of padding, kind of message, channel, length; data; padding up to a multiple of 16.
        inner = [10 + size + 16 - (10 + size) % 16 + (16 if 16 - (10 + size) % 16 < 4 else 0) for size in sizes]
        plain, self.sealed = memoryview(bytearray(sum(inner))), memoryview(bytearray(sum(inner) + 20 * len(inner)))
        self.packets: list[_Packet] = []
        self.slots: list[memoryview] = []
        at = out = 0
        for size, count in zip(sizes, inner, strict=True):
            pad = count - 10 - size
            packet = plain[at : at + count]
            packet[:10] = struct.pack(">BBLL", pad, 94, 0, size)
            packet[10 + size :] = os.urandom(pad)
            header = self.sealed[out : out + 4]
            header[:] = struct.pack(">I", count)
            self.packets.append(_Packet(packet[2:6], packet, header, self.sealed[out + 4 : out + 20 + count]))
            self.slots.append(packet[10 : 10 + size])
            at, out = at + count, out + 20 + count
        self.head = self.slots[0][: _HEAD.size]
        self.slots[0] = self.slots[0][_HEAD.size :]

    def prepare(self, request: int, channel: int, length: int) -> None:
        """Fill in what differs from answer to answer."""
        self.head[:] = _HEAD.pack(9 + length, wire.DATA, request, length)
        number = _CHANNEL.pack(channel)
        for packet in self.packets:
            packet.channel[:] = number


class Direct:
    """Answers for all connections of a front end; buffers are used within one call."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[int, int], Layout] = {}
        self._buffer = memoryview(bytearray(wire.LARGEST_PIECE))

    def _layout(self, length: int, most: int) -> Layout:
        key = (length, most)
        layout = self._layouts.get(key)
        if layout is None:
            if len(self._layouts) >= MOST_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[key] = Layout(length, most)
        return layout

    def read(self, channel: SessionChannel, handle: Handle, request: int, offset: int, length: int) -> bool:
        """Answer a READ; ``False``, and nothing has happened, where the storage would have to be waited for."""
        if self._read_whole(channel, handle, request, offset, length):
            return True
        count = handle.read_ready(offset, self._buffer[:length]) if length else None
        if count is None:
            return False
        handle.read_bytes += count
        if count:
            head = _HEAD.pack(9 + count, wire.DATA, request, count)
            channel.send(head + bytes(self._buffer[:count]))
        else:
            channel.send(wire.status(request, wire.EOF, "end of file"))
        return True

    def _read_whole(self, channel: SessionChannel, handle: Handle, request: int, offset: int, length: int) -> bool:
        """For a large answer that is all there."""
        transport = channel.conn.transport
        sealer = transport.currentEncryptions.sealer
        if length < 4096 or not isinstance(sealer, Gcm) or not channel.writable or channel.remoteMaxPacket < 4096:
            return False
        if channel.remoteWindowLeft < _HEAD.size + length:
            return False
        layout = self._layout(length, channel.remoteMaxPacket)
        if handle.read_now(offset, layout.slots) != length:
            return False
        handle.read_bytes += length
        transport.flush_before()
        layout.prepare(request, channel.conn.channelsToRemoteChannel[channel], length)
        for packet in layout.packets:
            sealer.seal_into(packet.plain, packet.header, packet.target)
        channel.remoteWindowLeft -= layout.total
        transport.sealed_directly(len(layout.packets), len(layout.sealed))
        transport.send_raw(layout.sealed)
        return True
