"""A vfolder mounted by davfs2 through FUSE, used as people use a disk: trees, archives, editors, a network that goes away."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import requests

from tests.support.dav_clients import dav_url, mounted, run
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, ROOT, GatewayProcess, VFolderOfAlice, eventually
from tests.support.relay import Relay

MIB = 1 << 20
#: Seconds after which davfs2 tries again what failed.
IMPATIENT = {"retry": 1, "max_retry": 1, "connect_timeout": 5, "read_timeout": 20}


LOCK = (
    "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>"
    "<D:owner>somebody else</D:owner></D:lockinfo>"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DavSite]:
    """A gateway that runs for all tests here."""
    site = DavSite(tmp_path_factory.mktemp("site") / "site", {"local": {"path": "volume", "durability": "none"}})
    with GatewayProcess(site):
        yield site


@pytest.fixture
def vfolder(site: DavSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder for one test, so that davfs2's cache knows nothing of it."""
    return site.populate(name=request.node.name.replace("_", "-"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree: some of this package's own, with a program and names that need escaping."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    for part in ("backends", "cli", "protocols/webdav"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "vfgateway" / part, tree / "vfgateway" / part, ignore=ignored)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "a & b, 100%.txt").write_text("escaped")
    (tree / "ünïcode/deep er").mkdir(parents=True)
    (tree / "ünïcode/deep er/#1;x=?").write_text("")
    return tree


def content_of(tree: Path) -> Mapping[str, tuple[bytes | None, bool]]:
    """All below it by name: content (``None``: a directory), and whether it can be run."""
    found = {}
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        if name.split("/")[0] in (".upload", "lost+found"):
            continue
        runs = path.is_file() and bool(path.stat().st_mode & stat.S_IXUSR)
        found[name] = (path.read_bytes() if path.is_file() else None, runs)
    return found


def make_runnable(path: Path) -> None:
    """davfs2 tells the server of a mode that changes, not of the one that a file is made with."""
    path.chmod(0o644)
    path.chmod(0o755)


def test_copy_of_a_source_tree(vfolder: VFolderOfAlice, source: Path, tmp_path: Path) -> None:
    """``cp -r`` onto the mount, ``diff -r`` through it; on disk it is the same tree."""
    with mounted(dav_url(vfolder), tmp_path / "davfs") as mount:
        run("cp", "-r", str(source), str(mount.point / "copy"), cwd=tmp_path)
        make_runnable(mount.point / "copy/run")
        assert run("diff", "-r", str(source), str(mount.point / "copy"), cwd=tmp_path) == ""
        mount.unmount()
    assert content_of(vfolder.root / "copy") == content_of(source)


def test_an_archive_is_unpacked(vfolder: VFolderOfAlice, source: Path, tmp_path: Path) -> None:
    """``tar x`` on the mount, then some of it removed and moved there."""
    run("tar", "cf", "archive.tar", "-C", str(source), ".", cwd=tmp_path)
    with mounted(dav_url(vfolder), tmp_path / "davfs") as mount:
        # davfs2 shows owners of its own choice, and refuses to change them.
        run("tar", "xf", "archive.tar", "--no-same-owner", "-C", str(mount.point), cwd=tmp_path)
        make_runnable(mount.point / "run")
        (mount.point / "vfgateway/cli").rename(mount.point / "moved")
        shutil.rmtree(mount.point / "vfgateway/backends")
        mount.unmount()
    expected = dict(content_of(source))
    assert "vfgateway/cli" in expected and "vfgateway/backends" in expected
    for name in list(expected):
        if name.startswith("vfgateway/cli"):
            expected[name.replace("vfgateway/cli", "moved", 1)] = expected.pop(name)
        elif name.startswith("vfgateway/backends"):
            del expected[name]
    assert content_of(vfolder.root) == expected


def test_an_archive_is_made(vfolder: VFolderOfAlice, source: Path, tmp_path: Path) -> None:
    """``tar c`` of the mount holds what is on disk, sizes and times included."""
    shutil.copytree(source, vfolder.root / "tree")
    with mounted(dav_url(vfolder), tmp_path / "davfs") as mount:
        run(
            "find", str(mount.point), cwd=tmp_path
        )  # listing a directory changes it, as davfs2 sees it, and tar would complain
        run("tar", "cf", "archive.tar", "-C", str(mount.point), "tree", cwd=tmp_path)
    shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)
    with tarfile.open(tmp_path / "archive.tar") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert content_of(tmp_path / "unpacked/tree") == content_of(source)
    for path in (tmp_path / "unpacked/tree").rglob("*"):
        there = vfolder.root / "tree" / path.relative_to(tmp_path / "unpacked/tree")
        assert path.is_dir() or int(path.stat().st_mtime) == int(there.stat().st_mtime)


def test_editing_by_rename(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """Editors write beside the file and rename over it; some keep the old one under another name first."""
    (vfolder.root / "text").write_bytes(b"old")
    with mounted(dav_url(vfolder), tmp_path / "davfs") as mount:
        assert (mount.point / "text").read_bytes() == b"old"
        (mount.point / "text~").write_bytes(b"new")
        (mount.point / "text~").rename(mount.point / "text")
        assert (mount.point / "text").read_bytes() == b"new"
        (mount.point / "text").rename(mount.point / "text.bak")
        (mount.point / "text").write_bytes(b"newer")
        mount.unmount()
    assert vfolder.published() == {"text": b"newer", "text.bak": b"new"}


@pytest.mark.parametrize("count", [1, 700_000, 2 * MIB])
def test_the_network_is_cut_in_the_middle_of_a_write(
    site: DavSite, vfolder: VFolderOfAlice, tmp_path: Path, count: int
) -> None:
    """Readers see the old file all the time, the broken attempt leaves nothing, and the new one arrives when the network is back."""
    assert vfolder.put("file", b"old").ok
    content = os.urandom(3 * MIB)
    with Relay(site.dav_port) as relay:
        url = f"http://127.0.0.1:{relay.port}/{vfolder.name}"
        with mounted(url, tmp_path / "davfs", **IMPATIENT) as mount:
            with (mount.point / "file").open("wb") as file:
                file.write(content)
                relay.cut_after(count)
            assert relay.happened.wait(PATIENCE)
            eventually(lambda: not vfolder.stages, "the broken attempt leaves nothing")
            assert vfolder.get("file") == b"old"
            assert vfolder.charged == (3, 1)
            assert (mount.point / "file").read_bytes() == content, "davfs2 keeps what it could not send"
            relay.restore()
            eventually(lambda: vfolder.get("file") == content, "the new content arrives")
            mount.unmount()
    assert vfolder.published() == {"file": content}
    assert vfolder.stages == []
    assert vfolder.charged == (len(content), 1)


def locks_in(vfolder: VFolderOfAlice) -> Sequence[Mapping[str, str]]:
    """What the administrator is shown."""
    found: Sequence[Mapping[str, str]] = vfolder.site.manager("GET", f"/vfgateway/v1/locks?vfolder={vfolder.name}")[
        "locks"
    ]
    return found


def test_what_the_mount_writes_is_locked_for_others(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """While a file is open for writing, others are refused by every road and the administrator sees the lock; then no more."""
    (vfolder.root / "file").write_bytes(b"old")
    with mounted(dav_url(vfolder), tmp_path / "davfs") as mount:
        with (mount.point / "file").open("r+b") as file:
            file.write(b"new")
            url = f"{dav_url(vfolder)}/file"
            refused = requests.put(url, b"other", auth=ALICE, timeout=PATIENCE)
            assert (refused.status_code, "lock-token-submitted" in refused.text) == (423, True)
            assert vfolder.put("file", b"other").status_code == 423
            (held,) = locks_in(vfolder)
            assert (held["path"], held["owner"]) == ("file", "alice")
        eventually(lambda: vfolder.get("file") == b"new", "the new content arrives")
        eventually(lambda: not locks_in(vfolder), "the lock ends with the writing")
        assert requests.put(url, b"other", auth=ALICE, timeout=PATIENCE).status_code == 204
        eventually(lambda: (mount.point / "file").read_bytes() == b"other", "the mount notices what others changed")


def test_what_others_have_locked(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """The mount is refused at once, when the file is opened, not after it was written; it can be read."""
    (vfolder.root / "file").write_bytes(b"old")
    url = f"{dav_url(vfolder)}/file"
    token = requests.request("LOCK", url, data=LOCK, auth=ALICE, timeout=PATIENCE).headers["Lock-Token"]
    with mounted(dav_url(vfolder), tmp_path / "davfs") as mount:
        assert (mount.point / "file").read_bytes() == b"old"
        with pytest.raises(OSError):
            (mount.point / "file").write_bytes(b"new")
        for change in (
            lambda: (mount.point / "file").unlink(),
            lambda: (mount.point / "file").rename(mount.point / "g"),
        ):
            with pytest.raises(OSError):
                change()
        assert vfolder.published() == {"file": b"old"}
        requests.request("UNLOCK", url, headers={"Lock-Token": token}, auth=ALICE, timeout=PATIENCE)
        (mount.point / "file").write_bytes(b"new")
        mount.unmount()
    assert vfolder.published() == {"file": b"new"}


def test_free_space(site: DavSite, vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """``df`` shows what the limit leaves."""
    folder = vfolder.vfid.rpartition("/")[2]
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{folder}", {"limit_bytes": 8 * MIB})
    assert vfolder.put("file", b"x" * 3 * MIB).ok
    with mounted(dav_url(vfolder), tmp_path / "davfs") as mount:
        found = os.statvfs(mount.point)
        assert found.f_bavail * found.f_frsize == 5 * MIB
        assert (found.f_blocks - found.f_bfree) * found.f_frsize == 3 * MIB
