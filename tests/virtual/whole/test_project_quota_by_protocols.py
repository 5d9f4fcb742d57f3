"""A gateway that was started as root and serves as nobody, on file systems with project quota: what it may not do a helper does, and what the kernel
refuses every protocol says in its own words."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import GatewayProcess, VFolderOfAlice, eventually
from tests.support.projects import ext4, xfs
from tests.support.quota_site import MIB, NOBODY, QuotaSite
from vfgateway.privileged import projects


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuotaSite]:
    """One gateway with a volume on each."""
    disks = tmp_path_factory.mktemp("disks")
    for place in (disks, *disks.parents[:2]):
        place.chmod(0o755)
    home = disks / "site"
    with xfs(disks, "loop,prjquota") as on_xfs, ext4(disks, "loop,prjquota") as on_ext4:
        shared = {
            "helper": home / "privileged.sock",
            "projects_file": disks / "projects",
            "projid_file": disks / "projid",
        }
        volumes = {
            "xfs": {"backend": "xfs", "path": on_xfs / "volume", **shared},
            "ext4": {"backend": "ext4", "path": on_ext4 / "volume", **shared},
        }
        site = QuotaSite(home, volumes)
        (disks / "projects").write_text("7:/somebody/else\n")
        for place in (home, on_xfs, on_ext4):
            os.chown(place, NOBODY, NOBODY)
        site.config.chmod(0o644)
        with GatewayProcess(site, [f"--uid={NOBODY}", f"--gid={NOBODY}"]):
            site.populate("xfs", "first")
            site.admit_key()
            yield site


def room(folder: VFolderOfAlice) -> int:
    """Bytes that the kernel still takes."""
    found = os.statvfs(folder.root)
    return found.f_bavail * found.f_frsize


@pytest.mark.parametrize("volume", ["xfs", "ext4"])
def test_the_last_block_by_every_protocol(site: QuotaSite, volume: str) -> None:
    """A job has used most of the limit; the gateway does not know. What does not fit any more is refused as a limit's, and leaves nothing; what fits to
    the last block is stored."""
    folder = site.limited(volume, f"on-{volume}", 8 * MIB)
    (folder.root / "of-a-job").write_bytes(bytes(5 * MIB))
    site.is_refused_by_all(folder, 4 * MIB)
    half = room(folder) // 2
    assert folder.put("by-http", bytes(half - half % 4096)).status_code == 201
    assert site.dav(folder, "by-webdav", bytes(room(folder))).status_code == 201
    assert room(folder) < 4096
    assert folder.put("one-more", b"x" * 4096).status_code == 507
    assert set(folder.published()) == {"of-a-job", "by-http", "by-webdav"}
    assert folder.stages == []


def test_what_administrators_see(site: QuotaSite) -> None:
    """A line for each vfolder, beside those of others, until it is deleted; files that jobs make belong to the vfolder's project."""
    folder = site.limited("xfs", "seen", MIB)
    file = folder.root / "of-a-job"
    file.write_bytes(b"x")
    with file.open() as opened:
        project = projects.project_of(opened.fileno())
    known = site.folder.parent / "projects", site.folder.parent / "projid"
    assert f"{project}:{folder.root}" in known[0].read_text().splitlines()
    assert f"{folder.vfid[-32:]}:{project}" in known[1].read_text().splitlines()
    assert "7:/somebody/else" in known[0].read_text().splitlines()
    site.manager("DELETE", f"{site.about(folder)}?purge=true")
    eventually(lambda: f"{project}:" not in known[0].read_text(), "the line is struck")
    assert "7:/somebody/else" in known[0].read_text().splitlines()


def helpers() -> list[int]:
    """The processes of the helper, the one that started it first."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if b"vfgateway.privileged" in line:
            found.append(int(place.name))
    return sorted(found)


def test_a_helper_that_is_killed(site: QuotaSite) -> None:
    """It comes back, and what needs it meanwhile waits; without any, what needs it is refused plainly, and the rest goes on."""
    parent, answering = helpers()
    os.kill(answering, signal.SIGKILL)
    folder = site.limited("ext4", "after-the-first", MIB)
    assert folder.put("large", bytes(2 * MIB)).status_code == 507
    for each in helpers():
        os.kill(each, signal.SIGKILL)
    answer = site.call_manager("PATCH", site.about(folder), {"limit_bytes": 2 * MIB})
    assert answer.status_code >= 500
    assert "privileged helper does not answer" in answer.text
    listed = site.manager("GET", "/vfgateway/v1/vfolders")["vfolders"]
    assert next(one["limit_bytes"] for one in listed if one["id"] == folder.vfid) == MIB
    assert folder.put("small", b"small").status_code == 201
    assert folder.published() == {"small": b"small"}
    assert parent not in helpers()
