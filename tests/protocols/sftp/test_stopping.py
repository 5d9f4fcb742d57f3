"""A stop of the front end: what is under way comes to its end, and who has nothing under way is told good-bye at once."""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.protocols.sftp.client import RawSftp, string
from tests.protocols.sftp.conftest import connected, port_of, type_serve
from tests.protocols.sftp.test_frontend import with_alice
from tests.protocols.sftp.test_limits import until
from tests.services.test_session import get
from tests.support.gateway import orchestrator_in
from vfgateway.paths import parse_text as path
from vfgateway.protocols.sftp import factory

LONG = 600.0
CLOSE, OPEN, RENAME = 4, 3, 18


async def test_a_transfer_ends_and_an_idle_session_goes_at_once(tmp_path: Path, serve: type_serve) -> None:
    """The file that is open is written to its end, closed and renamed; the next one is not begun; nobody waits for the grace."""
    async with with_alice(tmp_path) as (gateway, vfolder), serve(gateway, LONG) as service:
        port = port_of(service)
        idle, busy = [await deferToThread(connected, port) for _ in range(2)]
        sftp = await deferToThread(idle.open_sftp)
        assert await deferToThread(sftp.listdir, "/") == ["data"]
        file = await deferToThread(lambda: busy.open_sftp().open("/data/a.part", "w"))
        for transport in service.factory.connections:
            transport.active -= factory.LINGER
        stopping = Deferred.fromCoroutine(service.factory.close(LONG))
        await until(lambda: len(service.factory.connections) == 1)
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            await deferToThread(sftp.listdir, "/")

        def finish() -> None:
            for _ in range(20):
                file.write(b"x" * 1000)
                file.flush()
            file.close()
            file.sftp.posix_rename("/data/a.part", "/data/a")
            with pytest.raises((OSError, EOFError, paramiko.SSHException)):
                file.sftp.open("/data/b", "w")

        await deferToThread(finish)
        await stopping
        await deferToThread(lambda: [client.close() for client in (idle, busy)])
        folder = await orchestrator_in(gateway, vfolder)
        assert await get(folder, path("a")) == b"x" * 20_000
        listing = await folder.list(path(""))
        assert [entry.name for entry in await listing.read(9)] == ["a"]
        await listing.close()


async def test_who_holds_a_file_open_and_says_nothing_keeps_nobody(tmp_path: Path, serve: type_serve) -> None:
    """As a mount may for days: it is ended when it has been silent for a while, long before the grace is over."""
    async with with_alice(tmp_path) as (gateway, vfolder), serve(gateway, LONG) as service:
        client = await deferToThread(connected, port_of(service))
        file = await deferToThread(lambda: client.open_sftp().open("/data/a", "w"))
        await deferToThread(lambda: (file.write(b"begun"), file.flush()))
        (transport,) = service.factory.connections
        transport.active -= LONG
        transport.heard -= factory.QUIET
        await service.factory.close(LONG)
        assert not service.factory.connections
        await deferToThread(client.close)
        assert await get(await orchestrator_in(gateway, vfolder), path("a")) == b"begun"


async def test_the_grace_has_an_end(tmp_path: Path, serve: type_serve) -> None:
    """A client that goes on and on is told good-bye then; what it wrote stays."""
    async with with_alice(tmp_path) as (gateway, vfolder), serve(gateway, 0.3) as service:

        def go_on() -> int:
            written = 0
            with connected(port_of(service)) as client, client.open_sftp().open("/data/a", "w") as file:
                begun.callback(None)
                try:
                    while True:
                        file.write(b"x" * 100)
                        file.flush()
                        written += 100
                except (OSError, EOFError, paramiko.SSHException):
                    return written

        begun: Deferred[None] = Deferred()
        working = deferToThread(go_on)
        await until(lambda: service.factory.users)
        await until(lambda: begun.called)
        await service.stopService()
        written = await working
        assert len(await get(await orchestrator_in(gateway, vfolder), path("a"))) >= written


async def test_what_was_asked_before_the_stop_is_answered(tmp_path: Path, serve: type_serve) -> None:
    """Requests on the file that is open; an OPEN among them is left unanswered, and what follows it is not."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway, LONG) as service:
        client = await deferToThread(RawSftp, port_of(service))
        handle = await deferToThread(client.open, b"/data/a", 2 | 8)
        stopping = Deferred.fromCoroutine(service.factory.close(LONG))

        def ask() -> list[int]:
            client.request(OPEN, string(b"/data/b") + b"\0\0\0\x0a\0\0\0\0")
            wanted = [client.request(CLOSE, handle), client.request(RENAME, string(b"/data/a") + string(b"/data/c"))]
            answered = [client.answer()[1] for _ in wanted]
            assert answered == wanted
            return answered

        await deferToThread(ask)
        await stopping
        assert await deferToThread(client.ends)
        await deferToThread(client.__exit__, None, None, None)
