"""What needs a hand on both sides of the wire: locks, time, storage of another kind, keys that the server wants to change."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import paramiko
import pytest
from twisted.internet.threads import deferToThread

from tests.protocols.sftp.conftest import connected, port_of, type_serve
from tests.services.test_handles import lock, volumes
from tests.services.test_session import get, put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.process import ALICE
from tests.support.sftp import OPTIONS, run
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
    """In the middle of transfers both ways, again and again: by paramiko, OpenSSH and PuTTY."""
    content = bytes(range(256)) * (8 << 10)
    (tmp_path / "content").write_bytes(content)
    exchanges: list[int] = []
    async with with_alice(tmp_path) as (gateway, _), serve(gateway, rekey_bytes=200_000) as service:
        port = port_of(service)
        (user,) = await gateway.accounts.users()

        def by_paramiko() -> bytes:
            with connected(port) as client:
                sftp = client.open_sftp()
                sftp.putfo(io.BytesIO(content), "/data/a")
                back = io.BytesIO()
                sftp.getfo("/data/a", back)
                return back.getvalue()

        def by_openssh() -> bytes:
            login = ["-v", f"-oIdentityFile={tmp_path}/key", f"-oPort={port}"]
            script = f"put {tmp_path}/content data/b\nget data/b {tmp_path}/openssh\n"
            said = run(["sftp", *OPTIONS[:3], *OPTIONS[4:], *login, "-b", "-", "alice@127.0.0.1"], text=script).stderr
            exchanges.append(said.count("SSH2_MSG_NEWKEYS received"))
            return (tmp_path / "openssh").read_bytes()

        def by_putty() -> bytes:
            told = run(["ssh-keygen", "-lf", host_key]).stdout.split()[1]
            login = ["-batch", "-v", "-P", str(port), "-pw", ALICE[1], "-hostkey", told]
            (tmp_path / "script").write_text(f"put {tmp_path}/content data/c\nget data/c {tmp_path}/putty\n")
            command = ["psftp", *login, "-b", str(tmp_path / "script"), "alice@127.0.0.1"]
            done = run(command, environ={"HOME": str(tmp_path)})
            exchanges.append((done.stdout + done.stderr).count("Initialised") // 4)
            return (tmp_path / "putty").read_bytes()

        host_key = tmp_path / "host.pub"
        host_key.write_text(service.factory.privateKeys[b"ssh-ed25519"].public().toString("openssh").decode())
        await deferToThread(run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"])
        line = (tmp_path / "key.pub").read_text()
        await gateway.accounts.add_key(user.id, "public_key", public_key=line)
        for transfer in (by_paramiko, by_openssh, by_putty):
            assert await deferToThread(transfer) == content
    assert min(exchanges) >= 3


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


@asynccontextmanager
async def with_events(
    tmp_path: Path, serve: type_serve
) -> AsyncIterator[tuple[int, Callable[[], list[FileOperation]]]]:
    """The port of a gateway, and what has been told of operations by the time that it is asked."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        operations: list[FileOperation] = []
        gateway.events.subscribe(FileOperation, operations.append)

        def told() -> list[FileOperation]:
            gateway.events.flush()
            return operations

        yield port_of(service), told


async def test_logins_are_events(tmp_path: Path, serve: type_serve) -> None:
    """Whoever came in, and who did not."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        logins: list[LoginSucceeded] = []
        failures: list[LoginFailed] = []
        gateway.events.subscribe(LoginSucceeded, logins.append)
        gateway.events.subscribe(LoginFailed, failures.append)
        port = port_of(service)
        await deferToThread(lambda: connected(port).close())
        assert [(event.user, event.address, event.method) for event in logins] == [("alice", "127.0.0.1", "password")]
        assert failures == []
        with pytest.raises(paramiko.AuthenticationException):
            await deferToThread(connected, port, "nobody")
        assert [(event.user, event.address, event.method) for event in failures] == [
            ("nobody", "127.0.0.1", "password")
        ]


async def test_every_operation_is_an_event(tmp_path: Path, serve: type_serve) -> None:
    """With user, address, path, bytes and duration."""
    async with with_events(tmp_path, serve) as (port, operations_told):

        def work() -> None:
            with connected(port) as client:
                sftp = client.open_sftp()
                sftp.mkdir("/data/d")
                sftp.putfo(io.BytesIO(b"hello"), "/data/d/a", confirm=False)
                with sftp.open("/data/d/a", "r+") as file:
                    file.chmod(0o600)
                    assert file.read(3) == b"hel"
                sftp.chmod("/data/d/a", 0o640)
                sftp.posix_rename("/data/d/a", "/data/d/b")
                sftp.symlink("b", "/data/d/l")
                sftp.listdir("/data/d")
                for word in ("md5sum /data/d/b", "sha256sum ~/data/d/b"):
                    client.exec_command(word)[1].read()
                sftp.remove("/data/d/l")
                sftp.remove("/data/d/b")
                sftp.rmdir("/data/d")

        await deferToThread(work)
        operations = operations_told()
        told = [(each.action, each.path, each.read_bytes, each.written_bytes) for each in operations]
        assert told == [
            ("mkdir", "/data/d", 0, 0),
            ("write", "/data/d/a", 0, 5),
            ("setstat", "/data/d/a", 0, 0),
            ("write", "/data/d/a", 3, 0),
            ("setstat", "/data/d/a", 0, 0),
            ("rename", "/data/d/a", 0, 0),
            ("symlink", "/data/d/l", 0, 0),
            ("list", "/data/d", 0, 0),
            ("checksum", "/data/d/b", 5, 0),
            ("checksum", "/data/d/b", 5, 0),
            ("remove", "/data/d/l", 0, 0),
            ("remove", "/data/d/b", 0, 0),
            ("rmdir", "/data/d", 0, 0),
        ]
        assert {(each.user, each.address, each.protocol, each.error) for each in operations} == {
            ("alice", "127.0.0.1", "sftp", "")
        }
        assert all(0 <= each.seconds < 60 for each in operations)
        assert [each.target for each in operations if each.target] == ["/data/d/b"]


async def test_what_is_refused_is_an_event(tmp_path: Path, serve: type_serve) -> None:
    """With the reason."""
    async with with_events(tmp_path, serve) as (port, operations_told):

        def work() -> None:
            with connected(port) as client:
                sftp = client.open_sftp()
                with pytest.raises(FileNotFoundError):
                    sftp.open("/data/none")
                with pytest.raises(FileNotFoundError):
                    sftp.open("/other/x", "w")
                with pytest.raises(FileNotFoundError):
                    sftp.listdir("/data/none")
                with pytest.raises(FileNotFoundError):
                    sftp.rmdir("/data/none")
                assert client.exec_command("sha1sum /data/none")[1].channel.recv_exit_status() == 1

        await deferToThread(work)
        operations = operations_told()
        assert [(each.action, each.path, bool(each.error)) for each in operations] == [
            ("read", "/data/none", True),
            ("write", "/other/x", True),
            ("list", "/data/none", True),
            ("rmdir", "/data/none", True),
            ("checksum", "/data/none", True),
        ]
        assert "no such file" in operations[0].error


async def test_scp_is_told_as_all_else(tmp_path: Path, serve: type_serve) -> None:
    """Each directory, each file with its bytes, and what failed; the bytes are counted, too."""
    async with with_events(tmp_path, serve) as (port, operations_told):

        def work() -> None:
            with connected(port) as client:
                for command, said in (
                    ("scp -r -t /data", b"D0755 0 d\nC0644 3 f\nabc\0E\n"),
                    ("scp -t /data/d/none/f", b"C0644 3 f\n"),
                    ("scp -f ~/data/d/f", bytes(4)),
                ):
                    transport = client.get_transport()
                    assert transport is not None
                    channel = transport.open_session()
                    channel.exec_command(command)
                    with suppress(OSError):  # it may be through already
                        channel.sendall(said)
                        channel.shutdown_write()
                    channel.recv_exit_status()

        await deferToThread(work)
        operations = operations_told()
        told = [(each.action, each.path, each.read_bytes, each.written_bytes, each.error) for each in operations]
        assert [each[:4] for each in told] == [
            ("mkdir", "/data/d", 0, 0),
            ("write", "/data/d/f", 0, 3),
            ("write", "/data/d/none/f", 0, 0),
            ("read", "/data/d/f", 3, 0),
        ]
        assert [bool(each[4]) for each in told] == [False, False, True, False]


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
