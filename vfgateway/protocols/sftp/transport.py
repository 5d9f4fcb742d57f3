# mypy: disallow-untyped-calls=False
"""The SSH transport: Conch's key exchange over a packet layer of our own (:mod:`vfgateway.protocols.sftp.packets`).

Conch offers what no audit lets pass, and answers what is malformed with silence. Here only algorithms of today are offered, and strict key
exchange closes the gap known as Terrapin.
"""

from __future__ import annotations

from typing import Any

from twisted.conch.ssh import transport as conch
from twisted.conch.ssh.common import NS, getNS

from vfgateway import __version__
from vfgateway.protocols.sftp.algorithms import SIGNATURES, STRICT_CLIENT, STRICT_SERVER, key_exchanges
from vfgateway.protocols.sftp.ciphers import CTR_CIPHERS, GCM_CIPHERS, MACS, BadPacket, Protection
from vfgateway.protocols.sftp.conchlog import CONCH_LOG
from vfgateway.protocols.sftp.connection import SftpConnection
from vfgateway.protocols.sftp.packets import PacketTransport

#: Seconds for which a client may take to say what it can do before we say it; most say it at once.
PATIENCE = 0.5
#: Messages of one key exchange, and the end of a connection.
_EXCHANGE = frozenset({conch.MSG_DISCONNECT, conch.MSG_KEXINIT, conch.MSG_NEWKEYS, *range(30, 50)})


class SftpTransport(PacketTransport):
    """One connection.

    :ivar active: when the client last asked for something, in reactor seconds
    :ivar began: when it came
    :ivar user: who has logged in
    """

    nextEncryptions: Any
    service: Any
    _log = CONCH_LOG

    ourVersionString = b"SSH-2.0-vfgateway_" + __version__.encode("ascii")
    supportedKeyExchanges = [*key_exchanges(), STRICT_SERVER]  # noqa: RUF012
    supportedCiphers = [*GCM_CIPHERS, *CTR_CIPHERS]  # noqa: RUF012
    supportedMACs = list(MACS)  # noqa: RUF012
    supportedCompressions = [b"none"]  # noqa: RUF012

    def connectionMade(self) -> None:
        """Send the version alone: what we offer depends on what the client can do."""
        self.begin_packets()
        self.active = self.began = self.heard
        self.user: str | None = None
        self._strict = False
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
        self.leave_socket()
        if hasattr(self, "_hurry") and self._hurry.active():
            self._hurry.cancel()
        self.factory.forget(self)
        service, self.service = self.service, None
        if service is not None:
            service.serviceStopped()

    def is_idle(self, now: float, limit: float) -> bool:
        """Whether nothing was asked for, and nothing is under way, for ``limit`` seconds."""
        busy = self.service is not None and getattr(self.service, "busy", False)
        return not busy and now - self.active > limit

    def ask_for_life(self) -> None:
        """Have the client answer something, whatever it is."""
        self.sendPacket(80, NS(b"keepalive@openssh.com") + b"\1")

    def setService(self, service: Any) -> None:
        """See ``SSHTransportBase``."""
        super().setService(service)
        self.connection = self.service if isinstance(self.service, SftpConnection) else None

    # --- messages ---

    def take_message(self, number: int, payload: bytes) -> None:
        """As long as keys are exchanged, only what belongs to that; then whatever Conch knows."""
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
