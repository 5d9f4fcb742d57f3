"""What NFS mounts do now and then: servers that are away, handles that are stale, files that are removed under their readers."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.conformance.harness import Able, at, content_of, make_runtime, names_in, new_folder, new_scope, new_vfid, put
from tests.support.hanging import HangingMount
from tests.support.patience import until
from vfgateway.backends.nfs import NfsVolume, calls
from vfgateway.backends.vfs import VfsSettings, VfsVolume, syscalls, watch
from vfgateway.backends.vfs.layout import TRASH
from vfgateway.errors import InvalidPath, NotFound, StorageFailure, VolumeUnavailable
from vfgateway.model import ANY, Actor, FolderOptions, HealthState, Usage
from vfgateway.paths import ROOT
from vfgateway.services.volumes import Volumes

SILLY = ".nfs0000000000a1b2c300000001"


@pytest.fixture(autouse=True)
def on_nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel of this machine may have no NFS: what is there is said to be one. And nobody is as patient as usual."""
    monkeypatch.setattr(syscalls, "file_system_type", lambda path: syscalls.NFS)
    monkeypatch.setattr(calls, "PATIENCE", 0.5)
    monkeypatch.setattr(watch, "PATIENCE", 0.5)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[HangingMount]:
    """A server and its mount."""
    with HangingMount(tmp_path / "served", tmp_path / "mounted") as mount:
        yield mount


def make_volume(path: Path, tmp_path: Path, **settings: Any) -> NfsVolume:
    return NfsVolume("nfs", VfsSettings(path=path, durability="none", **settings), make_runtime(tmp_path))


@pytest_twisted.async_yield_fixture
async def volume(tmp_path: Path) -> AsyncIterator[NfsVolume]:
    """On the disk."""
    volume = make_volume(tmp_path / "volume", tmp_path)
    await volume.start()
    yield volume
    await volume.stop()


async def is_healthy(volume: VfsVolume) -> bool:
    return (await volume.health()).state is HealthState.HEALTHY


async def test_a_server_that_is_away(mount: HangingMount, tmp_path: Path) -> None:
    """Who asked already waits and is answered when it is back; who asks then is told at once, and no more is queued. A neighbour does not
    notice. All heals by itself."""
    volume = make_volume(mount.place / "volume", tmp_path, threads=3)
    neighbour = VfsVolume("disk", VfsSettings(path=tmp_path / "disk"), make_runtime(tmp_path))
    await volume.start()
    await neighbour.start()
    folder: Able = await new_folder(volume)
    beside: Able = await new_folder(neighbour)
    await put(folder, "file", b"content")
    mount.halt()
    waiting = [Deferred.fromCoroutine(content_of(folder, "file")) for _ in range(3)]

    async def refuses() -> bool:
        try:
            volume._calls.check()
        except VolumeUnavailable as error:
            return "does not answer" in str(error)
        return False

    await until(refuses)
    with pytest.raises(VolumeUnavailable):
        await folder.stat(at("file"))
    for _ in range(2):  # the second time, nobody is sent to wait as well
        assert (await volume.health()).state is HealthState.UNAVAILABLE
    await put(beside, "file", b"not disturbed")
    assert await content_of(beside, "file") == b"not disturbed"
    await until(partial(is_healthy, neighbour))
    assert not any(each.called for each in waiting)
    mount.go_on()
    assert [await each for each in waiting] == [b"content"] * 3
    assert await content_of(folder, "file") == b"content"
    await until(partial(is_healthy, volume))
    await volume.stop()
    await neighbour.stop()


async def test_busy_is_not_away(tmp_path: Path, mount: HangingMount, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume whose threads all have work is healthy, and takes more of it."""
    monkeypatch.setattr(calls, "PATIENCE", 30)
    monkeypatch.setattr(watch, "PATIENCE", 30)
    volume = make_volume(mount.place / "volume", tmp_path, threads=2)
    await volume.start()
    folder = await new_folder(volume)
    await put(folder, "file", b"content")
    busy = [Deferred.fromCoroutine(content_of(folder, "file")) for _ in range(50)]
    assert (await volume.health()).state is HealthState.HEALTHY
    assert [await each for each in busy] == [b"content"] * 50
    await volume.stop()


async def test_away_at_the_start(mount: HangingMount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway starts without it, and has it when it is back."""
    monkeypatch.setattr("vfgateway.services.volumes.PATIENCE", 0.3)
    monkeypatch.setattr("vfgateway.services.volumes.RETRIES", (0.1,))
    mount.halt()
    volumes = Volumes(reactor)
    neighbour = VfsVolume("disk", VfsSettings(path=tmp_path / "disk"), make_runtime(tmp_path))
    for each in (make_volume(mount.place / "volume", tmp_path, threads=2), neighbour):
        volumes.add(each)
    await volumes.start()

    async def is_there(name: str) -> bool:
        return (await volumes.health(name)).state is HealthState.HEALTHY

    await until(partial(is_there, "disk"))
    with pytest.raises(VolumeUnavailable):
        volumes.get("nfs")
    mount.go_on()
    await until(partial(is_there, "nfs"))
    await volumes.stop()


async def test_silly_names(volume: NfsVolume) -> None:
    """What the kernel keeps for a reader of a removed file is not shown, not counted, not copied, and nobody can have its name; a file with
    another name that begins so is a file."""
    vfid, copy = new_vfid(), new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder: Able = await volume.folder(vfid, Actor())
    root = Path(await volume.mount_path(vfid))
    await folder.make_dir(at("dir"))
    await put(folder, "dir/.nfs-mine", b"12")
    for place in (root, root / "dir"):
        (place / SILLY).write_bytes(b"12345")
    (root / "link").symlink_to(f"dir/{SILLY}")
    assert await names_in(folder) == ["dir", "link"]
    assert await names_in(folder, "dir") == [".nfs-mine"]
    assert (await folder.walk_usage(ROOT)).total == Usage(2, 3)
    for path in (SILLY, f"dir/{SILLY}", "link"):
        with pytest.raises(NotFound):
            await folder.stat(at(path), follow=True)
    with pytest.raises(InvalidPath):
        await put(folder, SILLY, b"")
    with pytest.raises(InvalidPath):
        await folder.rename(at("dir/.nfs-mine"), at(SILLY), ANY)
    await volume.clone_folder(vfid, copy)
    assert not list(Path(await volume.mount_path(copy)).rglob(SILLY))


async def test_a_deleted_vfolder_with_open_files(volume: NfsVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is deleted for everybody; what the kernel still keeps goes at the next start."""
    scope = new_scope()
    vfid = new_vfid(scope)
    await volume.create_folder(vfid, FolderOptions())
    (Path(await volume.mount_path(vfid)) / SILLY).write_bytes(b"open")
    unlink = os.unlink

    def kept(path: Any, **options: Any) -> None:
        if path in (SILLY.encode(), SILLY):
            raise OSError(errno.EBUSY, "in use")
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", kept)
        await volume.delete_folder(vfid)
        assert await volume.folders() == []
    trash = Path(volume.path) / scope.uuid.hex / TRASH
    assert list(trash.iterdir())
    await volume.stop()
    await volume.start()

    async def is_empty() -> bool:
        return not list(trash.iterdir())

    await until(is_empty)


@pytest.mark.parametrize("times", [1, 2])
async def test_stale_handles(volume: NfsVolume, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """What is stale is looked up anew, once; then the error says what happened, and the next call begins afresh."""
    folder = await new_folder(volume)
    await put(folder, "file", b"content")
    left = [times]
    opened = syscalls.openat2

    def stale(*args: Any, **options: Any) -> int:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(*args, **options)

    monkeypatch.setattr(syscalls, "openat2", stale)
    if times == 1:
        assert (await folder.stat(at("file"))).size == 7
    else:
        with pytest.raises(StorageFailure, match="stale handle"):
            await folder.stat(at("file"))
    assert left == [0]
    assert await content_of(folder, "file") == b"content"


async def test_a_stage_that_is_stale(volume: NfsVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was open and is lost is not written a second time: nobody knows what is there now. The error says so, and nobody waits for ever."""
    folder = await new_folder(volume)
    staged = await folder.stage(at("file"), None)
    tries = []

    def stale(*_: Any) -> int:
        tries.append(1)
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", stale)
        with pytest.raises(StorageFailure, match="stale handle"):
            await staged.append([b"content"])
    assert tries == [1]
    await staged.append([b"content"])
    await staged.commit(at("file"), ANY)
    assert await content_of(folder, "file") == b"content"


async def test_not_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point on which nothing is mounted is not written to."""
    monkeypatch.setattr(syscalls, "file_system_type", lambda path: syscalls.EXT4)
    volume = make_volume(tmp_path / "volume", tmp_path)
    (tmp_path / "volume").mkdir()
    with pytest.raises(VolumeUnavailable, match="not mounted by NFS"):
        await volume.start()
    await volume.stop()
    assert list((tmp_path / "volume").iterdir()) == []
