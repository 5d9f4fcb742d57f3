"""What needs a hand on both sides of the wire: locks, time, storage of another kind, keys that the server wants to change."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import paramiko
import pytest
from twisted.internet.threads import deferToThread

from tests.protocols.sftp.conftest import connected, port_of, type_serve
from tests.services.test_handles import lock, volumes
from tests.services.test_session import get, put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.process import ALICE
from vfgateway.model import Usage, VFolder
from vfgateway.paths import parse_text as path
from vfgateway.services.gateway import Gateway
from vfgateway.services.operations import FileOperation, LoginFailed, LoginSucceeded


@asynccontextmanager
async def with_alice(tmp_path: Path, volume: str = "mem", **options: int) -> AsyncIterator[tuple[Gateway, VFolder]]:
    """A gateway with alice and her vfolder ``data``."""
    async with running_gateway(tmp_path, volumes()) as gateway:
        user = await gateway.accounts.create_user(ALICE[0])
        await gateway.accounts.set_password(user.id, ALICE[1])
        yield gateway, await new_vfolder(gateway, volume, owner=user.id, name="data", **options)


async def test_a_locked_file_is_refused_and_says_by_whom(tmp_path: Path, serve: type_serve) -> None:
    """Opening, renaming over, removing; a lock taken in the middle of a transfer ends it; what was unlocked is free at once."""
    async with with_alice(tmp_path) as (gateway, vfolder), serve(gateway) as service:
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a"), b"old")
        token = await lock(gateway, vfolder, path("a"))

        def refused() -> None:
            with connected(port_of(service)) as client:
                sftp = client.open_sftp()
                sftp.open("/data/b", "w").close()
                with pytest.raises(OSError, match="locked by bob"):
                    sftp.open("/data/a", "r+")
                with pytest.raises(OSError, match="locked by bob"):
                    sftp.posix_rename("/data/b", "/data/a")
                with pytest.raises(OSError, match="locked by bob"):
                    sftp.remove("/data/a")
                assert sftp.open("/data/a").read() == b"old"

        await deferToThread(refused)
        await gateway.locks.release(token)
        client = await deferToThread(connected, port_of(service))
        try:
            file = await deferToThread(lambda: client.open_sftp().open("/data/a", "w"))
            await deferToThread(lambda: (file.write(b"begun"), file.flush()))
            await lock(gateway, vfolder, path("a"))

            def go_on() -> None:
                with pytest.raises(OSError, match="locked by bob"):
                    file.write(b"more")
                    file.flush()

            await deferToThread(go_on)
        finally:
            await deferToThread(client.close)
        assert await get(folder, path("a")) == b"begun"


async def test_a_full_quota_says_which(tmp_path: Path, serve: type_serve) -> None:
    """Half the limit by one protocol, half by another, and no byte more; the text names the limit."""
    async with with_alice(tmp_path, limit_bytes=100_000) as (gateway, vfolder), serve(gateway) as service:
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("half"), bytes(50_000))

        def fill() -> None:
            with connected(port_of(service)) as client:
                sftp = client.open_sftp()
                sftp.putfo(io.BytesIO(bytes(50_000)), "/data/other", confirm=False)
                with (
                    pytest.raises(OSError, match="quota of vfolder data exceeded"),
                    sftp.open("/data/one", "w") as file,
                ):
                    file.write(b"x")
                sftp.remove("/data/one")

        await deferToThread(fill)
        assert (await folder.remaining()).free_bytes == 0
        await folder.remove(path("half"))
        await put(folder, path("half"), bytes(50_000))


async def test_storage_that_only_knows_whole_files(tmp_path: Path, serve: type_serve) -> None:
    """Editing in the middle works all the same, and is seen when the file is closed."""
    async with with_alice(tmp_path, "whole") as (gateway, vfolder), serve(gateway) as service:
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a"), b"0123456789")

        def edit() -> None:
            with connected(port_of(service)) as client:
                with client.open_sftp().open("/data/a", "r+") as file:
                    file.seek(3)
                    file.write(b"xyz")

        await deferToThread(edit)
        assert await get(folder, path("a")) == b"012xyz6789"


async def test_the_server_changes_keys_by_itself(tmp_path: Path, serve: type_serve) -> None:
    """In the middle of transfers both ways, again and again."""
    content = bytes(range(256)) * (8 << 10)
    async with with_alice(tmp_path) as (gateway, _), serve(gateway, rekey_bytes=200_000) as service:

        def transfer() -> bytes:
            with connected(port_of(service)) as client:
                sftp = client.open_sftp()
                sftp.putfo(io.BytesIO(content), "/data/a")
                back = io.BytesIO()
                sftp.getfo("/data/a", back)
                return back.getvalue()

        assert await deferToThread(transfer) == content


async def test_idle_connections_end(tmp_path: Path, serve: type_serve) -> None:
    """One that asks for nothing, and one that does not log in; not one that is at work."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        client = await deferToThread(connected, port_of(service))
        try:
            sftp = await deferToThread(client.open_sftp)
            service.factory.look()
            assert await deferToThread(sftp.listdir, "/") == ["data"]
            for transport in service.factory.connections:
                transport.active -= 4000
            service.factory.look()
            with pytest.raises((OSError, EOFError, paramiko.SSHException)):
                await deferToThread(sftp.listdir, "/")
        finally:
            await deferToThread(client.close)


async def test_everything_is_an_event(tmp_path: Path, serve: type_serve) -> None:
    """Subscribers learn who did what, with bytes, and why something failed."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        logins: list[LoginSucceeded] = []
        failures: list[LoginFailed] = []
        operations: list[FileOperation] = []
        gateway.events.subscribe(LoginSucceeded, logins.append)
        gateway.events.subscribe(LoginFailed, failures.append)
        gateway.events.subscribe(FileOperation, operations.append)

        def work() -> None:
            with connected(port_of(service)) as client:
                sftp = client.open_sftp()
                sftp.putfo(io.BytesIO(b"hello"), "/data/a")
                with pytest.raises(OSError):
                    sftp.rmdir("/data/none")

        await deferToThread(work)
        assert [(event.user, event.method) for event in logins] == [("alice", "password")]
        assert failures == []
        written, removed = operations
        assert (written.action, written.path, written.written_bytes) == ("write", "/data/a", 5)
        assert (removed.action, removed.path) == ("rmdir", "/data/none")
        assert "no such file" in removed.error


async def test_stopping_settles_what_was_open(tmp_path: Path, serve: type_serve) -> None:
    """A client is cut off by an orderly stop in the middle of an upload: what arrived is there and charged."""
    async with with_alice(tmp_path) as (gateway, vfolder):
        async with serve(gateway) as service:
            client = await deferToThread(connected, port_of(service))
            file = await deferToThread(lambda: client.open_sftp().open("/data/a", "w"))
            await deferToThread(lambda: (file.write(b"begun"), file.flush()))
        await deferToThread(client.close)
        folder = await orchestrator_in(gateway, vfolder)
        assert await get(folder, path("a")) == b"begun"
        assert await folder.usage() == Usage(5, 1)
