"""Places to mount on, empty again at the end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfgateway.mounting.settings import MountedVolume, MountingSettings


class Site:
    """A host of agents.

    :ivar settings: memory disks are admitted, which every machine has
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = MountingSettings(root=folder / "mnt", state=folder / "state", fstypes=("tmpfs", "ext4", "cifs"))

    def volume(self, name: str, at: str = "requested", **mount: str) -> MountedVolume:
        """One that is configured."""
        return MountedVolume.model_validate(
            {"name": name, "mount": {"at": at, "fstype": "tmpfs", "path": f"disk-{name}", "options": "size=1m"} | mount}
        )

    def mounted(self) -> list[str]:
        """Names of the directories on which something is mounted; one that has several mounts is named for each."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        places = (line.split()[4] for line in lines)
        return sorted(Path(place).name for place in places if Path(place).parent == self.settings.root)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """See above."""
    site = Site(tmp_path)
    try:
        yield site
    finally:
        for name in site.mounted():
            subprocess.run(["umount", "--lazy", site.settings.root / name], check=True)
