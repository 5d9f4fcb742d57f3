"""Scans over a volume on disk on which things happen behind the gateway's back."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.services.test_lifecycle import SCOPE, finished
from tests.services.test_session import put
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.support.processes import begin, turn
from vfgateway.backends.vfs import VfsVolumeFactory
from vfgateway.blocking import Pool
from vfgateway.model import Actor, FolderOptions, Usage, VFolder, VFolderId
from vfgateway.paths import parse_text as path
from vfgateway.runtime import Runtime
from vfgateway.services.gateway import Gateway
from vfgateway.services.scanning import throttled
from vfgateway.services.scanrecords import Finding, FindingKind, Scan
from vfgateway.services.taskrecords import TaskState
from vfgateway.treeusage import TreeUsage


@asynccontextmanager
async def on_disk(folder: Path, **settings: object) -> AsyncIterator[Gateway]:
    """A gateway with one volume, ``disk``."""

    def pool(size: int, inline: bool = False) -> Pool:
        return Pool(reactor, size, "disk", inline)

    runtime = Runtime(reactor=reactor, pool=pool, agent=None, spool=folder / "spool", state=None)  # type: ignore[arg-type]
    volume = VfsVolumeFactory().configure("disk", {"path": str(folder / "volume"), **settings}, runtime)
    async with running_gateway(folder, [volume]) as gateway:
        yield gateway


async def place_of(gateway: Gateway, vfolder: VFolder) -> Path:
    """Where a vfolder lies."""
    return Path(await gateway.lifecycle.mount_path(vfolder))


async def scanned(gateway: Gateway, fix: bool = False, vfolder: VFolder | None = None) -> tuple[Scan, list[Finding]]:
    """The report of a scan."""
    scan_id = await gateway.scans.start(vfolder=vfolder, fix=fix)
    task = await finished(gateway, scan_id)
    assert task.state is TaskState.DONE, task.message
    report = await gateway.scans.report(scan_id)
    assert report is not None
    return report[0], list(report[1])


async def test_where_nothing_is_wrong_nothing_is_found(tmp_path: Path) -> None:
    """And all that is there is counted."""
    async with on_disk(tmp_path) as gateway:
        for size in (3, 5):
            vfolder = await new_vfolder(gateway, "disk")
            await put(await orchestrator_in(gateway, vfolder), path("file"), b"x" * size)
        scan, findings = await scanned(gateway)
        assert findings == []
        assert (scan.checked_vfolders, scan.checked_bytes, scan.checked_files) == (2, 8, 2)
        assert scan.finished is not None


async def test_what_came_behind_our_back_is_told_and_only_then_charged(tmp_path: Path) -> None:
    """A job wrote through its mount, under a name that cannot be decoded too; a hard link counts once."""
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk")
        await put(await orchestrator_in(gateway, vfolder), path("ours"), b"12345")
        root = await place_of(gateway, vfolder)
        (root / "deep").mkdir()
        (root / "deep/job").write_bytes(b"x" * 100)
        (root / "again").hardlink_to(root / "deep/job")
        Path(os.fsdecode(bytes(root) + b"/\xff\xfe")).write_bytes(b"yy")
        _, (finding,) = await scanned(gateway)
        assert finding.kind is FindingKind.DRIFT
        assert finding.detail == "charged 5 bytes in 1 entries, found 107 in 5"
        assert not finding.fixed
        assert await gateway.quota.usage(vfolder) == Usage(5, 1)
        _, (finding,) = await scanned(gateway, fix=True)
        assert finding.fixed
        assert await gateway.quota.usage(vfolder) == Usage(107, 5)
        assert (await scanned(gateway))[1] == []


async def test_a_folder_that_nobody_registered_is_adopted(tmp_path: Path) -> None:
    """With what is in it; nothing is ever deleted."""
    async with on_disk(tmp_path) as gateway:
        vfid = VFolderId(SCOPE, uuid4())
        await gateway.volumes.get("disk").create_folder(vfid, FolderOptions())
        _, (finding,) = await scanned(gateway)
        assert (finding.kind, finding.vfid, finding.fixed) == (FindingKind.ORPHAN, str(vfid), False)
        assert await gateway.vfolders.list() == []
        await scanned(gateway, fix=True)
        assert [each.id for each in await gateway.vfolders.list()] == [vfid]


async def test_an_adopted_directory_belongs_where_its_link_is(tmp_path: Path) -> None:
    """A scan finds nothing wrong with it."""
    place = tmp_path / "datasets/flowers"
    place.mkdir(parents=True)
    (place / "one").write_bytes(b"12345")
    async with on_disk(tmp_path, adoptable=[str(tmp_path / "datasets")]) as gateway:
        adopt, vfid = gateway.lifecycle.adopt_place, VFolderId(SCOPE, uuid4())
        owner, kind = SCOPE.uuid, SCOPE.kind
        _, task = await adopt("disk", vfid, str(place), name="flowers", owner=owner, kind=kind, read_only=True)
        assert (await finished(gateway, task)).state is TaskState.DONE
        assert (await scanned(gateway))[1] == []


async def test_a_vfolder_whose_folder_is_missing_is_told_and_kept(tmp_path: Path) -> None:
    """Perhaps a disk is not mounted: forgetting it would be the end of its name and its grants."""
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk")
        root = await place_of(gateway, vfolder)
        root.rename(tmp_path / "elsewhere")
        _, (finding,) = await scanned(gateway, fix=True)
        assert finding.kind is FindingKind.MISSING
        assert not finding.fixed
        (tmp_path / "elsewhere").rename(root)
        assert (await scanned(gateway))[1] == []


async def test_what_lies_where_only_vfolders_may(tmp_path: Path) -> None:
    """Somebody copied things there by hand; they are told and left alone."""
    async with on_disk(tmp_path) as gateway:
        root = await place_of(gateway, await new_vfolder(gateway, "disk"))
        top = tmp_path / "volume"
        (top / "notes.txt").write_text("x")
        (top / "ab").write_text("a file that is called like a shard")
        (root.parent / "short").mkdir()
        Path(os.fsdecode(bytes(root.parents[2]) + b"/\xff")).mkdir()
        for fix in (False, True):
            _, findings = await scanned(gateway, fix=fix)
            assert {finding.kind for finding in findings} == {FindingKind.MISPLACED}
            assert not any(finding.fixed for finding in findings)
            here = root.parent.relative_to(top)
            said = {finding.detail.partition(": ")[2] for finding in findings}
            assert said == {"notes.txt", "ab", f"{here}/short", f"{here.parts[0]}/\\xff"}


async def test_a_scan_is_made_again_and_again(tmp_path: Path) -> None:
    """Where that is configured; not after each restart."""
    configuration = '[authenticators.accounts]\n[scans]\nevery = "7d"\n'
    for expected in (1, 1):
        async with running_gateway(tmp_path, configuration=configuration) as gateway:
            gateway.tasks.schedule._periodic["scan"].next = 0.0
            await gateway.tasks.schedule.look()
            while not all(task.finished for task in await gateway.tasks.list()):
                await turn()
            assert len(await gateway.scans.list()) == expected


async def test_a_rate_is_kept() -> None:
    """As told by the clock that the scan waits on."""
    clock = Clock()
    told: list[int] = []

    async def tell(count: int) -> None:
        told.append(count)

    progress = throttled(clock, 100, tell)
    for number in range(1, 4):
        step = begin(progress(number * 50))
        assert not step.called
        clock.advance(0.49)
        assert not step.called
        clock.advance(0.01)
        assert step.called
    assert told == [50, 50, 50]


async def test_stages_of_nobody_are_removed_once_they_are_old(tmp_path: Path) -> None:
    """Young ones may be somebody's who is just writing."""
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk")
        folder = await gateway.volumes.get("disk").folder(vfolder.id, Actor())
        stages = []
        for _ in range(2):
            stage = await folder.stage(path("file"), None)
            await stage.append([b"left"])
            await stage.sync()
            stages.append(stage)
        root = await place_of(gateway, vfolder)
        old = time.time() - 2 * 24 * 3600
        left = sorted((root / ".upload").iterdir())
        os.utime(left[0], (old, old))
        _, (finding,) = await scanned(gateway)
        assert finding.kind is FindingKind.LEFTOVERS
        assert len(list((root / ".upload").iterdir())) == len(left)
        await scanned(gateway, fix=True)
        assert left[0] not in set((root / ".upload").iterdir())
        assert left[1] in set((root / ".upload").iterdir())
        for stage in stages:
            await stage.close()


async def test_one_vfolder_alone(tmp_path: Path) -> None:
    """Others are not looked at."""
    async with on_disk(tmp_path) as gateway:
        first, second = [await new_vfolder(gateway, "disk") for _ in range(2)]
        for vfolder in (first, second):
            (await place_of(gateway, vfolder) / "job").write_bytes(b"abc")
        scan, (finding,) = await scanned(gateway, vfolder=second)
        assert finding.vfid == str(second.id)
        assert scan.checked_vfolders == 1


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was looked at is not looked at again, and what was found is still in the report."""
    async with on_disk(tmp_path) as gateway:
        vfolders = [await new_vfolder(gateway, "disk") for _ in range(40)]
        (await place_of(gateway, vfolders[0]) / "job").write_bytes(b"abc")
        blocked: Deferred[None] = Deferred()
        looked: list[str] = []
        measure = gateway.scans._measure

        async def measure_some(vfolder: VFolder, *rest: object) -> Usage | TreeUsage:
            looked.append(str(vfolder.id))
            if len(looked) == 20:
                reached.callback(None)
            if len(looked) >= 20:
                await blocked
            return await measure(vfolder, *rest)  # type: ignore[arg-type]

        reached: Deferred[None] = Deferred()
        gateway.scans._measure = measure_some  # type: ignore[method-assign,assignment]
        scan_id = await gateway.scans.start()
        await reached
    async with on_disk(tmp_path) as gateway:
        task = await finished(gateway, scan_id)
        assert task.state is TaskState.DONE
        report = await gateway.scans.report(scan_id)
        assert report is not None
        scan, findings = report
        assert scan.checked_vfolders == 40
        assert [finding.vfid for finding in findings] == [str(vfolders[0].id)]


async def test_files_that_change_meanwhile_are_no_drift(tmp_path: Path) -> None:
    """Uploads go on while a scan counts; their own charge is right."""
    async with on_disk(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, "disk")
        session = await orchestrator_in(gateway, vfolder)
        measure = gateway.scans._measure
        rounds = 0

        async def measure_and_write(*about: object) -> Usage | TreeUsage:
            nonlocal rounds
            counted = await measure(*about)  # type: ignore[arg-type]
            if rounds < 2:
                rounds += 1
                await put(session, path(f"new-{rounds}"), b"x")
            return counted

        gateway.scans._measure = measure_and_write  # type: ignore[method-assign,assignment]
        assert (await scanned(gateway))[1] == []
        assert rounds == 2
