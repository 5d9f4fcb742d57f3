# mypy: disallow-untyped-calls=False
"""One session channel: flow control in both directions, and what runs on it.

The window is opened again for what was dealt with, not for what was received, so a client can have no more under way than one window;
answers wait until the client's window, the socket and the key exchange let them pass.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.internet.defer import Deferred

from vfgateway.protocols.sftp import commands
from vfgateway.protocols.sftp.ciphers import Gcm
from vfgateway.protocols.sftp.conchlog import CONCH_LOG
from vfgateway.protocols.sftp.direct import Layout
from vfgateway.protocols.sftp.server import SftpServer

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.connection import SftpConnection

#: Bytes that a client may send before any was dealt with: on the first channel of a connection, and on each further one. And in what portions
#: it may send more.
WINDOW, NEXT_WINDOW, PORTION = 4 << 20, 1 << 20, 512 << 10
#: Bytes of one message that we send, at most.
PACKET = 32768
#: Bytes of one message that a client may send: a WRITE of 32 KiB with its head. In two messages, Nagle's algorithm at the client
#: would hold the second back until our kernel got tired of waiting for it, 40 ms each time.
TAKEN = PACKET + 256
#: Bytes of the largest answer to READ.
ENOUGH = 256 << 10
_DATA_HEAD = struct.Struct(">LL").pack
_DATA_MESSAGE = struct.Struct(">BLL").pack
#: The largest window there is (RFC 4254 section 5.2).
LARGEST_WINDOW = (1 << 32) - 1


class Program(Protocol):
    """What runs on a channel."""

    @property
    def busy(self) -> bool:
        """Whether something is under way."""

    @property
    def transfers(self) -> bool:
        """Whether it has a file open, or is something that comes to an end by itself."""

    def data(self, view: memoryview) -> bool:
        """What the client sent; the view is good for this call only. Whether it has been dealt with, so that nothing is left for :meth:`pump`."""

    def ended(self) -> None:
        """The client sends no more."""

    def pump(self) -> None:
        """Go on, if there is something to go on with."""

    def stop(self) -> None:
        """The channel is gone."""


class SessionChannel(SSHChannel):
    """See the module.

    :ivar program: what runs on it; ``None`` before that was asked for
    """

    name = b"session"
    _log = CONCH_LOG

    def __init__(self, connection: SftpConnection, window: int, packet: int) -> None:
        own = NEXT_WINDOW if connection.channels else WINDOW
        super().__init__(own, TAKEN, window, min(packet, PACKET), connection)
        self.conn: SftpConnection
        self._pending: deque[bytes | memoryview] = deque()
        self._layout: Layout | None = None
        self._unreported = 0
        self._largest_window = window
        self._waited: tuple[Layout | None, int] = (None, 0)
        self.program: Program | None = None
        self._waiters: list[Deferred[None]] = []
        self._then: Callable[[], None] | None = None

    # --- flow ---

    def take(self, count: int) -> None:
        """The client used up some of its window. ``ValueError`` if it had not so much."""
        if count > self.localWindowLeft:
            raise ValueError("more was sent than the window allows")
        self.localWindowLeft -= count

    def answer(self, data: bytes, count: int) -> None:
        """:meth:`send` what answers a request that was begun with just now, since the channel is :attr:`writable`, and note that its ``count`` bytes are
        :meth:`consumed`."""
        size, window = len(data), self.remoteWindowLeft
        if size <= window and size <= self.remoteMaxPacket and not self.localClosed:
            self.remoteWindowLeft = window - size
            conn = self.conn
            conn.transport.send_payload(_DATA_MESSAGE(94, conn.channelsToRemoteChannel[self], size) + data)
        else:
            self.send(data)
        self._unreported += count
        if self._unreported >= PORTION:
            self.consumed(0)

    def consumed(self, count: int) -> None:
        """So much was dealt with."""
        self._unreported += count
        if self._unreported >= PORTION:
            count, self._unreported = self._unreported, 0
            self.conn.adjustWindow(self, count)

    def send(self, data: bytes | memoryview) -> None:
        """Send to the client, now or when it can take it."""
        if not self.localClosed:
            self._pending.append(data)
            self._drain()

    async def room(self) -> None:
        """Return when all that was sent before is on its way."""
        while (self._unsent or self.conn.transport.choked) and not self.localClosed:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter

    def send_error(self, data: bytes) -> None:
        """Send to the client's standard error; short texts, which are dropped if the window is full."""
        if not self.localClosed and len(data) <= self.remoteWindowLeft:
            self.remoteWindowLeft -= len(data)
            self.conn.sendExtendedData(self, 1, data)

    @property
    def writable(self) -> bool:
        """Whether an answer of any size may be made now."""
        if self._layout is not None or self._pending or not self.remoteWindowLeft:
            return False
        return self.conn.transport.clear

    @property
    def takes_packets(self) -> bool:
        """Whether packets may wait until the window holds them whole: clients open it again at half of it at the latest."""
        return 4096 <= self.remoteMaxPacket <= self._largest_window // 2

    @property
    def worth_while(self) -> int:
        """Bytes of the window that are worth while to go on for with an answer that does not fit: where the line is short, few sends of much cost both
        sides less, and what is under way to the client keeps it busy meanwhile."""
        return min(ENOUGH, self._largest_window // 4) if self.conn.near else 0

    def look(self) -> None:
        """Each few seconds: an answer that has waited since the last time, while the client did not open its window, waits for more than the client ever
        opens it."""
        waits = self._layout, self.remoteWindowLeft
        if waits[0] is not None and waits == self._waited and not self.conn.transport.choked:
            self._largest_window = waits[1]
            self._pending.extendleft(reversed(waits[0].rest()))
            self._let_go()
            self.pump()
        self._waited = waits

    def rest_of(self, layout: Layout) -> None:
        """Send what is left of an answer as the window opens, before anything else."""
        self._layout = layout

    @property
    def _unsent(self) -> bool:
        return self._layout is not None or bool(self._pending)

    def _send_rest(self) -> bool:
        """Whether nothing is left of the answer."""
        layout, transport = self._layout, self.conn.transport
        if layout is not None:
            sealer = transport.currentEncryptions.sealer
            if not transport.clear:
                return False
            if isinstance(sealer, Gcm):
                transport.flush_before()
                if not layout.send(self, sealer):
                    return False
            else:  # the new keys are for another cipher
                self._pending.extendleft(reversed(layout.rest()))
            self._let_go()
        return True

    def _let_go(self) -> None:
        layout, self._layout = self._layout, None
        if layout is not None:
            self.conn.transport.factory.direct.give_back(layout)

    def _drain(self) -> None:
        transport, pending = self.conn.transport, self._pending
        if self._layout is not None and not self._send_rest():
            return
        number = self.conn.channelsToRemoteChannel[self]
        while pending and self.remoteWindowLeft and not transport.exchanging_keys:
            piece = pending.popleft()
            count = min(len(piece), self.remoteWindowLeft, self.remoteMaxPacket)
            if count < len(piece):
                pending.appendleft(memoryview(piece)[count:])
                piece = memoryview(piece)[:count]
            self.remoteWindowLeft -= count
            transport.sendPacket(94, _DATA_HEAD(number, count) + piece)
        if self._then is not None and not pending:
            then, self._then = self._then, None
            then()

    def widen(self, count: int) -> None:
        """The client takes more; what waited for it goes on with :meth:`pump`."""
        self.remoteWindowLeft += count
        self._largest_window = max(self._largest_window, self.remoteWindowLeft)
        if self.remoteWindowLeft > LARGEST_WINDOW:
            raise ValueError("the window grew beyond what there is")

    def pump(self) -> None:
        """Go on."""
        if not self.localClosed:
            if self._layout is not None or self._pending:
                self._drain()
            if self.program is not None:
                self.program.pump()
            if self._waiters:
                self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._unsent or (self.program is not None and self.program.busy)

    @property
    def transfers(self) -> bool:
        """See ``Program``."""
        return self.program is not None and self.program.transfers

    def used(self) -> None:
        """The client asked for something."""
        transport = self.conn.transport
        transport.active = transport.heard

    # --- from the client ---

    def channelOpen(self, specificData: bytes) -> None:
        """Nothing happens before a request."""

    def dataReceived(self, data: Any) -> bool:
        """For the program; what comes before one runs is dropped. Whether it has been dealt with."""
        if self.program is not None:
            return self.program.data(data)
        self.consumed(len(data))
        return True

    def eofReceived(self) -> None:
        """The client sends no more."""
        if self.program is not None:
            self.program.ended()

    def closeReceived(self) -> None:
        """The client is through with it."""
        self._pending.clear()
        self._let_go()
        self.loseConnection()

    def closed(self) -> None:
        """It is gone."""
        self._pending.clear()
        self._let_go()
        program, self.program = self.program, None
        if program is not None:
            program.stop()
        self._wake()

    def loseConnection(self) -> None:
        """Close, once everything was sent."""
        if self._unsent:
            self._then = self.loseConnection
        elif not self.localClosed:
            self.conn.sendClose(self)

    def finish(self, status: int) -> None:
        """A program has ended by itself."""
        if self.localClosed:
            return
        if self._unsent:
            self._then = lambda: self.finish(status)
            return
        transport, remote = self.conn.transport, self.conn.channelsToRemoteChannel[self]
        transport.sendPacket(98, struct.pack(">L", remote) + NS(b"exit-status") + b"\0" + struct.pack(">L", status))
        self.conn.sendEOF(self)
        self.conn.sendClose(self)

    # --- requests ---

    def requestReceived(self, requestType: bytes, data: bytes) -> Any:
        """One program a channel; no terminal, no environment, no forwarding."""
        if self.program is not None:
            return False
        if requestType == b"subsystem" and getNS(data)[0] == b"sftp":
            self.program = SftpServer(self, self.conn.session)
            return True
        if requestType == b"exec":
            self.program = commands.Command(self, self.conn.session, getNS(data)[0])
            self.conn.transport.factory.reactor.callLater(0, self.program.start)
            return True
        if requestType == b"shell":
            self.program = commands.Greeting(self)
            self.conn.transport.factory.reactor.callLater(0, self.program.start)
            return True
        return False
