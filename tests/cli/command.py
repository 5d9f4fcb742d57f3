"""The command beside a gateway of its own: the real manager front end and socket, the command in a thread."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner, Result
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread

from tests.support.gateway import running_gateway
from vfgateway.cli.main import cli
from vfgateway.protocols.manager.frontend import ManagerFrontEnd
from vfgateway.services.gateway import Gateway

SECRET = "the-secret-of-the-manager-front-end"
CONFIGURATION = """
[frontends.manager]
endpoint = "tcp:0:interface=127.0.0.1"
[authenticators.accounts]
"""


def run(*arguments: str, stdin: str | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, arguments, input=stdin)


@attrs.frozen
class Command:
    """The ``vfgateway`` command with a gateway to talk to.

    :ivar url: of the manager front end
    """

    gateway: Gateway
    config: Path
    url: str

    async def run(self, *arguments: str, stdin: str | None = None) -> Result:
        """Run it through the socket, whatever comes of it."""
        result: Result = await deferToThread(run, "--config", str(self.config), *arguments, stdin=stdin)
        return result

    async def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What it prints; it has to succeed."""
        result = await self.run(*arguments, stdin=stdin)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.stdout

    async def json(self, *arguments: str) -> Any:
        """What it prints with ``--json``."""
        return json.loads(await self(*arguments, "--json"))

    async def over_the_network(self, *arguments: str) -> Result:
        """Run it with ``--url`` and whatever shows who calls."""
        result: Result = await deferToThread(run, "--url", self.url, *arguments)
        return result


@asynccontextmanager
async def administered(
    tmp_path: Path, volumes: Sequence[Any] | None = None, authenticators: str = "[authenticators.accounts]\n"
) -> AsyncIterator[Command]:
    """A running gateway with one volume, ``mem``, unless others are given, and the command."""
    file = tmp_path / "vfgateway.toml"
    file.write_text(CONFIGURATION)
    async with running_gateway(tmp_path, volumes, authenticators) as gateway:
        settings = {"endpoint": "tcp:0:interface=127.0.0.1", "secret": SECRET, "client_url": "http://files.example"}
        front_end: Any = ManagerFrontEnd().configure(settings, gateway)
        front_end.privilegedStartService()
        front_end.startService()
        try:
            yield Command(gateway, file, front_end.urls[0])
        finally:
            await maybeDeferred(front_end.stopService)


async def with_alice(command: Command) -> None:
    """Alice and Bob, and a vfolder of hers."""
    for name in ("alice", "bob"):
        await command("user", "add", name, "--no-password")
    await command("vfolder", "create", "alice/data", "--volume", "mem", "--quota", "10MiB")
