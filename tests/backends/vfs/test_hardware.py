"""What the kernel tells of a volume's storage: how it is, and how much it does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from tests.backends.vfs.conftest import Opener
from tests.support.disks import PowerlessDisk, as_root
from tests.support.mounts import small_tmpfs
from vfgateway.backends.vfs import performance
from vfgateway.backends.vfs.hardware import MountPoint, health_of, mount_of
from vfgateway.backends.vfs.performance import Counters, Done, counters, rates
from vfgateway.errors import Unsupported
from vfgateway.model import HealthState, PerformanceMetric

#: As the kernel writes it (nfs-utils, mountstats), shortened.
NFS = """device proc mounted on /proc with fstype proc
device server:/old mounted on /mnt/my\\040data with fstype nfs4 statvers=1.1
\tbytes:\t1 1 1 1 1 1 1 1
\tper-op statistics
\t        READ: 1 1 0 1 1 1 1 1 0
\t       WRITE: 1 1 0 1 1 1 1 1 0
device server:/export mounted on /mnt/my\\040data with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tage:\t100
\tbytes:\t11 12 13 14 4000 9000 17 18
\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
\t        READ: 10 10 0 1 1 5 20 30 0
\t       WRITE: 20 20 0 1 1 5 60 80 0
device other:/export mounted on /mnt with fstype nfs4 statvers=1.1
\tbytes:\t2 2 2 2 2 2 2 2
"""
DISKS = """   7       0 loop0 1 2 3 4 5 6 7 8 0 9 10
 254       1 vda1 100 0 2000 50 300 0 4000 900 0 20 30 0 0 0 0 1 2
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on a block device."""
    with PowerlessDisk(tmp_path, "disk", tmp_path / "disk").running() as place:
        yield place


async def test_a_disk(disk: Path, make_volume: Opener) -> None:
    """What is written to it is in the rates of the volume that lies there."""
    volume = make_volume(path=disk / "volume")
    await volume.start()
    info = await volume.hardware_info()
    assert info.state is HealthState.HEALTHY
    assert (info.metadata["file_system"], info.metadata["mount_point"]) == ("ext4", str(disk))
    assert info.metadata["device"].startswith("loop")
    assert int(info.metadata["sectors"]) * 512 == 64 << 20
    measuring = Deferred.fromCoroutine(volume.performance())
    while not measuring.called:
        (disk / "file").write_bytes(os.urandom(1 << 20))
        as_root("sync", str(disk / "file"))
        await deferLater(reactor, 0.01, lambda: None)
    measured = await measuring
    assert measured.io_bytes_write > 0
    assert measured.iops_write > 0
    await volume.stop()


async def test_read_only(disk: Path, make_volume: Opener) -> None:
    """As after an error of the disk: it works for readers, and somebody should look."""
    volume = make_volume(path=disk / "volume")
    await volume.start()
    as_root("mount", "-o", "remount,ro", str(disk))
    info = await volume.hardware_info()
    assert (info.state, info.info) == (HealthState.DEGRADED, "it is mounted read-only")
    await volume.stop()


async def test_memory(tmp_path: Path, make_volume: Opener) -> None:
    """Nothing is counted there; that is said."""
    with small_tmpfs(tmp_path / "memory", "8m"):
        volume = make_volume(path=tmp_path / "memory/volume")
        await volume.start()
        assert (await volume.hardware_info()).metadata["file_system"] == "tmpfs"
        with pytest.raises(Unsupported):
            await volume.performance()
        await volume.stop()


def test_the_innermost_mount(tmp_path: Path) -> None:
    """Is the one that counts, also where its place has odd characters in it; one whose name only begins so is another."""
    outer = tmp_path / "outer"
    with small_tmpfs(outer, "8m"), small_tmpfs(outer / "in ner", "8m"):
        (outer / "in ner too").mkdir()
        for path, place in (
            (outer / "in ner/volume", outer / "in ner"),
            (outer / "in ner", outer / "in ner"),
            (outer / "in ner too", outer),
            (outer, outer),
        ):
            found = mount_of(str(path))
            assert found is not None
            assert (found.place, found.fstype) == (str(place), "tmpfs")


def test_arrays_and_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array that lacks a disk, and a disk that the kernel has given up."""
    monkeypatch.setattr(MountPoint, "sysfs", property(lambda self: tmp_path / "md0"))
    for name, content in (("queue/rotational", "1"), ("md/degraded", "1"), ("device/model", "Disk  ")):
        (tmp_path / "md0" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "md0" / name).write_text(content)
    mount = MountPoint("/", "xfs", "/dev/md0", read_only=False, device=(9, 0))
    found = health_of(mount)
    assert (found.state, found.info) == (HealthState.DEGRADED, "its array lacks 1 of its disks")
    assert (found.metadata["model"], found.metadata["rotational"]) == ("Disk", "1")
    (tmp_path / "md0/device/state").write_text("offline\n")
    assert health_of(mount).state is HealthState.OFFLINE


def test_what_the_kernel_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a device, and of an NFS mount, the last on its place."""
    (tmp_path / "disks").write_text(DISKS)
    (tmp_path / "mounts").write_text(NFS)
    monkeypatch.setattr(performance, "_DISKS", tmp_path / "disks")
    monkeypatch.setattr(performance, "_MOUNTS", tmp_path / "mounts")
    disk = MountPoint("/", "ext4", "/dev/vda1", read_only=False, device=(254, 1))
    assert counters(disk, 7) == Counters(7, Done(100, 2000 * 512, 50), Done(300, 4000 * 512, 900))
    nfs = MountPoint("/mnt/my data", "nfs4", "server:/export", read_only=False, device=None)
    assert counters(nfs, 7) == Counters(7, Done(10, 4000, 30), Done(20, 9000, 80))
    for other in (attrs.evolve(nfs, place="/mnt"), attrs.evolve(nfs, place="/mnt/my"), attrs.evolve(disk, device=None)):
        assert counters(other, 7) is None


def test_rates() -> None:
    """Per second, and per operation; none where nothing was done, or where counting began anew."""
    before = Counters(10, Done(100, 1000, 50), Done(7, 70, 7))
    after = Counters(14, Done(140, 9000, 60), Done(7, 70, 7))
    assert rates(before, after) == PerformanceMetric(10, 0, 2000, 0, 250, 0)
    assert rates(after, attrs.evolve(before, at=20)) == PerformanceMetric(0, 0, 0, 0, 0, 0)


async def test_measured_since_somebody_asked(disk: Path, make_volume: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the time between two questions if that is neither too short nor too long; else over a second of its own."""
    volume = make_volume(path=disk / "volume")
    await volume.start()
    clock, counted = Clock(), [0]

    def count(mount: Any, now: float) -> Counters:
        return Counters(now, Done(counted[0], 0, 0), Done())

    async def run(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr("vfgateway.backends.vfs.watch.counters", count)
    monkeypatch.setattr(volume._watch, "_reactor", clock)
    monkeypatch.setattr(volume._watch._calls, "run", run)
    seen = []
    for pause, done in ((0, 5), (10, 100), (0.1, 7), (1000, 9)):
        clock.advance(pause)
        if pause == 10:
            counted[0] += done
        measuring = Deferred.fromCoroutine(volume.performance())
        if not measuring.called:
            counted[0] += done
            clock.advance(1)
        seen.append((await measuring).iops_read)
    assert seen == [5, 10, 7, 9]
    await volume.stop()
