"""The volume on Btrfs keeps every promise, on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.conformance.abilities import CopyPromises
from tests.conformance.harness import make_runtime
from tests.conformance.moving import MovePromises
from tests.conformance.quota import NativeFolderQuotaPromises
from tests.conformance.snapshots import SnapshotPromises
from tests.conformance.test_vfs import TestVfs as _OnDisk
from tests.conformance.volume import VolumePromises
from tests.support.btrfs import btrfs
from vfgateway.abilities import INativeFolderQuota, ISnapshots
from vfgateway.backends.btrfs import BtrfsSettings, BtrfsVolume, LimitedBtrfsVolume
from vfgateway.interfaces import IVolume


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system for all tests."""
    with btrfs(tmp_path_factory.mktemp("plain")) as place:
        yield place


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One on which quota groups will be on."""
    with btrfs(tmp_path_factory.mktemp("counting")) as place:
        yield place


class TestBtrfs(_OnDisk, MovePromises):
    """A directory of its own for each test, on one file system."""

    backend = "btrfs"
    abilities = _OnDisk.abilities | {ISnapshots}
    top: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def on_btrfs(self, plain: Path) -> None:
        """Where it is mounted."""
        type(self).top = plain

    def directory(self, tmp_path: Path) -> Path:
        return self.top / tmp_path.name

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = BtrfsSettings(path=self.directory(tmp_path), adoptable=(tmp_path / "foreign",), **self.settings)
        return BtrfsVolume("disk", settings, make_runtime(tmp_path))


class TestBtrfsWithLimits(VolumePromises, CopyPromises, SnapshotPromises, NativeFolderQuotaPromises):
    """With quota groups, which are exact only to their metadata: what they have a hand in."""

    backend = "btrfs"
    abilities = TestBtrfs.abilities | {INativeFolderQuota}
    top: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def on_btrfs(self, counting: Path) -> None:
        """Where it is mounted."""
        type(self).top = counting

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = BtrfsSettings(path=self.top / tmp_path.name, durability="none")
        return LimitedBtrfsVolume("disk", settings, make_runtime(tmp_path))
