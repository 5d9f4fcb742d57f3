"""Two volumes on one file system: what is copied from one to the other shares its blocks, whatever asks for the copy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.harness import make_runtime, new_vfid
from tests.services.test_lifecycle import finished
from tests.services.test_relocation import moved
from tests.services.test_session import get, put
from tests.support.btrfs import btrfs
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from vfgateway.backends.btrfs import BtrfsSettings, BtrfsVolume
from vfgateway.backends.vfs import VfsSettings, VfsVolume, syscalls
from vfgateway.interfaces import IVolume
from vfgateway.model import Attrs
from vfgateway.paths import parse_text as path
from vfgateway.services import trees
from vfgateway.services.taskrecords import TaskState

MIB = 1 << 20
CONTENT = os.urandom(MIB) * 32
#: Bytes by which metadata may grow.
LITTLE = 8 * MIB
MTIME = 10**18


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Btrfs, on which files can share blocks."""
    with btrfs(tmp_path_factory.mktemp("disk")) as place:
        yield place


def volumes(disk: Path, tmp_path: Path) -> list[IVolume]:
    """Two that are near each other, though each vfolder of one is a subvolume with a device number of its own; and one that is elsewhere."""

    def plain(name: str, where: Path) -> IVolume:
        return VfsVolume(name, VfsSettings(path=where / name), make_runtime(tmp_path))

    near = BtrfsVolume("near", BtrfsSettings(path=disk / "near"), make_runtime(tmp_path))
    return [plain("here", disk), near, plain("away", tmp_path)]


def used(disk: Path) -> int:
    """Bytes, when all is written."""
    descriptor = os.open(disk, os.O_RDONLY)
    try:
        syscalls.sync_file_system(descriptor)
        found = os.fstatvfs(descriptor)
    finally:
        os.close(descriptor)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


async def test_copies_share_blocks_between_near_volumes(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a file, a clone and a move there and back: no content is read, and none written. To a volume elsewhere it is streamed; each
    copy keeps mode and times."""
    streamed: list[str] = []
    stream = trees.stage_copy

    async def noted(*args: object) -> object:
        streamed.append(str(args[1]))
        return await stream(*args)  # type: ignore[arg-type]

    async with running_gateway(tmp_path / "gateway", volumes(disk, tmp_path)) as gateway:
        vfolder = await new_vfolder(gateway, "here")
        here = await orchestrator_in(gateway, vfolder)
        await put(here, path("d/large"), CONTENT)
        await here.set_attrs(path("d/large"), Attrs(mode=0o750, mtime_ns=MTIME))
        monkeypatch.setattr(trees, "stage_copy", noted)
        before = used(disk)
        clone = new_vfid(vfolder.id.scope)
        assert (await finished(gateway, await gateway.cloning.begin(vfolder, "near", clone))).state is TaskState.DONE
        near = await orchestrator_in(gateway, await gateway.vfolders.get(clone, "near"))
        await here.copy(path("d/large"), path("copy"), into=near)
        await near.copy(path("d/large"), path("copy"), into=here)
        for place in ("near", "here"):
            task = await moved(gateway, await gateway.vfolders.by_key(vfolder.key), place)
            assert task.state is TaskState.DONE, task.message
        assert not streamed
        assert used(disk) - before < LITTLE
        away = await orchestrator_in(gateway, await new_vfolder(gateway, "away"))
        await here.copy(path("d/large"), path("copy"), into=away)
        assert streamed == ["d/large"]
        for folder, name in ((here, "d/large"), (here, "copy"), (near, "d/large"), (near, "copy"), (away, "copy")):
            assert await get(folder, path(name)) == CONTENT
            found = await folder.stat(path(name))
            assert (found.mode, found.mtime_ns) == (0o750, MTIME)
