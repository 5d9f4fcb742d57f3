"""Unmodified WebDAV clients and judges against a real gateway."""

from __future__ import annotations

import os
import re
import subprocess
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
