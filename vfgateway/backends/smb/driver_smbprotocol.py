"""SMB 2.0.2 to 3.1.1 by smbprotocol, which signs and encrypts. It blocks, and so works in threads of its own."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from smbprotocol.connection import Connection, Dialects
from smbprotocol.exceptions import LogonFailure, SMBAuthenticationError, SMBException, SMBResponseException
from smbprotocol.session import Session
from smbprotocol.transport import Tcp
from smbprotocol.tree import TreeConnect

from vfgateway.backends.smb.faults import BAD_NETWORK_NAME, LoginRefused, Lost
from vfgateway.backends.smb.link import CREDIT, Login, Server
from vfgateway.backends.smb.wire import Command, Reply

if TYPE_CHECKING:
    from vfgateway.blocking import Pool

#: Credits to work with: enough for :data:`PARALLEL` commands of the largest size.
CREDITS: Final = 512
#: Commands under way at once on one connection; each holds a thread while it waits.
PARALLEL: Final = 8
#: Bytes of one read or write: more gains nothing, and makes others wait.
LARGEST: Final = 1 << 20
_BEFORE_3_1_1: Final = {Dialects.SMB_2_0_2: "2.0.2", Dialects.SMB_2_1_0: "2.1", Dialects.SMB_3_0_0: "3.0"}


class _Message:
    """A command as smbprotocol sends it: it is only ever packed."""

    def __init__(self, command: Command) -> None:
        self.COMMAND = command.code
        self.payload = command.payload
        self._body = command.body

    def pack(self) -> bytes:
        return self._body

    def __len__(self) -> int:
        return len(self._body)


class _Wire(Tcp):  # type: ignore[misc]
    """The library's transport, which would wait for ever to send, and could not have descriptors over 1023."""

    def connect(self) -> None:
        super().connect()
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.timeout * 1000))
        self._sock.settimeout(self.timeout)

    def send(self, header: Any) -> None:
        data = header if isinstance(header, bytes) else header.pack()
        with self._sock_lock:
            self._sock.sendall(len(data).to_bytes(4, "big") + data)

    def _recv(self, length: int, timeout: float) -> tuple[bytes | None, float]:
        buffer = bytearray(length)
        view = memoryview(buffer)
        with self._close_lock:
            if not self.connected:
                return None, timeout
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            while view:
                if not poll.poll(timeout * 1000):
                    raise TimeoutError
                try:
                    got = self._sock.recv_into(view)
                except OSError:
                    got = 0
                if got == 0:
                    break
                view = view[got:]
        if view:
            self.close()
            return None, timeout
        return bytes(buffer), timeout

    def abort(self) -> None:
        """Wake whoever waits for this connection, now and without waiting for anybody."""
        with suppress(OSError, AttributeError):
            self._sock.shutdown(socket.SHUT_RDWR)


class _Connection(Connection):  # type: ignore[misc]
    """The library's connection over :class:`_Wire`, with commands that it need not understand."""

    @property
    def transport(self) -> _Wire | None:
        return self._wire

    @transport.setter
    def transport(self, tcp: Tcp | None) -> None:
        self._wire = _Wire(tcp.server, tcp.port, tcp.timeout) if tcp is not None else None

    def _calculate_credit_charge(self, message: Any) -> int:
        if not isinstance(message, _Message):
            charge: int = super()._calculate_credit_charge(message)
            return charge
        return (message.payload - 1) // CREDIT + 1 if self.supports_multi_credit else 0


class SmbprotocolDriver:
    """One connection by smbprotocol.

    :param pool: makes a pool of that many threads
    """

    dialect = ""
    largest_read = largest_write = CREDIT

    def __init__(self, server: Server, login: Login, reactor: Any, pool: Callable[[int], Pool]) -> None:
        self._server = server
        self._login = login
        self._reactor = reactor
        self._pool = pool(PARALLEL)
        # A server takes connections with the same identifier for one client's, and some have them share a process, where open files are in
        # each other's way.
        self._connection = _Connection(uuid4(), server.host, server.port, require_signing=True)
        self._session: Session | None = None
        self._tree: TreeConnect | None = None
        self._room = threading.Condition()
        self._closed = False

    @property
    def alive(self) -> bool:
        wire = self._connection.transport
        return not self._closed and self._tree is not None and wire is not None and wire.connected

    # --- connecting

    async def connect(self) -> None:
        self._pool.start()
        # The library waits for some answers without a limit; a connection that is cut lets it go.
        overdue = self._reactor.callLater(3 * self._server.timeout, self._abort)
        try:
            await self._pool.run(self._connect)
        except BaseException:
            await self.close()
            raise
        finally:
            if overdue.active():
                overdue.cancel()

    def _connect(self) -> None:
        server, login = self._server, self._login
        try:
            self._connection.connect(timeout=server.timeout)
            name = f"{login.domain}\\{login.username}" if login.domain else login.username
            self._session = Session(self._connection, name, login.password(), require_encryption=server.encrypted)
            self._session.connect()
            tree = TreeConnect(self._session, f"\\\\{server.host}\\{server.share}")
            tree.connect()
            self._take_credits()
        except (LogonFailure, SMBAuthenticationError):
            raise LoginRefused(f"the server does not let {login} in") from None
        except SMBResponseException as error:
            if error.status == BAD_NETWORK_NAME:
                raise Lost(f"the server has no share {server.share!r}") from None
            raise Lost(f"the server refuses the connection: NT status {error.status:#010x}") from None
        except (SMBException, ValueError, OSError) as error:
            raise Lost(f"no connection: {error}") from None
        self._tree = tree

    def _take_credits(self) -> None:
        connection = self._connection
        self.dialect = _BEFORE_3_1_1.get(connection.dialect, f"{connection.dialect >> 8}.{connection.dialect & 0xFF:x}")
        largest = LARGEST if connection.supports_multi_credit else CREDIT
        self.largest_read = min(largest, connection.max_read_size)
        self.largest_write = min(largest, connection.max_write_size)
        connection.echo(self._session.session_id, self._server.timeout, CREDITS)  # type: ignore[union-attr]

    # --- commands

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        if self._closed:
            raise Lost("the connection was closed")
        try:
            return await self._pool.run(self._exchange, commands)
        except Lost:
            await self.close()
            raise

    def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        tree, session = self._tree, self._session
        if tree is None or session is None or self._closed:
            raise Lost("the connection was closed")
        messages = [_Message(command) for command in commands]
        try:
            with self._room:
                charge = sum(self._connection._calculate_credit_charge(message) or 1 for message in messages)
                if not self._room.wait_for(lambda: self._closed or self._credits() >= charge, self._server.timeout):
                    raise Lost("the server does not let more be asked of it")
                requests = self._connection.send_compound(
                    messages, session.session_id, tree.tree_connect_id, related=len(messages) > 1
                )
            try:
                return [self._receive(request) for request in requests]
            finally:
                with self._room:
                    self._room.notify_all()
        except (SMBException, ValueError, OSError, AttributeError, KeyError) as error:
            # The library's own state is torn when a connection ends, and shows it in several ways.
            raise Lost(f"the connection was lost: {type(error).__name__}") from None

    def _credits(self) -> int:
        window = self._connection.sequence_window
        return int(window["high"] - window["low"])

    def _receive(self, request: Any) -> Reply:
        try:
            header = self._connection.receive(request, timeout=self._server.timeout, resolve_symlinks=False)
        except SMBResponseException as error:
            header = error.header
        return Reply(header["status"].get_value(), header["data"].get_value())

    def _abort(self) -> None:
        wire = self._connection.transport
        if wire is not None:
            wire.abort()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._abort()
            await self._pool.stop()
