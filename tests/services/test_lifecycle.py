"""How vfolders come and go."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from twisted.internet import reactor

from tests.services.test_session import get, names, put
from tests.support.gateway import ALICE, new_vfolder, orchestrator_in, running_gateway
from vfgateway.backends.memory import MemoryVolume
from vfgateway.errors import Conflict, QuotaExceeded, VFolderExists, VFolderNotFound
from vfgateway.model import FolderOptions, Limits, QuotaScopeId, ScopeKind, Usage, VFolderId, VFolderStatus
from vfgateway.paths import parse_text as path
from vfgateway.services.gateway import Gateway
from vfgateway.services.taskrecords import FINISHED, Task, TaskState

SCOPE = QuotaScopeId(ScopeKind.USER, ALICE)


async def finished(gateway: Gateway, task_id: str) -> Task:
    """The task, when it has ended."""
    async for task in gateway.tasks.watch(task_id):
        if task.state in FINISHED:
            return task
    raise AssertionError("the watch ended before the task")


async def test_a_purged_vfolder_is_gone_and_its_identifier_free(tmp_path: Path) -> None:
    """Files, figures and rights go; the same identifier makes an empty vfolder again."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"hello")
        task = await finished(gateway, await gateway.lifecycle.delete("mem", vfolder.id))
        assert task.state is TaskState.DONE
        assert await gateway.quota.scope_usage("mem", SCOPE) == Usage()
        with pytest.raises(VFolderNotFound):
            await gateway.find_vfolder(vfolder.id, "mem")
        again = await gateway.lifecycle.create("mem", vfolder.id)
        assert await names(await orchestrator_in(gateway, again)) == []


async def test_deleting_what_is_not_there_succeeds(tmp_path: Path) -> None:
    """An orchestrator that repeats itself is not punished."""
    async with running_gateway(tmp_path) as gateway:
        task_id = await gateway.lifecycle.delete("mem", VFolderId(SCOPE, uuid4()))
        assert (await finished(gateway, task_id)).state is TaskState.DONE


async def test_a_vfolder_is_made_once(tmp_path: Path) -> None:
    """The second attempt is told, and changes nothing."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"x")
        with pytest.raises(VFolderExists):
            await gateway.lifecycle.create("mem", vfolder.id)
        assert await names(await orchestrator_in(gateway, vfolder)) == ["a"]


async def test_a_vfolder_being_deleted_cannot_be_made(tmp_path: Path) -> None:
    """Until the purge is over its identifier is taken; nobody sees it meanwhile."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await gateway.vfolders.update(vfolder.key, status=VFolderStatus.DELETING)
        with pytest.raises(Conflict):
            await gateway.lifecycle.create("mem", vfolder.id)
        with pytest.raises(VFolderNotFound):
            await orchestrator_in(gateway, vfolder)


async def test_a_clone_is_the_same_and_its_own(tmp_path: Path) -> None:
    """Within a volume and across volumes: the content is equal, charged, and no longer tied to the source."""
    volumes = [MemoryVolume("mem", reactor), MemoryVolume("other", reactor)]
    async with running_gateway(tmp_path, volumes) as gateway:
        source = await new_vfolder(gateway)
        here = await orchestrator_in(gateway, source)
        await put(here, path("d/a"), b"hello")
        for volume in ("mem", "other"):
            target = VFolderId(QuotaScopeId(ScopeKind.USER, uuid4()), uuid4())
            task = await finished(gateway, await gateway.cloning.begin(source, volume, target))
            assert task.state is TaskState.DONE, task.message
            there = await orchestrator_in(gateway, await gateway.find_vfolder(target, volume))
            assert await get(there, path("d/a")) == b"hello"
            assert await there.usage() == await here.usage()
            await put(there, path("d/a"), b"changed")
            assert await get(here, path("d/a")) == b"hello"


async def test_a_clone_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    """The scope's limit stops it, the target is gone, and the task says why."""
    volumes = [MemoryVolume("mem", reactor), MemoryVolume("other", reactor)]
    async with running_gateway(tmp_path, volumes) as gateway:
        source = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, source), path("a"), b"hello")
        for volume in ("mem", "other"):
            scope = QuotaScopeId(ScopeKind.USER, uuid4())
            await gateway.lifecycle.create_scope(volume, scope, Limits(bytes=4))
            target = VFolderId(scope, uuid4())
            task = await finished(gateway, await gateway.cloning.begin(source, volume, target))
            assert task.state is TaskState.FAILED
            assert "quota" in task.message
            assert await gateway.quota.scope_usage(volume, scope) == Usage()
            with pytest.raises(VFolderNotFound):
                await gateway.find_vfolder(target, volume)


async def test_what_lies_on_the_volume_is_adopted(tmp_path: Path) -> None:
    """A vfolder with the right layout that the registry never saw is served, with true figures."""
    volume = MemoryVolume("mem", reactor)
    async with running_gateway(tmp_path / "one", [volume]) as gateway:
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"hello")
    async with running_gateway(tmp_path / "two", [volume]) as gateway:
        found = await gateway.find_vfolder(vfolder.id, "mem")
        folder = await orchestrator_in(gateway, found)
        assert await get(folder, path("a")) == b"hello"
        assert await folder.usage() == Usage(5, 1)


async def test_a_recount_finds_what_others_wrote(tmp_path: Path) -> None:
    """Jobs write behind our back; counting anew corrects the vfolder and the sums."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        await folder.context.folder.make_dir(path("theirs"))
        assert await folder.usage() == Usage()
        assert await gateway.lifecycle.recount(vfolder) == Usage(0, 1)
        assert await gateway.quota.scope_usage("mem", SCOPE) == Usage(0, 1)


async def test_a_recount_counts_an_upload_once(tmp_path: Path) -> None:
    """What is staged is held by its upload; a volume that counts by itself does not add it a second time."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        folder = await orchestrator_in(gateway, vfolder)
        await put(folder, path("a"), b"hello")
        upload = await gateway.staging.begin(folder, path("b"), size=10, info={})
        before = await folder.usage()
        await gateway.lifecycle.recount(vfolder)
        assert await folder.usage() == before
        await upload.cancel()
        assert await folder.usage() == Usage(5, 1)


async def test_a_new_owner_is_charged(tmp_path: Path) -> None:
    """After a change of owner the new owner's limit applies."""
    async with running_gateway(tmp_path) as gateway:
        bob = await gateway.accounts.create_user("bob", limits=Limits(bytes=6))
        vfolder = await new_vfolder(gateway)
        await put(await orchestrator_in(gateway, vfolder), path("a"), b"hello")
        changed = await gateway.vfolders.update(vfolder.key, owner=bob.id)
        folder = await orchestrator_in(gateway, changed)
        await put(folder, path("b"), b"1")
        with pytest.raises(QuotaExceeded, match="bob"):
            await folder.upload(path("c"), size=1)


async def test_the_mode_is_honoured(tmp_path: Path) -> None:
    """The manager's ``mode`` is that of the root, whatever the umask."""
    from vfgateway.backends.vfs import VfsVolumeFactory

    async with running_gateway(tmp_path, []) as gateway:
        volume = VfsVolumeFactory().configure("disk", {"path": str(tmp_path / "disk")}, gateway.runtime_for("disk"))
        gateway.volumes.add(volume)
        await gateway.volumes.start()
        vfid = VFolderId(SCOPE, uuid4())
        vfolder = await gateway.lifecycle.create("disk", vfid, FolderOptions(mode=0o775))
        root = Path(await gateway.lifecycle.mount_path(vfolder))
        assert root.stat().st_mode & 0o777 == 0o775
