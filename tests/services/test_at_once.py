"""Files opened, written and closed within one turn of the reactor: what comes of it is what the ordinary way makes, and what that refuses is never
done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.services.test_handles import FRESH, NEW, READ, WRITE, lock
from tests.services.test_session import as_user, get
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.mounts import small_tmpfs
from tests.support.processes import turn
from vfgateway.backends.vfs import VfsVolumeFactory
from vfgateway.errors import AlreadyExists, IsADirectory, Locked, NoSpace, NotFound, PermissionDenied, QuotaExceeded
from vfgateway.model import Attrs, Limits, OpenMode, Permission, Usage, VFolder
from vfgateway.paths import FolderPath
from vfgateway.paths import parse_text as path
from vfgateway.services import writers
from vfgateway.services.gateway import Gateway
from vfgateway.services.handles import Handle
from vfgateway.services.session import FolderSession

#: Nothing is limited.
NO_LIMITS = Limits()


@asynccontextmanager
async def on_disk(
    tmp_path: Path, disk: Path | None = None, limits: Limits = NO_LIMITS
) -> AsyncIterator[tuple[Gateway, VFolder]]:
    """A gateway with a volume that can do things at once, and a vfolder there."""
    place = disk or tmp_path / "disk"
    place.mkdir(exist_ok=True)
    async with running_gateway(tmp_path, []) as gateway:
        volume = VfsVolumeFactory().configure("disk", {"path": str(place)}, gateway.runtime_for("disk"))
        gateway.install([volume], [])
        await gateway.volumes.start()
        yield gateway, await new_vfolder(gateway, "disk", limits=limits)


async def opened(folder: FolderSession, where: FolderPath, mode: OpenMode) -> Handle:
    """Open at once, as soon as that is possible. Asks for it again and again, as clients do with one file after the other."""
    for _ in range(500):
        handle = folder.open_now(where, mode)
        if handle is not None:
            return handle
        await turn()
    raise AssertionError("nothing is done at once")


async def warm(folder: FolderSession) -> None:
    """Have limits known, so that :func:`opened` comes to an end."""
    await folder.context.gateway.quota.subjects(folder.vfolder)


async def test_what_is_done_at_once_is_read_and_charged(tmp_path: Path) -> None:
    """Content, facts and figures are those of the ordinary way, which can go on where the other stopped."""
    async with on_disk(tmp_path) as (gateway, vfolder):
        folder = await orchestrator_in(gateway, vfolder)
        await warm(folder)
        handle = await opened(folder, path("a"), FRESH)
        assert handle.write_now(4, [b"wo", b"rld"])
        assert handle.write_now(0, [b"he"])
        stat = handle.stat_now()
        assert stat is not None
        assert stat == await handle.stat()
        changed = handle.set_attrs_now(Attrs(mtime_ns=10**18))
        assert changed is not None
        assert changed.mtime_ns == 10**18
        assert await folder.usage() == Usage(9, 1)
        await handle.write(9, [b"!"])
        await handle.rest()
        assert handle.write_now(10, [b"?"])
        assert handle.close_now()
        assert not handle.close_now()
        assert await get(folder, path("a")) == b"he\0\0world!?"
        assert await folder.usage() == Usage(11, 1)
        reading = await opened(folder, path("a"), READ)
        assert await reading.read(0, 2) == b"he"
        assert not reading.write_now(0, [b"x"])
        assert reading.close_now()


async def test_what_is_there_is_opened_cut_or_refused(tmp_path: Path) -> None:
    """As the flags say; what a cut sets free is free at once."""
    async with on_disk(tmp_path) as (gateway, vfolder):
        folder = await orchestrator_in(gateway, vfolder)
        await warm(folder)
        first = await opened(folder, path("a"), FRESH)
        assert first.write_now(0, [b"0123456789"])
        assert first.close_now()
        second = await opened(folder, path("a"), NEW)
        assert second.write_now(2, [b"XY"])
        assert second.close_now()
        assert await get(folder, path("a")) == b"01XY456789"
        assert folder.open_now(path("a"), NEW | OpenMode.EXCLUSIVE) is None
        with pytest.raises(AlreadyExists):
            await folder.open(path("a"), NEW | OpenMode.EXCLUSIVE)
        third = await opened(folder, path("a"), FRESH)
        assert await folder.usage() == Usage(0, 1)
        assert third.close_now()
        with pytest.raises(NotFound):
            await opened(folder, path("missing"), WRITE)
        with pytest.raises(NotFound):
            await opened(folder, path("missing"), READ)
        await folder.make_dir(path("d"))
        with pytest.raises(IsADirectory):
            await opened(folder, path("d"), READ)
        assert await folder.usage() == Usage(0, 2)


async def test_no_limit_is_exceeded(tmp_path: Path) -> None:
    """What is not leased yet is left to the ordinary way, which refuses what does not fit; nothing stays reserved."""
    async with on_disk(tmp_path, limits=Limits(100, 3)) as (gateway, vfolder):
        folder = await orchestrator_in(gateway, vfolder)
        written = 0
        for number in range(3):
            handle = folder.open_now(path(f"f{number}"), FRESH) or await folder.open(path(f"f{number}"), FRESH)
            chunk = [b"x" * 33]
            if not handle.write_now(0, chunk):
                await handle.write(0, chunk)
            written += 33
            if not handle.close_now():
                await handle.close()
        assert folder.open_now(path("f3"), FRESH) is None
        with pytest.raises(QuotaExceeded):
            await folder.open(path("f3"), FRESH)
        handle = folder.open_now(path("f0"), WRITE) or await folder.open(path("f0"), WRITE)
        assert not handle.write_now(33, [b"yy"])
        with pytest.raises(QuotaExceeded):
            await handle.write(33, [b"yy"])
        await handle.rest()
        if not handle.write_now(33, [b"y"]):
            await handle.write(33, [b"y"])
        await handle.close()
        assert await folder.usage() == Usage(written + 1, 3)
        remaining = await folder.remaining()
        assert (remaining.free_bytes, remaining.free_files) == (0, 0)


async def test_whoever_was_granted_a_lock_sees_no_further_byte(tmp_path: Path) -> None:
    """From the grant on nothing is done at once, and the ordinary way refuses it."""
    async with on_disk(tmp_path) as (gateway, vfolder):
        folder = await orchestrator_in(gateway, vfolder)
        await warm(folder)
        handle = await opened(folder, path("a"), FRESH)
        assert handle.write_now(0, [b"mine"])
        await lock(gateway, vfolder, path("a"))
        assert not handle.write_now(0, [b"late"])
        assert handle.set_attrs_now(Attrs(mtime_ns=1)) is None
        assert folder.open_now(path("a"), FRESH) is None
        with pytest.raises(Locked):
            await handle.write(0, [b"late"])
        await handle.close()
        assert await get(folder, path("a")) == b"mine"


async def test_a_window_that_has_begun_is_written_in_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not remove, and everybody where several processes change a vfolder, writes in windows: into the room that one has, for as long as it lasts."""
    monkeypatch.setattr(writers, "LIFE", 3600.0)
    async with on_disk(tmp_path, limits=Limits(100, 3)) as (gateway, vfolder):
        folder = await as_user(gateway, vfolder, Permission.RW)
        handle = await folder.open(path("a"), FRESH)
        assert not handle.write_now(0, [b"x"]), "there is no room yet"
        await handle.write(0, [b"x" * 50])
        assert handle.write_now(20, [b"yy", b"y"])
        with pytest.raises(QuotaExceeded):
            await handle.write(50, [b"x" * 51])
        assert not handle.write_now(101, [b"z"]), "it lies behind a gap"
        await handle.write(50, [b"z" * 30])
        await handle.rest()
        assert not handle.write_now(0, [b"late"]), "the window is over"
        await handle.write(0, [b"w" * 10])
        await gateway.writers.stop()
        await lock(gateway, vfolder, path("a"))
        assert not handle.write_now(0, [b"late"])
        await handle.close()
        assert await get(folder, path("a")) == b"w" * 10 + b"x" * 10 + b"yyy" + b"x" * 27 + b"z" * 30
        assert await folder.usage() == Usage(80, 1)


async def test_rights_are_those_of_the_ordinary_way(tmp_path: Path) -> None:
    """Readers write nothing; and of who may not remove what he likes it is remembered what he made."""
    async with on_disk(tmp_path) as (gateway, vfolder):
        mine = await orchestrator_in(gateway, vfolder)
        await warm(mine)
        assert (await opened(mine, path("a"), FRESH)).close_now()
        reader = await as_user(gateway, vfolder, Permission.RO)
        assert (await opened(reader, path("a"), READ)).close_now()
        with pytest.raises(PermissionDenied):
            reader.open_now(path("a"), FRESH)
        writer = await as_user(gateway, vfolder, Permission.RW)
        assert writer.open_now(path("b"), FRESH) is None


async def test_what_was_written_before_the_storage_was_full_is_charged(tmp_path: Path) -> None:
    """A write that fails half way leaves what it has written, and the figure says so."""
    with small_tmpfs(tmp_path / "small", "1m") as place:
        async with on_disk(tmp_path, place) as (gateway, vfolder):
            folder = await orchestrator_in(gateway, vfolder)
            await warm(folder)
            handle = await opened(folder, path("a"), FRESH)
            with pytest.raises(NoSpace):
                _fill(handle, [bytes(256 << 10)] * 3, 8)
            size = (await handle.stat()).size
            assert not handle.write_now(size + 4096, [b"behind it"])
            with pytest.raises(NoSpace):
                await handle.write(size + 4096, [b"behind it"])
            await handle.close()
            assert await folder.usage() == Usage((await folder.stat(path("a"))).size, 1)


def _fill(handle: Handle, chunks: Sequence[bytes], times: int) -> None:
    size = sum(map(len, chunks))
    for number in range(times):
        assert handle.write_now(number * size, chunks)


async def test_what_has_no_name_any_more_is_left_to_the_ordinary_way(tmp_path: Path) -> None:
    """What it grows by is given back when it is closed."""
    async with on_disk(tmp_path) as (gateway, vfolder):
        folder = await orchestrator_in(gateway, vfolder)
        await warm(folder)
        handle = await opened(folder, path("a"), FRESH)
        assert handle.write_now(0, [b"x" * 40])
        await folder.remove(path("a"))
        assert not handle.write_now(40, [b"x"])
        await handle.write(40, [b"x" * 10])
        await handle.rest()
        assert await folder.usage() == Usage(10, 0)
        assert not handle.close_now()
        await handle.close()
        assert await folder.usage() == Usage(0, 0)
