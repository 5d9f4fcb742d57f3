"""Snapshots: seen below ``.snapshots`` and nowhere else, taken and dropped by who administers a vfolder, put back by who may write."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.harness import make_runtime
from tests.support.gateway import ALICE, new_vfolder, orchestrator_in, running_gateway
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    InvalidPath,
    Locked,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    ReadOnlyPath,
    Unsupported,
)
from vfgateway.model import Attrs, Limits, OpenMode, Permission, Snapshot, VFolder
from vfgateway.paths import ROOT, parse_text
from vfgateway.principals import INTERNAL, Principal, PrincipalKind
from vfgateway.services import copying, snapshots
from vfgateway.services import snapshotrecords as records
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession
from vfgateway.services.snapshotplans import Plan, label_at
from vfgateway.services.snapshotrecords import Reason
from vfgateway.services.tasks import TaskState, until_finished

HERE = INTERNAL
path = parse_text


async def put(folder: FolderSession, where: str, content: bytes) -> None:
    async with await folder.upload(path(where), size=len(content), parents=True) as upload:
        await upload.write([content])
        await upload.commit()


async def read(folder: FolderSession, where: str) -> bytes:
    download = await folder.download(path(where))
    try:
        content: bytes = await download.file.read(0, 1 << 20)
        return content
    finally:
        await download.close()


async def names(folder: FolderSession, where: str = "") -> list[str]:
    listing = await folder.list(path(where))
    found: list[str] = []
    while entries := await listing.read(2):
        found += [entry.name for entry in entries]
    await listing.close()
    return sorted(found)


async def walked(folder: FolderSession, where: str) -> list[str]:
    walk = folder.walk(path(where))
    found: list[str] = []
    while entries := await walk.read():
        found += [str(entry.path) for entry in entries]
    await walk.close()
    return sorted(found)


async def begun(gateway: Gateway, **options: Any) -> FolderSession:
    """A vfolder with ``d/f`` and ``top``, of which a snapshot ``one`` was taken, and that was changed since."""
    folder = await orchestrator_in(gateway, await new_vfolder(gateway, name="data", **options))
    await put(folder, "d/f", b"before")
    await put(folder, "top", b"top")
    await gateway.snapshots.create(folder, "one")
    await put(folder, "d/f", b"after!")
    await put(folder, "d/new", b"new")
    await folder.remove(path("top"))
    return folder


def person(user_id: object = None) -> Principal:
    return Principal(PrincipalKind.USER, "somebody", user_id=user_id or uuid4())  # type: ignore[arg-type]


async def test_are_seen_below_their_directory_alone(tmp_path: Path) -> None:
    """By name; what the vfolder lists, walks and holds has nothing of them."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        assert await names(folder) == ["d"]
        assert await walked(folder, "") == ["d", "d/f", "d/new"]
        assert await names(folder, ".snapshots") == ["one"]
        assert await names(folder, ".snapshots/one") == ["d", "top"]
        assert await walked(folder, ".snapshots/one") == [
            ".snapshots/one/d",
            ".snapshots/one/d/f",
            ".snapshots/one/top",
        ]
        assert await read(folder, ".snapshots/one/d/f") == b"before"
        assert await read(folder, "d/f") == b"after!"
        handle = await folder.open(path(".snapshots/one/d/f"), OpenMode.READ)
        assert await handle.read(0, 100) == b"before"
        await handle.close()
        for where in (".snapshots", ".snapshots/one", ".snapshots/one/d"):
            assert (await folder.stat(path(where))).is_dir
        assert abs((await folder.stat(path(".snapshots/one"))).mtime_ns / 1e9 - time.time()) < 60
        for where in (".snapshots/two", ".snapshots/one/no", ".snapshots/one/.upload", ".snapshots/one/.snapshots"):
            with pytest.raises(NotFound):
                await folder.stat(path(where))


async def test_nothing_of_them_is_changed(tmp_path: Path) -> None:
    """Not even by the orchestrator, and the sentence says why."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        inside = path(".snapshots/one/d/f")
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: folder.upload(inside, size=1),
            lambda: folder.open(inside, OpenMode.WRITE),
            lambda: folder.make_dir(path(".snapshots/two")),
            lambda: folder.remove(inside),
            lambda: folder.remove_dir(path(".snapshots/one/d")),
            lambda: folder.remove_tree(path(".snapshots/one")),
            lambda: folder.rename(inside, path("out")),
            lambda: folder.rename(path("d/f"), path(".snapshots/one/in")),
            lambda: folder.set_attrs(inside, Attrs(mode=0o600)),
            lambda: folder.lock(inside, infinite=False, exclusive=True, timeout=10),
            lambda: folder.set_properties(inside, {"{x}y": "z"}),
            lambda: folder.make_link(path(".snapshots/one/l"), "d"),
            lambda: folder.hard_link(inside, path("out")),
            lambda: folder.copy(path("d/f"), path(".snapshots/one/in")),
            lambda: copying.move(folder, inside, folder, path("out")),
            lambda: gateway.file_trash.discard(folder, inside),
        ]
        for attempt in attempts:
            with pytest.raises(ReadOnlyPath):
                await attempt()
        assert await names(folder, ".snapshots/one/d") == ["f"]


async def test_deleted_files_are_not_shown_in_them(tmp_path: Path) -> None:
    """What lay in the trash when one was taken stays the gateway's own."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        await gateway.file_trash.discard(folder, path("d/new"))
        await gateway.snapshots.create(folder, "two")
        assert await names(folder, ".snapshots/two") == ["d"]
        assert await walked(folder, ".snapshots/two") == [".snapshots/two/d", ".snapshots/two/d/f"]
        with pytest.raises(NotFound):
            await folder.stat(path(".snapshots/two/.trash"))


async def test_count_against_no_limit(tmp_path: Path) -> None:
    """Of ours; what comes back out of one does, and has to fit."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway, limits=Limits(bytes=12))
        used = await folder.usage()
        assert used.bytes == 9  # d/f and d/new
        await gateway.snapshots.create(folder, "two")
        assert await folder.usage() == used
        assert await gateway.lifecycle.recount(folder.vfolder) == used
        await gateway.snapshots.restore(folder, "one", path("top"))
        assert (await folder.usage()).bytes == 12
        with pytest.raises(QuotaExceeded):
            await gateway.snapshots.restore(folder, "one", path("top"), path("again"))
        assert await names(folder) == ["d", "top"]
        assert await gateway.lifecycle.recount(folder.vfolder) == await folder.usage()


async def test_a_file_comes_back(tmp_path: Path) -> None:
    """Where it was or elsewhere; what is there gives way only if that was said."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        with pytest.raises(AlreadyExists):
            await gateway.snapshots.restore(folder, "one", path("d/f"))
        assert await gateway.snapshots.restore(folder, "one", path("d/f"), path("x/y/z")) == path("x/y/z")
        assert await read(folder, "x/y/z") == b"before"
        await gateway.snapshots.restore(folder, "one", path("d/f"), replace=True)
        assert await read(folder, "d/f") == b"before"
        assert await names(folder, "d") == ["f", "new"]
        for label, where in (("one", "d/none"), ("two", "d/f"), ("one", ".trash/x")):
            with pytest.raises((NotFound, InvalidPath)):
                await gateway.snapshots.restore(folder, label, path(where))
        with pytest.raises(InvalidPath):
            await gateway.snapshots.restore(folder, "one", ROOT, replace=True)
        with pytest.raises(ReadOnlyPath):
            await gateway.snapshots.restore(folder, "one", path("d/f"), path(".snapshots/one/x"))


async def test_a_directory_comes_back(tmp_path: Path) -> None:
    """Whole, with what changed in it, without what came since, and through changes of kind."""
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway))
        await put(folder, "d/file", b"1")
        await put(folder, "d/sub/deep", b"22")
        await put(folder, "d/turned", b"333")
        await folder.make_link(path("d/link"), "file")
        await folder.set_attrs(path("d/sub"), Attrs(mode=0o700))
        await gateway.snapshots.create(folder, "one")
        await folder.remove_tree(path("d/sub"))
        await put(folder, "d/sub", b"a file now")
        await folder.remove(path("d/turned"))
        await put(folder, "d/turned/inside", b"x")
        await folder.remove(path("d/link"))
        await folder.make_link(path("d/link"), "elsewhere")
        await put(folder, "d/came/since", b"y")
        with pytest.raises(AlreadyExists):
            await gateway.snapshots.restore(folder, "one", path("d"))
        await gateway.snapshots.restore(folder, "one", path("d"), replace=True)
        assert await walked(folder, "") == ["d", "d/file", "d/link", "d/sub", "d/sub/deep", "d/turned"]
        assert await read(folder, "d/turned") == b"333"
        assert (await folder.stat(path("d/link"))).target == "file"
        assert (await folder.stat(path("d/sub"))).mode & 0o777 == 0o700
        assert await gateway.lifecycle.recount(folder.vfolder) == await folder.usage()


async def test_a_whole_vfolder_comes_back(tmp_path: Path) -> None:
    """By a task; what it held until then is in a snapshot of its own."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        task = await until_finished(gateway.tasks, await gateway.snapshots.restore_all(folder, "one"))
        assert task.state is TaskState.DONE, task.message
        assert await walked(folder, "") == ["d", "d/f", "top"]
        assert await read(folder, "d/f") == b"before"
        assert await gateway.lifecycle.recount(folder.vfolder) == await folder.usage()
        _, before = await gateway.snapshots.list(folder)
        assert before.reason is Reason.RESTORE
        assert before.label.startswith("before-restore-20")
        assert await read(folder, f".snapshots/{before.label}/d/new") == b"new"
        with pytest.raises(NotFound):
            await gateway.snapshots.restore_all(folder, "none")


async def test_a_lock_holds_a_restore_off(tmp_path: Path) -> None:
    """As any other change."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        owner = await gateway.session(person(ALICE), HERE).folder(folder.vfolder.id, "mem")
        lock = await owner.lock(path("d/f"), infinite=False, exclusive=True, timeout=60)
        with pytest.raises(Locked):
            await gateway.snapshots.restore(folder, "one", path("d/f"), replace=True)
        await gateway.snapshots.restore(owner.holding([lock.token]), "one", path("d/f"), replace=True)
        assert await read(folder, "d/f") == b"before"


async def test_who_may(tmp_path: Path) -> None:
    """Administering takes and drops, ``ro`` reads, ``rw`` puts back, ``rwd`` puts back what removes something."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        users = {}
        for permission in (Permission.RO, Permission.RW, Permission.RWD):
            user = await gateway.accounts.create_user(f"user-{permission}")
            await gateway.vfolders.grant(folder.vfolder.key, "user", user.id, permission)
            principal = await gateway.accounts.principal_of(user.id)
            users[permission] = await gateway.session(principal, HERE).folder(folder.vfolder.id, "mem")
        service = gateway.snapshots
        for theirs in users.values():
            assert [one.label for one in await service.list(theirs)] == ["one"]
            assert await read(theirs, ".snapshots/one/d/f") == b"before"
            for attempt in (
                service.create(theirs, "mine"),
                service.drop(theirs, "one"),
                service.schedule_of(theirs),
                service.set_schedule(theirs, Plan(daily=1)),
            ):
                with pytest.raises(PermissionDenied):
                    await attempt
        ro, rw, rwd = (users[each] for each in (Permission.RO, Permission.RW, Permission.RWD))
        with pytest.raises(PermissionDenied):
            await service.restore(ro, "one", path("top"))
        await service.restore(rw, "one", path("top"))
        with pytest.raises(PermissionDenied):
            await service.restore(rw, "one", path("d"), replace=True)
        assert await read(folder, "d/new") == b"new"
        with pytest.raises(PermissionDenied):
            await service.restore_all(rw, "one")
        await service.restore(rwd, "one", path("d"), replace=True)
        assert await names(folder, "d") == ["f"]
        owner = await gateway.session(person(ALICE), HERE).folder(folder.vfolder.id, "mem")
        assert (await service.create(owner, "mine")).made_by == "somebody"
        await service.drop(owner, "mine")
        stranger = gateway.session(person(), HERE)
        with pytest.raises(NotFound):
            await stranger.folder(folder.vfolder.id, "mem")


async def test_labels(tmp_path: Path) -> None:
    """One may be given; else it is the time. Each is there once."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        taken = await gateway.snapshots.create(folder)
        assert datetime.strptime(taken.label, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC).timestamp() == pytest.approx(
            time.time(), abs=60
        )
        with pytest.raises(AlreadyExists):
            await gateway.snapshots.create(folder, "one")
        for label in ("", "a/b", "..", "a b"):
            with pytest.raises(InvalidPath):
                await gateway.snapshots.create(folder, label)
        await gateway.snapshots.drop(folder, "one")
        with pytest.raises(NotFound):
            await gateway.snapshots.drop(folder, "one")
        assert [one.label for one in await gateway.snapshots.list(folder)] == [taken.label]


async def test_there_is_an_end_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No vfolder can have more than a storage can bear."""
    monkeypatch.setattr(snapshots, "MOST", 2)
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        await gateway.snapshots.create(folder, "two")
        with pytest.raises(Conflict):
            await gateway.snapshots.create(folder, "three")


async def test_are_not_offered_where_the_storage_has_none(tmp_path: Path) -> None:
    """Nothing is there, by any way."""
    volume = VfsVolume("disk", VfsSettings(path=tmp_path / "disk"), make_runtime(tmp_path))
    async with running_gateway(tmp_path, [volume]) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, "disk"))
        for attempt in (
            gateway.snapshots.create(folder, "one"),
            gateway.snapshots.list(folder),
            gateway.snapshots.drop(folder, "one"),
            gateway.snapshots.restore(folder, "one", path("x")),
            gateway.snapshots.restore_all(folder, "one"),
            gateway.snapshots.set_schedule(folder, Plan(hourly=1)),
        ):
            with pytest.raises(Unsupported):
                await attempt
        for ask in (folder.stat, folder.list):
            with pytest.raises(NotFound):
                await ask(path(".snapshots"))
        with pytest.raises(InvalidPath):
            await folder.make_dir(path(".snapshots"))


async def test_are_not_shown_where_a_vfolder_can_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though others on the volume can."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)

        async def none(*_: object) -> None:
            raise Unsupported("snapshots of this one")

        for name in ("snapshots", "open_snapshot"):
            monkeypatch.setattr(gateway.volumes.get("mem"), name, none)
        for where in (".snapshots", ".snapshots/one", ".snapshots/one/d"):
            for ask in (folder.stat, folder.list):
                with pytest.raises(NotFound):
                    await ask(path(where))
        with pytest.raises(Unsupported):
            await gateway.snapshots.list(folder)


async def test_one_taken_without_the_gateway(tmp_path: Path) -> None:
    """Is listed and used as any other; nobody knows why it is there, so no schedule removes it."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        volume = gateway.volumes.get("mem")
        assert isinstance(volume, MemoryVolume)
        await volume.snapshot(folder.vfolder.id, "foreign")
        found = {one.label: one for one in await gateway.snapshots.list(folder)}
        assert found["foreign"].reason is Reason.STORAGE
        assert await read(folder, ".snapshots/foreign/d/f") == b"after!"
        await volume.drop_snapshot(folder.vfolder.id, "one")
        assert [one.label for one in await gateway.snapshots.list(folder)] == ["foreign"]


async def test_go_with_their_vfolder(tmp_path: Path) -> None:
    """With what was known of them, and its schedule."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        await gateway.snapshots.set_schedule(folder, Plan(hourly=1))
        await gateway.lifecycle.purge("mem", folder.vfolder.id)
        volume = gateway.volumes.get("mem")
        assert (await volume.space()).used == 0
        again = await orchestrator_in(gateway, await gateway.lifecycle.create("mem", folder.vfolder.id))
        assert list(await gateway.snapshots.list(again)) == []
        assert await gateway.snapshots.schedule_of(again) is None


# --- schedules ---


async def run(gateway: Gateway) -> None:
    task = await until_finished(gateway.tasks, await gateway.tasks.start("take_snapshots", {}))
    assert task.state is TaskState.DONE, task.message


async def rewind(gateway: Gateway, vfolder: VFolder) -> None:
    """As if the next one were due."""
    scheduled = await gateway.database.read(lambda connection: records.schedule_of(connection, vfolder.key))
    assert scheduled is not None
    assert scheduled.due > gateway.reactor.seconds()
    due = records.Scheduled(vfolder.key, scheduled.plan, 0.0)
    await gateway.database.write(lambda connection: records.set_schedule(connection, due))


async def test_a_schedule_takes_and_removes(tmp_path: Path) -> None:
    """At once, then once each time it is due; what others made stays."""
    async with running_gateway(tmp_path) as gateway:
        folder = await begun(gateway)
        await gateway.snapshots.set_schedule(folder, Plan(hourly=1))
        await run(gateway)
        await run(gateway)
        labels = [one.label for one in await gateway.snapshots.list(folder)]
        assert len(labels) == 2
        await rewind(gateway, folder.vfolder)
        while label_at(gateway.reactor.seconds()) in labels:
            await gateway.snapshots.storage(folder.vfolder).snapshots(folder.vfolder.id)
        await run(gateway)
        now = await gateway.snapshots.list(folder)
        assert [one.reason for one in now] == [Reason.HAND, Reason.SCHEDULE]
        assert now[1].label not in labels
        assert now[1].made_by == "its schedule"
        assert await gateway.snapshots.set_schedule(folder, None) is None
        await run(gateway)
        assert len(await gateway.snapshots.list(folder)) == 2


async def test_a_schedule_outlives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, and others are served meanwhile."""
    async with running_gateway(tmp_path) as gateway:
        folder, other = await begun(gateway), await orchestrator_in(gateway, await new_vfolder(gateway))
        for each in (folder, other):
            await gateway.snapshots.set_schedule(each, Plan(daily=3))
        monkeypatch.setattr(snapshots, "MOST", 1)
        await run(gateway)
        assert [one.label for one in await gateway.snapshots.list(folder)] == ["one"]
        assert len(await gateway.snapshots.list(other)) == 1
        monkeypatch.undo()
        await rewind(gateway, folder.vfolder)
        await run(gateway)
        assert len(await gateway.snapshots.list(folder)) == 2


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_what_is_kept() -> None:
    """The last of so many hours, days, weeks and months that have any."""
    hours = [
        Snapshot(label_at(at("2026-01-01T00:00") + 3600 * n), at("2026-01-01T00:00") + 3600 * n) for n in range(24 * 60)
    ]

    def kept(**plan: int) -> list[str]:
        gone = {each.label for each in Plan(**plan).superfluous(hours)}
        return [each.label for each in hours if each.label not in gone]

    assert kept(hourly=2) == ["2026-03-01T22-00-00Z", "2026-03-01T23-00-00Z"]
    assert kept(daily=2) == ["2026-02-28T23-00-00Z", "2026-03-01T23-00-00Z"]
    assert kept(weekly=2) == ["2026-02-22T23-00-00Z", "2026-03-01T23-00-00Z"]
    assert kept(monthly=12) == ["2026-01-31T23-00-00Z", "2026-02-28T23-00-00Z", "2026-03-01T23-00-00Z"]
    assert len(kept(hourly=24, daily=7, weekly=4)) == 24 + 6 + 3
    assert Plan(daily=1).superfluous([]) == []
    assert [each.label for each in Plan(hourly=1).superfluous(hours[:3])] == [hours[0].label, hours[1].label]


def test_when_the_next_is_due() -> None:
    """When the next of the shortest periods begins."""
    now = at("2026-11-21T22:58:10")
    for plan, due in (
        (Plan(hourly=1, monthly=1), "2026-11-21T23:00"),
        (Plan(daily=1, weekly=1), "2026-11-22T00:00"),
        (Plan(weekly=1), "2026-11-23T00:00"),
        (Plan(monthly=1), "2026-12-01T00:00"),
    ):
        assert plan.next_after(now) == at(due)
    assert Plan(monthly=1).next_after(at("2026-12-31T23:59")) == at("2027-01-01T00:00")
    for wrong in ({}, {"daily": -1}, {"hourly": 1001}):
        with pytest.raises(InvalidArgument):
            Plan(**wrong)
