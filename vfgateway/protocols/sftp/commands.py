"""The handful of commands that clients run beside SFTP, answered here: there is no shell. ``scp`` is one of them.

rclone and Cyberduck verify what they sent by ``md5sum`` and the like, and ask for free space by ``df``.
"""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Awaitable, Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vfgateway.errors import GatewayError
from vfgateway.paths import FolderPath
from vfgateway.protocols.sftp import faults
from vfgateway.protocols.sftp.extensions import digest
from vfgateway.protocols.sftp.opened import Table
from vfgateway.protocols.sftp.places import Place, Places
from vfgateway.protocols.sftp.scp import PIECE, Ended, Input, Scp
from vfgateway.protocols.sftp.space import figures
from vfgateway.services.session import Session

if TYPE_CHECKING:
    from vfgateway.protocols.sftp.channel import SessionChannel

GREETING = b"This service is for SFTP; there is no shell.\r\n"
_SUMS = {"md5sum": "md5", "sha1sum": "sha1", "sha256sum": "sha256", "sha512sum": "sha512"}


class Greeting:
    """Says that there is no shell, and ends."""

    busy = transfers = False

    def __init__(self, channel: SessionChannel) -> None:
        self._channel = channel

    def start(self) -> None:
        """Say it."""
        self._channel.send(GREETING)
        self._channel.finish(1)

    def data(self, view: memoryview) -> bool:
        """Nobody listens."""
        self._channel.consumed(len(view))
        return True

    def ended(self) -> None:
        """Nobody waits."""

    def pump(self) -> None:
        """Nothing waits."""

    def stop(self) -> None:
        """Nothing runs."""


class Command:
    """One command."""

    log = Logger(namespace="vfgateway.sftp")

    def __init__(self, channel: SessionChannel, session: Session, line: bytes) -> None:
        self._channel = channel
        self._session = session
        self._line = line
        self._input = Input(channel)
        self._running: Deferred[int] | None = None
        gateway = channel.conn.transport.factory.gateway
        self._gateway = gateway
        self._places = Places(session, gateway.reactor)
        self._table = Table(session, gateway)
        self.transfers = True

    @property
    def busy(self) -> bool:
        """See ``Program``: not while it waits for the client, who may have fallen silent."""
        return self.transfers and not self._input.waiting

    def start(self) -> None:
        """Begin."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addBoth(self._finished)

    def _finished(self, status: Any) -> None:
        self._running, self.transfers = None, False
        if isinstance(status, Failure) and status.check(CancelledError):  # the client has gone
            return
        if not isinstance(status, int):
            self.log.failure("a command failed", status)
            status = 1
        self._channel.finish(status)

    def data(self, view: memoryview) -> bool:
        """See ``Program``."""
        self._channel.used()
        self._input.feed(view)
        return True

    def ended(self) -> None:
        """See ``Program``."""
        self._input.end()

    def pump(self) -> None:
        """See ``Program``."""

    def stop(self) -> None:
        """See ``Program``."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    # --- what there is ---

    async def _run(self) -> int:
        try:
            words = shlex.split(self._line.decode("utf-8", "surrogateescape"))
        except ValueError:
            words = []
        known: dict[str, Callable[[list[str]], Awaitable[int]]] = {
            "df": self._df,
            "pwd": self._pwd,
            "echo": self._echo,
            "scp": Scp(self._channel, self._places, self._table, self._input).run,
            **dict.fromkeys(_SUMS, lambda names: self._sums(_SUMS[words[0]], names)),
        }
        command = known.get(words[0]) if words else None
        if command is None:
            self._complain(f"{words[0] if words else 'this'}: not here; this service is for SFTP")
            return 127
        return await command([_from_home(word) for word in words[1:]])

    async def _pwd(self, words: list[str]) -> int:
        self._channel.send(b"/\n")
        return 0

    async def _echo(self, words: list[str]) -> int:
        """rclone asks ``echo`` what kind of shell answers; what it gets is that of a Unix shell."""
        self._channel.send(" ".join(words).encode("utf-8", "surrogateescape") + b"\n")
        return 0

    async def _sums(self, algorithm: str, words: list[str]) -> int:
        """As coreutils print it; without a name, of the standard input."""
        names = [word for word in words if word not in ("--", "-b", "-t", "-")]
        if not names:
            found = hashlib.new(algorithm, usedforsecurity=False)
            with contextlib.suppress(Ended):
                while True:
                    found.update(await self._input.read(PIECE))
            self._say(found.hexdigest(), "-")
            return 0
        status = 0
        expanded = [await self._places.expand(name.encode("utf-8", "surrogateescape")) for name in names]
        for path in chain.from_iterable(expanded):
            name = path.decode("utf-8", "surrogateescape")
            try:
                place = await self._places.entry(path, "read")
                self._say(await self._sum(place, algorithm), name)
            except GatewayError as error:
                faults.enter_refusal(self._session, self._gateway, error)
                self._complain(f"{name}: {faults.text(error)}")
                status = 1
        return status

    async def _sum(self, place: Place, algorithm: str) -> str:
        async with self._table.reading(place, "checksum") as file:
            size = (await file.stat()).size
            # When nobody wants it any more, it is cancelled.
            return (await digest(file, algorithm, 0, size, lambda: None)).hex()

    def _say(self, found: str, name: str) -> None:
        self._channel.send(f"{found}  {name}\n".encode("utf-8", "surrogateescape"))

    async def _df(self, words: list[str]) -> int:
        """As ``df -k`` prints it."""
        names = [word for word in words if not word.startswith("-")] or ["/"]
        self._channel.send(b"Filesystem 1K-blocks Used Available Use% Mounted on\n")
        for name in names:
            try:
                place = await self._places.find(name.encode("utf-8", "surrogateescape"))
                folder = None if place is None else place.folder
                size, free, _, _ = await figures(self._session, self._gateway, folder)
            except GatewayError as error:
                self._complain(f"{name}: {faults.text(error)}")
                return 1
            used = max(0, size - free)
            share = 100 * used // size if size else 0
            shown = "/" if place is None else str(Place(place.folder, place.name, FolderPath()))
            self._channel.send(
                f"vfgateway {size >> 10} {used >> 10} {free >> 10} {share}% {shown}\n".encode(
                    "utf-8", "surrogateescape"
                )
            )
        return 0

    def _complain(self, text: str) -> None:
        self._channel.send_error(text.encode("utf-8", "backslashreplace") + b"\n")


def _from_home(word: str) -> str:
    """As a shell has it: ``~`` is where one is after the login."""
    return f"/{word[2:]}" if word == "~" or word.startswith("~/") else word
