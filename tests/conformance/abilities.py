"""Promises of the abilities. Each is checked both ways: what is claimed is done, what is not claimed is not provided."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from tests.conformance.harness import (
    READ,
    WRITE,
    WRITE_NEW,
    Able,
    VolumeCase,
    at,
    content_of,
    exists,
    names_in,
    new_folder,
    new_vfid,
    put,
)
from vfgateway.abilities import (
    IAtHand,
    IAttributes,
    IDescriptions,
    IFastClone,
    IFastUsage,
    IFileAtHand,
    IHardwareInfo,
    IJobLinks,
    ILayout,
    ILinks,
    IMappedListing,
    IMountable,
    INativeQuota,
    IPerformanceMetrics,
    IRandomWrite,
    IRemoteMount,
    IServerSideCopy,
    IUsageWalk,
    IWholeStore,
)
from vfgateway.errors import (
    AlreadyExists,
    GatewayError,
    IsADirectory,
    LeavesFolder,
    NotADirectory,
    NotFound,
    PreconditionFailed,
    StorageFailure,
    Unsupported,
    VFolderExists,
    VFolderNotFound,
)
from vfgateway.model import (
    ABSENT,
    ANY,
    Actor,
    Attrs,
    DirEntry,
    Expect,
    FileStat,
    FileType,
    FolderOptions,
    HealthState,
    OpenMode,
    Usage,
)
from vfgateway.paths import ROOT, FolderPath
from vfgateway.treeusage import LOOSE


class RandomWritePromises(VolumeCase):
    """Where ``IRandomWrite`` is claimed, bytes change in place as POSIX says."""

    async def test_creates(self, folder: Able) -> None:
        """``CREATE`` makes an empty file where none is, and leaves one that is there alone."""
        if IRandomWrite not in self.abilities:
            return
        file = await folder.open(at("file"), WRITE_NEW)
        assert await exists(folder, "file")
        await file.write(0, [b"con", bytearray(b"te"), memoryview(b"nt")])
        await file.close()
        await (await folder.open(at("file"), WRITE_NEW)).close()
        assert await content_of(folder, "file") == b"content"

    async def test_writes_in_place(self, folder: Able) -> None:
        """A write changes its bytes and no others, reaches past the end, and fills a gap with zeros."""
        if IRandomWrite not in self.abilities:
            return
        await put(folder, "file", b"0123456789")
        file = await folder.open(at("file"), WRITE)
        await file.write(2, [b"ab", b"", b"cd"])
        await file.write(12, [b"xy"])
        assert await file.read(0, 100) == b"01abcd6789\0\0xy"
        assert (await file.stat()).size == 14
        await file.sync()
        await file.close()
        assert await content_of(folder, "file") == b"01abcd6789\0\0xy"

    async def test_identity_follows_writes(self, folder: Able) -> None:
        """A write that changes the size changes the identity."""
        if IRandomWrite not in self.abilities:
            return
        before = (await put(folder, "file", b"1")).stat
        file = await folder.open(at("file"), WRITE)
        await file.write(1, [b"2"])
        await file.close()
        assert before is not None
        assert (await folder.stat(at("file"))).identity != before.identity

    async def test_truncates(self, folder: Able) -> None:
        """A file is cut, and extended with zeros."""
        if IRandomWrite not in self.abilities:
            return
        await put(folder, "file", b"0123456789")
        file = await folder.open(at("file"), WRITE)
        await file.truncate(4)
        await file.truncate(6)
        await file.close()
        assert await content_of(folder, "file") == b"0123\0\0"

    async def test_open_truncates(self, folder: Able) -> None:
        """``TRUNCATE`` empties the file."""
        if IRandomWrite not in self.abilities:
            return
        await put(folder, "file", b"content")
        await (await folder.open(at("file"), WRITE | OpenMode.TRUNCATE)).close()
        assert await content_of(folder, "file") == b""

    async def test_exclusive(self, folder: Able) -> None:
        """``EXCLUSIVE`` refuses a name that is taken, by whatever."""
        if IRandomWrite not in self.abilities:
            return
        await put(folder, "file", b"content")
        await folder.make_dir(at("dir"))
        for path in ("file", "dir"):
            with pytest.raises(AlreadyExists):
                await folder.open(at(path), WRITE_NEW | OpenMode.EXCLUSIVE | OpenMode.TRUNCATE)
        assert await content_of(folder, "file") == b"content"
        await (await folder.open(at("new"), WRITE_NEW | OpenMode.EXCLUSIVE)).close()

    async def test_write_where_nothing_can_be_written(self, folder: Able) -> None:
        """A directory is not written, a missing file not without ``CREATE``, and nothing below a file."""
        if IRandomWrite not in self.abilities:
            return
        await folder.make_dir(at("dir"))
        await put(folder, "file", b"")
        for path in (at("dir"), ROOT):
            with pytest.raises(IsADirectory):
                await folder.open(path, WRITE_NEW)
        for mode in (WRITE, WRITE_NEW):
            with pytest.raises(NotFound):
                await folder.open(at("missing/file"), mode)
        with pytest.raises(NotFound):
            await folder.open(at("missing"), WRITE)
        with pytest.raises(NotADirectory):
            await folder.open(at("file/below"), WRITE_NEW)

    async def test_replaced_while_open(self, folder: Able) -> None:
        """A writer of a file that was replaced writes into the old one, never into the new."""
        if IRandomWrite not in self.abilities:
            return
        await put(folder, "file", b"old")
        file = await folder.open(at("file"), WRITE)
        await put(folder, "file", b"new")
        await file.write(0, [b"XXX"])
        await file.close()
        assert await content_of(folder, "file") == b"new"

    async def test_closed(self, folder: Able) -> None:
        """A closed file is not written."""
        if IRandomWrite not in self.abilities:
            return
        file = await folder.open(at("file"), WRITE_NEW)
        await file.close()
        with pytest.raises(StorageFailure):
            await file.write(0, [b"x"])
        with pytest.raises(StorageFailure):
            await file.truncate(0)


class LinkPromises(VolumeCase):
    """Where ``ILinks`` is claimed, links are shown, followed for reading inside the vfolder, and never written through."""

    async def test_shows_links(self, folder: Able) -> None:
        """A link is what it is, in a listing as well, and its target is told as it was written."""
        if not self.claims(ILinks, folder):
            return
        for name, target in (("inside", "file"), ("dangling", "no/where"), ("outside", "/etc/passwd"), ("up", "../..")):
            await folder.make_link(at(name), target)
            found = await folder.stat(at(name))
            assert (found.type, found.target, found.size) == (FileType.SYMLINK, target, 0)
        listing = await folder.open_dir(ROOT)
        assert {entry.name: entry.stat.target for entry in await listing.read(10)} == {
            "inside": "file",
            "dangling": "no/where",
            "outside": "/etc/passwd",
            "up": "../..",
        }
        await listing.close()

    async def test_follows_inside(self, folder: Able) -> None:
        """Reading goes through links that stay inside: at the end, on the way, upwards, and one after another."""
        if not self.claims(ILinks, folder):
            return
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"content")
        for name, target in (
            ("a", "dir/file"),
            ("b", "a"),
            ("d", "dir"),
            ("dir/up", "../dir/file"),
            ("e", "./dir//../dir/"),
            ("dir/top", ".."),
        ):
            await folder.make_link(at(name), target)
        for path in ("a", "b", "d/file", "dir/up", "d/up", "e/file", "dir/top/dir/file", "d/top/d/top/a"):
            assert await content_of(folder, path) == b"content"
        assert (await folder.stat(at("b"), follow=True)).type is FileType.FILE
        assert (await folder.stat(at("d/file"))).type is FileType.FILE
        assert "file" in await names_in(folder, "d")

    async def test_never_leaves(self, folder: Able) -> None:
        """No link leads out, by an absolute path or upwards, at the end or on the way, even if it would come back."""
        if not self.claims(ILinks, folder):
            return
        await folder.make_dir(at("dir"))
        for name, target in (
            ("absolute", "/etc/passwd"),
            ("root", "/"),
            ("up", ".."),
            ("dir/up", "../../x"),
            ("back", "../../../../../../../../etc"),
            ("chain", "up"),
        ):
            await folder.make_link(at(name), target)
        for path in ("absolute", "root", "up", "dir/up", "back", "chain"):
            with pytest.raises(LeavesFolder):
                await folder.stat(at(path), follow=True)
            with pytest.raises(LeavesFolder):
                await folder.open(at(path), READ)
            with pytest.raises(LeavesFolder):
                await folder.open_dir(at(path))
        for path in ("root/etc/passwd", "up/x", "chain/x", "back/passwd"):
            with pytest.raises(LeavesFolder):
                await folder.stat(at(path))
            with pytest.raises(LeavesFolder):
                await folder.open(at(path), READ)

    async def test_never_leads_to_stages(self, folder: Able) -> None:
        """A link to where stages are kept leads to nothing."""
        if not self.claims(ILinks, folder):
            return
        staged = await folder.stage(at("file"), None)
        await folder.make_link(at("link"), ".upload")
        await folder.make_link(at("direct"), f".upload/{staged.token}")
        for path in ("link", "direct"):
            with pytest.raises(NotFound):
                await folder.stat(at(path), follow=True)
        with pytest.raises(NotFound):
            await folder.open_dir(at("link"))
        for path in ("direct", f"link/{staged.token}"):
            with pytest.raises(NotFound):
                await folder.open(at(path), READ)
        await staged.discard()

    async def test_links_of_jobs(self, folder: Able) -> None:
        """An absolute link into where jobs see the vfolder is shown relative and followed; no other one is."""
        if not self.claims(IJobLinks, folder):
            return
        folder.seen_by_jobs_at(["/home/work/data"])
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"content")
        await folder.make_link(at("dir/link"), "/home/work/data/dir/file")
        await folder.make_link(at("other"), "/home/work/data-2/file")
        assert (await folder.stat(at("dir/link"))).target == "../dir/file"
        assert await content_of(folder, "dir/link") == b"content"
        with pytest.raises(LeavesFolder):
            await folder.open(at("other"), READ)

    async def test_loops_end(self, folder: Able) -> None:
        """Links that lead in a circle are an error, not an endless walk."""
        if not self.claims(ILinks, folder):
            return
        await folder.make_link(at("a"), "b")
        await folder.make_link(at("b"), "a")
        await folder.make_link(at("self"), "self/x")
        for path in ("a", "self"):
            with pytest.raises(LeavesFolder):
                await folder.open(at(path), READ)

    async def test_dangling(self, folder: Able) -> None:
        """Behind a link to nothing is nothing."""
        if not self.claims(ILinks, folder):
            return
        await folder.make_link(at("dangling"), "nothing")
        with pytest.raises(NotFound):
            await folder.stat(at("dangling"), follow=True)
        with pytest.raises(NotFound):
            await folder.open(at("dangling"), READ)

    async def test_never_writes_through(self, folder: Able) -> None:
        """Whatever changes something refuses to go through a link, though it stays inside."""
        if not self.claims(ILinks, folder):
            return
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"content")
        await put(folder, "plain", b"1")
        await folder.make_link(at("link"), "dir")
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: folder.make_dir(at("link/new")),
            lambda: put(folder, "link/new", b""),
            lambda: put(folder, "link/file", b""),
            lambda: folder.remove(at("link/file"), ANY),
            lambda: folder.remove_dir(at("link/new")),
            lambda: folder.rename(at("link/file"), at("moved"), ANY),
            lambda: folder.rename(at("plain"), at("link/moved"), ANY),
            lambda: folder.set_attrs(at("link/file"), Attrs(mode=0o777)),
            lambda: folder.make_link(at("link/new"), "x"),
            lambda: folder.hard_link(at("link/file"), at("new")),
            lambda: folder.hard_link(at("plain"), at("link/new")),
        ]
        if IRandomWrite in self.abilities:
            attempts += [
                lambda: folder.open(at("link/file"), WRITE),
                lambda: folder.open(at("link/new"), WRITE_NEW),
            ]
        for attempt in attempts:
            with pytest.raises(LeavesFolder):
                await attempt()
        assert await names_in(folder, "dir") == ["file"]
        assert await names_in(folder) == ["dir", "link", "plain"]

    async def test_open_for_writing_refuses_a_link(self, folder: Able) -> None:
        """A link at the end is not opened for writing, nor created through."""
        if not self.claims(ILinks, folder) or IRandomWrite not in self.abilities:
            return
        await put(folder, "file", b"content")
        await folder.make_link(at("link"), "file")
        await folder.make_link(at("dangling"), "new")
        for path in ("link", "dangling"):
            with pytest.raises(LeavesFolder):
                await folder.open(at(path), WRITE_NEW | OpenMode.TRUNCATE)
            with pytest.raises(AlreadyExists):
                await folder.open(at(path), WRITE_NEW | OpenMode.EXCLUSIVE)
        assert await content_of(folder, "file") == b"content"
        assert not await exists(folder, "new")

    async def test_acts_on_the_link_itself(self, folder: Able) -> None:
        """Moving, removing and replacing a link leave what it points to alone."""
        if not self.claims(ILinks, folder):
            return
        await put(folder, "file", b"content")
        await folder.make_link(at("link"), "file")
        await folder.rename(at("link"), at("moved"), ANY)
        assert (await folder.stat(at("moved"))).target == "file"
        replaced = (await put(folder, "moved", b"new")).replaced
        assert replaced is not None and replaced.type is FileType.SYMLINK
        await folder.make_link(at("link"), "file")
        removed = (await folder.remove(at("link"), ANY)).replaced
        assert removed is not None and removed.target == "file"
        assert await content_of(folder, "file") == b"content"

    async def test_link_to_a_directory_is_no_directory(self, folder: Able) -> None:
        """A link is removed as a file, never as a directory, and nothing below it goes."""
        if not self.claims(ILinks, folder):
            return
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"")
        await folder.make_link(at("link"), "dir")
        with pytest.raises(NotADirectory):
            await folder.remove_dir(at("link"))
        await folder.remove(at("link"), ANY)
        assert await names_in(folder, "dir") == ["file"]

    async def test_attributes_of_a_link(self, folder: Able) -> None:
        """Changing a link's mode changes nothing; its times are its own."""
        if not self.claims(ILinks, folder):
            return
        before = (await put(folder, "file", b"")).stat
        await folder.make_link(at("link"), "file")
        mode = (await folder.stat(at("link"))).mode
        changed = await folder.set_attrs(at("link"), Attrs(mode=0o600, mtime_ns=10**18))
        assert (changed.mode, changed.mtime_ns, changed.type) == (mode, 10**18, FileType.SYMLINK)
        assert await folder.stat(at("file")) == before

    async def test_names_of_links(self, folder: Able) -> None:
        """A link does not take a name that is taken, nor point to nothing at all."""
        if not self.claims(ILinks, folder):
            return
        await put(folder, "file", b"1")
        for path in (at("file"), ROOT):
            with pytest.raises(AlreadyExists):
                await folder.make_link(path, "x")
        for target in ("", "a\0b"):
            with pytest.raises(GatewayError):
                await folder.make_link(at("link"), target)
        assert await names_in(folder) == ["file"]

    async def test_hard_links(self, folder: Able) -> None:
        """Two names share one file; it is counted, and stays until both are gone."""
        if not self.claims(ILinks, folder):
            return
        await put(folder, "one", b"content")
        await folder.hard_link(at("one"), at("two"))
        first, second = await folder.stat(at("one")), await folder.stat(at("two"))
        assert first == second and first.nlink == 2
        removed = await folder.remove(at("one"), ANY)
        assert removed.replaced is not None and removed.replaced.nlink == 2
        assert await content_of(folder, "two") == b"content"
        assert (await folder.stat(at("two"))).nlink == 1

    async def test_hard_link_over_its_twin(self, folder: Able) -> None:
        """Moving one name of a file over another leaves the other name only."""
        if not self.claims(ILinks, folder):
            return
        await put(folder, "one", b"content")
        await folder.hard_link(at("one"), at("two"))
        moved = await folder.rename(at("one"), at("two"), ANY)
        assert await names_in(folder) == ["two"]
        assert moved.stat is not None and moved.stat.nlink == 1
        assert moved.replaced is not None and moved.replaced.nlink == 2

    async def test_hard_links_refused(self, folder: Able) -> None:
        """Directories have one name, a taken name stays, and nothing has no second name."""
        if not self.claims(ILinks, folder):
            return
        await folder.make_dir(at("dir"))
        await put(folder, "file", b"")
        with pytest.raises(IsADirectory):
            await folder.hard_link(at("dir"), at("new"))
        with pytest.raises(IsADirectory):
            await folder.hard_link(ROOT, at("new"))
        with pytest.raises(NotFound):
            await folder.hard_link(at("missing"), at("new"))
        for target in (at("dir"), ROOT):
            with pytest.raises(AlreadyExists):
                await folder.hard_link(at("file"), target)
        assert await names_in(folder) == ["dir", "file"]


class CopyPromises(VolumeCase):
    """Where ``IServerSideCopy`` or ``IFastClone`` is claimed, copies are true and independent."""

    async def test_copies_a_file(self, folder: Able) -> None:
        """The copy has the bytes, the mode and the times, and is a file of its own."""
        if not self.claims(IServerSideCopy, folder):
            return
        content = bytes(range(256)) * 5000
        await put(folder, "source", content)
        original = await folder.set_attrs(at("source"), Attrs(mode=0o600, mtime_ns=10**18))
        copied = await folder.copy_file(at("source"), folder, at("copy"), ABSENT)
        assert copied.stat == await folder.stat(at("copy"))
        assert (copied.stat.mode, copied.stat.mtime_ns) == (original.mode, original.mtime_ns)
        assert await content_of(folder, "copy") == content
        await put(folder, "source", b"changed")
        assert await content_of(folder, "copy") == content

    async def test_copies_between_vfolders(self, volume: Able, folder: Able) -> None:
        """A file can be copied into another vfolder of the same volume."""
        if not self.claims(IServerSideCopy, folder):
            return
        other = await new_folder(volume)
        await put(folder, "source", b"content")
        await folder.copy_file(at("source"), other, at("copy"), ANY)
        assert await content_of(other, "copy") == b"content"
        assert await names_in(folder) == ["source"]

    async def test_copy_obeys_expectations(self, folder: Able) -> None:
        """A refused copy leaves the target as it was, and no stage."""
        if not self.claims(IServerSideCopy, folder):
            return
        await put(folder, "source", b"new")
        old = (await put(folder, "target", b"old")).stat
        await folder.make_dir(at("dir"))
        with pytest.raises(AlreadyExists):
            await folder.copy_file(at("source"), folder, at("target"), ABSENT)
        with pytest.raises(PreconditionFailed):
            await folder.copy_file(at("source"), folder, at("target"), Expect.same("other"))
        with pytest.raises(IsADirectory):
            await folder.copy_file(at("source"), folder, at("dir"), ANY)
        with pytest.raises(IsADirectory):
            await folder.copy_file(at("dir"), folder, at("copy"), ANY)
        with pytest.raises(NotFound):
            await folder.copy_file(at("missing"), folder, at("copy"), ANY)
        with pytest.raises(NotFound):
            await folder.copy_file(at("source"), folder, at("missing/copy"), ANY)
        assert await folder.stat(at("target")) == old
        assert await names_in(folder) == ["dir", "source", "target"]
        copied = await folder.copy_file(at("source"), folder, at("target"), ANY)
        assert copied.replaced == old

    async def test_copies_not_to_strangers(self, folder: Able, tmp_path: Path) -> None:
        """A vfolder of another volume is refused."""
        if not self.claims(IServerSideCopy, folder):
            return
        await put(folder, "source", b"content")
        with pytest.raises(Unsupported):
            await folder.copy_file(at("source"), object(), at("copy"), ANY)

    async def test_clones(self, volume: Able) -> None:
        """A clone has everything: files, empty directories, links as links, modes, times and shared names; no stages."""
        if not self.claims(IFastClone, volume):
            return
        source, target = new_vfid(), new_vfid()
        await volume.create_folder(source, FolderOptions())
        folder = await volume.folder(source, Actor())
        await folder.make_dir(at("dir"))
        await folder.make_dir(at("dir/empty"))
        await put(folder, "dir/file", b"content")
        await folder.set_attrs(at("dir/file"), Attrs(mode=0o751, mtime_ns=10**18))
        if ILinks in self.abilities:
            await folder.make_link(at("out"), "/etc/passwd")
            await folder.hard_link(at("dir/file"), at("twin"))
        await folder.set_attrs(at("dir"), Attrs(mode=0o700, mtime_ns=2 * 10**18))
        staged = await folder.stage(at("x"), None)
        await volume.clone_folder(source, target)
        await staged.discard()
        clone = await volume.folder(target, Actor())
        assert await names_in(clone, "dir") == ["empty", "file"]
        assert await content_of(clone, "dir/file") == b"content"
        file, directory = await clone.stat(at("dir/file")), await clone.stat(at("dir"))
        assert (file.mode, file.mtime_ns) == (0o751, 10**18)
        assert (directory.mode, directory.mtime_ns) == (0o700, 2 * 10**18)
        if ILinks in self.abilities:
            assert await names_in(clone) == ["dir", "out", "twin"]
            assert (await clone.stat(at("out"))).target == "/etc/passwd"
            assert (await clone.stat(at("twin"))).nlink == 2
        await put(folder, "dir/file", b"changed")
        assert await content_of(clone, "dir/file") == b"content"

    async def test_clone_refused(self, volume: Able) -> None:
        """A clone needs an original, and never goes over something; a refused one leaves nothing."""
        if not self.claims(IFastClone, volume):
            return
        source, taken, free = new_vfid(), new_vfid(), new_vfid()
        for vfid in (source, taken):
            await volume.create_folder(vfid, FolderOptions())
        await put(await volume.folder(taken, Actor()), "kept", b"1")
        with pytest.raises(VFolderExists):
            await volume.clone_folder(source, taken)
        with pytest.raises(VFolderNotFound):
            await volume.clone_folder(new_vfid(), free)
        assert await names_in(await volume.folder(taken, Actor())) == ["kept"]
        assert set(await volume.folders()) == {source, taken}


def replaced_facts(stat: FileStat | None) -> tuple[FileType, int, int, int | None] | None:
    """What is told of a file that another took the place of: by then its times may be others."""
    return None if stat is None else (stat.type, stat.size, stat.nlink, stat.mode)


def timeless(stat: FileStat) -> FileStat:
    """Facts without the time of the last reading."""
    return stat._replace(atime_ns=0)


class OtherAbilityPromises(VolumeCase):
    """The remaining abilities."""

    async def test_usage(self, volume: Able) -> None:
        """Usage counts every name, stages too, and the bytes of every file once."""
        if not self.claims(IFastUsage, volume):
            return
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        assert await volume.fast_usage(vfid) == Usage(0, 0)
        folder = await volume.folder(vfid, Actor())
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"12345")
        staged = await folder.stage(at("x"), None)
        await staged.append([b"123"])
        assert await volume.fast_usage(vfid) == Usage(8, 3)
        await staged.discard()
        await folder.remove(at("dir/file"), ANY)
        assert await volume.fast_usage(vfid) == Usage(0, 1)
        with pytest.raises(VFolderNotFound):
            await volume.fast_usage(new_vfid())

    async def test_attributes(self, folder: Able) -> None:
        """Named values are kept with a file, and removed."""
        if not self.claims(IAttributes, folder):
            return
        await put(folder, "file", b"")
        await folder.set_attribute(at("file"), "user.a", b"1")
        await folder.set_attribute(at("file"), "user.b", b"\0\xff")
        await folder.set_attribute(at("file"), "user.a", None)
        assert dict(await folder.attributes(at("file"))) == {"user.b": b"\0\xff"}
        with pytest.raises(NotFound):
            await folder.attributes(at("missing"))

    async def test_mount_path(self, volume: Able) -> None:
        """Agents are told an absolute path, of vfolders that exist."""
        if not self.claims(IMountable, volume):
            return
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        await put(await volume.folder(vfid, Actor()), "file", b"content")
        mounted = Path(await volume.mount_path(vfid))
        assert mounted.is_absolute()
        assert mounted.is_relative_to(volume.path)
        with pytest.raises(VFolderNotFound):
            await volume.mount_path(new_vfid())

    async def test_remote_mount(self, volume: Able) -> None:
        """Hosts are told what to mount, and where the vfolder lies in it, if they can mount it at all; of vfolders that exist."""
        if not self.claims(IRemoteMount, volume):
            return
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        mount = await volume.remote_mount(vfid)
        assert mount is None or (mount.type and mount.source and not mount.path.startswith(("/", "..")))
        with pytest.raises(VFolderNotFound):
            await volume.remote_mount(new_vfid())

    async def test_at_hand(self, folder: Able) -> None:
        """What is told at once is what the ordinary way tells; what is not there, or not plain, is not told."""
        await put(folder, "file", b"0123456789")
        await folder.make_dir(at("dir"))
        await put(folder, "dir/inner", b"x")
        if not self.claims(IAtHand, folder):
            return
        for path in (at("file"), at("dir"), at("dir/inner"), ROOT):
            told = folder.stat_now(path)
            assert told is None or timeless(told) == timeless(await folder.stat(path, follow=True))
        stat = timeless(await folder.stat(at("file")))
        for part, content in (((0, 10), b"0123456789"), ((3, 4), b"3456"), (None, b"")):
            read = folder.read_now(at("file"), lambda _, part=part: part)
            assert read is None or (timeless(read[0]), bytes(read[1])) == (stat, content)
        assert folder.read_now(at("file"), lambda _: (5, 6)) is None
        for strange in ("missing", "missing/file", "file/inner", ".upload"):
            assert folder.stat_now(at(strange)) is None
            assert folder.read_now(at(strange), lambda _: (0, 1)) is None
        assert folder.read_now(at("dir"), lambda _: (0, 1)) is None
        if ILinks in self.abilities:
            await folder.make_link(at("link"), "file")
            await folder.make_link(at("way"), "dir")
            assert folder.stat_now(at("link")) is None
            assert folder.read_now(at("link"), lambda _: (0, 1)) is None
            assert folder.read_now(at("way/inner"), lambda _: (0, 1)) is None

    @pytest.mark.parametrize("alone", [True, False])
    async def test_stored_at_hand(self, folder: Able, alone: bool) -> None:
        """What is stored at once is what a stage would have become; where that cannot be, nothing has happened."""
        await put(folder, "file", b"0123456789")
        await folder.make_dir(at("dir"))
        if not self.claims(IAtHand, folder):
            return
        before = await folder.stat(at("file"))
        for name, there in (("file", before), ("dir/new", None)):
            published = folder.store_now(at(name), b"content", alone)
            if published is None:
                assert await exists(folder, name) == (there is not None)
                continue
            assert folder.stores_now
            assert await content_of(folder, name) == b"content"
            assert timeless(published.stat) == timeless(await folder.stat(at(name)))
            assert replaced_facts(published.replaced) == replaced_facts(there)
        for strange in ("dir", "missing/new", "file/new", ".upload/new"):
            assert folder.store_now(at(strange), b"content", alone) is None
        assert folder.store_now(ROOT, b"content", alone) is None
        assert set(await names_in(folder, "dir")) <= {"new"}
        assert list(await folder.stages()) == []

    @pytest.mark.parametrize("alone", [True, False])
    async def test_stored_whole(self, folder: Able, alone: bool) -> None:
        """One call does what a stage does; what it refuses leaves nothing."""
        await put(folder, "file", b"0123456789")
        await folder.make_dir(at("dir"))
        if not self.claims(IWholeStore, folder):
            return
        before = await folder.stat(at("file"))
        for name, there in (("file", before), ("dir/new", None)):
            published = await folder.store_whole(at(name), b"content", alone)
            if published is None:
                assert not (alone or folder.stores_together)
                assert await exists(folder, name) == (there is not None)
                continue
            assert await content_of(folder, name) == b"content"
            assert timeless(published.stat) == timeless(await folder.stat(at(name)))
            assert replaced_facts(published.replaced) == replaced_facts(there)
        for strange in ("dir", "missing/new", "file/new", ".upload/new"):
            assert await folder.store_whole(at(strange), b"content", alone) is None
        assert await folder.store_whole(ROOT, b"content", alone) is None
        assert set(await names_in(folder, "dir")) <= {"new"}
        assert list(await folder.stages()) == []

    async def test_stored_by_many_at_once(self, folder: Able) -> None:
        """Each is told what it has replaced, so that the sum of what came and went is what is there."""
        if not self.claims(IWholeStore, folder):
            return
        await put(folder, "first", b"")
        storing = [
            Deferred.fromCoroutine(folder.store_whole(at(f"file-{size % 3}"), b"x" * size, False))
            for size in range(1, 100)
        ]
        published = [await each for each in storing]
        stored = sum(size for size, one in enumerate(published, 1) if one is not None)
        gone = [one.replaced.size for one in published if one is not None and one.replaced is not None]
        left = [(await folder.stat(at(name))).size for name in await names_in(folder) if name.startswith("file-")]
        assert stored - sum(gone) == sum(left)
        assert len([one for one in published if one is not None]) - len(gone) == len(left)
        assert list(await folder.stages()) == []

    async def test_mapped_listing(self, folder: Able) -> None:
        """The function is given every entry once, as a listing gives it, never an empty batch; the end is told by ``None``."""
        for number in range(7):
            await put(folder, f"file-{number}", b"x" * number)
        listing, mapped = await folder.open_dir(ROOT), await folder.open_dir(ROOT)
        try:
            if not self.claims(IMappedListing, mapped):
                return
            batches: list[list[DirEntry]] = []
            while (batch := await mapped.read_mapped(3, list)) is not None:
                batches.append(batch)
            assert [len(batch) for batch in batches] == [3, 3, 1]
            assert [entry for batch in batches for entry in batch] == list(await listing.read(100))
        finally:
            await listing.close()
            await mapped.close()

    async def test_opened_at_hand(self, folder: Able) -> None:
        """What is opened at once is what the ordinary way opens, and so is what is done with it."""
        await put(folder, "file", b"0123456789")
        if not self.claims(IAtHand, folder):
            return
        making = OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE | OpenMode.EXCLUSIVE
        made = folder.open_now(at("new"), making)
        if made is not None:
            assert self.claims(IFileAtHand, made)
            for done in (made.write_now(2, [b"ab", b"cd"]), made.truncate_now(5)):
                assert done or not made.in_place
            changed, told = made.set_attrs_now(Attrs(mtime_ns=10**18)), made.stat_now()
            assert told is None or timeless(told) == timeless(await made.stat())
            assert changed is None or changed.mtime_ns == 10**18
            if not made.close_now():
                await made.close()
            assert await content_of(folder, "new") == b"\0\0abc"
            with pytest.raises(AlreadyExists):
                folder.open_now(at("new"), making)
        read = folder.open_now(at("file"), OpenMode.READ)
        if read is not None:
            assert await read.read(2, 3) == b"234"
            if not read.close_now():
                await read.close()
            for strange in ("missing", "missing/file", "file/inner"):
                with pytest.raises(NotFound):
                    folder.open_now(at(strange), OpenMode.READ)
        assert set(await names_in(folder, "")) <= {"file", "new"}

    async def test_usage_walk(self, folder: Able) -> None:
        """Every name is an entry, what is stored counts once, and staging is left out."""
        if not self.claims(IUsageWalk, folder):
            return
        assert (await folder.walk_usage(ROOT)).total == Usage()
        await folder.make_dir(at("deep"))
        await folder.make_dir(at("deep/er"))
        for number in range(7):
            await put(folder, f"deep/er/file-{number}", b"x" * number)
        await put(folder, FolderPath(("deep", os.fsdecode(b"\xff\xfe"))), b"yy")
        stage = await folder.stage(at("deep/staged"), None)
        await stage.append([b"not counted"])
        await put(folder, "at-the-top", b"")
        counted = await folder.walk_usage(ROOT)
        assert counted.folders == {b"deep": Usage(21 + 2, 7 + 1 + 2), LOOSE: Usage(0, 1)}
        assert counted.total == Usage(21 + 2, 7 + 1 + 2 + 1)
        assert (await folder.walk_usage(at("deep/er"))).total == Usage(21, 7)
        await stage.discard()
        if ILinks in self.abilities:
            await folder.hard_link(at("deep/er/file-6"), at("again"))
            await folder.make_link(at("link"), "deep")
            assert (await folder.walk_usage(ROOT)).total == Usage(23, 13)
        with pytest.raises(NotFound):
            await folder.walk_usage(at("missing"))
        with pytest.raises(NotADirectory):
            await folder.walk_usage(at("deep/er/file-0"))

    async def test_usage_walk_that_is_cancelled(self, folder: Able) -> None:
        """It lets go of everything."""
        if not self.claims(IUsageWalk, folder):
            return
        await put(folder, "file", b"x")
        before = len(list(Path("/proc/self/fd").iterdir()))
        walking = Deferred.fromCoroutine(folder.walk_usage(ROOT))
        walking.cancel()
        with pytest.raises(CancelledError):
            await walking
        await folder.stat(at("file"))
        for _ in range(1000):
            if len(list(Path("/proc/self/fd").iterdir())) <= before:
                break
            await deferLater(reactor, 0.001, lambda: None)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before

    async def test_description(self, volume: Able) -> None:
        """It is kept beside the vfolder, replaced as a whole, no part of it, not copied with it, and gone with it."""
        if not self.claims(IDescriptions, volume):
            return
        storage: Any = volume
        vfid, copy = new_vfid(), new_vfid()
        await storage.create_folder(vfid, FolderOptions())
        assert await storage.description(vfid) is None
        await storage.describe(vfid, "ein Ordner für alle".encode() * 100)
        await storage.describe(vfid, b"something else")
        assert await storage.description(vfid) == b"something else"
        assert await names_in(await storage.folder(vfid, Actor())) == []
        if ILayout.providedBy(volume):
            assert await storage.misplaced() == []
        if IFastClone.providedBy(volume):
            await storage.clone_folder(vfid, copy)
            assert await storage.description(copy) is None
            await storage.delete_folder(copy)
        assert await storage.folders() == [vfid]
        await storage.delete_folder(vfid)
        assert await storage.description(vfid) is None
        with pytest.raises(VFolderNotFound):
            await storage.describe(vfid, b"too late")

    async def test_claims_nothing_else(self, volume: Able) -> None:
        """Abilities that the class does not name are not provided."""
        for ability in (ILayout, INativeQuota):
            self.claims(ability, volume)

    async def test_hardware_info(self, volume: Able) -> None:
        """A volume that works is not said to be out of order, and what is told beside are words."""
        if not self.claims(IHardwareInfo, volume):
            return
        health = await volume.hardware_info()
        assert health.state in (HealthState.HEALTHY, HealthState.DEGRADED)
        assert all(isinstance(word, str) for pair in health.metadata.items() for word in pair)

    async def test_performance(self, volume: Able) -> None:
        """Rates are numbers that are not negative, or there are none."""
        if not self.claims(IPerformanceMetrics, volume):
            return
        for _ in range(2):
            with suppress(Unsupported):
                assert all(rate >= 0 for rate in attrs.astuple(await volume.performance()))
