"""WebDAV clients that are programs of their own: run, judged by, or mounted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, VFolderOfAlice

#: What davfs2 has to be told to be predictable. ``buf_size``: Linux 6.16 and later ask for more of a directory at once than fits its
#: usual 16 KiB, and then every listing fails.
DAVFS = {"ask_auth": 0, "use_locks": 1, "gui_optimize": 0, "delay_upload": 0, "buf_size": 256}


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


@attrs.frozen
class Judgement:
    """What litmus found.

    :ivar skipped: the names of tests that it left out
    """

    passed: int
    skipped: list[str]


def litmus(url: str, cwd: Path) -> Judgement:
    """All five suites of litmus; fails on a failure or a warning."""
    output = run("litmus", "-k", f"{url}/", *ALICE, cwd=cwd)
    print(output)
    assert "FAIL" not in output
    assert "WARNING" not in output
    passed = sum(int(count) for count in re.findall(r"of \d+ tests run: (\d+) passed", output))
    return Judgement(passed, re.findall(r"\d+\. (\w+)\.* SKIPPED", output))


def rclone(vfolder: VFolderOfAlice, tmp_path: Path, *arguments: str, vendor: str = "other") -> str:
    """rclone with the vfolder as remote ``dav:``."""
    binary = Path(sys.executable).with_name("rclone")
    obscured = run(str(binary), "obscure", ALICE[1], cwd=tmp_path).strip()
    remote = {"TYPE": "webdav", "URL": dav_url(vfolder), "VENDOR": vendor, "USER": ALICE[0], "PASS": obscured}
    env = {f"RCLONE_CONFIG_DAV_{name}": value for name, value in remote.items()}
    return run(str(binary), "--config", "/dev/null", *arguments, cwd=tmp_path, env=env)


class Mount:
    """A vfolder mounted by davfs2.

    :ivar point: where
    """

    def __init__(self, url: str, folder: Path, **settings: object) -> None:
        self._url = f"{url}/"
        self._folder = folder
        self.point = folder / "mounted"
        self.point.mkdir(parents=True, exist_ok=True)
        (folder / "secrets").write_text(f'{self._url} {ALICE[0]} "{ALICE[1]}"\n')
        (folder / "secrets").chmod(0o600)
        chosen = {**DAVFS, "secrets": folder / "secrets", **settings}
        (folder / "davfs.conf").write_text("".join(f"{name} {value}\n" for name, value in chosen.items()))

    def mount(self) -> None:
        """Mount it."""
        options = f"conf={self._folder}/davfs.conf,uid=root"
        run("mount.davfs", "-o", options, self._url, str(self.point), cwd=self._folder)

    def unmount(self) -> None:
        """Unmount it, once everything was sent."""
        run("umount", str(self.point), cwd=self._folder)

    def abandon(self) -> None:
        """Unmount it if it is mounted, whatever that loses."""
        if os.path.ismount(self.point):
            subprocess.run(["umount", str(self.point)], check=False, capture_output=True, timeout=PATIENCE)


@contextmanager
def mounted(url: str, folder: Path, **settings: object) -> Iterator[Mount]:
    """Mount it for a while."""
    mount = Mount(url, folder, **settings)
    mount.mount()
    try:
        yield mount
    finally:
        mount.abandon()
