"""Volumes on XFS and ext4 whose kernel has project quota: it stops who writes too much, to the block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from tests.conformance.harness import make_runtime
from tests.conformance.quota import NativeFolderQuotaPromises
from tests.conformance.test_projectquota import TestXfs as _OutsideXfs
from tests.support.projects import ext4, xfs
from tests.support.state import MemoryState
from vfgateway.backends.projectquota import ProjectQuotaSettings, ProjectQuotaVolume
from vfgateway.interfaces import IVolume


class _Enforced(NativeFolderQuotaPromises):
    enforces = True
    abilities = _OutsideXfs.abilities
    place: ClassVar[Path]
    disk: ClassVar[Any]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def mounted(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        """One disk for all of them."""
        with cls.disk(tmp_path_factory.mktemp("disk"), "loop,prjquota") as place:
            cls.place = place
            yield

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = ProjectQuotaSettings(
            path=self.place / uuid4().hex, projects_file=tmp_path / "projects", projid_file=tmp_path / "projid"
        )
        return ProjectQuotaVolume("disk", settings, make_runtime(tmp_path, MemoryState()), self.backend)


class TestXfs(_Enforced):
    """Where the kernel says ``ENOSPC``."""

    backend = "xfs"
    disk = staticmethod(xfs)


class TestExt4(_Enforced):
    """Where it says ``EDQUOT``, and not to who may use more than there is."""

    backend = "ext4"
    disk = staticmethod(ext4)


del _OutsideXfs, _Enforced
