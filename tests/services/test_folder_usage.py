"""The shares of directories at the top of a vfolder: kept with every change, honest about what nobody knows, and counted by themselves."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.services.test_scanning import on_disk, place_of, scanned
from tests.services.test_session import put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.processes import turn
from vfgateway import treeusage
from vfgateway.errors import QuotaExceeded
from vfgateway.model import OpenMode, Usage, VFolder
from vfgateway.paths import TRASH_NAME
from vfgateway.paths import parse_text as path
from vfgateway.services import foldercounts, folderusage, moves, trees
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession
from vfgateway.treeusage import LOOSE, OTHERS, TreeUsage


async def shares(gateway: Gateway, vfolder: VFolder) -> Mapping[bytes, Usage]:
    """What is told, where all of it is known."""
    told = await gateway.quota.folders(vfolder)
    assert not any(share.stale for share in told)
    assert sum((share.usage for share in told), Usage()) == await gateway.quota.usage(vfolder)
    return {share.name: share.usage for share in told}


def on_the_disk(root: Path) -> Mapping[bytes, Usage]:
    """What lies there, by ``os.walk``."""
    found = TreeUsage()
    for at, directories, files in os.walk(bytes(root)):
        names = at[len(bytes(root)) + 1 :].split(b"/")
        if names == [b""]:
            directories[:] = [name for name in directories if name != b".upload"]
        for name in directories:
            found.add(names[0] or name, Usage(0, 1))
        for name in files:
            place = at + b"/" + name
            found.add(names[0], Usage(0 if os.path.islink(place) else os.lstat(place).st_size, 1))  # noqa: PTH114
    return found.folders


@asynccontextmanager
async def a_vfolder(tmp_path: Path) -> AsyncIterator[tuple[Gateway, VFolder, FolderSession, Path]]:
    """On disk, with two directories and a file."""
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk")
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a/deep/one"), b"1")
        await put(folder, path("a/two"), b"22")
        await put(folder, path("b/three"), b"333")
        await put(folder, path("four"), b"4444")
        yield gateway, vfolder, folder, await place_of(gateway, vfolder)


async def test_every_change_has_its_share(tmp_path: Path) -> None:
    """Whatever happens to files and directories, what is told is what lies there."""
    async with a_vfolder(tmp_path) as (gateway, vfolder, folder, root):

        async def agreed() -> None:
            assert await shares(gateway, vfolder) == on_the_disk(root)

        assert await shares(gateway, vfolder) == {b"a": Usage(3, 4), b"b": Usage(3, 2), LOOSE: Usage(4, 1)}
        await agreed()
        await put(folder, path("b/three"), b"longer now")
        await agreed()
        await folder.rename(path("a/two"), path("b/two"))
        await folder.rename(path("four"), path("a/four"))
        await agreed()
        await folder.rename(path("a/four"), path("five"))
        await folder.rename(path("b/two"), path("five"))
        await agreed()
        await folder.rename(path("a/deep"), path("b/deep"))
        await agreed()
        await folder.rename(path("b"), path("a/b"))
        await agreed()
        await folder.rename(path("a/b/deep"), path("deep"))
        await folder.rename(path("a"), path("renamed"))
        await agreed()
        await folder.copy(path("renamed"), path("copied"))
        await folder.make_link(path("renamed/link"), "elsewhere")
        await agreed()
        await folder.rename(path("renamed/link"), path("link"))
        await agreed()
        handle = await folder.open(path("copied/written"), OpenMode.WRITE | OpenMode.CREATE)
        await handle.write(0, [b"in place"])
        await handle.truncate(100)
        await handle.rest()
        await agreed()
        await handle.close()
        await folder.make_dir(path("empty"))
        await folder.rename(path("copied"), path("empty"))
        await agreed()
        await folder.remove(path("five"))
        await folder.remove_tree(path("empty/b"))
        await folder.remove_tree(path("renamed"))
        await folder.make_dir(path("x/y/z"), parents=True)
        await folder.remove_dir(path("x/y/z"))
        await agreed()
        for name in ("deep", "empty", "x"):
            await folder.remove_tree(path(name))
        await folder.remove(path("link"))
        assert await shares(gateway, vfolder) == on_the_disk(root) == {}


async def test_what_is_deleted_lies_in_the_trash(tmp_path: Path) -> None:
    """And comes back to where it was."""
    async with a_vfolder(tmp_path) as (gateway, vfolder, folder, root):
        before = await shares(gateway, vfolder)
        gone = [await gateway.file_trash.discard(folder, path(name)) for name in ("a", "b/three", "four")]
        assert await shares(gateway, vfolder) == on_the_disk(root)
        assert (await shares(gateway, vfolder))[TRASH_NAME.encode()] == Usage(3 + 3 + 4, 1 + 4 + 1 + 1)
        for item in gone:
            assert item is not None
            await gateway.file_trash.restore(folder, item.id)
        assert await shares(gateway, vfolder) == {**before, TRASH_NAME.encode(): Usage(0, 1)}
        again = await gateway.file_trash.discard(folder, path("a"))
        assert again is not None
        await gateway.file_trash.purge(folder, again.id)
        assert await shares(gateway, vfolder) == on_the_disk(root)


async def test_what_is_in_the_trash_is_charged_and_needs_no_room_to_come_back(tmp_path: Path) -> None:
    """Nobody gets past a limit by way of the trash, nor is kept from restoring at it."""
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk", limit_bytes=10)
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a/file"), b"0123456789")
        item = await gateway.file_trash.discard(folder, path("a"))
        assert item is not None
        with pytest.raises(QuotaExceeded):
            await put(folder, path("b"), b"1")
        await gateway.file_trash.restore(folder, item.id)
        with pytest.raises(QuotaExceeded):
            await put(folder, path("b"), b"1")
        await gateway.trash.put(vfolder, "alice")
        assert await gateway.quota.usage(vfolder) == Usage(10, 3)
        await gateway.trash.restore(vfolder.key, "alice")
        with pytest.raises(QuotaExceeded):
            await put(folder, path("b"), b"1")
        await folder.remove(path("a/file"))
        await put(folder, path("b"), b"1")


async def test_a_large_directory_that_moved_is_counted_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then both figures are known to be wrong, and the sum is right all the same."""
    monkeypatch.setattr(moves, "PATIENCE", -1.0)
    monkeypatch.setattr(foldercounts, "WRITTEN", 0.0)
    monkeypatch.setattr("vfgateway.backends.vfs.measuring.BATCH", 1)
    monkeypatch.setattr("vfgateway.backends.vfs.measuring.SLICE", 0.0)
    async with a_vfolder(tmp_path) as (gateway, vfolder, folder, root):
        await folder.rename(path("a/deep"), path("b/deep"))
        told = await gateway.quota.folders(vfolder)
        assert {share.name for share in told if share.stale} == {b"a", b"b"}
        assert sum((share.usage for share in told), Usage()) == await gateway.quota.usage(vfolder)
        gateway.tasks.schedule._periodic["count_folders"].next = 0.0
        await gateway.tasks.schedule.look()
        await gateway.tasks._run_due()
        while any(share.stale for share in await gateway.quota.folders(vfolder)):
            await turn()
        assert await shares(gateway, vfolder) == on_the_disk(root)


async def test_while_somebody_writes_nothing_is_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count says so, and the next one is right."""
    monkeypatch.setattr(foldercounts, "WRITTEN", 0.0)
    async with a_vfolder(tmp_path) as (gateway, vfolder, folder, root):
        counts = foldercounts.FolderCounts(gateway)
        measure = trees.measure_by_folder

        async def and_write(*args: Any, **options: Any) -> TreeUsage:
            counted = await measure(*args, **options)
            await put(folder, path("c/late"), b"late")
            return counted

        with monkeypatch.context() as patch:
            patch.setattr(trees, "measure_by_folder", and_write)
            assert not await counts.count(vfolder)
        assert await shares(gateway, vfolder) == on_the_disk(root)
        (root / "c/behind").write_bytes(b"behind our back")
        assert await counts.count(vfolder)
        told = {share.name: share.usage for share in await gateway.quota.folders(vfolder)}
        assert told == on_the_disk(root)


async def test_a_scan_puts_shares_right(tmp_path: Path) -> None:
    """Those that a job moved through its mount: the sum is the same."""
    async with a_vfolder(tmp_path) as (gateway, vfolder, _, root):
        (root / "a/two").rename(root / "b/two")
        _, findings = await scanned(gateway, fix=False)
        assert findings == []
        assert await shares(gateway, vfolder) != on_the_disk(root)
        await scanned(gateway, fix=True)
        assert await shares(gateway, vfolder) == on_the_disk(root)
        (root / "b/more").write_bytes(b"xyz")
        await scanned(gateway, fix=True)
        assert await shares(gateway, vfolder) == on_the_disk(root)


async def test_so_many_have_figures_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others share one, whatever comes and goes; nothing grows with the number of directories."""
    monkeypatch.setattr(folderusage, "MOST", 3)
    monkeypatch.setattr(treeusage, "MOST", 3)
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk")
        folder = await orchestrator_in(gateway, vfolder)
        for name in "abcdef":
            await put(folder, path(f"{name}/file"), name.encode())
        known = await shares(gateway, vfolder)
        assert known == {**dict.fromkeys((b"a", b"b", b"c"), Usage(1, 2)), OTHERS: Usage(3, 6)}
        await folder.remove_tree(path("a"))
        await put(folder, path("f/more"), b"12345")  # has no figures of its own still, though there would be room
        await folder.rename(path("e"), path("g"))
        await folder.rename(path("b"), path("h"))
        await folder.rename(path("c/file"), path("d/from-c"))
        assert await shares(gateway, vfolder) == {b"h": Usage(1, 2), b"c": Usage(0, 1), OTHERS: Usage(9, 8)}
        await folder.rename(path("h"), path("d/h"))
        assert await shares(gateway, vfolder) == {b"c": Usage(0, 1), OTHERS: Usage(10, 10)}
        await gateway.lifecycle.recount(vfolder)
        recounted = await shares(gateway, vfolder)
        assert len(recounted) == 4
        assert OTHERS in recounted


async def test_names_that_cannot_be_decoded(tmp_path: Path) -> None:
    """Are told as their bytes are."""
    async with a_vfolder(tmp_path) as (gateway, vfolder, folder, root):
        name = os.fsdecode(b"\xff\xfe")
        await put(folder, path(f"{name}/file"), b"x")
        assert (await shares(gateway, vfolder))[b"\xff\xfe"] == Usage(1, 2)
        await gateway.lifecycle.recount(vfolder)
        assert await shares(gateway, vfolder) == on_the_disk(root)


async def test_where_the_storage_knows_the_sum_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came behind our back is nobody's share until it has been counted."""
    monkeypatch.setattr(foldercounts, "WRITTEN", 0.0)
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a/file"), b"x")
        await gateway.quota.set_usage(vfolder, Usage(6, 3))
        stale = {share.name: share.usage for share in await gateway.quota.folders(vfolder) if share.stale}
        assert stale == {OTHERS: Usage(5, 1)}
        assert await foldercounts.FolderCounts(gateway).count(vfolder)
        told = await gateway.quota.folders(vfolder)
        assert [(share.name, share.usage, share.stale) for share in told] == [(b"a", Usage(1, 2), None)]


async def test_a_clone_has_them_too(tmp_path: Path) -> None:
    """And a vfolder that is purged leaves none."""
    async with a_vfolder(tmp_path) as (gateway, vfolder, _, _):
        known = await shares(gateway, vfolder)
        other = await new_vfolder(gateway, "disk")
        await gateway.lifecycle.purge("disk", other.id)
        task = await gateway.cloning.begin(vfolder, "disk", other.id)
        while (await gateway.tasks.get(task)).finished is None:
            await turn()
        clone = await gateway.vfolders.get(other.id, "disk")
        assert await shares(gateway, clone) == known
        await gateway.lifecycle.purge("disk", clone.id)

        def rows(connection: Connection) -> int:
            return len(folderusage.shares(connection, clone.key))

        assert await gateway.database.read(rows) == 0
