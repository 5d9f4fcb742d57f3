"""Unmodified WebDAV clients and judges against a real gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dav_clients import Judgement, dav_url, litmus, rclone, run
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice


@pytest.fixture(scope="module")
def vfolder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VFolderOfAlice]:
    """A vfolder behind a gateway of two processes that runs for all tests here: each connection of a client may meet another one."""
    volumes = {"local": {"path": "volume", "durability": "none"}}
    site = DavSite(tmp_path_factory.mktemp("site") / "site", volumes, workers=2)
    with GatewayProcess(site):
        yield site.populate()


def test_litmus(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """All of litmus passes: no failure, no warning, nothing skipped."""
    assert litmus(dav_url(vfolder), tmp_path) == Judgement(104, [])


def test_cadaver(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """cadaver's commands: put, get, mkcol, move, copy, properties, locks, delete."""
    key = vfolder.site.manager("POST", "/vfgateway/v1/users/alice/keys", {"kind": "api_key"})["secret"]
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {ALICE[0]} password {key}\n")
    (tmp_path / "local").write_bytes(b"hello")
    commands = [
        "mkcol cadaver",
        "cd cadaver",
        "put local remote",
        "copy remote copied",
        "move copied moved",
        "set namespace http://example.org/",
        "propset remote note kept",
        "propget remote note",
        "lock remote",
        "discover remote",
        "unlock remote",
        "get remote fetched",
        "delete moved",
        "ls",
        "quit",
    ]
    output = run("cadaver", f"{dav_url(vfolder)}/", cwd=tmp_path, text="\n".join([*commands, ""]))
    assert "failed" not in output, output
    assert "kept" in output
    assert (tmp_path / "fetched").read_bytes() == b"hello"
    assert {path.name for path in (vfolder.root / "cadaver").iterdir()} == {"remote"}


@pytest.mark.parametrize("vendor", ["other", "owncloud", "infinitescale"])
def test_rclone(vfolder: VFolderOfAlice, tmp_path: Path, vendor: str) -> None:
    """sync, check, a second sync that sends nothing where times are kept, about, move of a tree."""
    tree = tmp_path / "tree"
    for name in ("a.txt", "empty", "deep/er/b c.txt", "deep/ünïcode"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name if name != "empty" else "")
    os.utime(tree / "a.txt", (1_000_000_000, 1_000_000_000))
    place = f"dav:rclone-{vendor}"
    rclone(vfolder, tmp_path, "sync", "tree", place, vendor=vendor)
    rclone(vfolder, tmp_path, "check", "--download", "tree", place, vendor=vendor)
    if vendor != "other":
        again = rclone(vfolder, tmp_path, "sync", "tree", place, "--stats-one-line", "-v", vendor=vendor)
        assert "Copied" not in again
        assert (vfolder.root / f"rclone-{vendor}/a.txt").stat().st_mtime == 1_000_000_000
    rclone(vfolder, tmp_path, "move", f"{place}/deep", f"{place}/moved", vendor=vendor)
    assert (vfolder.root / f"rclone-{vendor}/moved/er/b c.txt").read_text() == "deep/er/b c.txt"
    by_tus = (
        f'"method": "POST", "path": "/{vfolder.name}/rclone-{vendor}' in (vfolder.site.folder / "output").read_text()
    )
    assert by_tus is (vendor == "infinitescale")
    rclone(vfolder, tmp_path, "purge", place, vendor=vendor)
    assert not (vfolder.root / f"rclone-{vendor}").exists()


def test_gvfs(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """GNOME's own: mount, list, copy in, rename, read, remove."""
    (tmp_path / "local").write_bytes(b"hello")
    assert isinstance(vfolder.site, DavSite)
    url = f"{vfolder.site.dav_url}/{vfolder.name}".replace("http:", "dav:")
    script = f"""
        printf '%s\\n%s\\n' '{ALICE[0]}' '{ALICE[1]}' | gio mount {url}/
        gio mkdir {url}/gnome
        gio copy local {url}/gnome/copied
        gio rename {url}/gnome/copied renamed
        gio list {url}/gnome
        gio cat {url}/gnome/renamed
        gio remove {url}/gnome/renamed
    """
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "GVFS_DISABLE_FUSE": "1"}
    output = run("dbus-run-session", "--", "sh", "-ec", script, cwd=tmp_path, env=environment)
    assert "renamed\nhello" in output
    assert list((vfolder.root / "gnome").iterdir()) == []
