"""The volume on a real mount of the kernel's NFS."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.conformance.harness import READ, Able, at, content_of, make_runtime, names_in, new_folder, new_vfid, put
from tests.support.nfs import NfsServer
from tests.support.patience import until
from vfgateway.backends.nfs import NfsVolume
from vfgateway.backends.vfs import VfsSettings
from vfgateway.errors import StorageFailure, VolumeUnavailable
from vfgateway.model import ANY, Actor, FolderOptions, HealthState, Usage
from vfgateway.mounting.errors import MountFailed
from vfgateway.mounting.mounts import Mounts
from vfgateway.mounting.settings import MountedVolume, MountingSettings
from vfgateway.paths import ROOT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NfsServer]:
    """With its mount."""
    folder = tmp_path_factory.mktemp("nfs")
    server = NfsServer(folder / "exported", folder / "mounted")
    with server.running():
        yield server


@pytest_twisted.async_yield_fixture
async def volume(server: NfsServer, tmp_path: Path) -> AsyncIterator[NfsVolume]:
    """A directory of the mount for each test."""
    volume = NfsVolume("nfs", VfsSettings(path=server.place / tmp_path.name, threads=4), make_runtime(tmp_path))
    await volume.start()
    yield volume
    await volume.stop()


async def test_removed_under_its_reader(volume: NfsVolume) -> None:
    """The reader goes on; nobody sees what the kernel keeps for it, and it is gone afterwards."""
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder: Able = await volume.folder(vfid, Actor())
    await put(folder, "file", b"content")
    file = await folder.open(at("file"), READ)
    await folder.remove(at("file"), ANY)
    root = Path(await volume.mount_path(vfid))
    assert [name for name in root.iterdir() if name.name.startswith(".nfs")], "the kernel keeps it"
    assert await names_in(folder) == []
    assert (await folder.walk_usage(ROOT)).total == Usage()
    assert await file.read(0, 100) == b"content"
    await volume.delete_folder(vfid)
    assert await volume.folders() == []
    await file.close()


async def test_from_another_host(volume: NfsVolume, server: NfsServer) -> None:
    """What the kernel has mounted is what others are told to mount; what it counts of it is told as rates."""
    folder: Able = await new_folder(volume)
    await put(folder, "file", b"content")
    (vfid,) = await volume.folders()
    mount = await volume.remote_mount(vfid)
    assert mount is not None
    assert (mount.type, mount.source, mount.credentials) == ("nfs4", "127.0.0.1:/", "")
    assert (server.exported / mount.path / "file").read_bytes() == b"content"
    measuring = Deferred.fromCoroutine(volume.performance())
    while not measuring.called:
        await put(folder, "more", bytes(1000))
    assert (await measuring).io_bytes_write > 0
    assert (await volume.hardware_info()).metadata["file_system"] == "nfs4"


async def test_stale(volume: NfsVolume, server: NfsServer) -> None:
    """What is removed on the server and made again is found again; who has the old file open never gets the new one's content."""
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder: Able = await volume.folder(vfid, Actor())
    await folder.make_dir(at("dir"))
    await put(folder, "dir/file", b"before")
    file = await folder.open(at("dir/file"), READ)
    there = server.exported / Path(await volume.mount_path(vfid)).relative_to(server.place)
    shutil.rmtree(there / "dir")
    (there / "dir").mkdir()
    (there / "dir/file").write_bytes(b"after")
    assert await content_of(folder, "dir/file") == b"after"
    await put(folder, "dir/new", b"new")
    assert (there / "dir/new").read_bytes() == b"new"
    with suppress(StorageFailure):  # some servers keep what is open
        assert await file.read(0, 100) == b"before"
    await file.close()


async def test_stopped_and_started_under_load(volume: NfsVolume, server: NfsServer) -> None:
    """Whoever writes waits, others are told at once, nothing that was acknowledged is lost, and all goes on by itself."""
    folder: Able = await new_folder(volume)
    stored: list[str] = []

    async def write(writer: int) -> None:
        for number in range(8):
            name = f"{writer}-{number}"
            try:
                await put(folder, name, name.encode() * 1000)
            except VolumeUnavailable:
                await deferLater(reactor, 1, lambda: None)
            else:
                stored.append(name)

    await put(folder, "before", b"x")
    server.stop()
    writers = [Deferred.fromCoroutine(write(number)) for number in range(4)]

    async def is_unavailable() -> bool:
        return (await volume.health()).state is HealthState.UNAVAILABLE

    await until(is_unavailable)
    server.start()
    for each in writers:
        await each

    async def is_healthy() -> bool:
        return (await volume.health()).state is HealthState.HEALTHY

    await until(is_healthy)
    assert stored
    for name in stored:
        assert await content_of(folder, name) == name.encode() * 1000
    await volume.stop()


def test_mounted_for_an_agent(server: NfsServer, tmp_path: Path) -> None:
    """As ``vfgateway mount`` does it for who uses it first, and unmounts it after the last: the real thing, with what a job wrote on the server."""
    settings = MountingSettings(root=tmp_path / "mnt", state=tmp_path / "state")
    about = {"fstype": "nfs4", "path": "127.0.0.1:/", "options": "vers=4.2,soft"}
    mounts = Mounts(settings, [MountedVolume.model_validate({"name": "remote", "mount": about})])
    place = mounts.take("remote", "container-1")
    assert mounts.take("remote", "container-2") == place
    (place / "of-a-job").write_bytes(b"content")
    assert (server.exported / "of-a-job").read_bytes() == b"content"
    assert not mounts.give_back("remote", "container-1")
    assert mounts.give_back("remote", "container-2")
    assert list(place.iterdir()) == []
    with pytest.raises(MountFailed):
        missing = {"name": "missing", "mount": about | {"path": "127.0.0.1:/missing"}}
        Mounts(settings, [MountedVolume.model_validate(missing)]).take("missing", "container-1")
