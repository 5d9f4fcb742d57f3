"""What a volume says when it cannot be what it should."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.harness import make_runtime, new_folder, new_vfid, put
from tests.support.projects import UnenforcedQuota, xfs
from tests.support.state import MemoryState
from vfgateway.backends.projectquota import ProjectQuotaSettings, ProjectQuotaVolume
from vfgateway.errors import StorageFailure, Unsupported, VolumeUnavailable
from vfgateway.model import FolderOptions, HealthState, Limits
from vfgateway.privileged import client, projects


@pytest.fixture(autouse=True)
def keeps_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given up for ever, and other tests run in this process, too."""
    monkeypatch.setattr("vfgateway.backends.projectquota.volume.obey_limits", lambda: None)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An XFS for all of them."""
    with xfs(tmp_path_factory.mktemp("disk")) as place:
        yield place


def volume(place: Path, tmp_path: Path, kind: str = "xfs") -> ProjectQuotaVolume:
    """One that is not started."""
    settings = ProjectQuotaSettings(
        path=place,
        helper=tmp_path / "helper.sock",
        projects_file=tmp_path / "projects",
        projid_file=tmp_path / "projid",
        adoptable=(tmp_path,),
    )
    return ProjectQuotaVolume("disk", settings, make_runtime(tmp_path, MemoryState()), kind)


async def refused(storage: ProjectQuotaVolume) -> str:
    """What it says when it is started."""
    with pytest.raises(VolumeUnavailable) as error:
        await storage.start()
    await storage.stop()
    return str(error.value)


async def test_another_file_system(disk: Path, tmp_path: Path) -> None:
    """The type has to be that of the configuration."""
    assert "is not on ext4" in await refused(volume(disk / "a", tmp_path, "ext4"))


async def test_no_quota(disk: Path, tmp_path: Path) -> None:
    """How to mount it is told."""
    said = await refused(volume(disk / "b", tmp_path))
    assert "-o prjquota" in said
    assert "Linux 5.14" in said


class Unprivileged(UnenforcedQuota):
    """The kernel as an ordinary user meets it."""

    allowed = False

    def _usage(self, descriptor: int, project: int) -> tuple[int, int, int, int]:
        if not self.allowed:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return super()._usage(descriptor, project)


async def test_no_helper(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without privileges one is needed; where it is looked for is told."""
    Unprivileged().install(monkeypatch)
    said = await refused(volume(disk / "d", tmp_path))
    assert "does not run as root" in said
    assert str(tmp_path / "helper.sock") in said


async def test_a_helper_that_goes_away(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume's health says so, a vfolder that needs it is not made, and what is there can be used."""
    monkeypatch.setattr(client, "PATIENCE", 0.1)
    kernel = Unprivileged()
    kernel.allowed = True
    kernel.install(monkeypatch)
    storage = volume(disk / "e", tmp_path)
    await storage.start()
    try:
        folder = await new_folder(storage)
        assert (await storage.health()).state is HealthState.HEALTHY
        storage._powers = storage._helper
        health = await storage.health()
        assert health.state is HealthState.DEGRADED
        assert "helper does not answer" in (health.info or "")
        missing = new_vfid()
        with pytest.raises(StorageFailure, match="helper does not answer"):
            await storage.create_folder(missing, FolderOptions())
        assert missing not in await storage.folders()
        await put(folder, "file", b"content")
    finally:
        await storage.stop()


async def test_a_vfolder_from_before(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without a project gets it with its first limit, and all that is in it; one that was adopted cannot have one."""
    UnenforcedQuota().install(monkeypatch)
    storage = volume(disk / "f", tmp_path)
    await storage.start()
    try:
        vfid = new_vfid()
        root = storage._layout.make_root(vfid)
        (root / "dir").mkdir()
        (root / "dir/file").touch()
        await storage.set_folder_limits(vfid, Limits())
        assert project_of(root) == 0
        await storage.set_folder_limits(vfid, Limits(1 << 20))
        given = {project_of(each) for each in (root, root / "dir", root / "dir/file")}
        assert len(given) == 1
        assert 0 not in given
        assert (tmp_path / "projects").read_text() == f"{given.pop()}:{root}\n"
        (tmp_path / "foreign").mkdir()
        adopted = new_vfid()
        await storage.adopt_folder(adopted, str(tmp_path / "foreign"))
        with pytest.raises(Unsupported):
            await storage.set_folder_limits(adopted, Limits(1))
        await storage.delete_folder(adopted)
        await storage.delete_folder(vfid)
        assert (tmp_path / "projects").read_text() == ""
    finally:
        await storage.stop()


def project_of(place: Path) -> int:
    """Whose it is."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        return projects.project_of(descriptor)
    finally:
        os.close(descriptor)
