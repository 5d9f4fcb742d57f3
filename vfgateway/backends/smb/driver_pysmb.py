"""SMB 2.0.2 by pysmb's Twisted classes: no threads, signing, no encryption.

What pysmb 1.2 is known to do wrong cannot happen here. It does not count credits: one command at a time is under way. It fails nothing when
a connection is lost, and its own time limits die of a changed dictionary: both are ours, and its sweep is never started. Its
commands cannot write at an offset, replace by renaming, nor set times, and take wildcards in names: the commands are ours. It does not
check what the server signs: for networks that can be trusted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, Final

from smb.base import _PendingRequest
from smb.smb2_constants import SMB2_COM_SESSION_SETUP
from smb.smb2_structs import SMB2Message, SMB2TreeConnectRequest
from smb.SMBProtocol import SMBProtocol, SMBProtocolFactory
from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import ACCESS_DENIED, BAD_NETWORK_NAME, SUCCESS, LoginRefused, Lost
from vfgateway.backends.smb.link import CREDIT, Login, Server
from vfgateway.backends.smb.wire import Command, Reply

_HEADER: Final = 64
#: How this machine calls itself in the NTLM messages.
_OUR_NAME: Final = "vfgateway"

logging.getLogger("SMB").setLevel(logging.WARNING)  # below that it tells keys


class _Payload:
    """A command as pysmb sends it."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def initMessage(self, message: SMB2Message) -> None:
        message.command = self._command.code

    def prepare(self, message: SMB2Message) -> None:
        message.data = self._command.body


class _Protocol(SMBProtocol):  # type: ignore[misc]
    """The library's connection, which tells everything that ends it."""

    factory: _Factory

    def onAuthOK(self) -> None:
        """Without the library's sweep, which re-arms itself for ever."""
        if self.is_using_smb2:
            self.factory.settle(None)
        else:
            self.factory.settle(Lost("the server speaks SMB 1 only, which cannot be used"))

    def onAuthFailed(self) -> None:
        self.factory.settle(LoginRefused(f"the server does not let {self.factory.login} in"))

    def _updateState_SMB2(self, message: SMB2Message) -> Any:
        logged_in = message.command == SMB2_COM_SESSION_SETUP and message.status == SUCCESS
        if logged_in and (message.payload.isGuestSession or message.payload.isAnonymousSession):
            self.factory.settle(LoginRefused(f"the server takes {self.factory.login} for a guest"))
            return False
        return super()._updateState_SMB2(message)

    def dataReceived(self, data: bytes) -> None:
        try:
            super().dataReceived(data)
        except Exception as error:  # what it raises is anything, for anything that it does not know
            self.factory.over(Lost(f"the server answered what cannot be understood: {type(error).__name__}"))
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.factory.over(Lost(f"the connection was lost: {reason.getErrorMessage()}"))


class _Factory(SMBProtocolFactory):  # type: ignore[misc]
    """One connection.

    :ivar ready: fires when the login has succeeded, or has failed
    :ivar lost: why it is over, once it is
    """

    protocol = _Protocol
    noisy = False

    def __init__(self, login: Login, host: str) -> None:
        super().__init__(
            login.username,
            login.password(),
            _OUR_NAME,
            host,
            login.domain,
            sign_options=self.SIGN_WHEN_SUPPORTED,
            is_direct_tcp=True,
        )
        self.login = login
        self.ready: Deferred[None] = Deferred()
        self.lost: Lost | None = None
        self.waiting: Deferred[Any] | None = None

    def settle(self, error: Lost | None) -> None:
        """The login has come to its end."""
        if not self.ready.called:
            if error is None:
                self.ready.callback(None)
            else:
                self.ready.errback(error)

    def over(self, error: Lost) -> None:
        """Nothing comes any more."""
        self.lost = self.lost or error
        self.settle(self.lost)
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.errback(self.lost)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.over(Lost(f"no connection: {reason.getErrorMessage()}"))


class PysmbDriver:
    """One connection by pysmb."""

    dialect = "2.0.2"
    largest_read = largest_write = CREDIT

    def __init__(self, server: Server, login: Login, reactor: Any) -> None:
        self._server = server
        self._login = login
        self._reactor = reactor
        self._factory: _Factory | None = None
        self._tree: int | None = None
        self._line = DeferredLock()

    @property
    def alive(self) -> bool:
        factory = self._factory
        return factory is not None and factory.lost is None and self._tree is not None

    async def connect(self) -> None:
        server = self._server
        self._factory = factory = _Factory(self._login, server.host)
        self._reactor.connectTCP(server.host, server.port, factory, timeout=server.timeout)
        overdue = self._reactor.callLater(2 * server.timeout, self._cut)
        try:
            await factory.ready
            protocol = factory.instance
            self.largest_read = min(CREDIT, protocol.max_read_size)
            self.largest_write = min(CREDIT, protocol.max_write_size)
            await self._connect_tree()
        except Lost:
            await self.close()
            raise
        finally:
            if overdue.active():
                overdue.cancel()

    async def _connect_tree(self) -> None:
        server = self._server
        answer = await self._ask(SMB2Message(SMB2TreeConnectRequest(f"\\\\{server.host}\\{server.share}")))
        if answer.status == BAD_NETWORK_NAME:
            raise Lost(f"the server has no share {server.share!r}")
        if answer.status == ACCESS_DENIED:
            raise Lost(
                f"the server refuses the share {server.share!r}: it may want encryption, which pysmb does not have"
            )
        if answer.status:
            raise Lost(f"the server refuses the connection: NT status {answer.status:#010x}")
        self._tree = answer.tid

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        replies: list[Reply] = await self._line.run(lambda: Deferred.fromCoroutine(self._exchange(commands)))
        return replies

    async def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """One after the other, each about what the first has opened, as a server does with a chain."""
        replies: list[Reply] = []
        opened = b""
        for command in commands:
            if replies and replies[0].status and commands[0].code == wire.CREATE:
                replies.append(Reply(replies[0].status, b""))
                continue
            message = SMB2Message(_Payload(command.about(opened) if opened else command))
            message.tid = self._tree or 0
            answer = await self._ask(message)
            replies.append(Reply(answer.status, answer.raw_data[_HEADER:]))
            if command.code == wire.CREATE and not answer.status:
                opened = wire.opened(replies[-1].body)
        return replies

    async def _ask(self, message: SMB2Message) -> SMB2Message:
        """Send one message; the answer. ``Lost`` if it does not come in time."""
        factory = self._factory
        if factory is None or factory.lost is not None:
            raise Lost("the connection was closed") if factory is None else factory.lost  # type: ignore[misc]
        waiting: Deferred[SMB2Message] = Deferred()
        factory.waiting = waiting
        protocol = factory.instance
        protocol._sendSMBMessage(message)
        protocol.pending_requests[message.mid] = _PendingRequest(message.mid, math.inf, self._answered, self._answered)
        overdue = self._reactor.callLater(self._server.timeout, self._cut)
        try:
            return await waiting
        finally:
            if overdue.active():
                overdue.cancel()

    def _answered(self, message: SMB2Message, **_: Any) -> None:
        factory = self._factory
        if factory is not None and factory.waiting is not None:
            waiting, factory.waiting = factory.waiting, None
            waiting.callback(message)

    def _cut(self) -> None:
        self._end(Lost(f"the server does not answer within {self._server.timeout:.0f} seconds"))

    def _end(self, error: Lost) -> None:
        factory = self._factory
        if factory is not None:
            factory.over(error)
            if factory.instance is not None and factory.instance.transport is not None:
                factory.instance.transport.abortConnection()

    async def close(self) -> None:
        self._end(Lost("the connection was closed"))
