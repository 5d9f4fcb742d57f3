"""What somebody came with is taken back while what it opened is open, with two processes: that ends, and nothing else of the same user does."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator

import paramiko
import pytest
import requests

from tests.behaviour.doors import HttpDoor, SftpDoor
from tests.behaviour.lasting import LARGE, SlowDownload, TwoProcesses
from tests.support.browser import Browser
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.sftp import OPTIONS


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoProcesses]:
    """Running."""
    site = TwoProcesses(tmp_path_factory.mktemp("revocation") / "site")
    with GatewayProcess(site) as gateway:
        gateway.all_there()
        yield site


@pytest.fixture
def data(site: TwoProcesses, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of Alice's with a large file."""
    data = site.populate(name=request.node.name[:40])
    (data.root / "large").write_bytes(bytes(LARGE))
    return data


def keys_of(site: TwoProcesses, user: str) -> str:
    """Where a user's keys are."""
    users = site.manager("GET", "/vfgateway/v1/users")["users"]
    return f"/vfgateway/v1/users/{next(each['id'] for each in users if each['name'] == user)}/keys"


def test_a_deleted_public_key_ends_the_session_of_openssh(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """Although nothing is open on it; a session with another key of the same user goes on."""
    where = keys_of(site, ALICE[0])
    keys = [data.site.folder / f"{data.name}-{number}" for number in (1, 2)]
    ids, clients = [], []
    for key in keys:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        line = key.with_suffix(".pub").read_text()
        ids.append(site.manager("POST", where, {"kind": "public_key", "public_key": line})["id"])
        options = [*OPTIONS, f"-oIdentityFile={key}", f"-oPort={site.sftp_port}", "-b", "-", "alice@127.0.0.1"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        client = subprocess.Popen(["sftp", *options], bufsize=1, **pipes)  # type: ignore[call-overload]
        client.stdin.write("pwd\n")
        while "Remote working directory" not in client.stdout.readline():
            assert client.poll() is None
        clients.append(client)
    lost, kept = clients

    site.manager("DELETE", f"{where}/{ids[0]}")
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(lost.stdout))
    reader.start()
    eventually(lambda: "good no more" in "".join(said), "the session with the key that is gone is ended, unasked")
    lost.stdin.write("ls\n")
    lost.stdin.close()
    reader.join(PATIENCE)
    assert lost.wait(PATIENCE) != 0
    assert f"{data.name}/large" in kept.communicate(f"ls {data.name}\n", timeout=PATIENCE)[0]
    assert kept.returncode == 0
    site.manager("DELETE", f"{where}/{ids[1]}")


def connect(site: TwoProcesses, data: VFolderOfAlice, password: str) -> paramiko.SSHClient:
    """Alice over SFTP, with a password or what stands for one."""
    door = SftpDoor(site, data, ALICE[0], password)
    door.close()
    return door.connect()


def test_a_deleted_app_password_ends_what_it_opened(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """An SFTP session and a download over HTTP; what was opened with the account's own password goes on."""
    where = keys_of(site, ALICE[0])
    new = site.manager("POST", where, {"kind": "app_password", "label": "phone"})
    with connect(site, data, new["secret"]) as lost, connect(site, data, ALICE[1]) as kept:
        file = lost.open_sftp().open(f"/{data.name}/large", "r")
        assert file.read(1) == b"\0"
        downloads = [
            SlowDownload.by(HttpDoor(site, data, ALICE[0], password), "large") for password in (new["secret"], ALICE[1])
        ]
        site.manager("DELETE", f"{where}/{new['id']}")
        eventually(lambda: not lost.get_transport().is_active(), "the SFTP session has ended")
        eventually(lambda: downloads[0].is_over, "the download is cut")
        assert downloads[0].rest() < LARGE
        assert downloads[1].rest() == LARGE
        assert kept.open_sftp().stat(f"/{data.name}/large").st_size == LARGE


def test_a_key_that_expires_ends_what_it_opened(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """By the clock, whatever the process."""
    soon = time.time() + 4
    new = site.manager("POST", keys_of(site, ALICE[0]), {"kind": "api_key", "expires": soon})
    with connect(site, data, new["secret"]) as client:
        assert time.time() < soon or not client.get_transport().is_active()
        eventually(lambda: not client.get_transport().is_active(), "the session has ended")
        assert time.time() >= soon


def test_a_new_password_ends_what_the_old_one_opened(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """SFTP sessions, and browsers but the one that changed it; a session with a key goes on."""
    site.let_in("erin", data, "rw")
    key = site.manager("POST", keys_of(site, "erin"), {"kind": "api_key"})["secret"]
    here, there = Browser(site, "erin"), Browser(site, "erin")
    by_password, by_key = SftpDoor(site, data, "erin"), SftpDoor(site, data, "erin", key)
    with by_password, by_key, by_password.connect() as lost, by_key.connect() as kept:
        changed = here.ask("PUT", "/me/password", {"current": ALICE[1], "new": "another horse altogether"})
        assert changed.status_code == 204
        eventually(lambda: not lost.get_transport().is_active(), "the SFTP session has ended")
        eventually(lambda: there.ask("GET", "/me").status_code == 401, "the other browser is logged out")
        assert here.ask("GET", "/me").json()["name"] == "erin"
        assert data.name in kept.open_sftp().listdir("/")
        assert Browser(site, "erin", "another horse altogether").ask("GET", "/me").status_code == 200
    by_administrator = {"password": ALICE[1]}
    site.manager("PUT", keys_of(site, "erin").replace("/keys", "/password"), by_administrator)
    eventually(lambda: here.ask("GET", "/me").status_code == 401, "no browser stays when an administrator does it")


def test_a_session_that_is_ended_ends_its_downloads(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """Logged out from another browser; and a browser that came by a key goes with the key."""
    where = keys_of(site, ALICE[0])
    new = site.manager("POST", where, {"kind": "api_key"})
    lost, kept, by_key = Browser(site, ALICE[0]), Browser(site, ALICE[0]), Browser(site, ALICE[0], new["secret"])
    downloads = [SlowDownload(each.ask("GET", f"/files/{data.name}/large", stream=True)) for each in (lost, by_key)]
    sessions = lost.ask("GET", "/me/sessions").json()["sessions"]
    mine = next(session["id"] for session in sessions if session["current"])
    assert kept.ask("DELETE", f"/me/sessions/{mine}").status_code == 204
    site.manager("DELETE", f"{where}/{new['id']}")
    for each, download in zip((lost, by_key), downloads, strict=True):
        eventually(lambda each=each: each.ask("GET", "/me").status_code == 401, "it is logged out")  # type: ignore[misc]
        eventually(lambda download=download: download.is_over, "its download is cut")  # type: ignore[misc]
        assert download.rest() < LARGE
    assert kept.ask("GET", "/me").status_code == 200


def test_a_revoked_link_ends_its_downloads(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """Those of another link go on."""
    alice = Browser(site, ALICE[0])
    links = [alice.ask("POST", f"/vfolders/{data.name}/links", {"path": "large"}).json() for _ in range(2)]
    downloads = [
        SlowDownload(requests.get(f"{link['url']}?download=1", stream=True, timeout=PATIENCE)) for link in links
    ]
    assert alice.ask("DELETE", f"/vfolders/{data.name}/links/{links[0]['id']}").status_code == 204
    eventually(lambda: downloads[0].is_over, "the download is cut")
    assert downloads[0].rest() < LARGE
    assert downloads[1].rest() == LARGE
