"""How vfolders move to other storage while they are in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.internet import reactor

from tests.conformance.harness import make_runtime
from tests.services.test_lifecycle import finished
from tests.services.test_session import get, names, put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.errors import Conflict, Locked, UploadNotFound, VFolderNotFound
from vfgateway.interfaces import IVolume
from vfgateway.model import ANY, Actor, Attrs, Limits, OpenMode, Usage, VFolder
from vfgateway.paths import parse_text as path
from vfgateway.services import relocation
from vfgateway.services.gateway import Gateway
from vfgateway.services.taskrecords import FINISHED, Task, TaskState


def two_in_memory() -> list[IVolume]:
    return [MemoryVolume("mem", reactor), MemoryVolume("other", reactor)]


async def moved(gateway: Gateway, vfolder: VFolder, volume: str, **wishes: bool) -> Task:
    """The task, when it has ended."""
    return await finished(gateway, await gateway.relocation.begin(vfolder, volume, **wishes))


async def test_a_vfolder_moves_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Content, figures and rights are the same; only the volume is another."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway, limit_bytes=1000)
        here = await orchestrator_in(gateway, vfolder)
        await put(here, path("a"), b"hello")
        await here.make_dir(path("d"))
        await put(here, path("d/b"), b"there")
        await here.make_link(path("d/l"), "b")
        before = await gateway.quota.usage(vfolder)
        task = await moved(gateway, vfolder, "other")
        assert task.state is TaskState.DONE, task.message
        now = await gateway.vfolders.by_key(vfolder.key)
        assert (now.volume, now.id, now.limits) == ("other", vfolder.id, vfolder.limits)
        there = await orchestrator_in(gateway, now)
        assert await names(there) == ["a", "d"]
        assert [await get(there, path(name)) for name in ("a", "d/b")] == [b"hello", b"there"]
        assert (await there.stat(path("d/l"))).target == "b"
        assert await gateway.quota.usage(now) == before == await gateway.lifecycle.recount(now)


async def test_users_write_while_it_moves_and_lose_nothing(tmp_path: Path) -> None:
    """All that is acknowledged on the way is there afterwards: what is published, changed in place, renamed and removed."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, vfolder)
        for number in range(50):
            await put(here, path(f"old{number}"), b"%d" % number)
        await here.make_dir(path("tree"))
        await put(here, path("tree/leaf"), b"leaf")
        handle = await here.open(path("log"), OpenMode.WRITE | OpenMode.CREATE)
        task = await gateway.relocation.begin(vfolder, "other")
        written = 0
        while (await gateway.tasks.get(task)).state not in FINISHED:
            await handle.write(4 * written, [b"%04d" % written])
            await put(here, path(f"new{written}"), b"%d" % written)
            if written < 50:
                await here.remove(path(f"old{written}"))
            written += 1
            if written == 3:
                await here.rename(path("tree"), path("wood"))
        await handle.write(4 * written, [b"last"])
        await handle.close()
        ended = await gateway.tasks.get(task)
        assert ended.state is TaskState.DONE, ended.message
        now = await gateway.vfolders.by_key(vfolder.key)
        assert now.volume == "other"
        there = await orchestrator_in(gateway, now)
        olds = {f"old{number}" for number in range(written, 50)}
        assert set(await names(there)) == {"log", "wood", *olds, *(f"new{number}" for number in range(written))}
        assert await get(there, path("wood/leaf")) == b"leaf"
        assert await get(there, path("log")) == b"".join(b"%04d" % number for number in range(written)) + b"last"
        for number in range(written):
            assert await get(there, path(f"new{number}")) == b"%d" % number
        assert await gateway.quota.usage(now) == await gateway.lifecycle.recount(now)


async def test_an_upload_that_began_in_the_old_place_is_published_in_the_new(tmp_path: Path) -> None:
    """Its last byte comes after the step: nothing is sent again."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway, limit_bytes=100)
        here = await orchestrator_in(gateway, vfolder)
        async with await here.upload(path("late"), size=10) as upload:
            await upload.write([b"01234"])
            assert (await moved(gateway, vfolder, "other")).state is TaskState.DONE
            await upload.write([b"56789"])
            await upload.commit()
        now = await gateway.vfolders.by_key(vfolder.key)
        there = await orchestrator_in(gateway, now)
        assert await names(there) == ["late"] and await get(there, path("late")) == b"0123456789"
        assert await gateway.quota.usage(now) == Usage(10, 1) == await gateway.lifecycle.recount(now)


async def test_resumable_uploads_are_waited_for(tmp_path: Path) -> None:
    """A stage cannot go along: the vfolder stays where it is until the upload has ended, and others work on."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, vfolder)
        upload = await gateway.staging.begin(here, path("big"), size=4)
        task_id = await gateway.relocation.begin(vfolder, "other")
        async for task in gateway.tasks.watch(task_id):
            if "waiting for 1 uploads" in task.message:
                break
        await put(here, path("meanwhile"), b"x")
        await upload.acquire()
        await upload.write([b"0123"])
        await upload.finish()
        assert (await finished(gateway, task_id)).state is TaskState.DONE
        there = await orchestrator_in(gateway, await gateway.vfolders.by_key(vfolder.key))
        assert await names(there) == ["big", "meanwhile"] and await get(there, path("big")) == b"0123"


async def test_uploads_are_cancelled_where_that_is_asked_for(tmp_path: Path) -> None:
    """An upload that nobody continues keeps no administrator waiting."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        upload = await gateway.staging.begin(await orchestrator_in(gateway, vfolder), path("big"), size=4)
        assert (await moved(gateway, vfolder, "other", cancel_uploads=True)).state is TaskState.DONE
        with pytest.raises(UploadNotFound):
            await gateway.staging.uploads.get(upload.id)


async def test_who_knows_it_by_its_old_place_finds_it(tmp_path: Path) -> None:
    """The orchestrator and tokens name the volume; deleting by the old name deletes the vfolder, and not only what was left."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"hello")
        await moved(gateway, vfolder, "other")
        assert await get(await orchestrator_in(gateway, vfolder), path("a")) == b"hello"
        assert (await gateway.find_vfolder(vfolder.id, "mem")).volume == "other"
        assert (await finished(gateway, await gateway.lifecycle.delete("mem", vfolder.id))).state is TaskState.DONE
        for volume in ("mem", "other"):
            with pytest.raises(VFolderNotFound):
                await gateway.find_vfolder(vfolder.id, volume)


async def test_what_is_left_behind_is_removed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers come to their end first; nobody takes it for a vfolder meanwhile."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, vfolder)
        await put(here, path("a"), b"hello")
        reader = await here.open(path("a"), OpenMode.READ)
        await moved(gateway, vfolder, "other")
        assert await reader.read(0, 5) == b"hello"
        await reader.close()
        scan = await finished(gateway, await gateway.scans.start(fix=True))
        assert scan.state is TaskState.DONE and [one.volume for one in await gateway.vfolders.list()] == ["other"]
        assert vfolder.id in await gateway.volumes.get("mem").folders()
        monkeypatch.setattr(relocation, "LEFT", 0.0)
        await finished(gateway, await gateway.tasks.start("remove_left_behind", {}))
        assert vfolder.id not in await gateway.volumes.get("mem").folders()
        assert (await moved(gateway, await gateway.vfolders.by_key(vfolder.key), "mem")).state is TaskState.DONE
        assert await get(await orchestrator_in(gateway, vfolder), path("a")) == b"hello"


async def test_what_others_change_in_the_old_place_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that had it mounted wrote there after the step: nothing of that is thrown away, and the administrator is told."""
    told: list[relocation.LeftBehindChanged] = []
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        gateway.events.subscribe(relocation.LeftBehindChanged, told.append)
        vfolder = await new_vfolder(gateway)
        await moved(gateway, vfolder, "other")
        monkeypatch.setattr(relocation, "LEFT", 0.0)
        monkeypatch.setattr(relocation, "SLACK", -60.0)
        stage = await (await gateway.volumes.get("mem").folder(vfolder.id, Actor())).stage(path("late"), 1)
        await stage.append([b"x"])
        await stage.commit(path("late"), ANY)
        await finished(gateway, await gateway.tasks.start("remove_left_behind", {}))
        assert vfolder.id in await gateway.volumes.get("mem").folders()
        assert [(event.volume, event.path) for event in told] == [("mem", "late")]
        moving_back = await moved(gateway, await gateway.vfolders.by_key(vfolder.key), "mem")
        assert moving_back.state is TaskState.FAILED and "has changed since" in moving_back.message


async def test_a_move_that_is_cancelled_leaves_no_trace(tmp_path: Path) -> None:
    """The vfolder is where it was, and the other volume empty."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, vfolder)
        await gateway.staging.begin(here, path("big"), size=4)  # which it waits for
        task_id = await gateway.relocation.begin(vfolder, "other")
        async for task in gateway.tasks.watch(task_id):
            if "waiting" in task.message:
                break
        with pytest.raises(Conflict):
            await gateway.relocation.begin(vfolder, "other")
        await gateway.tasks.cancel(task_id)
        assert (await finished(gateway, task_id)).state is TaskState.CANCELLED
        assert (await gateway.vfolders.by_key(vfolder.key)).volume == "mem"
        assert list(await gateway.volumes.get("other").folders()) == []
        await put(here, path("a"), b"x")


@pytest.mark.parametrize("limit", [Limits(bytes=4), Limits(files=0)])
async def test_limits_of_the_new_place_hold(tmp_path: Path, limit: Limits) -> None:
    """What does not fit into a limit there does not go there."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"hello")
        assert vfolder.id.scope is not None
        await gateway.lifecycle.create_scope("other", vfolder.id.scope, limit)
        task = await moved(gateway, vfolder, "other")
        assert task.state is TaskState.FAILED and "quota" in task.message
        assert (await gateway.vfolders.by_key(vfolder.key)).volume == "mem"
        assert list(await gateway.volumes.get("other").folders()) == []
        assert await gateway.quota.scope_usage("other", vfolder.id.scope) == Usage()


async def test_locks_properties_and_links_stay(tmp_path: Path) -> None:
    """They hang on the vfolder, not on its place."""
    async with running_gateway(tmp_path, two_in_memory()) as gateway:
        vfolder = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, vfolder)
        await put(here, path("a"), b"hello")
        await here.set_properties(path("a"), {"{x:}color": "<color/>"})
        lock = await here.lock(path("a"), infinite=False, exclusive=True, timeout=None)
        assert (await moved(gateway, vfolder, "other")).state is TaskState.DONE
        there = await orchestrator_in(gateway, await gateway.vfolders.by_key(vfolder.key))
        with pytest.raises(Locked):
            await there.remove(path("a"))
        assert [found.token for found in await gateway.locks.list(there.vfolder)] == [lock.token]
        assert (await gateway.properties.any_in(there.vfolder))[0]
        await there.holding([lock.token]).remove(path("a"))


async def test_names_that_the_new_place_cannot_tell_apart_keep_it_where_it_is(tmp_path: Path) -> None:
    """Nothing is replaced by something that is called nearly the same."""
    folding = MemoryVolume("other", reactor, case_folding=True)
    async with running_gateway(tmp_path, [MemoryVolume("mem", reactor), folding]) as gateway:
        vfolder = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, vfolder)
        for name in ("a", "A"):
            await put(here, path(name), name.encode())
        task = await moved(gateway, vfolder, "other")
        assert task.state is TaskState.FAILED and "tell these names apart" in task.message
        await here.remove(path("a"))
        await here.set_properties(path("A"), {"{x:}color": "<color/>"})
        assert (await moved(gateway, vfolder, "other")).state is TaskState.DONE
        there = await orchestrator_in(gateway, await gateway.vfolders.by_key(vfolder.key))
        assert await names(there) == ["A"]
        assert await gateway.properties.of(there.vfolder, path("a"))


def on_disk(name: str, place: Path) -> IVolume:
    return VfsVolume(name, VfsSettings(path=place / name, owner="principal"), make_runtime(place))


@pytest.mark.parametrize("kinds", ["disk disk", "disk memory", "memory disk"])
async def test_what_files_are_goes_along(tmp_path: Path, kinds: str) -> None:
    """Between every pair: modes, times and links, and on disk the second names and the owners of files."""
    volumes = [
        MemoryVolume(name, reactor) if kind == "memory" else on_disk(name, tmp_path)
        for name, kind in zip(("mem", "other"), kinds.split(), strict=True)
    ]
    async with running_gateway(tmp_path, volumes) as gateway:
        vfolder = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, vfolder)
        await here.make_dir(path("d"))
        await put(here, path("d/tool"), b"#!/bin/sh")
        await here.set_attrs(path("d/tool"), Attrs(mode=0o750, mtime_ns=10**18, atime_ns=10**18))
        await here.make_link(path("link"), "d/tool")
        await here.hard_link(path("d/tool"), path("second"))
        await here.make_dir(path("empty"))
        root = Path(await gateway.lifecycle.mount_path(vfolder)) if kinds.startswith("disk") else None
        if root is not None:
            os.chown(root / "d/tool", 1234, 1234)
        used = await gateway.quota.usage(vfolder)
        task = await moved(gateway, vfolder, "other")
        assert task.state is TaskState.DONE, task.message
        now = await gateway.vfolders.by_key(vfolder.key)
        there = await orchestrator_in(gateway, now)
        tool, second = await there.stat(path("d/tool")), await there.stat(path("second"))
        assert (tool.mode, tool.mtime_ns, tool.nlink) == (0o750, 10**18, 2)
        assert tool.identity == second.identity
        assert (await there.stat(path("link"))).target == "d/tool"
        assert await names(there) == ["d", "empty", "link", "second"]
        assert await gateway.lifecycle.recount(now) == used
        if kinds == "disk disk":
            assert ((await there.stat(path("d/tool"))).uid, tool.gid) == (1234, 1234)
            os.mkfifo(Path(await gateway.lifecycle.mount_path(now)) / "pipe")
            back = await moved(gateway, now, "mem")
            assert back.state is TaskState.FAILED and "pipe" in back.message
