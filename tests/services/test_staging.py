"""Resumable uploads as the services see them: offsets, holders, publishing, room, and what crashes leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from vfgateway.abilities import IResumableStaging
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.memory.files import MemoryStagedFile
from vfgateway.errors import (
    ChecksumMismatch,
    IncompleteBody,
    InvalidArgument,
    IsADirectory,
    NoSpace,
    NotFound,
    OffsetMismatch,
    QuotaExceeded,
    TooLarge,
    UploadBusy,
    UploadLost,
    UploadNotFound,
)
from vfgateway.interfaces import type_fill
from vfgateway.model import ABSENT
from vfgateway.paths import FolderPath, parse_text
from vfgateway.principals import Origin
from vfgateway.services.checksums import Checksum
from vfgateway.services.gateway import Gateway
from vfgateway.services.receiving import Terms
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession
from vfgateway.services.uploads import UploadState

TARGET = parse_text("a/file.bin")
ORIGIN = Origin("client")


class Feed:
    """A request's body that a test feeds by hand."""

    def __init__(self, *chunks: bytes, length: int | None = None, end: bool = True) -> None:
        self._chunks = list(chunks)
        self.complete = end
        self._error: Exception | None = None
        self._waiter: Deferred[None] | None = None
        self.length = length
        self.received = sum(map(len, chunks))

    async def read(self, limit: int = 1 << 20, least: int = 1) -> Sequence[bytes]:
        while len(self._chunks) < (1 if least else 0) and not self.complete and self._error is None:
            self._waiter = Deferred()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._chunks:
            return [self._chunks.pop(0)]
        if self._error is not None:
            raise self._error
        return ()

    async def move(self, write: Callable[[type_fill, int], Awaitable[None]]) -> bool:
        """As of a body that has to be read."""
        return False

    @property
    def arrived(self) -> int:
        """As of a real body."""
        return self.received

    @property
    def over(self) -> bool:
        """As of a real body."""
        return self.complete or self._error is not None

    def put(self, chunk: bytes) -> None:
        """More has arrived."""
        self._chunks.append(chunk)
        self.received += len(chunk)
        self._wake()

    def end(self) -> None:
        """That was all."""
        self.complete = True
        self._wake()

    def cut(self) -> None:
        """The client is gone."""
        self._error = IncompleteBody(self.length, self.received)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.callback(None)


@asynccontextmanager
async def staged(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Gateway, FolderSession]]:
    """A gateway that is not patient, and the orchestrator's hands in a vfolder of it."""
    async with running_gateway(tmp_path) as gateway:
        gateway.staging.leases.patience.silence = 0.05
        vfolder = await new_vfolder(gateway, **options)
        yield gateway, await orchestrator_in(gateway, vfolder, ORIGIN)


async def content(folder: FolderSession, path: FolderPath = TARGET) -> bytes:
    """All bytes of a file."""
    download = await folder.download(path)
    try:
        return await download.file.read(0, 1 << 30)
    finally:
        await download.close()


async def send(gateway: Gateway, upload: ResumableUpload, body: Feed, offset: int, **terms: Any) -> int:
    """Take a body in."""
    return await gateway.staging.receive(upload, body, Terms(offset, **terms))


async def stages(folder: FolderSession) -> int:
    """How many stages lie in the volume."""
    return len(await IResumableStaging(folder.context.folder).stages())


async def held_bytes(gateway: Gateway, folder: FolderSession) -> int:
    """What the vfolder is charged with."""
    return (await gateway.quota.usage(folder.vfolder)).bytes


# --- the ordinary way ---


async def test_upload_lands_under_its_name(tmp_path: Path) -> None:
    """A file sent in two requests stands at its target, whole, with its directory made and nothing left in staging."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        assert await send(gateway, upload, Feed(b"hello"), 0) == 5
        again = await gateway.staging.resume(folder, upload.id)
        assert again.offset == 5
        assert await send(gateway, again, Feed(b"world"), 5) == 10
        assert again.published
        assert await content(folder) == b"helloworld"
        assert await stages(folder) == 0


async def test_nothing_to_see_before_the_end(tmp_path: Path) -> None:
    """Until the last byte has come, readers find what was there before."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        await send(gateway, upload, Feed(b"hello"), 0)
        with pytest.raises(NotFound):
            await folder.stat(TARGET)


async def test_empty_file_is_there_at_once(tmp_path: Path) -> None:
    """An upload of no bytes is published when it begins, and known as complete afterwards."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=0)
        assert upload.published
        assert await content(folder) == b""
        assert await (await gateway.staging.resume(folder, upload.id)).refresh() == 0


async def test_published_upload_is_remembered(tmp_path: Path) -> None:
    """A client that missed the last answer learns that its upload is complete, and may repeat the end."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        await send(gateway, upload, Feed(b"hello"), 0)
        again = await gateway.staging.resume(folder, upload.id)
        assert await again.refresh() == again.size == 5
        assert await send(gateway, again, Feed(length=0), 5) == 5
        stat = await again.finish()
        assert stat is not None
        assert stat.size == 5


async def test_published_upload_takes_no_more(tmp_path: Path) -> None:
    """Bytes after the end are refused, and so is the beginning over again."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        await send(gateway, upload, Feed(b"hello"), 0)
        with pytest.raises(TooLarge):
            await send(gateway, upload, Feed(b"x", length=1), 5)
        with pytest.raises(OffsetMismatch):
            await send(gateway, upload, Feed(b"hello", length=5), 0)
        assert await content(folder) == b"hello"


async def test_size_may_come_late(tmp_path: Path) -> None:
    """An upload that did not say its size says it with its last bytes."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=None)
        assert await send(gateway, upload, Feed(b"hello"), 0) == 5
        upload = await gateway.staging.resume(folder, upload.id)
        assert not upload.published
        assert await send(gateway, upload, Feed(b"!"), 5, size=6) == 6
        assert await content(folder) == b"hello!"


async def test_size_is_said_once(tmp_path: Path) -> None:
    """A second, different size is refused."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=9)
        with pytest.raises(InvalidArgument):
            await send(gateway, upload, Feed(b"x"), 0, size=8)


async def test_last_body_ends_the_upload(tmp_path: Path) -> None:
    """A body that is said to be the last one declares the size by its own end."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=None)
        assert await send(gateway, upload, Feed(b"abc", b"def"), 0, last=True) == 6
        assert await content(folder) == b"abcdef"


# --- offsets ---


@pytest.mark.parametrize("offset", [0, 4, 6, 100])
async def test_another_offset_is_refused(tmp_path: Path, offset: int) -> None:
    """Only the offset that was reached can be continued; nothing is written otherwise."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        await send(gateway, upload, Feed(b"hello"), 0)
        with pytest.raises(OffsetMismatch) as refused:
            await send(gateway, upload, Feed(b"wrong"), offset)
        assert (refused.value.expected, refused.value.got) == (5, offset)
        assert await upload.refresh() == 5


@pytest.mark.parametrize("cut_at", [0, 1, 4, 5, 9])
async def test_cut_body_is_kept(tmp_path: Path, cut_at: int) -> None:
    """What arrived before the client vanished counts, to the byte."""
    async with staged(tmp_path) as (gateway, folder):
        whole = b"0123456789"
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        body = Feed(*([whole[:cut_at]] if cut_at else []), length=10, end=False)
        sending = Deferred.fromCoroutine(send(gateway, upload, body, 0))
        body.cut()
        with pytest.raises(IncompleteBody):
            await sending
        again = await gateway.staging.resume(folder, upload.id)
        assert await again.refresh() == cut_at
        assert await send(gateway, again, Feed(whole[cut_at:]), cut_at) == 10
        assert await content(folder) == whole


async def test_cancelled_request_keeps_what_came(tmp_path: Path) -> None:
    """A handler that is cancelled, as Twisted does when a client vanishes, first writes and marks what had arrived."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        body = Feed(b"abc", length=10, end=False)
        sending = Deferred.fromCoroutine(send(gateway, upload, body, 0))
        while upload.lease is None or upload.offset < 3:
            await tick()
        body.put(b"de")
        sending.cancel()
        with pytest.raises(CancelledError):
            await sending
        assert (await gateway.staging.resume(folder, upload.id)).offset == 5


async def tick() -> None:
    """Let the reactor do what is due."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)
    await turn


async def test_longer_than_declared_is_refused(tmp_path: Path) -> None:
    """A body that turns out longer than declared leaves the upload where it was before; nothing beyond is stored."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        with pytest.raises(TooLarge):
            await send(gateway, upload, Feed(b"abc", b"defg"), 0)
        assert await upload.refresh() == 0


async def test_too_long_by_its_length_is_refused_unread(tmp_path: Path) -> None:
    """A length that cannot fit is refused before a byte is read."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        body = Feed(b"abcdef", length=6)
        with pytest.raises(TooLarge):
            await send(gateway, upload, body, 0)
        assert await body.read() == [b"abcdef"]


# --- checksums ---


async def test_wrong_checksum_discards_its_body(tmp_path: Path) -> None:
    """Bytes that do not have their checksum are not there afterwards; those before them are."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        await send(gateway, upload, Feed(b"hello"), 0)
        with pytest.raises(ChecksumMismatch):
            await send(gateway, upload, Feed(b"world"), 5, checksum=Checksum("sha1", b"\0" * 20))
        assert await upload.refresh() == 5


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("sha1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"),
        ("md5", "5d41402abc4b2a76b9719d911017c592"),
        ("crc32", "3610a686"),
        ("sha256", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
    ],
)
async def test_right_checksum_is_accepted(tmp_path: Path, algorithm: str, digest: str) -> None:
    """Each algorithm recognises ``hello``."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        checksum = Checksum(algorithm, bytes.fromhex(digest))
        assert await send(gateway, upload, Feed(b"hel", b"lo"), 0, checksum=checksum) == 5
        assert await content(folder) == b"hello"


async def test_cut_body_with_checksum_is_not_kept(tmp_path: Path) -> None:
    """Half of what was sealed cannot be verified, so it does not count."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        body = Feed(b"hel", length=5, end=False)
        sending = Deferred.fromCoroutine(send(gateway, upload, body, 0, checksum=Checksum("md5", b"x" * 16)))
        body.cut()
        with pytest.raises(IncompleteBody):
            await sending
        assert await upload.refresh() == 0


# --- holders ---


async def test_silent_holder_makes_room(tmp_path: Path) -> None:
    """A client that comes back while its dead connection still hangs is let in, and finds all that had arrived."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        dead = Deferred.fromCoroutine(send(gateway, upload, Feed(b"hello", length=10, end=False), 0))
        while upload.lease is None or upload.offset < 5:
            await tick()
        again = await gateway.staging.resume(folder, upload.id)
        assert await again.refresh() == 5
        with pytest.raises(UploadLost):
            await dead
        assert await send(gateway, again, Feed(b"world"), 5) == 10
        assert await content(folder) == b"helloworld"


@pytest.mark.parametrize("slow", ["open", "append"])
async def test_who_asks_waits_for_what_a_vanished_client_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """However long storage takes for what has arrived: who asks meanwhile is told the offset that it leads to, and can go on there."""
    async with staged(tmp_path) as (gateway, folder):
        gateway.staging.leases.patience.silence = 0.0
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        held, reached = Deferred[None](), Deferred[None]()
        owner, name = (gateway.staging.stages, "open") if slow == "open" else (MemoryStagedFile, "append")
        original = getattr(owner, name)

        async def slowly(*arguments: Any) -> Any:
            if not reached.called:
                reached.callback(None)
                await held
            return await original(*arguments)

        monkeypatch.setattr(owner, name, slowly)
        body = Feed(b"hello", length=10, end=False)
        sending = Deferred.fromCoroutine(send(gateway, upload, body, 0))
        await reached
        body.cut()
        again = await gateway.staging.resume(folder, upload.id)
        asking = Deferred.fromCoroutine(again.refresh())
        lease = gateway.staging.leases.held(upload.id)
        while lease is not None and not lease.waiters and not asking.called:
            await tick()
        await tick()
        held.callback(None)
        assert await asking == 5
        with pytest.raises(IncompleteBody):
            await sending
        assert await send(gateway, again, Feed(b"world"), 5) == 10


async def test_live_holder_keeps_the_upload(tmp_path: Path) -> None:
    """While one client really sends, a second one is told that the upload is busy, and the first finishes intact."""
    async with staged(tmp_path) as (gateway, folder):
        gateway.staging.leases.patience.silence = 30.0
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        body = Feed(b"hello", end=False)
        first = Deferred.fromCoroutine(send(gateway, upload, body, 0))
        while upload.lease is None or upload.offset < 5:
            await tick()
        second = await gateway.staging.resume(folder, upload.id)
        waiting = Deferred.fromCoroutine(send(gateway, second, Feed(b"HELLO"), 0))
        body.put(b"world")
        body.end()
        assert await first == 10
        with pytest.raises(OffsetMismatch):
            await waiting
        assert await content(folder) == b"helloworld"


async def test_busy_after_waiting(tmp_path: Path) -> None:
    """A holder whose bytes keep coming is not disturbed."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=None)
        body = Feed(b"x", end=False)
        first = Deferred.fromCoroutine(send(gateway, upload, body, 0))
        second = await gateway.staging.resume(folder, upload.id)
        waiting = Deferred.fromCoroutine(send(gateway, second, Feed(b"y"), 0))
        while not waiting.called:
            body.put(b"x")
            await tick()
        with pytest.raises(UploadBusy):
            await waiting
        assert not first.called
        body.end()
        assert await first == body.received


async def test_idle_hands_lose_the_lease(tmp_path: Path) -> None:
    """Who acquired an upload and does nothing is cut off, and can write no more."""
    async with staged(tmp_path) as (gateway, folder):
        first = await gateway.staging.begin(folder, TARGET, size=10)
        await first.acquire()
        await first.write([b"hello"])
        second = await gateway.staging.resume(folder, first.id)
        await second.acquire()
        assert second.offset == 5
        with pytest.raises(UploadLost):
            await first.write([b"WORLD"])
        await first.release()
        await second.write([b"world"])
        await second.finish()
        assert await content(folder) == b"helloworld"


async def test_cancel_cuts_off_a_live_client(tmp_path: Path) -> None:
    """Cancelling ends even a client that sends, and leaves neither stage nor charge."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        sending = Deferred.fromCoroutine(send(gateway, upload, Feed(b"hello", end=False), 0))
        await (await gateway.staging.resume(folder, upload.id)).cancel()
        with pytest.raises(UploadNotFound):
            await sending
        with pytest.raises(UploadNotFound):
            await gateway.staging.resume(folder, upload.id)
        assert await stages(folder) == 0
        assert await held_bytes(gateway, folder) == 0


async def test_deleted_vfolder_takes_its_uploads_along(tmp_path: Path) -> None:
    """Deleting the vfolder cuts the sender off with *not found*."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        sending = Deferred.fromCoroutine(send(gateway, upload, Feed(b"hello", end=False), 0))
        await gateway.lifecycle.purge(folder.vfolder.volume, folder.vfolder.id)
        with pytest.raises(UploadNotFound):
            await sending
        assert await gateway.staging.uploads.list() == []


# --- room ---


async def test_declared_size_is_held_and_settled(tmp_path: Path) -> None:
    """The whole size counts from the beginning, and exactly the file's once it is published."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10)
        assert await held_bytes(gateway, folder) == 10
        await send(gateway, upload, Feed(b"helloworld"), 0)
        assert await held_bytes(gateway, folder) == 10


async def test_too_big_for_the_limit_is_refused_at_once(tmp_path: Path) -> None:
    """What cannot fit is refused when it begins, and leaves nothing."""
    async with staged(tmp_path, limit_bytes=100) as (gateway, folder):
        with pytest.raises(QuotaExceeded):
            await gateway.staging.begin(folder, TARGET, size=101)
        assert await stages(folder) == 0
        assert await held_bytes(gateway, folder) == 0
        await gateway.staging.begin(folder, TARGET, size=100)


async def test_replacement_needs_only_its_growth(tmp_path: Path) -> None:
    """A file of nearly the limit's size can be replaced by one as large."""
    async with staged(tmp_path, limit_bytes=100) as (gateway, folder):
        await send(gateway, await gateway.staging.begin(folder, TARGET, size=90), Feed(b"a" * 90), 0)
        await send(gateway, await gateway.staging.begin(folder, TARGET, size=95), Feed(b"b" * 95), 0)
        assert await content(folder) == b"b" * 95
        assert await held_bytes(gateway, folder) == 95


async def test_limit_met_in_the_middle(tmp_path: Path) -> None:
    """An upload of unknown size stops where the room ends; what fitted stays and can be cancelled to nothing."""
    async with staged(tmp_path, limit_bytes=100) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=None)
        with pytest.raises(QuotaExceeded):
            await send(gateway, upload, Feed(b"a" * 60, b"b" * 60), 0)
        assert await upload.refresh() == 60
        await upload.cancel()
        assert await held_bytes(gateway, folder) == 0


async def test_full_storage(tmp_path: Path) -> None:
    """A full volume refuses, and the upload can go on when there is room again."""
    volume = MemoryVolume("mem", reactor, capacity=100)
    async with running_gateway(tmp_path, [volume]) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway), ORIGIN)
        filler = await gateway.staging.begin(folder, parse_text("filler"), size=50)
        await send(gateway, filler, Feed(b"f" * 50), 0)
        upload = await gateway.staging.begin(folder, TARGET, size=None)
        with pytest.raises(NoSpace):
            await send(gateway, upload, Feed(b"a" * 40, b"b" * 40), 0)
        reached = await upload.refresh()
        await folder.remove(parse_text("filler"))
        rest = (b"a" * 40 + b"b" * 40)[reached:]
        assert await send(gateway, upload, Feed(rest), reached, last=True) == 80
        assert await content(folder) == b"a" * 40 + b"b" * 40


async def test_largest_size(tmp_path: Path) -> None:
    """More than is allowed for any upload is refused at the beginning and at the end."""
    async with staged(tmp_path) as (gateway, folder):
        gateway.staging.max_size = 10
        with pytest.raises(TooLarge):
            await gateway.staging.begin(folder, TARGET, size=11)
        upload = await gateway.staging.begin(folder, TARGET, size=None)
        with pytest.raises(TooLarge):
            await send(gateway, upload, Feed(b"a" * 11), 0)


# --- targets ---


async def test_directory_in_the_way(tmp_path: Path) -> None:
    """A directory at the target is a clean refusal; the bytes are kept and can be published once it is gone."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        await folder.make_dir(TARGET, parents=True)
        with pytest.raises(IsADirectory):
            await send(gateway, upload, Feed(b"hello"), 0)
        with pytest.raises(IsADirectory):
            await upload.refresh()
        await folder.remove_dir(TARGET)
        assert await upload.refresh() == 5
        assert await content(folder) == b"hello"


async def test_only_where_nothing_is(tmp_path: Path) -> None:
    """An upload that must not replace anything does not, even if the file came later."""
    async with staged(tmp_path) as (gateway, folder):
        careful = await gateway.staging.begin(folder, TARGET, size=5, expect=ABSENT)
        await send(gateway, await gateway.staging.begin(folder, TARGET, size=5), Feed(b"first"), 0)
        with pytest.raises(Exception, match="already exists"):
            await send(gateway, careful, Feed(b"later"), 0)
        assert await content(folder) == b"first"


async def test_other_target_said_later(tmp_path: Path) -> None:
    """The request may name another place than the upload began with."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=5)
        await send(gateway, upload, Feed(b"hello"), 0, target=parse_text("sub/file.bin"))
        assert await content(folder, parse_text("sub/file.bin")) == b"hello"


# --- joining ---


async def part(gateway: Gateway, folder: FolderSession, data: bytes) -> ResumableUpload:
    """A partial upload, sent."""
    upload = await gateway.staging.begin(folder, FolderPath(), size=len(data), partial=True)
    await send(gateway, upload, Feed(data), 0)
    return upload


async def test_parts_become_one_file(tmp_path: Path) -> None:
    """Partial uploads are joined in the order asked for; none of them was a file before, none is left afterwards."""
    async with staged(tmp_path, limit_bytes=11) as (gateway, folder):
        parts = [await part(gateway, folder, data) for data in (b"hello", b" ", b"world")]
        whole = await gateway.staging.join(folder, TARGET, [p.id for p in parts])
        assert whole.published
        assert await content(folder) == b"hello world"
        assert await stages(folder) == 0
        assert await held_bytes(gateway, folder) == 11


async def test_joining_again_finds_the_same(tmp_path: Path) -> None:
    """A client that missed the answer asks again and gets the same upload."""
    async with staged(tmp_path) as (gateway, folder):
        ids = [(await part(gateway, folder, data)).id for data in (b"a", b"b")]
        first = await gateway.staging.join(folder, TARGET, ids)
        assert (await gateway.staging.join(folder, TARGET, ids)).id == first.id


async def test_unfinished_part_is_refused(tmp_path: Path) -> None:
    """A part that is not whole, or no part at all, cannot be joined; the others stay."""
    async with staged(tmp_path) as (gateway, folder):
        done = await part(gateway, folder, b"a")
        open_part = await gateway.staging.begin(folder, FolderPath(), size=5, partial=True)
        plain = await gateway.staging.begin(folder, TARGET, size=5)
        for other in (open_part.id, plain.id):
            with pytest.raises(InvalidArgument):
                await gateway.staging.join(folder, TARGET, [done.id, other])
        assert await (await gateway.staging.resume(folder, done.id)).refresh() == 1


async def test_failed_join_leaves_the_parts(tmp_path: Path) -> None:
    """When the whole cannot be published, the parts are there as before, with their room."""
    async with staged(tmp_path, limit_bytes=2) as (gateway, folder):
        ids = [(await part(gateway, folder, data)).id for data in (b"a", b"b")]
        await folder.make_dir(TARGET, parents=True)
        with pytest.raises(IsADirectory):
            await gateway.staging.join(folder, TARGET, ids)
        assert await held_bytes(gateway, folder) == 2
        await folder.remove_dir(TARGET)
        assert (await gateway.staging.join(folder, TARGET, ids)).published


# --- lists, expiry ---


async def test_list_tells_progress(tmp_path: Path) -> None:
    """A list names what is under way, with how far it has come."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10, owned_by_vfolder=True)
        await send(gateway, upload, Feed(b"hello"), 0)
        (info,) = await gateway.staging.list(folder)
        assert (info.id, info.target, info.size, info.offset) == (upload.id, TARGET, 10, 5)
        assert (info.state, info.principal, info.active) == (UploadState.OPEN, None, False)


async def test_expired_upload_is_swept(tmp_path: Path) -> None:
    """An upload that made no progress for its lifetime is unknown, and the sweep leaves nothing of it."""
    async with staged(tmp_path) as (gateway, folder):
        upload = await gateway.staging.begin(folder, TARGET, size=10, lifetime=-1.0)
        with pytest.raises(UploadNotFound):
            await gateway.staging.resume(folder, upload.id)
        await gateway.staging.expire()
        assert await stages(folder) == 0
        assert await held_bytes(gateway, folder) == 0
        assert await gateway.staging.uploads.list() == []


async def test_stage_without_upload_is_collected_when_old(tmp_path: Path) -> None:
    """A stage that a crash left without a row goes after a day; one that is known, or young, stays."""
    async with staged(tmp_path) as (gateway, folder):
        await folder.context.folder.stage(TARGET, None)
        await gateway.staging.begin(folder, TARGET, size=10)
        assert await gateway.staging.collect_leftovers() == 0
        assert await gateway.staging.collect_leftovers(age=-1.0) == 1
        assert await stages(folder) == 1
