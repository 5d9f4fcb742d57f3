"""What Btrfs does beyond the promises: subvolumes among directories, and what stands in their way."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted

from tests.conformance.harness import content_of, make_runtime, names_in, new_vfid, put
from tests.support.btrfs import btrfs
from tests.support.process import PATIENCE
from vfgateway.backends.btrfs import BtrfsSettings, BtrfsVolume, subvolumes
from vfgateway.backends.vfs import VfsVolume
from vfgateway.errors import Unsupported, VolumeUnavailable
from vfgateway.model import Actor, FolderOptions, VFolderId


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with btrfs(tmp_path_factory.mktemp("btrfs"), "user_subvol_rm_allowed") as place:
        yield place


@pytest.fixture
def settings(disk: Path, tmp_path: Path) -> BtrfsSettings:
    return BtrfsSettings(path=disk / tmp_path.name, adoptable=(disk / "foreign",))


@pytest_twisted.async_yield_fixture
async def volume(settings: BtrfsSettings, tmp_path: Path) -> AsyncIterator[BtrfsVolume]:
    volume = BtrfsVolume("disk", settings, make_runtime(tmp_path))
    await volume.start()
    yield volume
    await volume.stop()


async def _made(volume: VfsVolume) -> VFolderId:
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    await put(await volume.folder(vfid, Actor()), "file", b"content")
    return vfid


async def test_a_vfolder_is_a_subvolume(volume: BtrfsVolume) -> None:
    """Closed to others from the first moment on, with the owner and mode of all vfolders, and so is a clone."""
    vfid, clone = await _made(volume), new_vfid()
    await volume.clone_folder(vfid, clone)
    for each in (vfid, clone):
        root = Path(await volume.mount_path(each))
        assert subvolumes.is_subvolume(root)
        assert root.stat().st_mode & 0o7777 == 0o2750
    assert await content_of(await volume.folder(clone, Actor()), "file") == b"content"
    await volume.snapshot(vfid, "one")
    place = Path(await volume.mount_path(vfid)).parents[2] / ".snapshots"
    assert place.stat().st_mode & 0o777 == 0o700  # jobs that see the scope do not see what others' vfolders held


async def test_elsewhere_it_does_not_start(tmp_path: Path) -> None:
    """With what is wrong."""
    volume = BtrfsVolume("disk", BtrfsSettings(path=tmp_path / "volume"), make_runtime(tmp_path))
    with pytest.raises(VolumeUnavailable, match="is not on Btrfs"):
        await volume.start()
    await volume.stop()


async def test_plain_directories_stay_vfolders(volume: BtrfsVolume, settings: BtrfsSettings, tmp_path: Path) -> None:
    """Those of a ``vfs`` volume in the same place, and those that were adopted: all but snapshots."""
    plain = VfsVolume("disk", settings, make_runtime(tmp_path))
    await plain.start()
    vfid, adopted = await _made(plain), new_vfid()
    await plain.stop()
    foreign = settings.path.parent / "foreign" / settings.path.name
    foreign.mkdir(parents=True)
    await volume.adopt_folder(adopted, str(foreign))
    for each in (vfid, adopted):
        for attempt in (volume.snapshot(each, "one"), volume.snapshots(each)):
            with pytest.raises(Unsupported):
                await attempt
    clone = new_vfid()
    await volume.clone_folder(vfid, clone)
    assert await content_of(await volume.folder(clone, Actor()), "file") == b"content"
    await volume.snapshot(clone, "one")
    for each in (vfid, adopted, clone):
        await volume.delete_folder(each)
    assert list(await volume.folders()) == []
    assert foreign.is_dir()


async def test_subvolumes_of_jobs(volume: BtrfsVolume) -> None:
    """Are no part of snapshots, and do not keep a vfolder from being deleted."""
    vfid = await _made(volume)
    root = Path(await volume.mount_path(vfid))
    subvolumes.create(root / "theirs")
    (root / "theirs" / "f").write_bytes(b"x")
    folder = await volume.folder(vfid, Actor())
    assert await names_in(folder) == ["file", "theirs"]
    assert await content_of(folder, "theirs/f") == b"x"
    await volume.snapshot(vfid, "one")
    assert await names_in(await volume.open_snapshot(vfid, "one"), "theirs") == []
    await volume.delete_folder(vfid)
    assert not root.exists()
    assert list(await volume.folders()) == []


async def test_what_a_crash_left_is_removed(volume: BtrfsVolume, settings: BtrfsSettings, tmp_path: Path) -> None:
    """A vfolder that was set aside, and one whose snapshots outlived it."""
    vfid = await _made(volume)
    await volume.snapshot(vfid, "one")
    root = Path(await volume.mount_path(vfid))
    scope = root.parents[2]
    (scope / ".deleted").mkdir(exist_ok=True)
    root.rename(scope / ".deleted" / f"{vfid.folder.hex}-aside")
    await volume.delete_folder(vfid)
    assert list((scope / ".deleted").iterdir()) == []
    assert list((scope / ".snapshots").iterdir()) == []


async def test_a_snapshot_is_whole_though_it_is_written_to(volume: BtrfsVolume) -> None:
    """All that was written before it is in it, synced or not."""
    vfid = await _made(volume)
    root = Path(await volume.mount_path(vfid))
    with (root / "grows").open("wb", buffering=0) as file:
        for number in range(5):
            file.write(bytes([number]) * 100_000)
            await volume.snapshot(vfid, str(number))
    for number in range(5):
        content = await content_of(await volume.open_snapshot(vfid, str(number)), "grows")
        assert content == b"".join(bytes([each]) * 100_000 for each in range(number + 1))


@pytest.mark.parametrize("option", ["user_subvol_rm_allowed", "noatime"])
def test_without_root(option: str) -> None:
    """All of it, whether the mount lets users remove subvolumes or not."""
    with tempfile.TemporaryDirectory() as folder, btrfs(Path(folder), option) as place:
        Path(folder).chmod(0o755)  # pytest's own are closed to others
        place.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-m", "tests.backends.btrfs.unprivileged", str(place)],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.stdout == "done\n", done.stderr
