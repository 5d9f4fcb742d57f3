"""The directory volume keeps every promise, whichever way it opens paths, and wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.conformance.harness import make_runtime
from tests.conformance.suite import EveryPromise
from tests.support.mounts import small_tmpfs
from vfgateway.abilities import (
    IAdoption,
    IAtHand,
    IDescriptions,
    IDescriptorRead,
    IDescriptorWrite,
    IFastClone,
    IFileAtHand,
    IHardwareInfo,
    IJobLinks,
    ILayout,
    ILinks,
    IMappedListing,
    IModes,
    IMountable,
    IPerformanceMetrics,
    IRandomWrite,
    IRemoteMount,
    IResumableStaging,
    IServerSideCopy,
    IStageOwners,
    IUsageWalk,
    IWholeStore,
)
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.backends.vfs.resolve import KernelResolver, Resolver, WalkResolver
from vfgateway.interfaces import IVolume


class TestVfs(EveryPromise):
    """On the disk under ``tmp_path``, with ``openat2``."""

    backend = "vfs"
    abilities = frozenset(
        {
            IAdoption,
            IAtHand,
            IDescriptions,
            IDescriptorRead,
            IDescriptorWrite,
            IFastClone,
            IFileAtHand,
            IHardwareInfo,
            ILayout,
            IJobLinks,
            ILinks,
            IMappedListing,
            IModes,
            IMountable,
            IPerformanceMetrics,
            IRandomWrite,
            IRemoteMount,
            IResumableStaging,
            IServerSideCopy,
            IStageOwners,
            IUsageWalk,
            IWholeStore,
        }
    )
    resolver: type[Resolver] = KernelResolver
    settings: ClassVar[dict[str, Any]] = {"durability": "none"}

    def directory(self, tmp_path: Path) -> Path:
        """Where the volume is to be."""
        return tmp_path / "volume"

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = VfsSettings(path=self.directory(tmp_path), adoptable=(tmp_path / "foreign",), **self.settings)
        return VfsVolume("disk", settings, make_runtime(tmp_path), self.resolver())

    def foreign_place(self, tmp_path: Path) -> str:
        directory = tmp_path / "foreign/place"
        if not directory.exists():
            (directory / "dir").mkdir(parents=True)
            (directory / "dir/file").write_bytes(b"content")
        return str(directory)

    def foreign_file(self, tmp_path: Path) -> str:
        return str(tmp_path / "foreign/place/dir/file")

    def missing_place(self, tmp_path: Path) -> str:
        return str(tmp_path / "foreign/nothing")

    def forbidden_place(self, tmp_path: Path) -> str:
        return str(tmp_path)


class TestVfsByWalking(TestVfs):
    """One component at a time, as on kernels without ``openat2``."""

    resolver = WalkResolver


class TestVfsDurable(TestVfs):
    """Synced, which takes other ways through the pool."""

    settings: ClassVar[dict[str, Any]] = {"durability": "sync", "threads": 3}


class TestVfsOnTmpfs(TestVfs):
    """On another file system than the disk's: no ``fallocate`` ahead, few inodes, memory."""

    @pytest.fixture(autouse=True)
    def mounted(self, tmp_path: Path) -> Iterator[None]:
        """A file system of its own for each test."""
        with small_tmpfs(tmp_path / "mounted", "64m"):
            yield

    def directory(self, tmp_path: Path) -> Path:
        return tmp_path / "mounted"
