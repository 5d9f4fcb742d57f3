"""A gateway that is stopped, or goes over to a new configuration, while people are at work over SFTP."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest

from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.sftp import SftpSite, run

GRACE = "grace = 60"
PIECE = 20_000


def connect(site: SftpSite) -> paramiko.SSHClient:
    """paramiko, logged in as alice."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", site.sftp_port, *ALICE, allow_agent=False, look_for_keys=False)
    return client


@pytest.fixture
def process(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that gives its clients time."""
    site = SftpSite(tmp_path / "site", gateway=GRACE)
    with GatewayProcess(site) as process:
        site.populate()
        site.admit_key()
        yield process


def _refuses(site: SftpSite) -> bool:
    try:
        socket.create_connection(("127.0.0.1", site.sftp_port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


class Transfers:
    """An upload and a download that go on until :attr:`enough` is set, and then to their end. Left with the block, they have succeeded."""

    def __init__(self, site: SftpSite, data: VFolderOfAlice) -> None:
        self.enough = threading.Event()
        self._data = data
        self._sent: list[bytes] = []
        self._failures: list[BaseException] = []
        self._content = random.Random(2).randbytes(4 << 20)
        (data.root / "down").write_bytes(self._content)
        self._clients = [connect(site), connect(site)]
        up = self._clients[0].open_sftp().open(f"/{data.name}/up.part", "w")
        down = self._clients[1].open_sftp().open(f"/{data.name}/down")
        self._threads = [
            threading.Thread(target=self._run, args=(self._send, up)),
            threading.Thread(target=self._run, args=(self._fetch, down)),
        ]

    def _run(self, work: Callable[[paramiko.SFTPFile], None], file: paramiko.SFTPFile) -> None:
        try:
            work(file)
        except BaseException as failure:
            self._failures.append(failure)

    def _send(self, file: paramiko.SFTPFile) -> None:
        while not self.enough.is_set():
            self._sent.append(os.urandom(PIECE))
            file.write(self._sent[-1])
            file.flush()
        file.close()
        file.sftp.posix_rename(f"/{self._data.name}/up.part", f"/{self._data.name}/up")
        file.sftp.utime(f"/{self._data.name}/up", (1_500_000_000, 1_500_000_000))

    def _fetch(self, file: paramiko.SFTPFile) -> None:
        while not self.enough.is_set():
            file.seek(0)
            assert file.read(PIECE) == self._content[:PIECE]
        file.seek(0)
        assert file.read() == self._content
        file.close()

    def __enter__(self) -> Transfers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()
        assert self._failures == []
        up = self._data.root / "up"
        assert up.read_bytes() == b"".join(self._sent)
        assert up.stat().st_mtime == 1_500_000_000


def test_transfers_end_before_the_gateway_does(process: GatewayProcess) -> None:
    """SIGTERM: nobody new comes in, who is idle is told good-bye, an upload ends with its rename and its time, a download with its last
    byte, and then the gateway has ended, with everything charged."""
    site = process.site
    assert isinstance(site, SftpSite)
    data = site.populate(name="work")
    idle = subprocess.Popen(
        ["ssh", "-oLogLevel=INFO", *site.ssh_options(), "-s", "alice@127.0.0.1", "sftp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert idle.stdin is not None
    assert idle.stdout is not None
    assert idle.stderr is not None
    idle.stdin.write(b"\0\0\0\5\1\0\0\0\3")
    idle.stdin.flush()
    assert len(idle.stdout.read(9)) == 9
    stopped = threading.Thread(target=process.stop)
    with Transfers(site, data) as transfers:
        stopped.start()
        assert idle.wait(PATIENCE)
        assert b"the gateway stops" in idle.stderr.read()
        eventually(lambda: _refuses(site), "nobody else comes in")
        assert stopped.is_alive()
        transfers.enough.set()
    stopped.join()
    process.start()
    sizes = [path.stat().st_size for path in data.root.iterdir() if path.name != "down"]
    assert data.charged == (sum(sizes), 1)


def test_openssh_ends_its_upload(process: GatewayProcess, tmp_path: Path) -> None:
    """The real client, held back to a few megabytes a second, is in the middle of a file when the gateway is told to stop, and succeeds."""
    site = process.site
    assert isinstance(site, SftpSite)
    data = site.populate(name="work")
    (tmp_path / "local").write_bytes(os.urandom(6 << 20))
    script = tmp_path / "script"
    script.write_text(f"put {tmp_path}/local {data.name}/f\n")
    sending = subprocess.Popen(["sftp", "-l", "16000", *site.ssh_options(), "-b", script, "alice@127.0.0.1"])
    eventually(lambda: (data.root / "f").exists() and (data.root / "f").stat().st_size, "the upload has begun")
    assert process.stop() == -signal.SIGTERM
    assert sending.wait(PATIENCE) == 0
    assert (data.root / "f").read_bytes() == (tmp_path / "local").read_bytes()


def test_a_reload_cuts_no_transfer(tmp_path: Path) -> None:
    """SIGHUP with workers: what is under way ends in the old ones, and who connects meanwhile is served by the new ones."""
    site = SftpSite(tmp_path / "site", gateway=GRACE, workers=2)
    with GatewayProcess(site) as process:
        data = site.populate()
        site.admit_key()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        old = set(children.read_text().split())
        with Transfers(site, data) as transfers:
            os.kill(process.pid, signal.SIGHUP)
            eventually(lambda: "the new configuration is in force" in process.output, "the reload ends")
            site.sftp(f"put /etc/hostname {data.name}/meanwhile")
            assert old & set(children.read_text().split())
            transfers.enough.set()
        eventually(lambda: not old & set(children.read_text().split()), "the old workers end")
        assert run(["cat", data.root / "meanwhile"]).stdout == Path("/etc/hostname").read_text()
