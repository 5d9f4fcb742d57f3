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
from tests.support.process import ROOT, TWISTD, GatewayProcess, VFolderOfAlice, eventually
from tests.support.quota_site import MIB, NOBODY, QuotaSite
from vfgateway.backends.btrfs import qgroups, subvolumes

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


#: The privileged helper, which kills itself at the first step of its kind that a file names: ``before`` or ``after`` it asks the kernel.
MORTAL = """
import os, signal, sys
from pathlib import Path
from vfgateway.privileged import __main__ as program, btrfs

program.LONGEST_PAUSE = 0.05
orders = Path(sys.argv.pop(1))

def die(when, verb):
    try:
        (orders / f"{when}-{verb.__name__}").unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def mortal(verb):
    def do(*arguments):
        die("before", verb)
        verb(*arguments)
        die("after", verb)
    return do

btrfs.set_limit, btrfs.destroy = mortal(btrfs.set_limit), mortal(btrfs.destroy)
program.main()
"""


class MortalSite(QuotaSite):
    """A gateway of nobody's.

    :ivar disk: the Btrfs
    :ivar orders: where the helper is told when to die
    """

    disk: Path
    orders: Path

    def dies(self, when: str, verb: str) -> Path:
        """Have the helper die; the order, which is gone when it has."""
        order = self.orders / f"{when}-{verb}"
        order.touch()
        return order


@contextmanager
def helper(listening: Path, below: Path, orders: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The privileged one, until the end of the block."""
    told = [f"--socket={listening}", f"--user={NOBODY}", f"--below={below}"]
    process = subprocess.Popen([sys.executable, "-c", MORTAL, str(orders), *told], cwd=ROOT)
    try:
        eventually(listening.exists, "the helper listens")
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MortalSite]:
    """On a Btrfs on which nobody but root may remove subvolumes."""
    folder = tmp_path_factory.mktemp("disk")
    for place in (folder, *folder.parents[:2]):
        place.chmod(0o755)
    with btrfs(folder) as disk:
        home, volume, orders = disk / "site", disk / "volume", disk / "orders"
        listening = home / "privileged.sock"
        options = {"backend": "btrfs", "path": volume, "limits": "qgroup", "helper": listening}
        site = MortalSite(home, {"local": options})
        site.disk, site.orders = disk, orders
        site.config.chmod(0o644)
        for place in (volume, orders):
            place.mkdir()
        for place in (disk, home, volume):
            os.chown(place, NOBODY, NOBODY)
        with helper(listening, volume, orders), GatewayProcess(site, twistd=(*AS_NOBODY, str(TWISTD))):
            yield site


def snapshot(site: MortalSite, folder: VFolderOfAlice, label: str) -> Path:
    """Take one; where it lies."""
    site.manager("POST", f"{site.about(folder)}/snapshots", {"label": label})
    (taken,) = [found for found in (site.disk / "volume").rglob(label) if subvolumes.is_subvolume(found)]
    return taken


def test_by_every_protocol(site: MortalSite) -> None:
    """A job has used the limit, and the gateway does not know. A vfolder and its snapshots go at once."""
    folder = site.limited("local", "data", 8 * MIB)
    site.admit_key()
    assert folder.root.stat().st_uid == NOBODY
    assert (qgroups.group(folder.root).limit or 0) > 8 * MIB
    job = folder.root / "of-a-job"
    job.write_bytes(bytes(8 * MIB))
    site.is_refused_by_all(folder, 4 * MIB)
    job.unlink()
    assert folder.put("fits", bytes(4 * MIB)).status_code == 201
    taken = snapshot(site, folder, "one")
    site.manager("DELETE", f"{site.about(folder)}?purge=true")
    eventually(lambda: not folder.root.exists() and not taken.exists(), "the vfolder goes")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_helper_that_is_killed_on_its_way(site: MortalSite, when: str) -> None:
    """Before or after it asked the kernel for what it was told: another one comes and does it, or finds it done; nobody notices."""
    folder = site.limited("local", f"killed-{when}", 8 * MIB)
    order = site.dies(when, "set_limit")
    site.manager("PATCH", site.about(folder), {"limit_bytes": 4 * MIB})
    assert not order.exists()
    assert 4 * MIB < (qgroups.group(folder.root).limit or 0) < 8 * MIB
    taken = snapshot(site, folder, f"snapshot-{when}")
    order = site.dies(when, "destroy")
    site.manager("DELETE", f"{site.about(folder)}/snapshots/{taken.name}")
    assert not order.exists()
    assert not taken.exists()
    assert site.manager("GET", f"{site.about(folder)}/snapshots")["snapshots"] == []
    order = site.dies(when, "destroy")
    site.manager("DELETE", f"{site.about(folder)}?purge=true")
    eventually(lambda: not folder.root.exists(), "the vfolder goes")
    eventually(lambda: not order.exists(), "the helper dies")
    left = [found for found in (site.disk / "volume").rglob(f"{folder.vfid[-32:]}*") if found.is_dir()]
    eventually(lambda: not any(place.exists() for place in left), "nothing is left of it")
