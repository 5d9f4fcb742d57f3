"""Quota groups: who writes past the gateway is stopped, and who writes through it is told in the words of a limit."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.harness import WRITE_NEW, Able, at, content_of, make_runtime, names_in, new_vfid, put
from tests.support.btrfs import btrfs
from vfgateway.backends.btrfs import BtrfsSettings, BtrfsVolume, BtrfsVolumeFactory, LimitedBtrfsVolume, subvolumes
from vfgateway.errors import QuotaExceeded, Unsupported, VolumeUnavailable
from vfgateway.interfaces import IVolume
from vfgateway.model import ANY, Actor, FolderOptions, Limits, VFolderId
from vfgateway.privileged import btrfs as btrfs_calls

MIB = 1 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with btrfs(tmp_path_factory.mktemp("counting")) as place:
        yield place


async def _limited(disk: Path, tmp_path: Path, size: int) -> tuple[LimitedBtrfsVolume, VFolderId, Path]:
    volume = LimitedBtrfsVolume("disk", BtrfsSettings(path=disk / tmp_path.name), make_runtime(tmp_path))
    await volume.start()
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    await volume.set_folder_limits(vfid, Limits(size))
    return volume, vfid, Path(await volume.mount_path(vfid))


async def test_jobs_are_stopped(disk: Path, tmp_path: Path) -> None:
    """Above the limit, and below what a vfolder may have beyond it for its metadata; what is removed makes room, though a snapshot has it still."""
    volume, vfid, root = await _limited(disk, tmp_path, 8 * MIB)
    await volume.snapshot(vfid, "empty")
    assert 8 * MIB < _fill(root / "job") <= 10 * MIB
    await volume.snapshot(vfid, "full")
    (root / "job").unlink()
    assert 8 * MIB < _fill(root / "again") <= 10 * MIB
    assert (await volume.native_folder_usage(vfid))[1] == Limits(8 * MIB)
    await volume.stop()


def _fill(path: Path) -> int:
    """How many bytes a job can write before it is stopped."""
    written = 0
    with path.open("wb", buffering=0) as file, pytest.raises(OSError) as stopped:
        while written < 64 * MIB:
            written += file.write(bytes(64 << 10))
    assert stopped.value.errno == errno.EDQUOT
    return written


async def test_a_refusal_is_a_limits(disk: Path, tmp_path: Path) -> None:
    """Staged or in place; nothing is left of what was refused, others write on, and what is of the size of the limit fits."""
    volume, vfid, _ = await _limited(disk, tmp_path, 8 * MIB)
    folder: Able = await volume.folder(vfid, Actor())
    await put(folder, "exact", bytes(8 * MIB))
    assert len(await content_of(folder, "exact")) == 8 * MIB
    with pytest.raises(QuotaExceeded) as refusal:
        await put(folder, "large", bytes(8 * MIB))
    assert (refusal.value.resource, refusal.value.limit) == ("bytes", 8 * MIB)
    handle = await folder.open(at("place"), WRITE_NEW)
    with pytest.raises(QuotaExceeded):
        await handle.write(0, [bytes(8 * MIB)])
    await handle.close()
    await folder.remove(at("place"), ANY)
    assert await names_in(folder) == ["exact"]
    other = new_vfid()
    await volume.create_folder(other, FolderOptions())
    await put(await volume.folder(other, Actor()), "large", bytes(16 * MIB))
    await folder.remove(at("exact"), ANY)
    await put(folder, "fits", bytes(8 * MIB))
    await volume.stop()


async def test_what_can_have_none(disk: Path, tmp_path: Path) -> None:
    """A vfolder that is a plain directory, and one that was adopted, have the ledger's limits alone."""
    foreign = disk / f"{tmp_path.name}-foreign" / "place"
    foreign.mkdir(parents=True)
    settings = BtrfsSettings(path=disk / tmp_path.name, adoptable=(foreign.parent,))
    volume = LimitedBtrfsVolume("disk", settings, make_runtime(tmp_path))
    await volume.start()
    vfid = new_vfid()
    await volume.adopt_folder(vfid, str(foreign))
    with pytest.raises(Unsupported):
        await volume.set_folder_limits(vfid, Limits(MIB))
    with pytest.raises(Unsupported):
        await volume.native_folder_usage(vfid)
    await volume.stop()


async def test_simple_quotas_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At start: they charge a vfolder for what only its snapshots hold."""
    with btrfs(tmp_path / "disk") as place:
        monkeypatch.setattr(btrfs_calls, "_ENABLE", 4)  # BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA
        with subvolumes.directory(place) as descriptor:
            btrfs_calls.enable_quota(descriptor)
        monkeypatch.undo()
        volume = LimitedBtrfsVolume("disk", BtrfsSettings(path=place / "volume"), make_runtime(tmp_path))
        with pytest.raises(VolumeUnavailable, match="simple quotas"):
            await volume.start()
        await volume.stop()


def test_the_configuration_chooses(tmp_path: Path) -> None:
    """No quota groups unless they are asked for: they cost the whole file system."""

    def made(**settings: str) -> IVolume:
        return BtrfsVolumeFactory().configure("disk", {"path": str(tmp_path), **settings}, make_runtime(tmp_path))

    assert type(made()) is BtrfsVolume
    assert type(made(limits="qgroup")) is LimitedBtrfsVolume
