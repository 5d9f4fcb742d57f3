# mypy: disallow-untyped-calls=False
"""The SSH transport: Conch's key exchange over a packet layer of our own.

Conch takes a copy of everything that it has not parsed for every packet, offers what no audit lets pass, and answers what is
malformed with silence. Here packets are opened where the socket put them, answers made within one event leave together, only
algorithms of today are offered, and strict key exchange closes the gap known as Terrapin.
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh import transport as conch
from twisted.conch.ssh.common import NS, getNS
from twisted.internet import main
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper

from vfgateway import __version__
from vfgateway.protocols.sftp.algorithms import SIGNATURES, STRICT_CLIENT, STRICT_SERVER, key_exchanges
from vfgateway.protocols.sftp.ciphers import CTR_CIPHERS, GCM_CIPHERS, LONGEST_PACKET, MACS, BadPacket, Protection
from vfgateway.protocols.sftp.conchlog import CONCH_LOG
from vfgateway.protocols.sftp.connection import SftpConnection

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.factory import SftpFactory

#: Bytes that are taken off the socket at once, at most.
BUFFER = 256 << 10
#: How often the socket is read within one event, at most, and what makes it worth while to do so again.
_MOST_TURNS, _MUCH = 4, 64 << 10
#: Seconds for which a client may take to say what it can do before we say it; most say it at once.
PATIENCE = 0.5
#: Messages of one key exchange, and the end of a connection.
_EXCHANGE = frozenset({conch.MSG_DISCONNECT, conch.MSG_KEXINIT, conch.MSG_NEWKEYS, *range(30, 50)})
#: Packets that are collected before they are sent, at most.
_MOST_TOGETHER = 16
#: Messages that wait for the end of a key exchange, at most.
_MOST_BLOCKED = 4096


class SftpTransport(conch.SSHServerTransport):
    """One connection.

    :ivar heard: when the client was last heard of, in reactor seconds
    :ivar active: when it last asked for something
    :ivar began: when it came
    :ivar user: who has logged in
    :ivar choked: the socket takes no more at the moment
    :ivar ended: nothing is taken in or sent any more
    """

    factory: SftpFactory
    transport: Any  # an ITCPTransport, or a wrapper of one
    currentEncryptions: Any  # a Protection
    nextEncryptions: Any
    service: Any
    log = Logger(namespace="vfgateway.sftp")
    _log = CONCH_LOG

    ourVersionString = b"SSH-2.0-vfgateway_" + __version__.encode("ascii")
    supportedVersions = (b"2.0", b"1.99")
    supportedKeyExchanges = [*key_exchanges(), STRICT_SERVER]  # noqa: RUF012
    supportedCiphers = [*GCM_CIPHERS, *CTR_CIPHERS]  # noqa: RUF012
    supportedMACs = list(MACS)  # noqa: RUF012
    supportedCompressions = [b"none"]  # noqa: RUF012

    def connectionMade(self) -> None:
        """Send the version alone: what we offer depends on what the client can do."""
        self.heard = self.active = self.began = self.factory.reactor.seconds()
        self.user: str | None = None
        self.choked = False
        self.ended = False
        self.bytes_since_keys = 0
        self._strict = False
        self._corked = 0
        self._out: list[bytes] = []
        self._ring = bytearray(BUFFER)
        self._view = memoryview(self._ring)
        self._start = self._end = 0
        self._socket: Any = None
        self._real: Any = None
        self._connection: SftpConnection | None = None
        self.currentEncryptions = Protection(b"none", b"none", b"none", b"none")
        if not self.factory.admit(self):
            self.ended = True
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self, True)
        self.transport.write(self.ourVersionString + b"\r\n")
        self._hurry = self.factory.reactor.callLater(PATIENCE, self._offer_all)

    def _offer_all(self) -> None:
        """A client that waits for us gets the whole list."""
        if self._keyExchangeState == self._KEY_EXCHANGE_NONE and self.sessionID is None and not self.ended:
            self.sendKexInit()

    def connectionLost(self, reason: Any = None) -> None:
        """Let go of everything."""
        self.ended = True
        if hasattr(self, "_hurry") and self._hurry.active():
            self._hurry.cancel()
        if self._real is not None:
            self._real.__dict__.pop("doRead", None)
        self.factory.forget(self)
        self._connection = None
        service, self.service = self.service, None
        if service is not None:
            service.serviceStopped()

    @property
    def address(self) -> str:
        """The client's address, as the PROXY protocol tells it where that is spoken."""
        return str(getattr(self.transport.getPeer(), "host", "") or "unix")

    def is_idle(self, now: float, limit: float) -> bool:
        """Whether nothing was asked for, and nothing is under way, for ``limit`` seconds."""
        busy = self.service is not None and getattr(self.service, "busy", False)
        return not busy and now - self.active > limit

    def ask_for_life(self) -> None:
        """Have the client answer something, whatever it is."""
        self.sendPacket(80, NS(b"keepalive@openssh.com") + b"\1")

    # --- the socket's side ---

    def resumeProducing(self) -> None:
        """The socket takes more."""
        self.choked = False
        if self._connection is not None:
            self._connection.pump()

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
            self._take_packets()

    def _take_version(self) -> bool:
        """RFC 4253 section 4.2: one line."""
        line, newline, rest = self.buf.partition(b"\n")
        if len(line) > 255 or (newline and not line.startswith(b"SSH-")):
            self._drop("no SSH client")
            return False
        if not newline:
            return False
        self.gotVersion = True
        self.otherVersionString = line.rstrip(b"\r")
        self.buf = rest
        if line.split(b"-")[1] not in self.supportedVersions:
            self._drop("wrong version of SSH")
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
        try:
            for _ in range(_MOST_TURNS):
                try:
                    count = self._socket.recv_into(self._view[self._end :])
                except BlockingIOError:
                    break
                except OSError:
                    return main.CONNECTION_LOST
                if not count:
                    return main.CONNECTION_DONE
                self._end += count
                self.heard = self.factory.reactor.seconds()
                self._take_packets()
                if count < _MUCH or self.ended or self.choked:
                    break
        finally:
            self._corked -= 1
            self.flush()
        return None

    def _take_packets(self) -> None:
        self._corked += 1
        try:
            while self._start < self._end and not self.ended:
                found = self.currentEncryptions.opener.open(
                    self.incomingPacketSequence, self._view, self._start, self._end
                )
                if found is None:
                    break
                payload, took = found
                self._start += took
                self.bytes_since_keys += took
                self.incomingPacketSequence = (self.incomingPacketSequence + 1) & 0xFFFFFFFF
                if payload[0] == 94 and self._connection is not None:
                    self._connection.take_data(payload)
                else:
                    self._take_message(payload[0], bytes(payload[1:]))
        except BadPacket as error:
            self.disconnect(conch.DISCONNECT_MAC_ERROR, str(error))
        except (
            ValueError,
            LookupError,
            TypeError,
            struct.error,
        ) as error:  # with which Conch takes apart what is malformed
            self.log.info("a message from {address} could not be read: {error!r}", address=self.address, error=error)
            self.disconnect(conch.DISCONNECT_PROTOCOL_ERROR, "malformed message")
        except Exception:
            self.log.failure("a message from {address} could not be handled", address=self.address)
            self.disconnect(conch.DISCONNECT_PROTOCOL_ERROR, "malformed message")
        finally:
            self._corked -= 1
        if self._start == self._end:
            self._start = self._end = 0
        elif BUFFER - self._end < LONGEST_PACKET + 64:
            self._make_space()
        if self._connection is not None and not self.ended:
            self._connection.pump()
        self.flush()
        if self.bytes_since_keys > self.factory.limits.rekey_bytes and self.sessionID is not None:
            self.exchange_keys()

    def setService(self, service: Any) -> None:
        """See ``SSHTransportBase``."""
        super().setService(service)
        self._connection = self.service if isinstance(self.service, SftpConnection) else None

    def _make_space(self) -> None:
        left = self._end - self._start
        self._view[:left] = bytes(self._view[self._start : self._end])
        self._start, self._end = 0, left

    # --- messages ---

    def _take_message(self, number: int, payload: bytes) -> None:
        if self.sessionID is None or self.currentEncryptions.outCipType == b"none":
            if number not in _EXCHANGE and (self._strict or number >= 5):
                raise BadPacket("only a key exchange may come now")
            if self._strict and number == conch.MSG_KEXINIT:
                raise BadPacket("a second key exchange within the first")
        if number in range(30, 50) and self._keyExchangeState == self._KEY_EXCHANGE_NONE:
            raise BadPacket("no key exchange is under way")
        if number == conch.MSG_NEWKEYS and (self._keyExchangeState == self._KEY_EXCHANGE_NONE or not self._ready()):
            raise BadPacket("no keys were exchanged")
        self.dispatchMessage(number, payload)

    def _ready(self) -> bool:
        """Whether the keys that shall come into use are there."""
        following = getattr(self, "nextEncryptions", None)
        return following is not None and following is not self.currentEncryptions and "opener" in following.__dict__

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Choose: AES-GCM alone if the client has it, since the client's first choice would win otherwise."""
        first = self.sessionID is None
        lists = [names.split(b",") for names in getNS(packet[16:], 4)[:4]]
        if first and STRICT_CLIENT in lists[0]:
            if self.incomingPacketSequence != 1:
                raise BadPacket("something came before the key exchange")
            self._strict = True
        if self._keyExchangeState == self._KEY_EXCHANGE_NONE and first:
            common = [name for name in GCM_CIPHERS if name in lists[2] and name in lists[3]]
            self.supportedCiphers = common or list(CTR_CIPHERS)
        if self._hurry.active():
            self._hurry.cancel()
        super().ssh_KEXINIT(packet)
        following = getattr(self, "nextEncryptions", None)
        if following is not None and not self.ended:
            names = (following.outCipType, following.inCipType, following.outMACType, following.inMACType)
            self.nextEncryptions = Protection(*names)

    def exchange_keys(self) -> None:
        """Ask for new keys, unless that is under way."""
        if self._keyExchangeState == self._KEY_EXCHANGE_NONE and not self.ended:
            self.bytes_since_keys = 0
            self.sendKexInit()
            self.flush()

    @property
    def exchanging_keys(self) -> bool:
        """Whether nothing but a key exchange may be sent now."""
        return bool(self._keyExchangeState != self._KEY_EXCHANGE_NONE)

    def _newKeys(self) -> None:
        self.bytes_since_keys = 0
        if self._strict:
            self.incomingPacketSequence = self.outgoingPacketSequence = 0
        super()._newKeys()

    def sendExtInfo(self, extensions: Any) -> None:
        """Conch would name the algorithms of our host keys; meant are those that clients may sign with."""
        super().sendExtInfo([(b"server-sig-algs", SIGNATURES)])

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """The client says good-bye."""

    def ssh_UNIMPLEMENTED(self, packet: bytes) -> None:
        """Some message of ours was not understood; none that matters."""

    def ssh_DEBUG(self, packet: bytes) -> None:
        """Nobody here reads it."""

    # --- sending ---

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """As in Conch, without a copy each for compression, encryption and the socket."""
        if self.ended:
            return
        if self._keyExchangeState != self._KEY_EXCHANGE_NONE and not self._allowedKeyExchangeMessageType(messageType):
            self._blockedByKeyExchange.append((messageType, payload))
            if len(self._blockedByKeyExchange) > _MOST_BLOCKED:
                self._drop("a key exchange does not come to its end")
            return
        sealer = self.currentEncryptions.sealer
        packet = sealer.seal(self.outgoingPacketSequence, b"%c%b" % (messageType, payload))
        self.outgoingPacketSequence = (self.outgoingPacketSequence + 1) & 0xFFFFFFFF
        self.bytes_since_keys += len(packet)
        self._out.append(packet)
        if not self._corked:
            self.flush()
        elif len(self._out) >= _MOST_TOGETHER:
            self.flush_before()

    def flush(self) -> None:
        """Send what was collected."""
        if self._out and not self._corked:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out = []
            self.send_raw(data)

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

    def _drop(self, why: str) -> None:
        self.log.debug("dropping {address}: {why}", address=self.address, why=why)
        self.ended = True
        self.transport.abortConnection()
