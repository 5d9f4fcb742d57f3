"""A gateway of nobody's on a Btrfs that limits vfolders: what it may not do a helper does, and what the kernel refuses (``EDQUOT``) every protocol
says in its own words."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.btrfs import btrfs
from tests.support.process import ROOT, TWISTD, GatewayProcess, eventually
from tests.support.quota_site import MIB, NOBODY, QuotaSite
from vfgateway.backends.btrfs import qgroups, subvolumes


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Btrfs on which nobody but root may remove subvolumes."""
    folder = tmp_path_factory.mktemp("disk")
    for place in (folder, *folder.parents[:2]):
        place.chmod(0o755)
    with btrfs(folder) as place:
        os.chown(place, NOBODY, NOBODY)
        yield place


#: A process of nobody's that may read what is root's, for this Python may be; and do nothing else that others may not.
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--bounding-set=-all,+dac_read_search",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)


@contextmanager
def helper(listening: Path, below: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The privileged one, until the end of the block."""
    command = [
        sys.executable,
        "-m",
        "vfgateway.privileged",
        f"--socket={listening}",
        f"--user={NOBODY}",
        f"--below={below}",
    ]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        eventually(listening.exists, "the helper listens")
        yield process
    finally:
        process.terminate()
        process.wait()


def test_by_every_protocol(disk: Path) -> None:
    """A job has used the limit, and the gateway does not know. A vfolder and its snapshots go at once."""
    home = disk / "site"
    options = {"backend": "btrfs", "path": disk / "volume", "limits": "qgroup", "helper": home / "privileged.sock"}
    site = QuotaSite(home, {"local": options})
    os.chown(home, NOBODY, NOBODY)
    site.config.chmod(0o644)
    (disk / "volume").mkdir()
    os.chown(disk / "volume", NOBODY, NOBODY)
    listening = home / "privileged.sock"
    with helper(listening, disk / "volume"), GatewayProcess(site, twistd=(*AS_NOBODY, str(TWISTD))):
        folder = site.limited("local", "data", 8 * MIB)
        site.admit_key()
        assert folder.root.stat().st_uid == NOBODY
        assert (qgroups.group(folder.root).limit or 0) > 8 * MIB
        job = folder.root / "of-a-job"
        job.write_bytes(bytes(8 * MIB))
        site.is_refused_by_all(folder, 4 * MIB)
        job.unlink()
        assert folder.put("fits", bytes(4 * MIB)).status_code == 201
        place = site.about(folder)
        site.manager("POST", f"{place}/snapshots", {"label": "one"})
        (taken,) = [found for found in (disk / "volume").rglob("one") if subvolumes.is_subvolume(found)]
        site.manager("DELETE", f"{place}?purge=true")
        eventually(lambda: not folder.root.exists() and not taken.exists(), "the vfolder goes")
