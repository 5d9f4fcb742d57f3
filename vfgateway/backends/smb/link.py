"""One connection to a share, logged in: what a driver is, and what everything else is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import BUFFER_OVERFLOW, ENDED, SUCCESS, Lost, Refused
from vfgateway.backends.smb.wire import Command, Opening, Reply

#: A credit's worth of bytes: what a command may carry where there is only one credit for it.
CREDIT: Final = 64 << 10


@attrs.frozen
class Login:
    """Whom to be on the server.

    :ivar password: reads it when it is needed, so that a changed file counts from the next connection on
    """

    username: str
    password: Callable[[], str] = attrs.field(repr=False)
    domain: str = ""

    def __str__(self) -> str:
        return f"{self.domain}\\{self.username}" if self.domain else self.username


@attrs.frozen
class Server:
    """Where the share is, and what to ask of the server.

    :ivar encrypted: refuse a connection that is not encrypted
    :ivar timeout: seconds in which each answer has to come
    """

    host: str
    port: int
    share: str
    encrypted: bool
    timeout: float


class Driver(Protocol):
    """What a library has to do for a connection. A driver that was lost stays so; another one is made."""

    dialect: str
    largest_read: int
    largest_write: int

    @property
    def alive(self) -> bool:
        """Whether it can still be used, as far as is known."""

    async def connect(self) -> None:
        """Connect, log in, and connect to the share. ``Lost``, ``LoginRefused``."""

    async def exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Send a chain of commands, of which all but the first may be ``RELATED``, and return all answers, whatever their status. ``Lost``;
        then it is not alive any more. Not to be cancelled."""

    async def close(self) -> None:
        """End it; what waits for an answer is ``Lost``. Idempotent."""


class Link:
    """A connection, with commands as calls. Each may raise ``Refused`` and ``Lost``."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.handles = 0

    @property
    def alive(self) -> bool:
        return self.driver.alive

    async def exchange(self, *commands: Command) -> list[Reply]:
        """As :meth:`Driver.exchange`; a session that the server has ended is ``Lost``."""
        replies = await self.driver.exchange(commands)
        if any(reply.status in ENDED for reply in replies):
            await self.driver.close()
            raise Lost("the server has ended the session")
        return replies

    async def once(self, opening: Opening, *steps: Command) -> list[Reply]:
        """Open something, do ``steps`` with it and close it again, in one chain; the answers to the steps. The first refusal counts."""
        replies = await self.exchange(opening.command, *steps, wire.close())
        check(*replies[:-1])
        return replies[1:-1]

    async def open(self, opening: Opening, *steps: Command) -> tuple[Handle, list[Reply]]:
        """Open something, with first ``steps``; it is closed again if one of them is refused."""
        first, *others = await self.exchange(opening.command, *steps)
        check(first)
        handle = Handle(self, wire.opened(first.body))
        try:
            check(*others)
        except Refused:
            await handle.close()
            raise
        return handle, others


class Handle:
    """Something open on the server. Gone with its connection."""

    def __init__(self, link: Link, file_id: bytes) -> None:
        self.link = link
        self._id = file_id
        self._closed = False
        link.handles += 1

    async def do(self, *commands: Command) -> list[Reply]:
        """Commands about this file, in one chain; the answers. The first refusal counts."""
        replies = await self.link.exchange(*(command.about(self._id) for command in commands))
        check(*replies)
        return replies

    async def ask(self, command: Command) -> Reply:
        """One command about this file; its answer, whatever its status."""
        return (await self.link.exchange(command.about(self._id)))[0]

    async def close(self) -> None:
        """Let go; a connection that is lost has done so already. Idempotent."""
        if not self._closed:
            self._closed = True
            self.link.handles -= 1
            if self.link.alive:
                try:
                    await self.ask(wire.close())
                except Lost:
                    return


def check(*replies: Reply) -> None:
    """Raise ``Refused`` for the first that is one."""
    for reply in replies:
        if reply.status not in (SUCCESS, BUFFER_OVERFLOW):
            raise Refused(reply.status)
