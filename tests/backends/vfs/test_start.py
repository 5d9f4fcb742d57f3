"""A volume starts only where it is sure to be right, and says what to do otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from tests.backends.vfs.conftest import Disk, Opener, furnish
from tests.conformance.harness import NoState, make_runtime, new_vfid
from tests.conformance.machine import now
from vfgateway.backends.vfs import VfsSettings, VfsVolume, VfsVolumeFactory
from vfgateway.backends.vfs.watch import PATIENCE
from vfgateway.blocking import InlinePool
from vfgateway.errors import VolumeUnavailable
from vfgateway.model import FolderOptions, Health, HealthState, QuotaScopeId, ScopeKind
from vfgateway.runtime import Runtime
from vfgateway.section import locate


async def test_makes_its_directory(make_volume: Opener, tmp_path: Path) -> None:
    """A missing directory is made if its parent is there, and marked as layout 3."""
    disk = await furnish(make_volume())
    assert (tmp_path / "volume/version.txt").read_text().strip() == "3"
    await disk.volume.stop()


async def test_configuring_touches_nothing(tmp_path: Path) -> None:
    """Before the start nothing is made."""
    VfsVolumeFactory().configure("disk", {"path": str(tmp_path / "volume")}, make_runtime(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_relative_path(tmp_path: Path) -> None:
    """A relative path counts from the configuration's folder."""
    settings = locate({"path": "var/vfolders"}, tmp_path)
    volume = VfsVolumeFactory().configure("disk", settings, make_runtime(tmp_path))
    assert volume.path == str(tmp_path / "var/vfolders")


async def test_does_not_make_parents(make_volume: Opener, tmp_path: Path) -> None:
    """A missing parent is a missing mount: it is named, and nothing is made in its place."""
    volume = make_volume(path=tmp_path / "mnt/storage/volume")
    with pytest.raises(VolumeUnavailable, match=r"mnt/storage does not exist; .*mount"):
        await volume.start()
    assert list(tmp_path.iterdir()) == []
    await volume.stop()


async def test_starts_when_the_storage_comes(make_volume: Opener, tmp_path: Path) -> None:
    """A start that failed can be tried again."""
    volume = make_volume(path=tmp_path / "mnt/volume")
    with pytest.raises(VolumeUnavailable):
        await volume.start()
    assert (await volume.health()).state is HealthState.UNAVAILABLE
    (tmp_path / "mnt").mkdir()
    await volume.start()
    assert (await volume.health()).state is HealthState.HEALTHY
    await volume.stop()


@pytest.mark.parametrize("version", ["2", "4", "", "not a number"])
async def test_unknown_layout(make_volume: Opener, tmp_path: Path, version: str) -> None:
    """Another layout is refused, with the file that says so."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/version.txt").write_text(version)
    volume = make_volume()
    with pytest.raises(VolumeUnavailable, match=r"version\.txt says layout .*migrate"):
        await volume.start()
    assert (tmp_path / "volume/version.txt").read_text() == version
    await volume.stop()


async def test_strange_content(make_volume: Opener, tmp_path: Path) -> None:
    """A directory that holds something else does not become a volume."""
    (tmp_path / "volume/photos").mkdir(parents=True)
    volume = make_volume()
    with pytest.raises(VolumeUnavailable, match="photos"):
        await volume.start()
    assert [entry.name for entry in (tmp_path / "volume").iterdir()] == ["photos"]
    await volume.stop()


async def test_not_a_directory(make_volume: Opener, tmp_path: Path) -> None:
    """A file is no volume."""
    (tmp_path / "volume").write_text("")
    volume = make_volume()
    with pytest.raises(VolumeUnavailable, match="not a directory"):
        await volume.start()
    await volume.stop()


async def test_takes_over_a_volume_of_the_reference(make_volume: Opener, tmp_path: Path) -> None:
    """Vfolders that a storage proxy made are found; scopes whose kind it did not note are users'."""
    vfid = new_vfid()
    assert vfid.scope is not None
    digits = vfid.folder.hex
    root = tmp_path / "volume" / vfid.scope.uuid.hex / digits[:2] / digits[2:4] / digits[4:]
    root.mkdir(parents=True)
    (tmp_path / "volume/version.txt").write_text("3")
    volume = make_volume()
    await volume.start()
    assert await volume.folders() == [vfid]
    assert await volume.mount_path(vfid) == str(root)
    await volume.stop()


async def test_remembers_kinds(make_volume: Opener) -> None:
    """A project's vfolder is found as a project's."""
    volume = make_volume()
    await volume.start()
    vfid = new_vfid(QuotaScopeId(ScopeKind.PROJECT, new_vfid().folder))
    await volume.create_folder(vfid, FolderOptions())
    assert await volume.folders() == [vfid]
    await volume.stop()


async def test_health_of_a_lost_mount(disk: Disk, tmp_path: Path) -> None:
    """A volume whose storage went away says so, and does not make a new one in its place."""
    shutil.rmtree(tmp_path / "volume")
    tmp_path.joinpath("volume").write_text("in the way")
    health = await disk.volume.health()
    assert health.state is HealthState.UNAVAILABLE
    assert health.info is not None and "not a directory" in health.info


class StuckPool(InlinePool):
    """While ``stuck``, calls are taken and never answered, as by threads on a dead mount."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.stuck = False
        self.taken: list[Callable[[], object]] = []

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Awaitable[Any]:
        if not self.stuck:
            return super().run(function, *args, **kwargs)
        self.taken.append(partial(function, *args, **kwargs))
        return Deferred()


def test_health_of_dead_storage(tmp_path: Path) -> None:
    """Storage that does not answer is reported in time, with one thread waiting for it at most, and is healthy when it answers."""
    clock = Clock()
    pool = StuckPool(clock)
    runtime = Runtime(clock, lambda size, inline=False: pool, agent=None, spool=tmp_path, state=NoState())
    volume = VfsVolume("disk", VfsSettings(path=tmp_path / "volume"), runtime)
    now(volume.start())
    pool.stuck = True
    asking = ensureDeferred(volume.health())
    clock.advance(PATIENCE)
    assert now(_state(asking)) is now(_state(volume.health())) is HealthState.UNAVAILABLE
    [thread] = pool.taken
    thread()
    pool.stuck = False
    assert now(_state(volume.health())) is HealthState.HEALTHY


async def _state(asking: Awaitable[Health]) -> HealthState:
    return (await asking).state


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"path": "/x", "owner": "alice"}, "UID:GID"),
        ({"path": "/x", "file_mode": 640}, "octal"),
        ({"path": "/x", "file_mode": "4755"}, "set-id"),
        ({"path": "/x", "dir_mode": "0999"}, "octal"),
        ({"path": "/x", "durability": "maybe"}, "sync"),
        ({"path": "/x", "threads": 0}, "greater"),
        ({"path": "/x", "durable": 1}, "did you mean durability"),
        ({}, "path"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, settings: dict[str, object], word: str) -> None:
    """A mistake in the settings is told when they are read, in words."""
    with pytest.raises(ValidationError, match=word):
        VfsVolumeFactory().configure("disk", settings, make_runtime(tmp_path))
