"""Rights that end while something rests on them, with two processes: what is open in one ends although another was told."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.behaviour.doors import DavDoor, HttpDoor, Refused, SftpDoor
from tests.behaviour.lasting import LARGE, SlowDownload, TwoProcesses
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoProcesses]:
    site = TwoProcesses(tmp_path_factory.mktemp("revocation") / "site")
    with GatewayProcess(site) as gateway:
        gateway.all_there()
        yield site


@pytest.fixture
def data(site: TwoProcesses, request: pytest.FixtureRequest) -> VFolderOfAlice:
    return site.populate(name=request.node.name[:40])


def grants_of(site: TwoProcesses, data: VFolderOfAlice) -> list[str]:
    where = f"/vfgateway/v1/vfolders/{data.vfid[-32:]}/grants"
    return [grant["id"] for grant in site.manager("GET", where)["grants"]]


def revoke(site: TwoProcesses, data: VFolderOfAlice) -> None:
    for grant in grants_of(site, data):
        site.manager("DELETE", f"/vfgateway/v1/grants/{grant}")


def open_downloads(site: TwoProcesses, data: VFolderOfAlice, count: int) -> list[SlowDownload]:
    """So many that both workers have some."""
    return [SlowDownload.by(HttpDoor(site, data, "bob"), "large") for _ in range(count)]


def test_what_a_grant_opened_ends_with_it(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """Downloads under way are cut, in both processes; open files of a running SFTP session can neither be read nor written; an upload is
    refused; and what others have open goes on."""
    (data.root / "large").write_bytes(bytes(LARGE))
    (data.root / "small").write_bytes(b"x" * 100_000)
    site.let_in("bob", data, "rwd")
    site.let_in("carol", data, "ro")
    bobs = open_downloads(site, data, 6)
    carols = SlowDownload.by(HttpDoor(site, data, "carol"), "large")
    with SftpDoor(site, data, "bob") as door:
        client = door.connect()
        sftp = client.open_sftp()
        reading, writing = sftp.open(door.at("small"), "r"), sftp.open(door.at("mine"), "w")
        assert reading.read(10) == b"x" * 10
        writing.write(b"before")
        writing.flush()
        sending = HttpDoor(site, data, "bob").begin("sent", LARGE)
        sending.send(bytes(1 << 20))

        bobs_grant = grants_of(site, data)[0]
        site.manager("DELETE", f"/vfgateway/v1/grants/{bobs_grant}")
        revoked = time.monotonic()
        eventually(lambda: _refuses(sftp, door.at("small")), "a running session enters no more")
        eventually(lambda: _fails(lambda: reading.seek(50) or reading.read(10)), "an open file is read no more")
        eventually(lambda: _fails(lambda: (writing.write(b"after"), writing.flush())), "nor written")
        eventually(lambda: _answered(sending), "an upload is refused before its end")
        with pytest.raises(Refused) as refusal:
            sending.finish()
        assert refusal.value.why in ("permission", "missing")
        client.close()
        eventually(lambda: all(each.is_over for each in bobs), "all downloads are cut")
    assert [size for size in (download.rest() for download in bobs) if size == LARGE] == []
    assert carols.rest() == LARGE
    assert not (data.root / "sent").exists()
    assert (data.root / "mine").read_bytes() == b"before"
    assert time.monotonic() - revoked < PATIENCE


def _answered(sending: Any) -> bool:
    """Whether the server has said something; sends a little more."""
    sending.send(bytes(64 << 10))
    return bool(select.select([sending._connection.sock], [], [], 0)[0])


def _fails(act: object) -> bool:
    try:
        act()  # type: ignore[operator]
    except OSError:
        return True
    return False


def _refuses(sftp: object, path: bytes) -> bool:
    return _fails(lambda: sftp.stat(path))  # type: ignore[attr-defined]


def test_what_expires_ends_by_the_clock(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """Nobody has to do anything; a download that was begun before is cut."""
    (data.root / "large").write_bytes(bytes(LARGE))
    site.let_in("bob", data, "ro")
    where = f"/vfgateway/v1/vfolders/{data.vfid[-32:]}/grants"
    body = {"kind": "user", "subject": "bob", "permission": "ro", "expires": time.time() + 2.0}
    site.manager("POST", where, body)
    download = SlowDownload.by(HttpDoor(site, data, "bob"), "large")
    with HttpDoor(site, data, "bob") as door:
        eventually(lambda: data.name not in door.folders(), "it has expired")
        with pytest.raises(Refused, match="missing"):
            door.get("large")
    eventually(lambda: download.is_over, "the download is cut")
    assert download.rest() < LARGE


def test_a_lesser_grant_leaves_what_it_allows(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """From rwd to ro: reading goes on, writing ends."""
    (data.root / "large").write_bytes(bytes(LARGE))
    site.let_in("bob", data, "rwd")
    download = SlowDownload.by(HttpDoor(site, data, "bob"), "large")
    with DavDoor(site, data, "bob") as door:
        door.put("mine", b"1")
        site.let_in("bob", data, "ro")
        eventually(lambda: _refused(lambda: door.put("mine", b"2")), "nothing is written any more")
        assert door.get("mine") in (b"1", b"2")
    assert download.rest() == LARGE


def _refused(act: object) -> bool:
    try:
        act()  # type: ignore[operator]
    except Refused:
        return True
    return False


def test_leaving_a_group_ends_what_the_group_opened(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """Also in an SFTP session that began in the group; and so does the end of the account."""
    (data.root / "f").write_bytes(b"x" * 1000)
    site.let_in("dave", data, "ro")
    revoke(site, data)
    users = site.manager("GET", "/vfgateway/v1/users")["users"]
    dave = next(user["id"] for user in users if user["name"] == "dave")
    group = site.manager("POST", "/vfgateway/v1/groups", {"name": f"team-{os.urandom(3).hex()}"})["id"]
    site.manager("PUT", f"/vfgateway/v1/groups/{group}/members/{dave}", {"administrator": False})
    where = f"/vfgateway/v1/vfolders/{data.vfid[-32:]}/grants"
    site.manager("POST", where, {"kind": "group", "subject": group, "permission": "ro"})
    with SftpDoor(site, data, "dave") as door, door.connect() as client:
        sftp = client.open_sftp()
        file = sftp.open(door.at("f"), "r")
        assert file.read(1) == b"x"
        site.manager("DELETE", f"/vfgateway/v1/groups/{group}/members/{dave}")
        eventually(lambda: _refuses(sftp, door.at("f")), "the session sees it no more")
        eventually(lambda: _fails(lambda: file.seek(500) or file.read(10)), "the open file is read no more")


def test_a_vfolder_in_the_trash_is_gone_and_comes_back_whole(site: TwoProcesses, data: VFolderOfAlice) -> None:
    """For everybody who is in it, in all processes; and restored, with its grants."""
    (data.root / "large").write_bytes(bytes(LARGE))
    site.let_in("bob", data, "ro")
    download = SlowDownload.by(HttpDoor(site, data), "large")
    digits = data.vfid[-32:]
    site.manager("DELETE", f"/vfgateway/v1/vfolders/{digits}")
    for user in (ALICE[0], "bob"):
        with HttpDoor(site, data, user) as http, DavDoor(site, data, user) as dav, SftpDoor(site, data, user) as sftp:
            for door in (http, dav, sftp):
                eventually(lambda door=door: data.name not in door.folders(), "nobody sees it")  # type: ignore[misc]
    eventually(lambda: download.is_over, "the download is cut")
    assert download.rest() < LARGE
    assert [one["folder"] for one in site.manager("GET", "/vfgateway/v1/trash")["vfolders"]][:1] == [digits]
    site.manager("POST", f"/vfgateway/v1/trash/{digits}/restore", {})
    with HttpDoor(site, data, "bob") as door:
        eventually(lambda: data.name in door.folders(), "it is back")
        assert len(door.get("large")) == LARGE
