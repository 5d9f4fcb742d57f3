"""The volume on Btrfs keeps every promise, on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.conformance.harness import make_runtime
from tests.conformance.test_vfs import TestVfs as _OnDisk
from tests.support.btrfs import btrfs
from vfgateway.abilities import ISnapshots
from vfgateway.backends.btrfs import BtrfsVolume
from vfgateway.backends.vfs import VfsSettings
from vfgateway.interfaces import IVolume


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system for all of this module."""
    with btrfs(tmp_path_factory.mktemp("btrfs")) as place:
        yield place


class TestBtrfs(_OnDisk):
    """A directory of its own for each test, on one file system."""

    backend = "btrfs"
    abilities = _OnDisk.abilities | {ISnapshots}
    top: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def on_btrfs(self, place: Path) -> None:
        """Where it is mounted."""
        type(self).top = place

    def directory(self, tmp_path: Path) -> Path:
        return self.top / tmp_path.name

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = VfsSettings(path=self.directory(tmp_path), adoptable=(tmp_path / "foreign",), **self.settings)
        return BtrfsVolume("disk", settings, make_runtime(tmp_path))
