# mypy: disallow-untyped-calls=False
"""Channels of one connection (RFC 4254): sessions for SFTP and a handful of commands, nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_RESOURCE_SHORTAGE, SSHConnection
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION

from vfgateway.protocols.sftp.channel import SessionChannel
from vfgateway.protocols.sftp.conchlog import CONCH_LOG
from vfgateway.protocols.sftp.keyrotation import PROVE, announcement, proofs
from vfgateway.services.session import Session

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.transport import SftpTransport

_DATA_HEAD = struct.Struct(">LL").unpack_from
#: Channels that one connection may have open.
MOST_CHANNELS = 16
#: Seconds from one end of a short line to the other and back.
NEAR = 0.005


class SftpConnection(SSHConnection):
    """See the module.

    :param session: the hands of whoever logged in
    :ivar near: whether the client answers within milliseconds
    """

    transport: SftpTransport
    _log = CONCH_LOG

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._leave: Callable[[], None] | None = None
        self._proved = False
        self._began = 0.0
        self.near = False

    def serviceStarted(self) -> None:
        """Stay for as long as what was shown at the login is good."""
        super().serviceStarted()
        self._began = self.transport.factory.reactor.seconds()
        standings = self.transport.factory.gateway.standings
        self._leave = standings.stay(self.session.principal, self._expel)
        self.transport.sendPacket(80, announcement(self.transport.factory.all_keys))

    def serviceStopped(self) -> None:
        """The connection has ended."""
        if self._leave is not None:
            self._leave()
        super().serviceStopped()

    def _expel(self) -> None:
        self.transport.disconnect(DISCONNECT_BY_APPLICATION, "what you logged in with is good no more")

    def ssh_CHANNEL_OPEN(self, packet: bytes) -> None:
        """Sessions alone: nothing is forwarded. Refusals are answered here, since Conch logs each as a failure of ours."""
        if self.localChannelID == 0:  # clients ask for it as soon as they are let in
            self.near = self.transport.heard - self._began < NEAR
        kind, rest = getNS(packet)
        sender, _, most = struct.unpack(">3L", rest[:12])
        if kind != b"session":
            self._refuse(sender, OPEN_ADMINISTRATIVELY_PROHIBITED, b"this service is for SFTP; nothing is forwarded")
        elif len(self.channels) >= MOST_CHANNELS:
            self._refuse(sender, OPEN_RESOURCE_SHORTAGE, b"too many channels")
        elif not most:
            self._refuse(sender, OPEN_RESOURCE_SHORTAGE, b"packets of no size")
        else:
            super().ssh_CHANNEL_OPEN(packet)

    def _refuse(self, sender: int, reason: int, why: bytes) -> None:
        self.transport.sendPacket(92, struct.pack(">LL", sender, reason) + NS(why) + NS(b"en"))

    def getChannel(self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes) -> SSHChannel:
        """A session."""
        return SessionChannel(self, windowSize, maxPacket)

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> Any:
        """Proofs of our keys, once. Nothing else is offered; to be refused is all that a client needs which only asks whether we live."""
        if requestType != PROVE or self._proved:
            return 0
        self._proved = True
        transport = self.transport
        found = proofs(data, transport.factory.all_keys, transport.sessionID, transport.keyAlg)
        return (1, found) if found else 0

    def ssh_REQUEST_SUCCESS(self, packet: bytes) -> None:
        """The client lives."""

    def ssh_REQUEST_FAILURE(self, packet: bytes) -> None:
        """The client lives."""

    def ssh_CHANNEL_EXTENDED_DATA(self, packet: bytes) -> None:
        """Nobody here reads it; it counts against the window like all else."""
        local, _, length = struct.unpack(">3L", packet[:12])
        channel = self.channels[local]
        channel.take(length)
        channel.consumed(length)

    def take_data(self, payload: memoryview) -> bool:
        """A CHANNEL_DATA message, still in the buffer that it was decrypted into; whether all in it has been dealt with."""
        local, length = _DATA_HEAD(payload, 1)
        channel = self.channels[local]
        if length != len(payload) - 9:
            raise ValueError("the length of a message is wrong")
        if length > channel.localWindowLeft:
            raise ValueError("more was sent than the window allows")
        channel.localWindowLeft -= length
        program = channel.program
        dealt_with: bool = channel.dataReceived(payload[9:]) if program is None else program.data(payload[9:])
        return dealt_with

    def take_window(self, payload: memoryview) -> None:
        """A CHANNEL_WINDOW_ADJUST message. Some come at once, and all are taken in before :meth:`pump` goes on with what waited for them."""
        local, count = _DATA_HEAD(payload, 1)
        self.channels[local].widen(count)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return any(channel.busy for channel in self.channels.values())

    @property
    def transfers(self) -> bool:
        """Whether a file is open, or a command runs."""
        return any(channel.transfers for channel in self.channels.values())

    def look(self) -> None:
        """What is to be looked at each few seconds."""
        for channel in tuple(self.channels.values()):
            channel.look()

    def pump(self) -> None:
        """Go on with what waited for the socket, for a key exchange, or for the next event."""
        for channel in tuple(self.channels.values()):
            channel.pump()

    def adjustWindow(self, channel: SSHChannel, bytesToAdd: int) -> None:
        """Let the client send more."""
        channel.localWindowLeft += bytesToAdd
        if not channel.localClosed:
            self.transport.sendPacket(93, struct.pack(">LL", self.channelsToRemoteChannel[channel], bytesToAdd))
