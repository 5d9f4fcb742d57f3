"""What the memory volume promises beyond the interfaces, as a double for others' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from twisted.internet.task import Clock

from tests.conformance.harness import READ, WRITE_NEW, Able, at, content_of, make_runtime, new_folder, new_vfid, put
from vfgateway.backends.memory import MemoryVolume, MemoryVolumeFactory
from vfgateway.backends.memory.volume import SMB_FORBIDDEN
from vfgateway.errors import InvalidPath, NoSpace
from vfgateway.model import ABSENT, ANY, Actor, FolderOptions, Space


async def test_times_are_the_clocks() -> None:
    """Files are as old as the clock says, and identities differ though it stands still."""
    clock = Clock()
    clock.advance(1234.5)
    folder = await new_folder(MemoryVolume("mem", clock))
    first = (await put(folder, "file", b"a")).stat
    second = (await put(folder, "file", b"b")).stat
    assert first is not None and second is not None
    assert first.mtime_ns == second.mtime_ns == 1_234_500_000_000
    assert first.identity != second.identity


async def test_capacity() -> None:
    """Exactly the capacity fits, in stages and files together; what is refused changes nothing."""
    volume = MemoryVolume("mem", Clock(), capacity=10)
    folder = await new_folder(volume)
    await put(folder, "file", b"123456")
    staged = await folder.stage(at("x"), 4)
    await staged.append([b"1234"])
    with pytest.raises(NoSpace):
        await staged.append([b"5"])
    with pytest.raises(NoSpace):
        await folder.stage(at("y"), 1)
    file = await folder.open(at("file"), WRITE_NEW)
    with pytest.raises(NoSpace):
        await file.truncate(7)
    await file.close()
    assert staged.size == 4
    assert await content_of(folder, "file") == b"123456"
    assert await volume.space() == Space(10, 10, 0)


async def test_room_comes_back() -> None:
    """Replaced, removed and discarded bytes are free at once, those of open files when they are closed."""
    volume = MemoryVolume("mem", Clock(), capacity=10)
    folder = await new_folder(volume)
    await put(folder, "file", b"12345")
    await put(folder, "file", b"54321")
    reader = await folder.open(at("file"), READ)
    await folder.remove(at("file"), ANY)
    assert (await volume.space()).used == 5
    await reader.close()
    assert (await volume.space()).used == 0
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    other = await volume.folder(vfid, Actor())
    await put(other, "file", b"1")
    staged = await other.stage(at("x"), None)
    await staged.append([b"2"])
    await staged.close()
    await volume.delete_folder(vfid)
    assert (await volume.space()).used == 0


async def test_refused_copies_take_no_room() -> None:
    """Neither a copy nor a clone that does not fit takes any."""
    volume = MemoryVolume("mem", Clock(), capacity=10)
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder: Able = await volume.folder(vfid, Actor())
    await put(folder, "file", b"123456")
    with pytest.raises(NoSpace):
        await folder.copy_file(at("file"), folder, at("copy"), ABSENT)
    with pytest.raises(NoSpace):
        await volume.clone_folder(vfid, new_vfid())
    assert (await volume.space()).used == 6
    assert await volume.folders() == [vfid]


async def test_double_of_smb() -> None:
    """With its forbidden characters it refuses what an SMB share refuses."""
    folder = await new_folder(MemoryVolume("mem", Clock(), case_folding=True, forbidden=SMB_FORBIDDEN))
    for name in ("a:b", "what?", "new\nline", "back\\slash"):
        with pytest.raises(InvalidPath):
            await put(folder, name, b"")
        with pytest.raises(InvalidPath):
            await folder.make_dir(at(name))
        with pytest.raises(InvalidPath):
            await folder.open(at(name), WRITE_NEW)


def test_settings(tmp_path: Path) -> None:
    """A capacity may be written as people write it; unknown keys are mistakes."""
    factory = MemoryVolumeFactory()
    volume = factory.configure("scratch", {"capacity": "2MiB", "case_folding": True}, make_runtime(tmp_path))
    assert volume.names.case_folding
    with pytest.raises(ValidationError, match="size"):
        factory.configure("scratch", {"size": 1}, make_runtime(tmp_path))
