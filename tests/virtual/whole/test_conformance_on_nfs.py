"""Every promise on a real mount of the kernel's NFS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.conformance.harness import make_runtime
from tests.conformance.test_nfs import TestNfs as _Outside
from tests.support.nfs import NfsServer
from vfgateway.backends.nfs import NfsVolume
from vfgateway.backends.vfs import VfsSettings
from vfgateway.interfaces import IVolume


class TestNfs(_Outside):
    """With fewer files, since emulation is slow."""

    place: ClassVar[Path]
    many = 200
    deep = 30

    @pytest.fixture(autouse=True)
    def on_nfs(self) -> None:
        """It is."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def mounted(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """One for all of them."""
        folder = tmp_path_factory.mktemp("nfs")
        with NfsServer(folder / "exported", folder / "mounted").running() as cls.place:
            yield

    async def make_volume(self, tmp_path: Path) -> IVolume:
        foreign = tmp_path / "foreign"
        settings = VfsSettings(path=self.place / tmp_path.name, adoptable=(foreign,), durability="none")
        return NfsVolume("nfs", settings, make_runtime(tmp_path))

    def directory(self, tmp_path: Path) -> Path:
        return self.place / tmp_path.name


del _Outside
