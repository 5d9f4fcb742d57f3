"""XFS and ext4 volumes keep every promise. Limits are told and not enforced here, for this kernel may have no project quota;
``tests/virtual`` has what takes one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest

from tests.conformance.harness import make_runtime
from tests.conformance.test_vfs import TestVfs as _OnDisk
from tests.support.projects import UnenforcedQuota, ext4, xfs
from tests.support.state import MemoryState
from vfgateway.abilities import INativeFolderQuota
from vfgateway.backends.projectquota import ProjectQuotaSettings, ProjectQuotaVolume
from vfgateway.interfaces import IVolume


class _OnProjects(_OnDisk):
    """A directory of its own for each test, on one file system."""

    abilities = _OnDisk.abilities | {INativeFolderQuota}
    place: ClassVar[Path]
    quota: ClassVar[UnenforcedQuota]

    @pytest.fixture(autouse=True)
    def kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the kernel may lack."""
        self.quota.install(monkeypatch)

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = ProjectQuotaSettings(
            path=self.place / uuid4().hex,
            adoptable=(tmp_path / "foreign",),
            projects_file=tmp_path / "projects",
            projid_file=tmp_path / "projid",
            **self.settings,
        )
        return ProjectQuotaVolume("disk", settings, make_runtime(tmp_path, MemoryState()), self.backend)


class TestXfs(_OnProjects):
    """With real identifiers and reflinks."""

    backend = "xfs"
    quota = UnenforcedQuota()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def mounted(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """One for all of them."""
        with xfs(tmp_path_factory.mktemp("xfs")) as place:
            cls.place = place
            yield


class TestExt4(_OnProjects):
    """Without identifiers: no ext4 that has them could be mounted."""

    backend = "ext4"
    quota = UnenforcedQuota(has_projects=False)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def mounted(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """One for all of them."""
        with ext4(tmp_path_factory.mktemp("ext4")) as place:
            cls.place = place
            yield


del _OnDisk, _OnProjects
