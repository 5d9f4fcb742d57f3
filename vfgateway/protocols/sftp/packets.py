# mypy: disallow-untyped-calls=False
"""Packets between Conch and the socket: opened where the socket put them, and sealed and collected until an event is over.

Conch takes a copy of everything that it has not parsed for every packet. What is not about packets is in
:mod:`vfgateway.protocols.sftp.transport`.
"""

from __future__ import annotations

import contextlib
import mmap
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh import transport as conch
from twisted.conch.ssh.common import NS
from twisted.internet import main
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper

from vfgateway.protocols.sftp.ciphers import LONGEST_PACKET, BadPacket, Protection
from vfgateway.protocols.sftp.connection import SftpConnection

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.factory import SftpFactory

#: Bytes that are taken off the socket at once, at most.
BUFFER = 256 << 10
#: How often the socket is read within one event, at most, and what makes it worth while to do so again.
_MOST_TURNS, _MUCH = 4, 64 << 10
#: With which Conch takes apart what is malformed.
_MALFORMED = (ValueError, LookupError, TypeError, struct.error)
#: Packets that are collected before they are sent, at most.
_MOST_TOGETHER = 16
#: Messages that wait for the end of a key exchange, at most.
_MOST_BLOCKED = 4096


class PacketTransport(conch.SSHServerTransport):
    """See the module.

    :ivar heard: when the client was last heard of, in reactor seconds
    :ivar choked: the socket takes no more at the moment
    :ivar ended: nothing is taken in or sent any more
    :ivar at_last: nothing has arrived behind the packet that is being dealt with
    :ivar bytes_since_keys: that were protected by the present keys
    """

    factory: SftpFactory
    transport: Any  # an ITCPTransport, or a wrapper of one
    currentEncryptions: Any  # a Protection
    supportedVersions = (b"2.0", b"1.99")
    log = Logger(namespace="vfgateway.sftp")

    def begin_packets(self) -> None:
        """A connection begins, without protection."""
        self.choked = False
        self.ended = False
        self.bytes_since_keys = 0
        self._corked = 0
        self._out: list[bytes] = []
        self._afterwards: list[Callable[[], object]] = []
        self._view = memoryview(
            mmap.mmap(-1, BUFFER)
        )  # memory that is not written to is none yet: most connections need little
        self._start = self._end = 0
        self.at_last = False
        self._socket: Any = None
        self._real: Any = None
        self.connection: SftpConnection | None = None
        self._seconds = self.factory.reactor.seconds
        self.heard: float = self._seconds()
        self.currentEncryptions = Protection(b"none", b"none", b"none", b"none")

    def leave_socket(self) -> None:
        """The connection has ended."""
        self.ended = True
        self.connection = None
        if self._real is not None:
            self._real.__dict__.pop("doRead", None)

    def take_message(self, number: int, payload: bytes) -> None:
        """A message that is no data of a channel."""
        raise NotImplementedError

    def exchange_keys(self) -> None:
        """Ask for new keys, unless that is under way."""
        raise NotImplementedError

    def drop(self, why: str) -> None:
        """End without a word."""
        self.log.debug("dropping {address}: {why}", address=self.address, why=why)
        self.ended = True
        self.transport.abortConnection()

    @property
    def address(self) -> str:
        """The client's address, as the PROXY protocol tells it where that is spoken."""
        return str(getattr(self.transport.getPeer(), "host", "") or "unix")

    @property
    def exchanging_keys(self) -> bool:
        """Whether nothing but a key exchange may be sent now."""
        return bool(self._keyExchangeState != self._KEY_EXCHANGE_NONE)

    @property
    def clear(self) -> bool:
        """Whether what is sent now leaves now: the socket takes more, and no keys are exchanged."""
        return bool(not self.choked and self._keyExchangeState == self._KEY_EXCHANGE_NONE)

    # --- the socket's side ---

    def resumeProducing(self) -> None:
        """The socket takes more."""
        self.choked = False
        if self.connection is not None:
            self.connection.pump()

    def pauseProducing(self) -> None:
        """The socket is full."""
        self.choked = True

    def stopProducing(self) -> None:
        """The connection has ended."""

    def dataReceived(self, data: bytes) -> None:
        """What came through Twisted's own hands: the beginning, and everything where there is no plain socket below."""
        if self.ended:
            return
        self.heard = self.factory.reactor.seconds()
        if not self.gotVersion:
            self.buf = self.buf + data
            if not self._take_version():
                return
            data, self.buf = self.buf, b""
            self._take_over_socket()
        while data and not self.ended:
            count = min(len(data), BUFFER - self._end)
            self._view[self._end : self._end + count] = data[:count]
            self._end += count
            data = data[count:]
            if self._take_packets():
                self._go_on()
            self.flush()
            self._catch_up()

    def _take_version(self) -> bool:
        """RFC 4253 section 4.2: one line."""
        line, newline, rest = self.buf.partition(b"\n")
        if len(line) > 255 or (newline and not line.startswith(b"SSH-")):
            self.drop("no SSH client")
            return False
        if not newline:
            return False
        self.gotVersion = True
        self.otherVersionString = line.rstrip(b"\r")
        self.buf = rest
        if line.split(b"-")[1] not in self.supportedVersions:
            self.drop("wrong version of SSH")
            return False
        return True

    def _take_over_socket(self) -> None:
        """From here on read into our own buffer and write past Twisted's, if there is a plain socket below."""
        real = self.transport
        while isinstance(real, ProtocolWrapper):
            real = real.transport
        if isinstance(real, Connection) and not getattr(real, "TLS", False):
            self._real = real
            self._socket = real.getHandle()
            with contextlib.suppress(OSError):  # of a Unix socket, which does not wait anyway
                real.setTcpNoDelay(True)  # answers are collected here; that the kernel does so, too, costs 40 ms each
            real.doRead = self._read_socket  # type: ignore[method-assign]
            real.bufferSize = 1  # a socket that does not take all is full: answers wait rather than to be copied

    def _read_socket(self) -> Any:
        """Called by the reactor in place of ``Connection.doRead``, with the same outcomes. While much comes, it is taken in turn by turn
        before anything is answered: each answer wakes the client up."""
        self._corked += 1
        waits, sent_before = False, self.outgoingPacketSequence
        try:
            for _ in range(_MOST_TURNS):
                try:
                    count = self._socket.recv_into(self._view[self._end :] if self._end else self._view)
                except BlockingIOError:
                    break
                except OSError:
                    return main.CONNECTION_LOST
                if not count:
                    return main.CONNECTION_DONE
                self._end += count
                self.heard = self._seconds()
                waits = self._take_packets() or waits
                if count < _MUCH or self.ended or self.choked:
                    break
        finally:
            if waits:
                self._go_on()
            self._corked -= 1
            if self._out:
                self.flush()
            if self.outgoingPacketSequence == sent_before:
                self._acknowledge()
            if self._afterwards:
                self._catch_up()
        return None

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge at once what came, where no answer does that: a client with Nagle's algorithm (paramiko) sends nothing small before, and the
        kernel waits 40 ms. Where its window was full, the next thing that it had to say was that there is room again: a download went at 4 MiB a second."""
        with contextlib.suppress(OSError):  # of a Unix socket
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _go_on(self) -> None:
        """Deal with what has been taken in."""
        if self.connection is not None and not self.ended:
            self.connection.pump()

    def afterwards(self, call: Callable[[], object]) -> None:
        """Have ``call()`` called in this turn of the reactor, once what is being dealt with has been answered: for what the client need not wait
        for."""
        if self._corked:
            self._afterwards.append(call)
        else:
            call()

    def _catch_up(self) -> None:
        calls, self._afterwards = self._afterwards, []
        for call in calls:
            try:
                call()
            except Exception:
                self.log.failure("what was put off until a client had its answer has failed")

    def _take_packets(self) -> bool:
        """Deal with all whole packets that are there; whether something may wait to be gone on with."""
        waits = False
        self._corked += 1
        try:
            while self._start < self._end and not self.ended:
                # The keys are looked up for each packet: any of them may bring new ones.
                serial = self.incomingPacketSequence
                found = self.currentEncryptions.opener.open(serial, self._view, self._start, self._end)
                if found is None:
                    break
                payload, took = found
                self._start += took
                self.at_last = self._start == self._end
                self.bytes_since_keys += took
                self.incomingPacketSequence = (serial + 1) & 0xFFFFFFFF
                connection = self.connection
                if connection is not None and payload[0] == 94:
                    if not connection.take_data(payload):
                        waits = True
                    continue
                waits = True
                if connection is not None and payload[0] == 93:
                    connection.take_window(payload)
                else:
                    self.take_message(payload[0], bytes(payload[1:]))
        except Exception as error:
            self._refuse(error)
        finally:
            self._corked -= 1
        if self._start == self._end:
            self._start = self._end = 0
        elif BUFFER - self._end < LONGEST_PACKET + 64:
            self._make_space()
        if self.bytes_since_keys > self.factory.limits.rekey_bytes and self.sessionID is not None:
            self.exchange_keys()
        return waits

    def _refuse(self, error: Exception) -> None:
        """End, because of what came."""
        if isinstance(error, BadPacket):
            self.disconnect(conch.DISCONNECT_MAC_ERROR, str(error))
            return
        if isinstance(error, _MALFORMED):
            self.log.info("a message from {address} could not be read: {error!r}", address=self.address, error=error)
        else:
            self.log.failure("a message from {address} could not be handled", address=self.address)
        self.disconnect(conch.DISCONNECT_PROTOCOL_ERROR, "malformed message")

    def _make_space(self) -> None:
        left = self._end - self._start
        self._view[:left] = bytes(self._view[self._start : self._end])
        self._start, self._end = 0, left

    # --- sending ---

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """As in Conch, without a copy each for compression, encryption and the socket."""
        if self.ended:
            return
        if self._keyExchangeState != self._KEY_EXCHANGE_NONE and not self._allowedKeyExchangeMessageType(messageType):
            self._blockedByKeyExchange.append((messageType, payload))
            if len(self._blockedByKeyExchange) > _MOST_BLOCKED:
                self.drop("a key exchange does not come to its end")
            return
        self.send_payload(b"%c%b" % (messageType, payload))

    def send_payload(self, payload: bytes) -> None:
        """As :meth:`sendPacket`, of a message with its number, while no keys are exchanged."""
        if self.ended:
            return
        serial = self.outgoingPacketSequence
        packet = self.currentEncryptions.sealer.seal(serial, payload)
        self.outgoingPacketSequence = (serial + 1) & 0xFFFFFFFF
        self.bytes_since_keys += len(packet)
        self._out.append(packet)
        if not self._corked:
            self.flush()
        elif len(self._out) >= _MOST_TOGETHER:
            self.flush_before()

    def flush(self) -> None:
        """Send what was collected."""
        out = self._out
        if out and not self._corked:
            self._out = []
            self.send_raw(out[0] if len(out) == 1 else b"".join(out))

    def flush_before(self) -> None:
        """Send what was collected so far, so that what is sealed next comes after it."""
        if self._out:
            data, self._out = b"".join(self._out), []
            self.send_raw(data)

    def send_raw(self, data: bytes | memoryview) -> None:
        """Send sealed packets: at once if the socket takes them; what it does not take is copied."""
        sent = 0
        real = self._real
        if real is not None and not real.dataBuffer and not real._tempDataLen and not real.disconnecting:
            try:
                sent = self._socket.send(data)
            except OSError:  # full, or broken, which Twisted will find out
                sent = 0
            if sent == len(data):
                return
        self.transport.write(bytes(memoryview(data)[sent:]))

    def send_directly(self, count: int, data: memoryview) -> None:
        """Send packets that were sealed past :meth:`sendPacket`."""
        self.outgoingPacketSequence = (self.outgoingPacketSequence + count) & 0xFFFFFFFF
        self.bytes_since_keys += len(data)
        self.send_raw(data)

    # --- ends ---

    def disconnect(self, code: int, text: str) -> None:
        """Say why, and end."""
        if not self.ended:
            self.log.info("disconnecting {address}: {text}", address=self.address, text=text)
            self.sendDisconnect(code, text)

    def sendDisconnect(self, reason: int, desc: bytes | str) -> None:
        """As in Conch; nothing is taken in any more."""
        if self.ended:
            return
        text = desc.encode("utf-8", "replace") if isinstance(desc, str) else desc
        self.sendPacket(conch.MSG_DISCONNECT, reason.to_bytes(4, "big") + NS(text) + NS(b""))
        self.ended = True
        data, self._out = b"".join(self._out), []
        self.send_raw(data)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def loseConnection(self) -> None:
        """End by our own will."""
        self.disconnect(conch.DISCONNECT_BY_APPLICATION, "closed by the server")
