"""Limits where the storage has them too: set there, read back, held against ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet import reactor
from zope.interface import implementer

from tests.services.test_lifecycle import finished
from tests.services.test_scanning import scanned
from tests.services.test_session import put
from tests.support.gateway import ALICE, new_vfolder, orchestrator_in, running_gateway
from vfgateway.abilities import INativeFolderQuota, INativeQuota
from vfgateway.backends.memory import MemoryVolume
from vfgateway.errors import QuotaExceeded, QuotaScopeNotFound, StorageFailure, Unsupported
from vfgateway.model import Limits, QuotaScopeId, ScopeKind, Usage, VFolderId
from vfgateway.paths import parse_text as path
from vfgateway.services.nativelimits import NativeDifference
from vfgateway.services.scanrecords import FindingKind
from vfgateway.services.taskrecords import TaskState

SCOPE = QuotaScopeId(ScopeKind.USER, ALICE)


@implementer(INativeQuota)
class Array(MemoryVolume):
    """Storage with quotas of its own.

    :ivar there: its limits
    :ivar stored: what it counts
    :ivar broken: whether it refuses
    """

    def __init__(self) -> None:
        super().__init__("array", reactor)
        self.there: dict[QuotaScopeId, Limits] = {}
        self.stored = Usage()
        self.broken = False

    async def set_limits(self, scope: QuotaScopeId, limits: Limits) -> None:
        if self.broken:
            raise StorageFailure("the array is busy")
        if not await self.has_scope(scope):
            raise QuotaScopeNotFound(scope)
        self.there[scope] = limits

    async def native_usage(self, scope: QuotaScopeId) -> tuple[Usage, Limits]:
        if self.broken:
            raise StorageFailure("the array is busy")
        return self.stored, self.there.get(scope, Limits())


async def test_limits_are_set_on_both_sides(tmp_path: Path) -> None:
    """And lifted; ours hold before the storage's are asked."""
    array = Array()
    async with running_gateway(tmp_path, [array]) as gateway:
        await gateway.lifecycle.create_scope("array", SCOPE, Limits(bytes=10, files=5))
        assert array.there == {SCOPE: Limits(bytes=10, files=5)}
        session = await orchestrator_in(gateway, await new_vfolder(gateway, "array"))
        with pytest.raises(QuotaExceeded):
            await put(session, path("file"), b"12345678901")
        await gateway.lifecycle.create_scope("array", SCOPE, Limits(), exist_ok=True)
        assert array.there == {SCOPE: Limits()}
        await put(session, path("file"), b"12345678901")


async def test_what_the_storage_refuses_changes_nothing(tmp_path: Path) -> None:
    """Whoever sets the limit is told."""
    array = Array()
    async with running_gateway(tmp_path, [array]) as gateway:
        await gateway.lifecycle.create_scope("array", SCOPE, Limits(bytes=10))
        array.broken = True
        with pytest.raises(StorageFailure):
            await gateway.lifecycle.create_scope("array", SCOPE, Limits(bytes=20), exist_ok=True)
        assert await gateway.vfolders.scope_limits("array", SCOPE) == Limits(bytes=10)


async def test_a_scan_reconciles(tmp_path: Path) -> None:
    """Somebody changed the limit on the array; a job wrote through its mount."""
    array = Array()
    async with running_gateway(tmp_path, [array]) as gateway:
        await gateway.lifecycle.create_scope("array", SCOPE, Limits(bytes=100))
        await put(await orchestrator_in(gateway, await new_vfolder(gateway, "array")), path("file"), b"12345")
        array.stored = Usage(5, 1)
        assert (await scanned(gateway))[1] == []
        array.there[SCOPE], array.stored = Limits(bytes=7, files=3), Usage(6, 2)
        limits, usage = (await scanned(gateway))[1]
        assert {limits.kind, usage.kind} == {FindingKind.NATIVE}
        assert limits.detail == f"the storage limits {SCOPE} to 7 bytes and 3 files, we to 100 bytes"
        assert usage.detail == f"the storage counts 6 bytes in 2 entries in {SCOPE}, we 5 bytes in 1 entries"
        assert array.there[SCOPE] == Limits(bytes=7, files=3)
        limits, usage = (await scanned(gateway, fix=True))[1]
        assert (limits.fixed, usage.fixed) == (True, False)
        assert array.there[SCOPE] == Limits(bytes=100)


async def test_it_is_looked_at_by_itself(tmp_path: Path) -> None:
    """Ours is set again, and what differs is told; where there are no such volumes, nothing is begun."""
    array = Array()
    async with running_gateway(tmp_path, [array]) as gateway:
        await gateway.lifecycle.create_scope("array", SCOPE, Limits(bytes=100))
        array.there[SCOPE], array.stored = Limits(bytes=7), Usage(6, 2)
        told: list[NativeDifference] = []
        gateway.events.subscribe(NativeDifference, told.append)
        gateway.tasks.schedule._periodic["reconcile_limits"].next = 0.0
        await gateway.tasks.schedule.look()
        (task,) = await gateway.tasks.list(name="reconcile_limits")
        await gateway.tasks._run_due()
        task = await finished(gateway, task.id)
        assert (task.state, task.message) == (TaskState.DONE, "2 differences, 1 of them put right")
        assert array.there[SCOPE] == Limits(bytes=100)
        assert [(one.volume, one.mended) for one in told] == [("array", True), ("array", False)]
    async with running_gateway(tmp_path / "other") as gateway:
        gateway.tasks.schedule._periodic["reconcile_limits"].next = 0.0
        await gateway.tasks.schedule.look()
        assert await gateway.tasks.list(name="reconcile_limits") == []


async def test_an_array_that_does_not_answer(tmp_path: Path) -> None:
    """It is told, and the scan goes on."""
    array = Array()
    async with running_gateway(tmp_path, [array]) as gateway:
        await gateway.lifecycle.create_scope("array", SCOPE, Limits(bytes=100))
        array.broken = True
        (finding,) = (await scanned(gateway))[1]
        assert finding.detail.startswith(f"the storage does not tell the limits of {SCOPE}")


@implementer(INativeFolderQuota)
class Projects(MemoryVolume):
    """Storage that limits vfolders, in blocks of 4096 bytes.

    :ivar there: its limits
    :ivar refusal: what it answers
    """

    limit_step = 4096
    limits_files = True

    def __init__(self) -> None:
        super().__init__("projects", reactor)
        self.there: dict[VFolderId, Limits] = {}
        self.refusal: Exception | None = None

    async def set_folder_limits(self, vfid: VFolderId, limits: Limits) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.tree(vfid)
        rounded = limits.bytes and -(-limits.bytes // 4096) * 4096
        self.there[vfid] = Limits(rounded, limits.files)

    async def native_folder_usage(self, vfid: VFolderId) -> tuple[Usage, Limits]:
        if self.refusal is not None:
            raise self.refusal
        return Usage(), self.there.get(vfid, Limits())


async def test_limits_of_vfolders_are_set_on_both_sides(tmp_path: Path) -> None:
    """When the vfolder is made, and by reconciliation where somebody changed them there; rounding is no difference."""
    projects = Projects()
    async with running_gateway(tmp_path, [projects]) as gateway:
        vfid = (await new_vfolder(gateway, "projects", limits=Limits(bytes=5000, files=7))).id
        assert projects.there == {vfid: Limits(8192, 7)}
        assert (await scanned(gateway))[1] == []
        projects.there[vfid] = Limits(4096)
        (finding,) = (await scanned(gateway))[1]
        assert finding.detail == f"the storage limits vfolder {vfid} to 4096 bytes, we to 8192 bytes and 7 files"
        (finding,) = (await scanned(gateway, fix=True))[1]
        assert finding.fixed
        assert projects.there == {vfid: Limits(8192, 7)}


async def test_a_vfolder_whose_limit_the_storage_refuses_is_not_made(tmp_path: Path) -> None:
    """Neither there nor here; where the storage can have none for it, ours is enough."""
    projects = Projects()
    async with running_gateway(tmp_path, [projects]) as gateway:
        projects.refusal = StorageFailure("the helper is away")
        with pytest.raises(StorageFailure):
            await new_vfolder(gateway, "projects", limits=Limits(bytes=5000))
        assert await projects.folders() == []
        assert await gateway.vfolders.list() == []
        vfid = (await new_vfolder(gateway, "projects")).id
        (finding,) = (await scanned(gateway))[1]
        assert finding.detail == f"the storage does not tell the limits of vfolder {vfid}: the helper is away"
        projects.refusal = Unsupported("limits there")
        limited = (await new_vfolder(gateway, "projects", limits=Limits(bytes=5000))).id
        assert (await gateway.vfolders.get(limited, "projects")).limits == Limits(5000)
        assert (await scanned(gateway))[1] == []
