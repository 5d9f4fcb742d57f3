"""Promises of :class:`~vfgateway.interfaces.IStagedFile`, and of stages that outlive their process."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import DeferredList, ensureDeferred
from zope.interface.verify import verifyObject

from tests.conformance.harness import Able, VolumeCase, at, content_of, names_in, new_folder, put
from vfgateway.abilities import IDescriptorWrite, IModes, IResumableStaging, IStageOwners
from vfgateway.errors import (
    AlreadyExists,
    GatewayError,
    IsADirectory,
    NotADirectory,
    NotFound,
    PreconditionFailed,
    UploadNotFound,
)
from vfgateway.interfaces import IFolder, IStagedFile
from vfgateway.model import ABSENT, ANY, Attrs, Expect
from vfgateway.paths import ROOT


class StagingPromises(VolumeCase):
    """A file appears whole, or not at all."""

    async def test_appends(self, folder: IFolder) -> None:
        """Chunks of every kind, empty ones too, are kept in order, and counted."""
        staged = await folder.stage(at("file"), None)
        assert verifyObject(IStagedFile, staged)
        assert len(staged.token) == 32 and set(staged.token) <= set("0123456789abcdef")
        assert staged.size == 0
        await staged.append([b"one", bytearray(b"two"), memoryview(b"three"), b""])
        await staged.append([])
        await staged.append([b"four"])
        assert staged.size == 15
        await staged.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"onetwothreefour"

    async def test_appends_many_chunks(self, folder: IFolder) -> None:
        """One gathered write may have more chunks than a system call takes."""
        chunks = [bytes([number % 256]) * (number % 7) for number in range(5000)]
        staged = await folder.stage(at("file"), None)
        await staged.append(chunks)
        await staged.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"".join(chunks)

    async def test_appends_large_chunks(self, folder: IFolder) -> None:
        """Large writes arrive whole."""
        chunk = bytes(range(256)) * 12_000
        staged = await folder.stage(at("file"), 3 * len(chunk))
        for _ in range(3):
            await staged.append([chunk])
        published = await staged.commit(at("file"), ANY)
        assert published.stat is not None and published.stat.size == 3 * len(chunk)
        assert await content_of(folder, "file") == 3 * chunk

    async def test_is_not_seen_before_commit(self, folder: IFolder) -> None:
        """Until the commit readers see the old file, or none."""
        await put(folder, "file", b"old")
        staged = await folder.stage(at("file"), None)
        await staged.append([b"new"])
        await staged.sync()
        assert await content_of(folder, "file") == b"old"
        assert await names_in(folder) == ["file"]
        await staged.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"new"

    async def test_tells_what_was_published(self, folder: IFolder) -> None:
        """A commit tells the new state, and the file that gave way."""
        first = await put(folder, "file", b"123")
        assert first.replaced is None
        assert first.stat == await folder.stat(at("file"))
        second = await put(folder, "file", b"12345")
        assert second.replaced == first.stat
        assert second.stat == await folder.stat(at("file"))

    async def test_expected_size_is_no_promise(self, folder: IFolder) -> None:
        """What was announced is neither padded nor enforced here; the bytes that came are the file."""
        for announced in (1, 1000, 20 << 20):
            staged = await folder.stage(at("file"), announced)
            await staged.append([b"twelve bytes"])
            published = await staged.commit(at("file"), ANY)
            assert published.stat is not None and published.stat.size == 12
        assert await content_of(folder, "file") == b"twelve bytes"

    async def test_target_is_chosen_at_commit(self, folder: IFolder) -> None:
        """The target told at the beginning need not be possible then, nor be the final one."""
        staged = await folder.stage(at("not/yet/there"), None)
        await staged.append([b"content"])
        await folder.make_dir(at("dir"))
        await staged.commit(at("dir/file"), ANY)
        assert await content_of(folder, "dir/file") == b"content"

    async def test_expects_nothing(self, folder: IFolder) -> None:
        """With ``ABSENT`` whatever stands there stays; the stage is kept and can be published elsewhere."""
        await put(folder, "file", b"old")
        await folder.make_dir(at("dir"))
        staged = await folder.stage(at("file"), None)
        await staged.append([b"new"])
        for target in ("file", "dir"):
            with pytest.raises(AlreadyExists):
                await staged.commit(at(target), ABSENT)
        assert await content_of(folder, "file") == b"old"
        await staged.commit(at("other"), ABSENT)
        assert await content_of(folder, "other") == b"new"

    async def test_expects_an_identity(self, folder: IFolder) -> None:
        """A file that changed since it was seen, or is gone, is not replaced; the stage is kept."""
        seen = (await put(folder, "file", b"seen")).stat
        now = (await put(folder, "file", b"now")).stat
        assert seen is not None and now is not None
        staged = await folder.stage(at("file"), None)
        await staged.append([b"new"])
        for target in ("file", "missing"):
            with pytest.raises(PreconditionFailed):
                await staged.commit(at(target), Expect.same(seen.identity))
        assert await content_of(folder, "file") == b"now"
        await staged.commit(at("file"), Expect.same(now.identity))
        assert await content_of(folder, "file") == b"new"

    async def test_one_of_many_wins_a_free_name(self, folder: IFolder) -> None:
        """Of uploads that race for a name that must be free exactly one gets it."""
        await self._race(folder, ABSENT, AlreadyExists)

    async def test_one_of_many_replaces_what_it_saw(self, folder: IFolder) -> None:
        """Of editors that race to replace the same state of a file exactly one does."""
        seen = (await put(folder, "file", b"seen")).stat
        assert seen is not None
        await self._race(folder, Expect.same(seen.identity), PreconditionFailed)

    async def _race(self, folder: IFolder, expect: Expect, refusal: type[GatewayError]) -> None:
        writers = [b"writer %d" % number for number in range(8)]
        results: list[tuple[bool, Any]] = await DeferredList(
            [ensureDeferred(put(folder, "file", content, expect)) for content in writers], consumeErrors=True
        )
        winners = [content for content, (success, _) in zip(writers, results, strict=True) if success]
        assert [await content_of(folder, "file")] == winners
        for success, result in results:
            assert success or isinstance(result.value, refusal)

    async def test_parent_must_exist(self, folder: IFolder) -> None:
        """No directory is made on the way, a file is none, and the stage is kept."""
        await put(folder, "plain", b"")
        staged = await folder.stage(at("x"), None)
        with pytest.raises(NotFound):
            await staged.commit(at("missing/file"), ANY)
        with pytest.raises(NotADirectory):
            await staged.commit(at("plain/file"), ANY)
        await staged.commit(at("file"), ANY)
        assert await names_in(folder) == ["file", "plain"]

    async def test_directory_is_not_replaced(self, folder: IFolder) -> None:
        """A directory, be it empty, or the root, never gives way to a file; the stage is kept."""
        await folder.make_dir(at("dir"))
        staged = await folder.stage(at("dir"), None)
        await staged.append([b"content"])
        for target in (at("dir"), ROOT):
            with pytest.raises(IsADirectory):
                await staged.commit(target, ANY)
        await staged.commit(at("dir/file"), ANY)
        assert await content_of(folder, "dir/file") == b"content"

    async def test_replacing_keeps_the_mode(self, folder: IFolder) -> None:
        """A script that is edited stays executable, and a private file private."""
        if not self.claims(IModes, folder):
            return
        await put(folder, "script", b"old")
        await folder.set_attrs(at("script"), Attrs(mode=0o750))
        published = await put(folder, "script", b"new")
        assert published.stat is not None and published.stat.mode == 0o750

    async def test_discards(self, folder: IFolder) -> None:
        """A discarded stage leaves nothing and cannot be published; discarding twice is fine."""
        staged = await folder.stage(at("file"), None)
        await staged.append([b"content"])
        await staged.discard()
        await staged.discard()
        with pytest.raises(UploadNotFound):
            await staged.commit(at("file"), ANY)
        with pytest.raises(GatewayError):
            await staged.append([b"more"])
        assert await names_in(folder) == []

    async def test_commit_ends_it(self, folder: IFolder) -> None:
        """A second commit answers like the first, a discard afterwards does nothing, and nothing can be appended."""
        staged = await folder.stage(at("file"), None)
        await staged.append([b"content"])
        published = await staged.commit(at("file"), ANY)
        assert await staged.commit(at("file"), ANY) == published
        await staged.discard()
        await staged.close()
        with pytest.raises(GatewayError):
            await staged.append([b"more"])
        assert await content_of(folder, "file") == b"content"

    async def test_stages_are_apart(self, folder: IFolder) -> None:
        """Two uploads to one name do not mix; the last commit stands."""
        first, second = await folder.stage(at("file"), None), await folder.stage(at("file"), None)
        assert first.token != second.token
        await first.append([b"first"])
        await second.append([b"second"])
        await second.commit(at("file"), ANY)
        await first.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"first"

    async def test_closing_without_the_ability_discards(self, folder: IFolder) -> None:
        """A closed stage can be resumed where that is offered; elsewhere it is gone."""
        staged = await folder.stage(at("file"), None)
        await staged.close()
        await staged.close()
        with pytest.raises(GatewayError):
            await staged.append([b"more"])
        if not self.claims(IResumableStaging, folder):
            with pytest.raises(GatewayError):
                await staged.commit(at("file"), ANY)

    async def test_descriptor_appends(self, folder: Able) -> None:
        """Bytes written through the descriptor come after those appended, and before later ones; those before an error are there."""

        def breaking(number: int, offset: int) -> Iterator[int]:
            yield os.pwrite(number, b"three ", offset)
            raise OSError(errno.EIO, "broken")

        staged = await folder.stage(at("file"), None)
        if self.claims(IDescriptorWrite, staged):
            await staged.append([b"one "])
            await staged.append_from(lambda number, offset: iter([os.pwrite(number, b"two ", offset)]))
            with pytest.raises(GatewayError):
                await staged.append_from(breaking)
            await staged.append([b"four"])
            assert staged.size == 18
            await staged.commit(at("file"), ANY)
            assert await content_of(folder, "file") == b"one two three four"
        await staged.discard()


class ResumableStagingPromises(VolumeCase):
    """Where ``IResumableStaging`` is claimed, a stage can be gone on with."""

    async def test_resumes(self, folder: Able) -> None:
        """A closed stage is opened again by its token, with all its bytes."""
        if not self.claims(IResumableStaging, folder):
            return
        staged = await folder.stage(at("file"), None)
        await staged.append([b"first "])
        await staged.close()
        resumed = await folder.resume(staged.token)
        assert (resumed.token, resumed.size) == (staged.token, 6)
        await resumed.append([b"second"])
        await resumed.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"first second"

    async def test_cuts_back(self, folder: Able) -> None:
        """With ``keep`` what came after is cut off; a stage that is shorter is lost rather than padded."""
        if not self.claims(IResumableStaging, folder):
            return
        staged = await folder.stage(at("file"), None)
        await staged.append([b"0123456789"])
        await staged.close()
        with pytest.raises(UploadNotFound):
            await folder.resume(staged.token, keep=11)
        resumed = await folder.resume(staged.token, keep=4)
        assert resumed.size == 4
        await resumed.append([b"!"])
        await resumed.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"0123!"

    async def test_lists_stages(self, folder: Able) -> None:
        """Every stage is found with its size until it is published or discarded."""
        if not self.claims(IResumableStaging, folder):
            return
        assert list(await folder.stages()) == []
        first, second = await folder.stage(at("a"), None), await folder.stage(at("b"), None)
        await first.append([b"12345"])
        await first.sync()
        found = {token: stat.size for token, stat in await folder.stages()}
        assert found == {first.token: 5, second.token: 0}
        await first.commit(at("a"), ANY)
        await second.discard()
        assert list(await folder.stages()) == []

    async def test_ended_stages_cannot_be_resumed(self, folder: Able) -> None:
        """Neither a published, nor a discarded, nor an invented stage is found; no token leads elsewhere."""
        if not self.claims(IResumableStaging, folder):
            return
        published, discarded = await folder.stage(at("a"), None), await folder.stage(at("b"), None)
        await published.commit(at("a"), ANY)
        await discarded.discard()
        for token in (published.token, discarded.token, "0" * 32, "", ".", "../a", "a", "../../../etc/passwd"):
            with pytest.raises(UploadNotFound):
                await folder.resume(token)

    async def test_discards_after_close(self, folder: Able) -> None:
        """A stage that was closed can still be discarded."""
        if not self.claims(IResumableStaging, folder):
            return
        staged = await folder.stage(at("file"), None)
        await staged.close()
        await staged.discard()
        assert list(await folder.stages()) == []

    async def test_joins(self, folder: Able) -> None:
        """Stages are joined in the order given, repeatedly if asked; the parts stay."""
        if not self.claims(IResumableStaging, folder):
            return
        parts = []
        for content in (b"a" * 5000, b"", b"b" * 3):
            staged = await folder.stage(at("part"), None)
            await staged.append([content])
            await staged.close()
            parts.append(staged.token)
        joined = await folder.join(at("file"), [*parts, parts[2]])
        assert joined.size == 5006
        await joined.append([b"!"])
        await joined.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"a" * 5000 + b"bbbbbb!"
        assert {token for token, _ in await folder.stages()} == set(parts)

    async def test_joins_nothing_if_a_part_is_missing(self, folder: Able) -> None:
        """A join with a part that is not there leaves no stage."""
        if not self.claims(IResumableStaging, folder):
            return
        part = await folder.stage(at("part"), None)
        await part.append([b"content"])
        with pytest.raises(UploadNotFound):
            await folder.join(at("file"), [part.token, "f" * 32])
        assert [token for token, _ in await folder.stages()] == [part.token]
        await part.discard()

    async def test_who_writes_is_known(self, folder: Able) -> None:
        """Where ``IStageOwners`` is claimed: a stage is abandoned when nobody has it open any more, and only then."""
        if not self.claims(IStageOwners, folder):
            return
        assert await folder.abandoned() == []
        writing, left = await folder.stage(at("file"), None), await folder.stage(at("file"), None)
        await left.append([b"content"])
        assert await folder.abandoned() == []
        await left.close()
        assert await folder.abandoned() == [left.token]
        resumed = await folder.resume(left.token)
        await resumed.discard()
        await writing.append([b"content"])
        await writing.commit(at("file"), ANY)
        assert await folder.abandoned() == []
        assert await content_of(folder, "file") == b"content"

    async def test_stages_belong_to_their_vfolder(self, volume: Able, folder: Able) -> None:
        """A token of one vfolder opens nothing in another."""
        if not self.claims(IResumableStaging, folder):
            return
        staged = await folder.stage(at("file"), None)
        other = await new_folder(volume)
        with pytest.raises(UploadNotFound):
            await other.resume(staged.token)
        await staged.discard()
