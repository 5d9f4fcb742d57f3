"""Unmodified WebDAV clients and judges against a real gateway."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice


@pytest.fixture(scope="module")
def vfolder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VFolderOfAlice]:
    """A vfolder behind a gateway that runs for all tests here."""
    site = DavSite(tmp_path_factory.mktemp("site") / "site", {"local": {"path": "volume", "durability": "none"}})
    with GatewayProcess(site):
        yield site.populate()


def dav_url(vfolder: VFolderOfAlice) -> str:
    """Where WebDAV finds the vfolder."""
    assert isinstance(vfolder.site, DavSite)
    return f"{vfolder.site.dav_url}/{vfolder.name}"


def run(*command: str, cwd: Path, text: str = "", env: dict[str, str] | None = None) -> str:
    """What a program printed; fails with it unless the program ended well."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8", **(env or {})}
    done = subprocess.run(
        command, cwd=cwd, input=text, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_litmus(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """All of litmus passes: no failure, no warning, nothing skipped."""
    output = run("litmus", "-k", f"{dav_url(vfolder)}/", *ALICE, cwd=tmp_path)
    print(output)
    assert "FAIL" not in output
    assert "WARNING" not in output
    assert "SKIPPED" not in output
    passed = sum(int(count) for count in re.findall(r"of \d+ tests run: (\d+) passed", output))
    assert passed == 104


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


def rclone(vfolder: VFolderOfAlice, tmp_path: Path, *arguments: str, vendor: str = "other") -> str:
    """rclone with the vfolder as remote ``dav:``."""
    binary = Path(sys.executable).with_name("rclone")
    obscured = run(str(binary), "obscure", ALICE[1], cwd=tmp_path).strip()
    remote = {"TYPE": "webdav", "URL": dav_url(vfolder), "VENDOR": vendor, "USER": ALICE[0], "PASS": obscured}
    env = {f"RCLONE_CONFIG_DAV_{name}": value for name, value in remote.items()}
    return run(str(binary), "--config", "/dev/null", *arguments, cwd=tmp_path, env=env)


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
    rclone(vfolder, tmp_path, "purge", place, vendor=vendor)
    assert not (vfolder.root / f"rclone-{vendor}").exists()


def test_curl(vfolder: VFolderOfAlice, tmp_path: Path) -> None:
    """curl uploads from a pipe without knowing the length, and resumes a download."""
    content = os.urandom(300_000)
    (tmp_path / "local").write_bytes(content)
    login = ("-sS", "--fail", "-u", ":".join(ALICE))
    url = f"{dav_url(vfolder)}/curl.bin"
    run("sh", "-c", 'cat local | curl "$@"', "sh", *login, "-T", "-", url, cwd=tmp_path)
    (tmp_path / "part").write_bytes(content[:100_000])
    run("curl", *login, "-C", "-", "-o", "part", url, cwd=tmp_path)
    assert (tmp_path / "part").read_bytes() == content


@pytest.fixture
def mounted(vfolder: VFolderOfAlice, tmp_path: Path) -> Iterator[Path]:
    """The vfolder mounted by davfs2."""
    point = tmp_path / "mounted"
    point.mkdir()
    url = f"{dav_url(vfolder)}/"
    (tmp_path / "secrets").write_text(f'{url} {ALICE[0]} "{ALICE[1]}"\n')
    (tmp_path / "secrets").chmod(0o600)
    settings = ("ask_auth 0", "use_locks 1", "gui_optimize 0", "delay_upload 0", f"secrets {tmp_path}/secrets", "")
    (tmp_path / "davfs.conf").write_text("\n".join(settings))
    run("mount.davfs", "-o", f"conf={tmp_path}/davfs.conf,uid=root", url, str(point), cwd=tmp_path)
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=False, capture_output=True, timeout=PATIENCE)


def test_davfs2(vfolder: VFolderOfAlice, mounted: Path) -> None:
    """Written, read back, edited by rename, removed, through the mount, under davfs2's locks. (It cannot list on recent kernels.)"""
    content = os.urandom(200_000)
    (mounted / "tree").mkdir()
    (mounted / "tree/file.bin").write_bytes(content)
    assert (mounted / "tree/file.bin").read_bytes() == content
    (mounted / "tree/file.tmp").write_bytes(b"edited")
    (mounted / "tree/file.tmp").rename(mounted / "tree/file.bin")
    assert (mounted / "tree/file.bin").read_bytes() == b"edited"
    run("umount", str(mounted), cwd=mounted.parent)
    assert (vfolder.root / "tree/file.bin").read_bytes() == b"edited"
    assert not (vfolder.root / "tree/file.tmp").exists()


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
