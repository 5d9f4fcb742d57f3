"""The volume on CephFS keeps every promise, on a real Ceph."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.conformance.harness import Able, VolumeCase, at, make_runtime, names_in, new_vfid, put
from tests.conformance.moving import MovePromises
from tests.conformance.test_vfs import TestVfs as _OnDisk
from tests.support.ceph import Ceph
from vfgateway.abilities import INativeFolderQuota, ISnapshots, IStageOwners
from vfgateway.backends.cephfs import CephFsSettings, CephFsVolume
from vfgateway.errors import InvalidPath, NotFound, QuotaExceeded, Unsupported, VolumeUnavailable
from vfgateway.interfaces import IVolume
from vfgateway.model import Actor, FolderOptions, Limits, Usage


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of Ceph, mounted."""
    folder = tmp_path_factory.mktemp("ceph")
    with Ceph(folder / "cluster") as cluster, cluster.mounted(folder / "mounted") as place:
        yield place


class TestCephFs(_OnDisk, MovePromises):
    """Through ceph-fuse."""

    backend = "cephfs"
    abilities = (_OnDisk.abilities - {IStageOwners}) | {INativeFolderQuota, ISnapshots}

    top: ClassVar[Path]
    many = 600
    deep = 100

    @pytest.fixture(autouse=True)
    def on_ceph(self, ceph: Path) -> None:
        """Where it is mounted."""
        type(self).top = ceph

    def directory(self, tmp_path: Path) -> Path:
        return self.top / tmp_path.name

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = CephFsSettings(path=self.directory(tmp_path), adoptable=(tmp_path / "foreign",), **self.settings)
        return CephFsVolume("ceph", settings, make_runtime(tmp_path))


MIB = 1 << 20


class TestCephItself(VolumeCase):
    """What is Ceph's own."""

    backend = "cephfs"

    @pytest_twisted.async_yield_fixture
    async def volume(self, ceph: Path, tmp_path: Path) -> AsyncIterator[CephFsVolume]:
        """A started volume."""
        settings = CephFsSettings(path=ceph / tmp_path.name, adoptable=(tmp_path,), durability="none")
        volume = CephFsVolume("ceph", settings, make_runtime(tmp_path))
        await volume.start()
        yield volume
        await volume.stop()

    async def test_a_limit_stops_who_writes(self, volume: CephFsVolume) -> None:
        """Some time after it, since clients count together only now and then; by a limit's refusal, and until there is room again."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        await volume.set_folder_limits(vfid, Limits(5 * MIB))
        folder: Able = await volume.folder(vfid, Actor())
        stage = await folder.stage(at("large"), None)
        with pytest.raises(QuotaExceeded) as refused:
            for _ in range(1000):
                await stage.append([bytes(MIB // 8)])
                await deferLater(reactor, 0.05, lambda: None)  # what it has written is told upwards meanwhile
        assert (refused.value.resource, refused.value.limit) == ("bytes", 5 * MIB)
        assert stage.size >= 4 * MIB
        await stage.discard()
        await volume.set_folder_limits(vfid, Limits())
        await put(folder, "large", bytes(6 * MIB))

    async def test_a_limit_of_files(self, volume: CephFsVolume) -> None:
        """Is that of the ledger: neither the vfolder itself nor the place of stages is among them."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder: Able = await volume.folder(vfid, Actor())
        await put(folder, "0", b"")
        await volume.set_folder_limits(vfid, Limits(files=3))
        with pytest.raises(QuotaExceeded) as refused:
            for number in range(1, 20):
                await folder.make_dir(at(str(number)))
        assert (refused.value.resource, refused.value.limit) == ("files", 3)
        assert len(await names_in(folder)) >= 3

    async def test_figures_arrive(self, volume: CephFsVolume) -> None:
        """They are passed upwards after some seconds; then they are those of the ledger."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder: Able = await volume.folder(vfid, Actor())
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"12345")
        for _ in range(600):
            if (await volume.native_folder_usage(vfid))[0] == Usage(5, 2):
                return
            await deferLater(reactor, 0.1, lambda: None)
        assert (await volume.native_folder_usage(vfid))[0] == Usage(5, 2)

    async def test_directories_of_snapshots_are_hidden(self, volume: CephFsVolume) -> None:
        """At any depth, for whatever is done with them; links do not lead there either."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder: Able = await volume.folder(vfid, Actor())
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"before")
        await volume.snapshot(vfid, "one")
        await folder.make_link(at("link"), ".snap/one/dir/file")
        await folder.make_link(at("dir/way"), ".snap")
        for path in (".snap", ".snap/one/dir/file", "dir/.snap", "link", "dir/way"):
            with pytest.raises(NotFound):
                await folder.stat(at(path), follow=True)
        for change in (folder.make_dir(at(".snap/two")), folder.make_dir(at("dir/.snap"))):
            with pytest.raises(InvalidPath):
                await change
        with pytest.raises(NotFound):
            await folder.remove_dir(at(".snap/one"))
        assert [snapshot.label for snapshot in await volume.snapshots(vfid)] == ["one"]

    async def test_snapshots_of_a_directory_above(self, volume: CephFsVolume) -> None:
        """An administrator's own snapshots of all that there is are no vfolder's, and are in no one's way but that of a removal's end."""
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        whole = Path(volume.path) / ".snap/whole"
        whole.mkdir()
        try:
            await volume.snapshot(vfid, "own")
            assert [snapshot.label for snapshot in await volume.snapshots(vfid)] == ["own"]
            await volume.delete_folder(vfid)
            assert await volume.folders() == []
        finally:
            whole.rmdir()

    async def test_adopted(self, volume: CephFsVolume, tmp_path: Path) -> None:
        """What lies elsewhere has neither Ceph's limits nor its snapshots."""
        (tmp_path / "place").mkdir()
        vfid = new_vfid()
        await volume.adopt_folder(vfid, str(tmp_path / "place"))
        for call in (
            volume.set_folder_limits(vfid, Limits(1)),
            volume.native_folder_usage(vfid),
            volume.snapshot(vfid, "one"),
            volume.snapshots(vfid),
        ):
            with pytest.raises(Unsupported):
                await call

    async def test_not_mounted(self, tmp_path: Path) -> None:
        """A mount point on which nothing is mounted is not written to."""
        settings = CephFsSettings(path=tmp_path / "volume")
        volume = CephFsVolume("ceph", settings, make_runtime(tmp_path))
        (tmp_path / "volume").mkdir()
        with pytest.raises(VolumeUnavailable, match="not on a CephFS"):
            await volume.start()
        await volume.stop()
        assert list((tmp_path / "volume").iterdir()) == []
