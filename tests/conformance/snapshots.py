"""Promises about snapshots, where ``ISnapshots`` is claimed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from tests.conformance.harness import (
    READ,
    WRITE,
    WRITE_NEW,
    Able,
    VolumeCase,
    at,
    content_of,
    names_in,
    new_vfid,
    put,
)
from vfgateway.abilities import IFastClone, IFastUsage, ILayout, ILinks, IRandomWrite, IServerSideCopy, ISnapshots
from vfgateway.errors import (
    AlreadyExists,
    InvalidPath,
    NotADirectory,
    NotFound,
    StorageFailure,
    Unsupported,
    VFolderNotFound,
)
from vfgateway.model import ABSENT, ANY, Actor, Attrs, FileType, FolderOptions, VFolderId
from vfgateway.paths import ROOT


async def _begun(volume: Able) -> tuple[VFolderId, Able]:
    """A vfolder with a file ``dir/file`` that holds ``before``."""
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder = await volume.folder(vfid, Actor())
    await folder.make_dir(at("dir"))
    await put(folder, "dir/file", b"before")
    return vfid, folder


class SnapshotPromises(VolumeCase):
    """A snapshot shows what was, whatever becomes of the vfolder."""

    async def test_shows_what_was(self, volume: Able) -> None:
        """Content, names, modes, times and links are those of the moment, though all has changed since."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, folder = await _begun(volume)
        facts = await folder.set_attrs(at("dir/file"), Attrs(mode=0o604, mtime_ns=10**18))
        if ILinks in self.abilities:
            await folder.make_link(at("inside"), "dir/file")
            await folder.make_link(at("outside"), "/etc/passwd")
        await volume.snapshot(vfid, "one")
        names = await names_in(folder)
        await put(folder, "dir/file", b"after")
        await put(folder, "new", b"")
        await folder.make_dir(at("dir/newer"))
        picture = await volume.open_snapshot(vfid, "one")
        assert await content_of(picture, "dir/file") == b"before"
        assert await names_in(picture) == names
        assert await names_in(picture, "dir") == ["file"]
        found = await picture.stat(at("dir/file"))
        assert (found.mode, found.mtime_ns, found.size) == (facts.mode, 10**18, 6)
        assert (await picture.stat(ROOT)).is_dir
        if ILinks in self.abilities:
            assert (await picture.stat(at("outside"))).target == "/etc/passwd"
            assert (await picture.stat(at("inside"))).type is FileType.SYMLINK
            assert await content_of(picture, "inside") == b"before"
        for path in ("new", "dir/newer", "dir/file/below"):
            with pytest.raises(NotFound):
                await picture.stat(at(path))
        with pytest.raises(NotADirectory):
            await picture.open_dir(at("dir/file"))

    async def test_sees_what_was_written_in_place(self, volume: Able) -> None:
        """A file that is open and changed on keeps changing in the vfolder alone."""
        if not self.claims(ISnapshots, volume) or IRandomWrite not in self.abilities:
            return
        vfid, folder = await _begun(volume)
        file = await folder.open(at("dir/file"), WRITE)
        await file.write(0, [b"B"])
        await volume.snapshot(vfid, "one")
        await file.write(0, [b"after-all"])
        await file.close()
        assert await content_of(await volume.open_snapshot(vfid, "one"), "dir/file") == b"Before"
        assert await content_of(folder, "dir/file") == b"after-all"

    async def test_are_told_oldest_first(self, volume: Able) -> None:
        """With the time at which each was taken."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, folder = await _begun(volume)
        assert list(await volume.snapshots(vfid)) == []
        first = await volume.snapshot(vfid, "1-first")
        await put(folder, "dir/file", b"later")
        second = await volume.snapshot(vfid, "2026-11-21T22-00-00Z")
        assert list(await volume.snapshots(vfid)) == [first, second]
        assert [each.label for each in (first, second)] == ["1-first", "2026-11-21T22-00-00Z"]
        assert first.created <= second.created
        assert abs(first.created - time.time()) < 300
        assert await content_of(await volume.open_snapshot(vfid, "1-first"), "dir/file") == b"before"
        assert await content_of(await volume.open_snapshot(vfid, second.label), "dir/file") == b"later"

    async def test_labels(self, volume: Able) -> None:
        """Each is taken once, and is one plain name."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, _ = await _begun(volume)
        await volume.snapshot(vfid, "one")
        with pytest.raises(AlreadyExists):
            await volume.snapshot(vfid, "one")
        for label in ("", ".", "..", ".hidden", "a/b", "../one", "a b", "ä", "x" * 101, "a\0", "-x", "one\n"):
            with pytest.raises(InvalidPath):
                await volume.snapshot(vfid, label)
            with pytest.raises((InvalidPath, NotFound)):
                await volume.open_snapshot(vfid, label)
            with pytest.raises((InvalidPath, NotFound)):
                await volume.drop_snapshot(vfid, label)
        assert [each.label for each in await volume.snapshots(vfid)] == ["one"]
        longest = "x" * 100
        await volume.snapshot(vfid, longest)
        await volume.open_snapshot(vfid, longest)

    async def test_of_nothing(self, volume: Able) -> None:
        """A vfolder that is not there has none, and one that is has only those that were taken."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, nowhere = (await _begun(volume))[0], new_vfid()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: volume.snapshot(nowhere, "one"),
            lambda: volume.snapshots(nowhere),
            lambda: volume.drop_snapshot(nowhere, "one"),
            lambda: volume.open_snapshot(nowhere, "one"),
        ]
        for call in calls:
            with pytest.raises(VFolderNotFound):
                await call()
        with pytest.raises(NotFound) as error:
            await volume.open_snapshot(vfid, "one")
        assert not isinstance(error.value, VFolderNotFound)
        with pytest.raises(NotFound):
            await volume.drop_snapshot(vfid, "one")

    async def test_nothing_changes_one(self, volume: Able) -> None:
        """Whatever writes is refused."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, _ = await _begun(volume)
        await volume.snapshot(vfid, "one")
        picture = await volume.open_snapshot(vfid, "one")
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: picture.stage(at("new"), None),
            lambda: picture.make_dir(at("new")),
            lambda: picture.remove(at("dir/file"), ANY),
            lambda: picture.remove_dir(at("dir")),
            lambda: picture.rename(at("dir/file"), at("new"), ANY),
            lambda: picture.set_attrs(at("dir/file"), Attrs(mode=0o777)),
            lambda: picture.open(at("dir/file"), WRITE),
            lambda: picture.open(at("new"), WRITE_NEW),
        ]
        if IServerSideCopy in self.abilities:
            attempts.append(lambda: picture.copy_file(at("dir/file"), picture, at("new"), ANY))
        for attempt in attempts:
            with pytest.raises(Unsupported):
                await attempt()
        assert await names_in(picture) == ["dir"]
        assert await content_of(picture, "dir/file") == b"before"

    async def test_is_no_part_of_the_vfolder(self, volume: Able) -> None:
        """Neither its names nor its bytes; nor is it a vfolder."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, folder = await _begun(volume)
        if IFastUsage in self.abilities:
            used = await volume.fast_usage(vfid)
        await volume.snapshot(vfid, "one")
        assert await names_in(folder) == ["dir"]
        assert list(await volume.folders()) == [vfid]
        if IFastUsage in self.abilities:
            assert await volume.fast_usage(vfid) == used
        if ILayout in self.abilities:
            assert list(await volume.misplaced()) == []
        if IFastClone in self.abilities:
            clone = new_vfid()
            await volume.clone_folder(vfid, clone)
            assert list(await volume.snapshots(clone)) == []

    async def test_stages_are_not_shown(self, volume: Able) -> None:
        """What was being uploaded is to be seen in none."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, folder = await _begun(volume)
        stage = await folder.stage(at("coming"), None)
        await stage.append([b"half"])
        await volume.snapshot(vfid, "one")
        picture = await volume.open_snapshot(vfid, "one")
        assert await names_in(picture) == ["dir"]
        with pytest.raises(NotFound):
            await picture.stat(at(f".upload/{stage.token}"))
        await stage.commit(at("coming"), ABSENT)
        assert await names_in(picture) == ["dir"]

    async def test_comes_back(self, volume: Able) -> None:
        """A file is copied out of it by the storage, where that copies within a vfolder, too."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, folder = await _begun(volume)
        await volume.snapshot(vfid, "one")
        picture = await volume.open_snapshot(vfid, "one")
        if not self.claims(IServerSideCopy, picture):
            return
        await put(folder, "dir/file", b"after")
        published = await picture.copy_file(at("dir/file"), folder, at("dir/file"), ANY)
        assert published.replaced is not None
        assert await content_of(folder, "dir/file") == b"before"
        await put(folder, "dir/file", b"again")
        assert await content_of(picture, "dir/file") == b"before"

    async def test_is_dropped(self, volume: Able) -> None:
        """Nothing is found in it any more; other snapshots and the vfolder stay; its label is free."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, folder = await _begun(volume)
        await volume.snapshot(vfid, "one")
        await volume.snapshot(vfid, "two")
        picture = await volume.open_snapshot(vfid, "one")
        await volume.drop_snapshot(vfid, "one")
        for ask in (picture.stat, picture.open_dir):
            with pytest.raises(NotFound):
                await ask(at("dir"))
        with pytest.raises(NotFound):
            await picture.open(at("dir/file"), READ)
        with pytest.raises(NotFound):
            await volume.drop_snapshot(vfid, "one")
        assert [each.label for each in await volume.snapshots(vfid)] == ["two"]
        assert await content_of(folder, "dir/file") == b"before"
        await put(folder, "dir/file", b"after")
        await volume.snapshot(vfid, "one")
        assert await content_of(await volume.open_snapshot(vfid, "one"), "dir/file") == b"after"

    async def test_is_dropped_while_it_is_read(self, volume: Able) -> None:
        """Who reads comes to the end, or is told: never other bytes."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, folder = await _begun(volume)
        content = bytes(range(256)) * 1024
        await put(folder, "large", content)
        await volume.snapshot(vfid, "one")
        picture = await volume.open_snapshot(vfid, "one")
        file, listing = await picture.open(at("large"), READ), await picture.open_dir(ROOT)
        read = await file.read(0, 1000)
        await volume.drop_snapshot(vfid, "one")
        try:
            while piece := await file.read(len(read), 1 << 16):
                read += piece
            assert read == content
        except (NotFound, StorageFailure):
            assert content.startswith(read)
        with suppress(NotFound, StorageFailure):
            assert {entry.name for entry in await listing.read(100)} <= {"dir", "large"}
        await file.close()
        await listing.close()
        assert await content_of(folder, "large") == content

    async def test_goes_with_its_vfolder(self, volume: Able) -> None:
        """What comes in the same place later has none of them."""
        if not self.claims(ISnapshots, volume):
            return
        vfid, _ = await _begun(volume)
        await volume.snapshot(vfid, "one")
        await volume.snapshot(vfid, "two")
        await volume.delete_folder(vfid)
        with pytest.raises(VFolderNotFound):
            await volume.open_snapshot(vfid, "one")
        assert list(await volume.folders()) == []
        await volume.create_folder(vfid, FolderOptions())
        assert list(await volume.snapshots(vfid)) == []
        with pytest.raises(NotFound):
            await volume.open_snapshot(vfid, "one")
