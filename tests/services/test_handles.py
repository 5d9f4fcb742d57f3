"""Files opened for in-place work: the same limits, locks and rights as an upload."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.services.test_locks import publish
from tests.services.test_session import as_user, get, names, put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.processes import begin, process, settled, while_time_passes
from vfgateway.backends.memory import MemoryFolder, MemoryVolume
from vfgateway.backends.vfs import VfsVolumeFactory
from vfgateway.errors import (
    AlreadyExists,
    Locked,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    StorageFailure,
    TooLarge,
    Unsupported,
)
from vfgateway.interfaces import IFile, IFolder, IVolume
from vfgateway.model import Actor, Attrs, OpenMode, Permission, Usage, VFolder, VFolderId
from vfgateway.paths import FolderPath
from vfgateway.paths import parse_text as path
from vfgateway.services import writers
from vfgateway.services.gateway import Gateway

READ, WRITE, CREATE = OpenMode.READ, OpenMode.WRITE, OpenMode.CREATE
NEW = WRITE | CREATE
FRESH = NEW | OpenMode.TRUNCATE


class WholeFilesVolume(MemoryVolume):
    """A volume that can only replace files as a whole, as object stores do."""

    async def folder(self, vfid: VFolderId, actor: Actor) -> IFolder:
        self.tree(vfid)
        return WholeFilesFolder(self, vfid, actor)


class WholeFilesFolder(MemoryFolder):
    """See :class:`WholeFilesVolume`."""

    async def open(self, path: FolderPath, mode: OpenMode) -> IFile:
        if mode & (WRITE | CREATE):
            raise Unsupported("writing in place")
        return await super().open(path, mode)


def volumes() -> list[IVolume]:
    """One of each kind."""
    return [MemoryVolume("mem", reactor), WholeFilesVolume("whole", reactor)]


async def lock(gateway: Gateway, vfolder: VFolder, where: FolderPath) -> str:
    """Somebody's exclusive lock."""
    taken = await gateway.locks.acquire(
        vfolder, where, principal_id="x", owner="bob", infinite=False, exclusive=True, timeout=60.0
    )
    return taken.token


@pytest.mark.parametrize("volume", ["mem", "whole"])
async def test_what_was_written_is_read_and_charged(tmp_path: Path, volume: str) -> None:
    """Random writes, a hole, and a cut: content and figures agree afterwards, whatever the storage can do."""
    async with running_gateway(tmp_path, volumes()) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, volume))
        handle = await folder.open(path("a"), NEW)
        await handle.write(4, [b"wo", b"rld"])
        await handle.write(0, [b"he"])
        assert await handle.read(0, 100) == b"he\0\0world"
        await handle.truncate(7)
        await handle.sync()
        await handle.truncate(8)
        await handle.close()
        assert await get(folder, path("a")) == b"he\0\0wor\0"
        assert await folder.usage() == Usage(8, 1)
        again = await folder.open(path("a"), WRITE)
        await again.write(8, [b"!"])
        assert (await again.stat()).size == 9
        await again.close()
        assert await get(folder, path("a")) == b"he\0\0wor\0!"
        assert await folder.usage() == Usage(9, 1)


async def test_a_full_vfolder_ends_the_growth_and_leaves_no_reservation(tmp_path: Path) -> None:
    """To the last byte and no further; what is there can still be changed in place; a hole counts too."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=10))
        handle = await folder.open(path("a"), NEW)
        await handle.write(0, [b"1234567890"])
        with pytest.raises(QuotaExceeded):
            await handle.write(10, [b"1"])
        with pytest.raises(QuotaExceeded):
            await handle.truncate(11)
        with pytest.raises(QuotaExceeded):
            await handle.write(1 << 40, [b"1"])
        await handle.write(0, [b"X"])
        await handle.truncate(6)
        await handle.close()
        assert (await folder.remaining()).free_bytes == 4
        await put(folder, path("b"), b"1234")


async def test_a_limit_on_files_is_met_at_open(tmp_path: Path) -> None:
    """The file that is one too many is refused before it is there."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=0))
        await (await folder.open(path("empty"), NEW)).close()
        handle = await folder.open(path("other"), NEW)
        with pytest.raises(QuotaExceeded):
            await handle.write(0, [b"x"])
        await handle.close()
        assert await folder.usage() == Usage(0, 2)


async def test_truncating_at_open_gives_the_room_back(tmp_path: Path) -> None:
    """A full vfolder's only file can be written anew."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=10))
        await put(folder, path("a"), b"1234567890")
        handle = await folder.open(path("a"), FRESH)
        await handle.write(0, [b"abcdefghij"])
        await handle.close()
        assert await get(folder, path("a")) == b"abcdefghij"
        assert await folder.usage() == Usage(10, 1)


async def test_two_writers_of_one_file_are_charged_once(tmp_path: Path) -> None:
    """Who writes the same bytes through two handles fills the file once."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=10))
        one = await folder.open(path("a"), NEW)
        await one.rest()
        two = await folder.open(path("a"), NEW)
        for handle in (one, two, one, two):
            await handle.write(0, [b"1234567890"])
            await handle.rest()
        await one.close()
        await two.close()
        assert await folder.usage() == Usage(10, 1)


@pytest.mark.parametrize("volume", ["mem", "whole"])
async def test_a_lock_is_met_at_open(tmp_path: Path, volume: str) -> None:
    """Whoever opens a locked file for writing is told who holds it; reading goes on."""
    async with running_gateway(tmp_path, volumes()) as gateway:
        vfolder = await new_vfolder(gateway, volume)
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a"), b"x")
        await lock(gateway, vfolder, path("a"))
        with pytest.raises(Locked, match="bob"):
            await folder.open(path("a"), WRITE)
        handle = await folder.open(path("a"), READ)
        assert await handle.read(0, 10) == b"x"
        await handle.close()


async def test_no_byte_is_written_once_a_lock_was_granted(tmp_path: Path) -> None:
    """A lock taken in the middle of a transfer waits for the writes before it, and refuses those after it."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        handle = await folder.open(path("a"), NEW)
        await handle.write(0, [b"before"])
        token = await lock(gateway, vfolder, path("a"))
        with pytest.raises(Locked):
            await handle.write(6, [b"after!"])
        await gateway.locks.release(token)
        await handle.write(6, [b", again"])
        await handle.close()
        assert await get(folder, path("a")) == b"before, again"
        assert await folder.usage() == Usage(13, 1)


async def test_processes_go_on_with_files_of_one_directory_side_by_side(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is in the middle of a large file keeps another process from that file, not from those beside it."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        async with process(gateway.settings.gateway.data_dir / "vfgateway.db", clock, 2) as there:
            handle = await folder.open(path("d"), NEW)
            await handle.rest()
            monkeypatch.setattr(writers, "LIFE", 3600.0)
            await handle.write(0, [b"more"])
            await while_time_passes(clock, publish(there, vfolder, "e"))
            same = begin(publish(there, vfolder, "d"))
            assert not await settled(same)
            await handle.close()
            await gateway.writers.stop()
            await while_time_passes(clock, same)


async def test_reading_needs_no_more_than_ro(tmp_path: Path) -> None:
    """``ro`` opens for reading alone, and a handle for reading writes nothing."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"x")
        folder = await as_user(gateway, vfolder, Permission.RO)
        with pytest.raises(PermissionDenied):
            await folder.open(path("a"), WRITE)
        with pytest.raises(PermissionDenied):
            await folder.open(path("b"), NEW)
        handle = await folder.open(path("a"), READ)
        for attempt in (handle.write(0, [b"y"]), handle.truncate(0)):
            with pytest.raises(StorageFailure):
                await attempt
        with pytest.raises(PermissionDenied):
            await handle.set_attrs(Attrs(mode=0o600))
        await handle.close()
        assert await names(folder) == ["a"]


async def test_rw_may_remove_what_it_opened_into_being(tmp_path: Path) -> None:
    """An editor's own temporary file, made by open, is a creation like any other."""
    async with running_gateway(tmp_path) as gateway:
        folder = await as_user(gateway, await new_vfolder(gateway), Permission.RW)
        handle = await folder.open(path(".a.swp"), NEW | OpenMode.EXCLUSIVE)
        await handle.close()
        await folder.remove(path(".a.swp"))
        assert await names(folder) == []


@pytest.mark.parametrize("volume", ["mem", "whole"])
async def test_flags_mean_what_posix_says(tmp_path: Path, volume: str) -> None:
    """Without CREATE the file must be there, with EXCLUSIVE it must not."""
    async with running_gateway(tmp_path, volumes()) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, volume))
        with pytest.raises(NotFound):
            await folder.open(path("a"), WRITE)
        await put(folder, path("a"), b"x")
        with pytest.raises(AlreadyExists):
            await folder.open(path("a"), NEW | OpenMode.EXCLUSIVE)
        assert await folder.usage() == Usage(1, 1)


async def test_offsets_beyond_reason_are_refused(tmp_path: Path) -> None:
    """The largest offsets of the wire are an error, not a crash."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        handle = await folder.open(path("a"), NEW)
        with pytest.raises(TooLarge):
            await handle.write((1 << 64) - 1, [b"x"])
        with pytest.raises(TooLarge):
            await handle.truncate((1 << 64) - 1)
        assert await handle.read((1 << 64) - 1, 10) == b""
        await handle.close()
        with pytest.raises(StorageFailure):
            await handle.read(0, 1)


async def test_a_descriptor_reads_without_a_detour(tmp_path: Path) -> None:
    """On disk, what is in the page cache is had at once, into the caller's own buffers."""
    async with running_gateway(tmp_path, []) as gateway:
        await with_disk(gateway, tmp_path)
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, "disk"))
        await put(folder, path("a"), b"0123456789")
        handle = await folder.open(path("a"), READ)
        buffer = bytearray(8)
        count = handle.read_now(2, [memoryview(buffer)[:4], memoryview(buffer)[4:]])
        assert count is None or bytes(buffer) == b"23456789"
        await handle.close()
        assert handle.read_now(0, [memoryview(buffer)]) is None


@pytest.mark.parametrize("volume", ["mem", "disk"])
async def test_growth_without_a_name_is_given_back_at_close(tmp_path: Path, volume: str) -> None:
    """A file that was removed while it was open still needs room when it grows; with its handle that is free again."""
    async with running_gateway(tmp_path, []) as gateway:
        await with_disk(gateway, tmp_path)
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, volume, limit_bytes=100))
        handle = await folder.open(path("a"), NEW)
        await handle.write(0, [b"x" * 40])
        await handle.rest()
        await folder.remove(path("a"))
        assert await folder.usage() == Usage(0, 0)
        await handle.truncate(10)
        await handle.rest()
        assert await folder.usage() == Usage(0, 0)
        await handle.write(0, [b"y" * 100])
        with pytest.raises(QuotaExceeded):
            await handle.write(100, [b"y" * 100])
        await handle.rest()
        assert (await folder.usage()).bytes == 90
        await handle.close()
        assert await folder.usage() == Usage(0, 0)
        await put(folder, path("b"), b"z" * 100)


async def test_attributes_of_an_open_file_need_no_name(tmp_path: Path) -> None:
    """On disk, mode and times reach the file itself, after it was renamed and after it was removed."""
    async with running_gateway(tmp_path, []) as gateway:
        await with_disk(gateway, tmp_path)
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, "disk"))
        handle = await folder.open(path("a"), NEW)
        await handle.rest()
        await folder.rename(path("a"), path("b"))
        await put(folder, path("a"), b"another")
        await handle.set_attrs(Attrs(mode=0o600, mtime_ns=10**18))
        stat = await folder.stat(path("b"))
        assert (stat.mode, stat.mtime_ns) == (0o600, 10**18)
        assert (await folder.stat(path("a"))).mtime_ns != 10**18
        await handle.rest()
        await folder.remove(path("b"))
        assert (await handle.set_attrs(Attrs(mode=0o640))).mode == 0o640
        await handle.close()


async def with_disk(gateway: Gateway, tmp_path: Path) -> None:
    """Give a gateway without volumes one of each kind, a disk among them."""
    (tmp_path / "disk").mkdir()
    disk = VfsVolumeFactory().configure("disk", {"path": str(tmp_path / "disk")}, gateway.runtime_for("disk"))
    gateway.install([*volumes(), disk], [])
    await gateway.volumes.start()


async def test_what_lies_behind_a_refused_write_is_refused(tmp_path: Path) -> None:
    """Clients send ahead, and some of them forget a refusal over the success that follows: they would take a file with a hole for whole."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, limit_bytes=100)
        folder = await orchestrator_in(gateway, vfolder)
        handle = await folder.open(path("a"), FRESH)
        await handle.write(0, [b"x" * 60])
        with pytest.raises(QuotaExceeded):
            await handle.write(60, [b"y" * 50])
        with pytest.raises(QuotaExceeded):
            await handle.write(90, [b"z" * 5])
        await handle.write(10, [b"X"])
        with pytest.raises(QuotaExceeded):
            await handle.write(90, [b"z" * 5])
        await handle.write(60, [b"y" * 30])
        await handle.write(90, [b"z" * 5])
        with pytest.raises(QuotaExceeded):
            await handle.write(95, [b"z" * 6])
        await handle.truncate(95)
        await handle.write(97, [b"!"])
        await handle.close()
        assert await get(folder, path("a")) == b"x" * 10 + b"X" + b"x" * 49 + b"y" * 30 + b"z" * 5 + b"\0\0!"


async def test_what_lies_behind_a_write_that_failed_is_refused(tmp_path: Path) -> None:
    """Whatever it failed for, and though it would succeed by now: until it is written after all."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        handle = await folder.open(path("a"), FRESH)
        await handle.write(0, [b"one, "])
        token = await lock(gateway, vfolder, path("a"))
        with pytest.raises(Locked):
            await handle.write(5, [b"two, "])
        await gateway.locks.release(token)
        with pytest.raises(Locked):
            await handle.write(10, [b"three"])
        await handle.write(5, [b"two, "])
        await handle.write(10, [b"three"])
        await handle.close()
        assert await get(folder, path("a")) == b"one, two, three"
