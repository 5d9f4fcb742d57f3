"""Links that a job has left: absolute, into where its container had the vfolder."""

from __future__ import annotations

import stat

import paramiko
import pytest

from tests.behaviour.doors import DavDoor, Door, EveryDoor, Refused, SftpDoor
from tests.support.process import VFolderOfAlice


@pytest.fixture
def left(data: VFolderOfAlice, site: EveryDoor) -> VFolderOfAlice:
    """A vfolder in which a job has worked, and beside which lies another."""
    other = site.populate(name=f"{data.name}-beside")
    (other.root / "file").write_bytes(b"another's")
    (data.root / "results").mkdir()
    (data.root / "results/best").write_bytes(b"content")
    (data.root / "runs").mkdir()
    (data.root / "runs/latest").symlink_to(f"/home/work/{data.name}/results")
    (data.root / "model").symlink_to(f"/home/work/{data.name}/runs/latest/best")
    (data.root / "other").symlink_to(f"/home/work/{data.name}-beside/file")
    (data.root / "out").symlink_to("/etc/passwd")
    return data


def test_they_are_read(left: VFolderOfAlice, door: Door) -> None:
    """As the job would read them, at the end and on the way."""
    assert door.get("model") == b"content"
    assert door.get("runs/latest/best") == b"content"
    assert set(door.list("runs/latest")) == {"best"}


def test_others_stay_refused(left: VFolderOfAlice, door: Door) -> None:
    """Also where they lead into another vfolder that jobs have."""
    for name in ("other", "out"):
        with pytest.raises(Refused):
            door.get(name)


def test_sftp_shows_what_works(left: VFolderOfAlice, site: EveryDoor) -> None:
    """A mount follows by itself what it is told: relative to where the link stands. What is elsewhere stays as it was written."""
    with SftpDoor(site, left) as door:
        client: paramiko.SSHClient = door.connect()
        with client, client.open_sftp() as sftp:
            top = f"/{left.name}"
            told = {name: sftp.readlink(f"{top}/{name}") for name in ("model", "runs/latest", "other", "out")}
            attributes = sftp.lstat(f"{top}/model")
    assert told == {
        "model": "runs/latest/best",
        "runs/latest": "../results",
        "other": f"/home/work/{left.name}-beside/file",
        "out": "/etc/passwd",
    }
    assert stat.S_ISLNK(attributes.st_mode or 0)


def test_webdav_lists_what_they_lead_to(left: VFolderOfAlice, site: EveryDoor) -> None:
    """And leaves out what leads nowhere for its reader."""
    with DavDoor(site, left) as door:
        listed = door.list()
    assert set(listed) == {"results", "runs", "model"}
    assert listed["model"].size == len(b"content")


def test_a_renamed_vfolder(left: VFolderOfAlice, site: EveryDoor) -> None:
    """Jobs will see it by its new name, and so do its links."""
    where = f"/vfgateway/v1/vfolders/{left.vfid[-32:]}"
    site.manager("PATCH", where, {"name": f"{left.name}-new"})
    try:
        (left.root / "new").symlink_to(f"/home/work/{left.name}-new/results/best")
        renamed = VFolderOfAlice(site, left.volume, left.vfid, f"{left.name}-new", left.root)
        with SftpDoor(site, renamed) as door:
            assert door.get("new") == b"content"
            with pytest.raises(Refused):
                door.get("model")
    finally:
        site.manager("PATCH", where, {"name": left.name})
