"""Transfers that are cut wherever it may hurt, and gateways that are killed: what arrived is kept, nothing else, and clients go on from it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncssh
import paramiko
import pytest

from tests.protocols.sftp.client import RawSftp, string
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.relay import Relay
from tests.support.sftp import SftpSite, run

CONTENT = random.Random(11).randbytes(300_001)
#: What OpenSSH sends in one request, and what its packet and request add to it.
PIECE = 32768
CREATE, WRITE_FLAG = 8, 2
WRITE, FSYNC = 6, 200


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A running gateway whose user alice has a key."""
    site = SftpSite(tmp_path_factory.mktemp("sftp"))
    with GatewayProcess(site) as process:
        site.populate()
        site.admit_key()
        yield process


@pytest.fixture
def site(process: GatewayProcess) -> SftpSite:
    """Its site."""
    assert isinstance(process.site, SftpSite)
    return process.site


@pytest.fixture
def data(site: SftpSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"k-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")


@pytest.fixture
def relay(site: SftpSite) -> Iterator[Relay]:
    """The network."""
    with Relay(site.sftp_port) as relay:
        yield relay


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """What is sent."""
    path = tmp_path / "local"
    path.write_bytes(CONTENT)
    return path


def places(before: int) -> Sequence[int]:
    """Where to cut a stream in which the data begins after some ``before`` bytes: in the handshake, around the boundaries of requests, at odd
    places, and before the last byte."""
    around = [before + number * PIECE + delta for number in (0, 1, 2, 5, 9) for delta in (-1, 0, 37)]
    end = before + len(CONTENT) - 1
    odd = [random.Random(before).randrange(before, end) for _ in range(6)]
    return [40, before // 2, *around, *odd, end]


def _through(relay: Relay) -> str:
    return f"-oPort={relay.port}"


def _sftp(site: SftpSite, relay: Relay, script: str) -> int:
    """Run OpenSSH's client through the relay; what it counted before this is forgotten. Its exit status."""
    relay.restore()
    command = ["sftp", _through(relay), *site.ssh_options(), "-b", "-", "alice@127.0.0.1"]
    return run(command, text=script, check=False).returncode


def test_an_upload_cut_anywhere_goes_on(site: SftpSite, data: VFolderOfAlice, relay: Relay, local: Path) -> None:
    """By OpenSSH: what is there after a cut is the beginning of the file and is charged; ``reput`` makes it whole."""
    assert _sftp(site, relay, "pwd") == 0
    before = relay.sent  # of the handshake and the login
    for number, at in enumerate(places(before)):
        name = f"cut-{number}"
        relay.cut_after(at)
        assert _sftp(site, relay, f"put {local} {data.name}/{name}") != 0
        assert relay.happened.wait(PATIENCE)
        relay.restore()
        there = data.root / name
        _settled(data)
        if not there.exists():
            assert at < before + 2000
            assert _sftp(site, relay, f"put {local} {data.name}/{name}") == 0
        elif there.stat().st_size < len(CONTENT):
            assert CONTENT.startswith(there.read_bytes())
            assert _sftp(site, relay, f"reput {local} {data.name}/{name}") == 0
        assert there.read_bytes() == CONTENT
    files = len(list(data.root.iterdir()))
    eventually(lambda: data.charged == (files * len(CONTENT), files), "the ledger agrees")


def _settled(data: VFolderOfAlice) -> None:
    """Wait until the gateway has noticed the cut: it charges exactly what is there."""

    def agrees() -> bool:
        sizes = [path.stat().st_size for path in data.root.iterdir() if path.is_file()]
        return data.charged == (sum(sizes), len(sizes))

    eventually(agrees, "what is there is charged")


def test_a_download_cut_anywhere_goes_on(site: SftpSite, data: VFolderOfAlice, relay: Relay, tmp_path: Path) -> None:
    """By OpenSSH: ``reget`` makes it whole."""
    (data.root / "there").write_bytes(CONTENT)
    assert _sftp(site, relay, f"ls -l {data.name}/there") == 0
    before = relay.received
    for number, at in enumerate(places(before)):
        back = tmp_path / f"cut-{number}"
        relay.cut_after(at, sent=False)
        assert _sftp(site, relay, f"get {data.name}/there {back}") != 0
        assert relay.happened.wait(PATIENCE)
        have = back.stat().st_size if back.exists() else -1
        if have < len(CONTENT):
            assert _sftp(site, relay, f"{'reget' if have >= 0 else 'get'} {data.name}/there {back}") == 0
        assert back.read_bytes() == CONTENT


def test_asyncssh_goes_on_where_it_was_cut(site: SftpSite, data: VFolderOfAlice, relay: Relay, local: Path) -> None:
    """With many requests under way at once; it asks how much is there and appends the rest."""

    async def transfer() -> None:
        login = {"username": ALICE[0], "password": ALICE[1], "known_hosts": None, "client_keys": None, "config": None}
        for number, at in enumerate((5000, 66_001, 131_072, 200_003, 290_001)):
            relay.restore()
            path = f"/{data.name}/{number}"
            with pytest.raises((asyncssh.Error, OSError)):
                async with asyncssh.connect("127.0.0.1", relay.port, **login) as connection:
                    async with connection.start_sftp_client() as sftp:
                        relay.cut_after(at)
                        await sftp.put(str(local), path)
            relay.restore()
            async with asyncssh.connect("127.0.0.1", relay.port, **login) as connection:
                async with connection.start_sftp_client() as sftp:
                    have = (await sftp.stat(path)).size or 0
                    assert CONTENT.startswith((data.root / str(number)).read_bytes())
                    async with sftp.open(path, "r+b") as file:
                        await file.write(CONTENT[have:], have)
            assert (data.root / str(number)).read_bytes() == CONTENT

    asyncio.run(transfer())
    eventually(lambda: data.charged == (5 * len(CONTENT), 5), "the ledger agrees")


def test_transfers_side_by_side_on_one_channel(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """Two up and two down at the same time; one of them is given up in the middle, and the others do not notice."""
    contents = [os.urandom(3 << 20) for _ in range(4)]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
        (data.root / f"down-{number}").write_bytes(content)

    async def transfer() -> None:
        login = {"username": ALICE[0], "password": ALICE[1], "known_hosts": None, "client_keys": None, "config": None}
        async with asyncssh.connect("127.0.0.1", site.sftp_port, **login) as connection:
            async with connection.start_sftp_client() as sftp:
                up = [sftp.put(str(tmp_path / str(each)), f"/{data.name}/up-{each}") for each in range(2)]
                down = [sftp.get(f"/{data.name}/down-{each}", str(tmp_path / f"back-{each}")) for each in range(2)]
                begun = asyncio.Event()
                given_up = asyncio.ensure_future(
                    sftp.put(
                        str(tmp_path / "2"),
                        f"/{data.name}/up-2",
                        block_size=1000,
                        progress_handler=lambda *_: begun.set(),
                    )
                )
                working = asyncio.gather(*up, *down)
                await begun.wait()
                given_up.cancel()
                await working

    asyncio.run(transfer())
    for number in range(2):
        assert (data.root / f"up-{number}").read_bytes() == contents[number]
        assert (tmp_path / f"back-{number}").read_bytes() == contents[number]
    assert contents[2].startswith((data.root / "up-2").read_bytes())


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_gateway_killed_during_writes(tmp_path: Path, after: int) -> None:
    """``kill -9`` while requests stream in, some of them after an fsync: what was synced is there, what is there is the beginning of what was
    sent, it is counted as it is, and no room stays reserved. The client goes on from it."""
    site = SftpSite(tmp_path / "site")
    content = random.Random(after).randbytes(4 << 20)
    with GatewayProcess(site) as process:
        data = site.populate()
        site.manager("PATCH", f"/vfgateway/v1/vfolders/{data.vfid[-32:]}", {"limit_bytes": 2 * len(content)})
        with RawSftp(site.sftp_port) as client:
            handle = client.open(b"/data/f", WRITE_FLAG | CREATE)
            for at in range(0, 10 * PIECE, PIECE):
                body = handle + at.to_bytes(8, "big") + string(content[at : at + PIECE])
                assert client.status(WRITE, body)[0] == 0
            assert client.status(FSYNC, string(b"fsync@openssh.com") + handle)[0] == 0
            for at in range(10 * PIECE, len(content), PIECE):
                client.request(WRITE, handle + at.to_bytes(8, "big") + string(content[at : at + PIECE]))
                if at == (10 + after) * PIECE:
                    break
            for _ in range(after):
                client.answer()
            process.kill()
        process.start()
        there = (data.root / "f").read_bytes()
        assert len(there) >= (10 + after) * PIECE  # what was synced, and what was acknowledged: the kernel has it
        assert content.startswith(there)
        eventually(lambda: data.charged == (len(there), 1), "what is there is counted")
        transport = paramiko.Transport(("127.0.0.1", site.sftp_port))
        transport.connect(username=ALICE[0], password=ALICE[1])
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        with transport, sftp.open("/data/f", "a") as file:
            file.write(content[len(there) :])
        assert (data.root / "f").read_bytes() == content
        assert data.put("rest", bytes(len(content))).ok  # the limit, to the last byte: nothing is reserved for the dead
        assert data.put("more", b"x").status_code == 507
        assert data.charged == (2 * len(content), 2)
