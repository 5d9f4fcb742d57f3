"""What is made of an upload after a crash, a reboot, or with another process in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer_only

from tests.conformance.harness import make_runtime
from tests.services.test_staging import TARGET, Feed, content, held_bytes, send, staged, stages, tick
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from vfgateway.abilities import IResumableStaging
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.memory.folder import MemoryFolder
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.errors import QuotaExceeded, Unsupported, UploadBusy, UploadLost, UploadNotFound
from vfgateway.interfaces import IFolder, IStagedFile
from vfgateway.model import Actor, Usage, VFolderId
from vfgateway.paths import FolderPath, parse_text
from vfgateway.services import holds
from vfgateway.services.checksums import Checksum
from vfgateway.services.gateway import Gateway
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.schema import dirty, processes, uploads
from vfgateway.services.session import FolderSession
from vfgateway.services.subjects import keys_of
from vfgateway.services.uploads import UploadState


async def tamper(gateway: Gateway, upload_id: str, **values: Any) -> None:
    """Make the row say something else."""
    change = update(uploads).where(uploads.c.id == upload_id).values(values)
    await gateway.database.write(lambda connection: connection.execute(change))


async def half(gateway: Gateway, folder: FolderSession) -> ResumableUpload:
    """An upload of ten bytes, of which five are marked."""
    upload = await gateway.staging.begin(folder, TARGET, size=10)
    await send(gateway, upload, Feed(b"hello"), 0)
    return await gateway.staging.resume(folder, upload.id)


async def add_tail(folder: FolderSession, upload: ResumableUpload, tail: bytes) -> None:
    """Bytes that a dead process wrote and did not mark."""
    stage = await IResumableStaging(folder.context.folder).resume(upload.id)
    await stage.append([tail])
    await stage.close()


async def test_tail_is_kept_after_a_crash(tmp_path: Path) -> None:
    """Bytes that were written and not marked when the process died count, as long as the machine has run on."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        await add_tail(folder, upload, b"wor")
        assert await upload.refresh() == 8
        await send(gateway, upload, Feed(b"ld"), 8)
        assert await content(folder) == b"helloworld"


async def test_tail_is_cut_after_a_reboot(tmp_path: Path) -> None:
    """Bytes that were not synced before the power went are not trusted: the offset is what was acknowledged, and garbage goes."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        await add_tail(folder, upload, b"\0\0\0")
        await tamper(gateway, upload.id, boot_id="the boot before")
        assert await upload.refresh() == 5
        await send(gateway, upload, Feed(b"world"), 5)
        assert await content(folder) == b"helloworld"


async def test_unverified_tail_is_cut(tmp_path: Path) -> None:
    """Bytes that a crash kept from being held against their checksum do not count."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        await add_tail(folder, upload, b"bad")
        await tamper(gateway, upload.id, unverified=True)
        assert await upload.refresh() == 5


async def test_lost_bytes_are_never_padded(tmp_path: Path) -> None:
    """A stage shorter than what was acknowledged ends the upload, and nothing of it stays."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        await (await IResumableStaging(folder.context.folder).resume(upload.id, 3)).close()
        with pytest.raises(UploadNotFound):
            await send(gateway, upload, Feed(b"world"), 5)
        with pytest.raises(UploadNotFound):
            await gateway.staging.resume(folder, upload.id)
        assert (await stages(folder), await held_bytes(gateway, folder)) == (0, 0)


async def test_stage_removed_by_hand(tmp_path: Path) -> None:
    """A stage that somebody removed is an upload that is not found, whether asked or sent to."""
    async with staged(tmp_path) as (gateway, folder):
        for ask in (lambda upload: upload.refresh(), lambda upload: send(gateway, upload, Feed(b"world"), 5)):
            upload = await half(gateway, folder)
            await (await IResumableStaging(folder.context.folder).resume(upload.id)).discard()
            with pytest.raises(UploadNotFound):
                await ask(upload)
        assert await held_bytes(gateway, folder) == 0


async def test_crash_after_publishing(tmp_path: Path) -> None:
    """The process died when the file was there and its row did not say so: the upload is known as complete, and charged once."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        await send(gateway, upload, Feed(b"hello"), 0)
        await tamper(gateway, upload.id, state="publishing", mark=0)
        again = await gateway.staging.resume(folder, upload.id)
        assert await again.refresh() == 5
        assert again.published
        assert await held_bytes(gateway, folder) == 5


async def dies_while_publishing(gateway: Gateway, upload: ResumableUpload, process: str = "d" * 32) -> None:
    """Leave what a process leaves that is killed after the rename: the upload's room still held, and the vfolder marked as dirty."""
    vfolder, size = upload.row.vfolder, upload.row.size or 0
    subjects = await gateway.database.read(lambda connection: keys_of(connection, vfolder))

    def write(connection: Connection) -> None:
        holds.add_usage(connection, dict.fromkeys(subjects, Usage(-size, -1)))
        for subject in subjects:
            holds.add_hold(connection, upload.id, process, subject, Usage(size, 1))
        connection.execute(insert(dirty).values(process=process, vfolder=vfolder, recount=False))

    await gateway.database.write(write)
    await tamper(gateway, upload.id, state="publishing", holder=process, holder_until=gateway.reactor.seconds() + 60)


async def test_crash_after_publishing_leaves_no_room_held(tmp_path: Path) -> None:
    """Nobody has to ask for the upload again: when the vfolder has been counted the file is charged once, and what fits, fits."""
    async with staged(tmp_path, limit_bytes=10) as (gateway, folder):
        await folder.make_dir(TARGET.parent)
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        await send(gateway, upload, Feed(b"hello"), 0)
        await dies_while_publishing(gateway, upload)
        assert await held_bytes(gateway, folder) == 5
        await gateway.lifecycle.recover()
        await gateway.lifecycle.recount(folder.vfolder)  # shares the count that has begun
        assert await held_bytes(gateway, folder) == 5
        await (await gateway.quota.reserve(folder.vfolder, Usage(5, 1))).release()
        assert (await gateway.staging.uploads.get(upload.id)).state is UploadState.PUBLISHED


async def test_crash_while_removing_an_upload_leaves_no_room_held(tmp_path: Path) -> None:
    """The stage was gone and the rest was not: the count strikes the upload. One that waits for its client stays."""
    async with staged(tmp_path, limit_bytes=10) as (gateway, folder):
        upload, other = await half(gateway, folder), None
        await (await IResumableStaging(folder.context.folder).resume(upload.id)).discard()
        with pytest.raises(QuotaExceeded):
            other = await half(gateway, folder)
        await gateway.lifecycle.recount(folder.vfolder)
        other = await half(gateway, folder)
        await gateway.lifecycle.recount(folder.vfolder)
        assert [info.id for info in await gateway.staging.list(folder.vfolder)] == [other.id]
        assert await held_bytes(gateway, folder) == 10


async def test_crash_before_publishing(tmp_path: Path) -> None:
    """The process died when it had said that it would publish and had not: the next one who asks does it."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        await add_tail(folder, upload, b"world")
        await tamper(gateway, upload.id, state="publishing")
        assert await upload.refresh() == 10
        assert await content(folder) == b"helloworld"


async def test_publishing_of_what_was_lost(tmp_path: Path) -> None:
    """Neither stage nor file: the upload is not found, rather than called complete."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        await (await IResumableStaging(folder.context.folder).resume(upload.id)).discard()
        await tamper(gateway, upload.id, state="publishing")
        with pytest.raises(UploadNotFound):
            await upload.refresh()


async def test_what_a_dead_process_had_put_aside_goes_with_the_count(tmp_path: Path) -> None:
    """Once a vfolder has been counted nothing says any more that somebody died there. So what was left is removed by then, whoever counts, and
    does not stay for a day where the counting process is killed next."""
    volume = VfsVolume("disk", VfsSettings(path=tmp_path / "disk"), make_runtime(tmp_path))
    async with running_gateway(tmp_path, [volume]) as gateway:
        vfolder = await new_vfolder(gateway, "disk")
        folder = await orchestrator_in(gateway, vfolder)
        upload = await half(gateway, folder)
        area = Path(await volume.mount_path(vfolder.id)) / ".upload"
        (area / ("d" * 32)).write_bytes(b"of nobody")
        await gateway.lifecycle.recount(vfolder)
        assert [stage.name for stage in area.iterdir()] == [upload.id]
        await upload.cancel()


async def test_an_upload_can_be_found_from_the_moment_it_has_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the process dies between stage and row, the vfolder is marked as one to look through."""
    async with staged(tmp_path) as (gateway, folder):
        marked: list[int] = []
        stage = MemoryFolder.stage

        async def look(self: MemoryFolder, target: FolderPath, expected_size: int | None) -> IStagedFile:
            query = select(dirty.c.vfolder).where(dirty.c.process == gateway.processes.id)
            marked.extend(await gateway.database.read(lambda connection: connection.execute(query).scalars().all()))
            return await stage(self, target, expected_size)

        monkeypatch.setattr(MemoryFolder, "stage", look)
        await half(gateway, folder)
        assert marked == [folder.vfolder.key]


# --- other processes ---


async def other_process(gateway: Gateway, process: str = "f" * 32) -> str:
    """Enter another process that is alive."""
    boot_id = gateway.processes.boot_id
    row = {"id": process, "host": "elsewhere", "pid": 1, "boot_id": boot_id, "birth": 0, "started": 0.0, "heartbeat": 0}
    await gateway.database.write(lambda connection: connection.execute(insert(processes).values(row)))
    return process


async def test_holder_in_another_process_is_asked(tmp_path: Path) -> None:
    """A holder elsewhere is asked to let go, and waited for; the offset is then what it has left."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        holder = await other_process(gateway)
        later = gateway.reactor.seconds() + 60
        await tamper(gateway, upload.id, holder=holder, holder_serial=7, holder_until=later)
        asking = Deferred.fromCoroutine(upload.refresh())
        while (await gateway.staging.uploads.get(upload.id)).asked != 7:
            await tick()
        assert not asking.called
        await add_tail(folder, upload, b"wor")
        await tamper(gateway, upload.id, holder=None, holder_until=None)
        assert await asking == 8


async def test_holder_elsewhere_that_does_not_let_go(tmp_path: Path) -> None:
    """Whoever sends elsewhere, and really does, keeps the upload: a second sender is told so, and who asks is told the mark."""
    async with staged(tmp_path) as (gateway, folder):
        gateway.staging.leases.patience.ending = 0.2
        upload = await half(gateway, folder)
        later = gateway.reactor.seconds() + 60
        await tamper(gateway, upload.id, holder=await other_process(gateway), holder_until=later)
        assert await upload.refresh() == 5
        with pytest.raises(UploadBusy):
            await send(gateway, upload, Feed(b"world"), 5)


async def test_dead_or_silent_holder_elsewhere(tmp_path: Path) -> None:
    """A holder that is not among the living, or has not renewed its lease, is no holder."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        process = await other_process(gateway)
        await tamper(gateway, upload.id, holder=process, holder_until=gateway.reactor.seconds() - 1)
        assert await send(gateway, upload, Feed(b"wor"), 5) == 8
        await tamper(gateway, upload.id, holder=process, holder_until=gateway.reactor.seconds() + 60)
        strike = delete(processes).where(processes.c.id == process)
        await gateway.database.write(lambda connection: connection.execute(strike))
        assert await send(gateway, upload, Feed(b"ld"), 8) == 10


async def test_fenced_holder_writes_no_more(tmp_path: Path) -> None:
    """A holder whose row was given to another process notices at the latest when it marks, and changes nothing."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        await upload.acquire()
        await upload.write([b"wor"])
        await tamper(gateway, upload.id, holder=await other_process(gateway), holder_serial=99)
        with pytest.raises(UploadLost):
            await upload.mark()
        assert (await gateway.staging.uploads.get(upload.id)).mark == 5


async def test_asked_by_another_process(tmp_path: Path) -> None:
    """A holder here whose client is silent lets go when another process asks, with all that had arrived."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        dead = Deferred.fromCoroutine(send(gateway, upload, Feed(b"wor", length=5, end=False), 5))
        while upload.lease is None or upload.offset < 8:
            await tick()
        upload.lease.stirred -= 60
        upload.lease.heard_before = upload.lease.heard()
        await gateway.staging.uploads.ask(upload.id, upload.lease.serial)
        await gateway.staging.leases.renew()
        with pytest.raises(UploadLost):
            await dead
        row = await gateway.staging.uploads.get(upload.id)
        assert (row.mark, row.holder) == (8, None)


async def test_stopping_keeps_what_came(tmp_path: Path) -> None:
    """When the gateway stops, those who send are ended with what had arrived."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        sending = Deferred.fromCoroutine(send(gateway, upload, Feed(b"wor", length=5, end=False), 5))
        while upload.lease is None or upload.offset < 8:
            await tick()
        await gateway.staging.stop()
        with pytest.raises(UploadLost):
            await sending
        assert (await gateway.staging.uploads.get(upload.id)).mark == 8


# --- what must not be taken for granted ---


async def test_checksum_does_not_count_early(tmp_path: Path) -> None:
    """While a body with a checksum comes in, nobody is told an offset beyond its beginning."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        body = Feed(b"wor", length=5, end=False)
        sending = Deferred.fromCoroutine(send(gateway, upload, body, 5, checksum=Checksum("crc32", b"1234")))
        while upload.lease is None or upload.offset < 8:
            await tick()
        assert await (await gateway.staging.resume(folder, upload.id)).refresh() == 5
        with pytest.raises(UploadLost):
            await sending


async def test_removed_target_of_a_published_upload(tmp_path: Path) -> None:
    """A file that was removed after it was published does not make its upload unfinished."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, parse_text("gone"), size=0)
        await folder.remove(parse_text("gone"))
        assert await upload.refresh() == 0
        assert await upload.finish() is None


# --- volumes whose stages end with their process ---


@implementer_only(IFolder)
class PlainFolder(MemoryFolder):
    """Without ``IResumableStaging``."""


class PlainVolume(MemoryVolume):
    """Gives out plain folders."""

    async def folder(self, vfid: VFolderId, actor: Actor) -> IFolder:
        self.tree(vfid)
        return PlainFolder(self, vfid, actor)


@asynccontextmanager
async def plain(tmp_path: Path) -> AsyncIterator[tuple[Gateway, FolderSession]]:
    """A gateway over such a volume."""
    async with running_gateway(tmp_path, [PlainVolume("mem", reactor)]) as gateway:
        yield gateway, await orchestrator_in(gateway, await new_vfolder(gateway))


async def test_upload_lives_with_its_process(tmp_path: Path) -> None:
    """Where stages cannot be opened again an upload still goes on over several requests."""
    async with plain(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        assert await upload.refresh() == 5
        assert await send(gateway, upload, Feed(b"world"), 5) == 10
        assert await content(folder) == b"helloworld"


async def test_upload_ends_with_its_process(tmp_path: Path) -> None:
    """When that process is gone the upload is not found, and the next sweep gives its room back."""
    async with plain(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        gateway.staging.stages.published(upload.id)  # as if this were another process
        await tamper(gateway, upload.id, process="e" * 32)
        with pytest.raises(UploadNotFound):
            await send(gateway, upload, Feed(b"world"), 5)
        other = await half(gateway, folder)
        await tamper(gateway, other.id, process="e" * 32)
        assert await gateway.staging.expire() == 1
        assert await held_bytes(gateway, folder) == 0


async def test_what_needs_cutting_is_refused(tmp_path: Path) -> None:
    """Checksums and joining need stages that can be cut and read again: an honest refusal before a byte is read."""
    async with plain(tmp_path) as (gateway, folder):
        upload = await half(gateway, folder)
        with pytest.raises(Unsupported):
            await send(gateway, upload, Feed(b"world"), 5, checksum=Checksum("crc32", b"1234"))
        part = await gateway.staging.begin(folder, TARGET, size=1, partial=True)
        await send(gateway, part, Feed(b"x"), 0)
        with pytest.raises(Unsupported):
            await gateway.staging.join(folder, TARGET, [part.id])
        assert await upload.refresh() == 5
