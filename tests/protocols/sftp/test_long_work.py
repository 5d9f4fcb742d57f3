"""What the server does by itself for a while: copying, and digests of whole files. It ends when nobody waits for it any more."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.protocols.sftp.client import RawSftp, string
from tests.protocols.sftp.conftest import connected, port_of, type_serve
from tests.protocols.sftp.test_frontend import with_alice
from tests.protocols.sftp.test_limits import until
from vfgateway.protocols.sftp import commands, extensions
from vfgateway.services.handles import Handle

EXTENDED, REALPATH = 200, 16
PIECES = 20


class SlowStorage:
    """Holds every read of a file until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = 0
        self._held: list[Deferred[None]] = []
        self._read = Handle.read
        monkeypatch.setattr(Handle, "read", lambda handle, offset, length: self._slow(handle, offset, length))

    async def _slow(self, handle: Handle, offset: int, length: int) -> bytes:
        self.reads += 1
        held: Deferred[None] = Deferred()
        self._held.append(held)
        await held
        return await self._read(handle, offset, length)

    def let_go(self) -> None:
        """All that is held now."""
        held, self._held = self._held, []
        for each in held:
            each.callback(None)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> SlowStorage:
    """See there; and what takes long takes many pieces."""
    monkeypatch.setattr(extensions, "PIECE", 1000)
    return SlowStorage(monkeypatch)


def copy(client: RawSftp) -> bytes:
    """By ``copy-data``."""
    source, target = client.open(b"/data/a"), client.open(b"/data/b", 2 | 8)
    return string(b"copy-data") + source + struct.pack(">QQ", 0, 0) + target + bytes(8)


def check(client: RawSftp) -> bytes:
    """The digest of a name."""
    return string(b"check-file-name") + string(b"/data/a") + string(b"sha256") + struct.pack(">QQI", 0, 0, 0)


def md5(client: RawSftp) -> bytes:
    """The digest of a file that is open."""
    return string(b"md5-hash-handle") + client.open(b"/data/a") + struct.pack(">QQ", 0, 0) + string(b"")


@pytest.mark.parametrize("what", [copy, check, md5])
async def test_it_ends_with_the_channel(
    tmp_path: Path, serve: type_serve, storage: SlowStorage, what: Callable[[RawSftp], bytes]
) -> None:
    """The piece that is being read is the last; what was open is closed, and others are served all the while."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        port = port_of(service)

        def begin() -> RawSftp:
            client = RawSftp(port)
            handle = client.open(b"/data/a", 2 | 8)
            assert client.status(6, handle + bytes(8) + string(bytes(1000 * PIECES)))[0] == 0
            client.request(EXTENDED, what(client))
            return client

        client = await deferToThread(begin)
        await until(lambda: storage.reads == 1)
        storage.let_go()
        await until(lambda: storage.reads == 2)
        with await deferToThread(connected, port) as other:
            sftp = await deferToThread(other.open_sftp)
            assert await deferToThread(sftp.listdir, "/") == ["data"]
        await deferToThread(client.__exit__, None, None, None)
        await until(lambda: not service.factory.connections)
        storage.let_go()
        await service.stopService()
        assert storage.reads == 2


async def test_so_does_a_command(
    tmp_path: Path, serve: type_serve, storage: SlowStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That was run by ``exec``; its end is no failure of ours."""
    failures: list[object] = []
    monkeypatch.setattr(commands.Command, "log", type("Log", (), {"failure": lambda *told: failures.append(told)}))
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        client = await deferToThread(connected, port_of(service))

        def begin() -> object:
            with client.open_sftp().open("/data/a", "w") as file:
                file.write(bytes(1000 * PIECES))
            return client.exec_command("sha256sum /data/a")

        channel = await deferToThread(begin)  # which closes as soon as nobody has it
        await until(lambda: storage.reads == 1)
        await deferToThread(client.close)
        del channel
        await until(lambda: not service.factory.connections)
        storage.let_go()
        assert storage.reads == 1
        assert not failures
