"""The volume on NFS keeps every promise. The kernel of this machine may have no NFS: here its directory is said to be on one, so that all takes the
ways that it takes there. What real mounts do is in ``tests/virtual``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.harness import make_runtime
from tests.conformance.moving import MovePromises
from tests.conformance.test_vfs import TestVfs as _OnDisk
from vfgateway.abilities import IStageOwners
from vfgateway.backends.nfs import NfsVolume
from vfgateway.backends.vfs import VfsSettings, syscalls
from vfgateway.interfaces import IVolume


class TestNfs(_OnDisk, MovePromises):
    """In threads, and synced before it is published."""

    backend = "nfs"
    abilities = _OnDisk.abilities - {IStageOwners}
    many = 1000

    @pytest.fixture(autouse=True)
    def on_nfs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Said to be."""
        monkeypatch.setattr(syscalls, "file_system_type", lambda path: syscalls.NFS)

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = VfsSettings(path=self.directory(tmp_path), adoptable=(tmp_path / "foreign",), **self.settings)
        return NfsVolume("nfs", settings, make_runtime(tmp_path))


del _OnDisk
