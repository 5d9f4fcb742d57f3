"""Uploads that go on in another process than they are being sent to: two gateways over one database and one volume, as two workers are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
from twisted.internet.defer import Deferred

from tests.services.test_staging import ORIGIN, TARGET, Feed, content, held_bytes, send, stages, tick
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.upkeep.test_backup import vfs_volume
from vfgateway.backends.vfs.stagedfile import VfsStagedFile
from vfgateway.errors import IncompleteBody, OffsetMismatch, UploadBusy, UploadLost, UploadNotFound
from vfgateway.services.gateway import Gateway
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession

T = TypeVar("T")


@attrs.frozen
class Worker:
    """One of them, and the orchestrator's hands in a vfolder there."""

    gateway: Gateway
    folder: FolderSession

    async def upload(self, upload_id: str) -> ResumableUpload:
        """An upload, as this one sees it."""
        return await self.gateway.staging.resume(self.folder, upload_id)


@asynccontextmanager
async def two(tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    """Both. They are not patient with clients, and very much so with each other: whatever is refused was truly refused."""
    async with (
        running_gateway(tmp_path, [vfs_volume(tmp_path)]) as first,
        running_gateway(tmp_path, [vfs_volume(tmp_path)]) as second,
    ):
        vfolder = await new_vfolder(first, "disk")
        for gateway in (first, second):
            patience = gateway.staging.leases.patience
            patience.silence, patience.look, patience.ending, patience.renewal = 0.05, 0.01, 600.0, 600.0
        yield (
            Worker(first, await orchestrator_in(first, vfolder, ORIGIN)),
            Worker(second, await orchestrator_in(second, vfolder, ORIGIN)),
        )


async def sending(
    worker: Worker, body: Feed, came: int, size: int | None = 10
) -> tuple[ResumableUpload, Deferred[int]]:
    """An upload whose first body ``worker`` takes in, of which so many bytes have come."""
    upload = await worker.gateway.staging.begin(worker.folder, TARGET, size=size)
    outcome = Deferred.fromCoroutine(send(worker.gateway, upload, body, 0))
    while upload.lease is None or upload.offset < came:
        await tick()
    return upload, outcome


async def while_more_comes(body: Feed, work: Coroutine[Any, Any, T]) -> T:
    """The outcome of ``work``, during which the client sends."""
    outcome = Deferred.fromCoroutine(work)
    while not outcome.called:
        body.put(b"x")
        await tick()
    return await outcome


async def test_silent_client_elsewhere_makes_room(tmp_path: Path) -> None:
    """Whoever comes back to another process than the one that its dead connection hangs in is told all that arrived there, and goes on."""
    async with two(tmp_path) as (first, second):
        upload, dead = await sending(first, Feed(b"hello", length=10, end=False), 5)
        again = await second.upload(upload.id)
        assert await again.refresh() == 5
        with pytest.raises(UploadLost):
            await dead
        assert await send(second.gateway, again, Feed(b"world"), 5) == 10
        assert await content(second.folder) == b"helloworld"


async def test_vanished_client_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long storage takes there for what it left, who asks here is told the offset that it leads to."""
    async with two(tmp_path) as (first, second):
        append, reached, held = VfsStagedFile.append, Deferred[None](), Deferred[None]()

        async def slowly(stage: VfsStagedFile, chunks: Sequence[bytes]) -> None:
            if not reached.called:
                reached.callback(None)
                await held
            await append(stage, chunks)

        monkeypatch.setattr(VfsStagedFile, "append", slowly)
        upload = await first.gateway.staging.begin(first.folder, TARGET, size=10)
        body = Feed(b"hello", length=10, end=False)
        cut = Deferred.fromCoroutine(send(first.gateway, upload, body, 0))
        await reached
        body.cut()
        again = await second.upload(upload.id)
        asking = Deferred.fromCoroutine(again.refresh())
        lease = first.gateway.staging.leases.held(upload.id)
        assert lease is not None
        while not lease.urged and not asking.called:
            await tick()
        await tick()
        held.callback(None)
        assert await asking == 5
        with pytest.raises(IncompleteBody):
            await cut
        assert await send(second.gateway, again, Feed(b"world"), 5) == 10


async def test_request_that_was_not_looked_at_in_time(tmp_path: Path) -> None:
    """One that lay in its socket while its client left and was told by another process where to go on: to go on there works."""
    async with two(tmp_path) as (first, second):
        upload = await first.gateway.staging.begin(first.folder, TARGET, size=10)
        again = await second.upload(upload.id)
        body = Feed(b"hello", length=10, end=False)
        body.cut()
        assert await again.refresh() == 0
        await first.gateway.processes.beat()  # it has seen by now that it is not alone
        with first.gateway.staging.arrivals.coming(upload.id, body) as came:
            here = await first.upload(upload.id)
        with pytest.raises(UploadLost):
            await send(first.gateway, here, body, 0, came=came)
        assert await send(second.gateway, again, Feed(b"helloworld"), 0) == 10


@pytest.mark.parametrize("asked", ["before", "meanwhile", "never"])
async def test_request_whose_turn_has_not_come(tmp_path: Path, asked: str) -> None:
    """A body that one process has still to look up, and whose client has left, counts, unless another process that could not know of it has told
    meanwhile where to go on: to go on there works."""
    async with two(tmp_path) as (first, second):
        upload = await first.gateway.staging.begin(first.folder, TARGET, size=10)
        again = await second.upload(upload.id)
        if asked == "before":
            assert await again.refresh() == 0
        body = Feed(b"hello", length=10, end=False)
        with first.gateway.staging.arrivals.coming(upload.id, body) as came:
            here = await first.upload(upload.id)
            if asked == "meanwhile":
                assert await again.refresh() == 0
            body.cut()
        with pytest.raises(UploadLost if asked == "meanwhile" else IncompleteBody):
            await send(first.gateway, here, body, 0, came=came)
        offset = 0 if asked == "meanwhile" else await again.refresh()
        assert offset == (0 if asked == "meanwhile" else 5)
        assert await send(second.gateway, again, Feed(b"helloworld"[offset:]), offset) == 10
        assert await content(second.folder) == b"helloworld"


async def test_live_client_elsewhere_keeps_the_upload(tmp_path: Path) -> None:
    """Who really sends is not disturbed: who asks in another process is told the mark, and who sends there that the upload is busy."""
    async with two(tmp_path) as (first, second):
        body = Feed(b"x", end=False)
        upload, sent = await sending(first, body, 1, size=None)
        again = await second.upload(upload.id)
        assert await while_more_comes(body, again.refresh()) == 0
        with pytest.raises(UploadBusy):
            await while_more_comes(body, send(second.gateway, again, Feed(b"y"), 0))
        assert not sent.called
        body.end()
        assert await sent == body.received
        with pytest.raises(OffsetMismatch):
            await send(second.gateway, again, Feed(b"y"), 0)


async def test_idle_hands_elsewhere_lose_the_lease(tmp_path: Path) -> None:
    """Who holds an upload in another process and does nothing, as an SFTP session between two writes, is cut off, and can write no more."""
    async with two(tmp_path) as (first, second):
        idle = await first.gateway.staging.begin(first.folder, TARGET, size=10)
        await idle.acquire()
        await idle.write([b"hello"])
        here = await second.upload(idle.id)
        await here.acquire()
        assert here.offset == 5
        with pytest.raises(UploadLost):
            await idle.write([b"WORLD"])
        await idle.release()
        await here.write([b"world"])
        await here.finish()
        assert await content(second.folder) == b"helloworld"


async def test_cancelling_cuts_off_a_live_client_elsewhere(tmp_path: Path) -> None:
    """It is told that there is no such upload any more, and neither stage nor charge is left."""
    async with two(tmp_path) as (first, second):
        body = Feed(b"x", end=False)
        upload, sent = await sending(first, body, 1, size=None)
        await while_more_comes(body, (await second.upload(upload.id)).cancel())
        with pytest.raises(UploadNotFound):
            await sent
        assert await stages(second.folder) == 0
        assert await held_bytes(second.gateway, second.folder) == 0
