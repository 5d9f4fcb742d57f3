"""Promises of :class:`~vfgateway.interfaces.IFile`, of listings, and of names that are hard to keep."""

from __future__ import annotations

import os
from typing import ClassVar

import pytest
from zope.interface.verify import verifyObject

from tests.conformance.harness import READ, WRITE_NEW, Able, VolumeCase, at, content_of, exists, names_in, put
from vfgateway.abilities import IDescriptorRead, IRandomWrite
from vfgateway.errors import (
    GatewayError,
    InvalidPath,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotFound,
    StorageFailure,
    Unsupported,
)
from vfgateway.interfaces import IDirectory, IFile, IFolder, IVolume
from vfgateway.model import ANY, OpenMode
from vfgateway.paths import ROOT, FolderPath, parse_bytes

#: Names that a disk keeps as they are; storage that cannot says so in ``NameRules``.
HOSTILE_NAMES = (
    b"n" * 255,
    "ü".encode() * 127,
    b"\xff\xfe not UTF-8",
    b"new\nline",
    b"carriage\rreturn",
    b"tab\tand \x01",
    b"back\\slash",
    b"trailing dot.",
    b"trailing space ",
    b" leading space",
    b"...",
    b"-rf",
    b"~",
    b"quote\"'`",
    b"colon:star*",
    b"%2e%2e%2f",
    "a\u0308".encode(),
    b".hidden",
    b".uploads2",
    b"con",
)


class FilePromises(VolumeCase):
    """An open file gives its bytes."""

    async def test_reads_ranges(self, folder: IFolder) -> None:
        """A range gives its bytes, fewer at the end, none at or past it."""
        await put(folder, "file", b"0123456789")
        file = await folder.open(at("file"), READ)
        assert verifyObject(IFile, file)
        for offset, length, expected in ((0, 10, b"0123456789"), (3, 4, b"3456"), (8, 100, b"89"), (0, 0, b"")):
            assert await file.read(offset, length) == expected
        assert await file.read(10, 1) == b""
        assert await file.read(10**12, 1) == b""
        await file.close()

    async def test_reads_an_empty_file(self, folder: IFolder) -> None:
        """A file of no bytes is a file."""
        await put(folder, "file", b"")
        assert await content_of(folder, "file") == b""
        assert (await folder.stat(at("file"))).size == 0

    async def test_reads_much_at_once(self, folder: IFolder) -> None:
        """One read gives as much as is asked for."""
        content = bytes(range(256)) * 16384
        await put(folder, "file", content)
        file = await folder.open(at("file"), READ)
        assert await file.read(0, len(content)) == content
        assert await file.read(1 << 20, 3 << 20) == content[1 << 20 :]
        await file.close()

    async def test_stat_of_an_open_file(self, folder: IFolder) -> None:
        """An open file knows the facts of its name."""
        await put(folder, "file", b"12345")
        file = await folder.open(at("file"), READ)
        found, named = await file.stat(), await folder.stat(at("file"))
        assert (found.size, found.identity, found.type) == (named.size, named.identity, named.type)
        await file.close()

    async def test_open_file_outlives_its_name(self, folder: IFolder) -> None:
        """A reader goes on reading the old content after the file was replaced or removed."""
        await put(folder, "file", b"old")
        file = await folder.open(at("file"), READ)
        await put(folder, "file", b"new content")
        assert await file.read(0, 100) == b"old"
        await folder.remove(at("file"), ANY)
        assert await file.read(0, 100) == b"old"
        await file.close()

    async def test_close(self, folder: IFolder) -> None:
        """Closing twice is fine; using a closed file is an error."""
        await put(folder, "file", b"1")
        file = await folder.open(at("file"), READ)
        await file.sync()
        await file.close()
        await file.close()
        for attempt in (lambda: file.read(0, 1), file.stat):
            with pytest.raises(StorageFailure):
                await attempt()

    async def test_open_of_something_else(self, folder: IFolder) -> None:
        """Only a file can be opened."""
        await folder.make_dir(at("dir"))
        await put(folder, "file", b"")
        for path in (at("dir"), ROOT):
            with pytest.raises(IsADirectory):
                await folder.open(path, READ)
        for text in ("missing", "missing/below", "file/below"):
            with pytest.raises(NotFound):
                await folder.open(at(text), READ)

    async def test_descriptor_outlives_close(self, folder: Able) -> None:
        """A borrowed descriptor reads the file even after it was closed; none can be borrowed then."""
        await put(folder, "file", b"content")
        file = await folder.open(at("file"), READ)
        if self.claims(IDescriptorRead, file):
            number = file.borrow()
            await file.close()
            assert os.pread(number, 100, 0) == b"content"
            file.give_back()
            with pytest.raises(OSError):
                os.fstat(number)
            with pytest.raises(StorageFailure):
                file.borrow()
        await file.close()

    async def test_writing_needs_the_ability(self, folder: IFolder) -> None:
        """A file is opened for writing where it can be changed in place, and refused where it cannot."""
        await put(folder, "file", b"1")
        if IRandomWrite in self.abilities:
            file = await folder.open(at("file"), OpenMode.WRITE)
            assert self.claims(IRandomWrite, file)
            await file.close()
        else:
            for mode in (OpenMode.WRITE, WRITE_NEW):
                with pytest.raises(Unsupported):
                    await folder.open(at("file"), mode)


class ListingPromises(VolumeCase):
    """A directory tells its names, bit by bit."""

    #: Files in a large directory: fewer, where each costs a request and the storage lists them in pages that can be made smaller.
    many: ClassVar[int] = 10_000

    async def test_lists_facts(self, folder: IFolder) -> None:
        """An entry comes with the facts that a look at it would give."""
        await put(folder, "file", b"12345")
        await folder.make_dir(at("dir"))
        listing = await folder.open_dir(ROOT)
        assert verifyObject(IDirectory, listing)
        entries = {entry.name: entry.stat for entry in await listing.read(10)}
        assert await listing.read(10) == []
        await listing.close()
        assert entries == {"file": await folder.stat(at("file")), "dir": await folder.stat(at("dir"))}

    async def test_lists_in_bounded_batches(self, folder: IFolder) -> None:
        """A batch is never longer than asked, nothing comes twice, nothing is missing."""
        wanted = sorted(f"{number:03}" for number in range(57))
        for name in wanted:
            await folder.make_dir(at(name))
        for batch in (1, 10, 57, 1000):
            assert await names_in(folder, batch=batch) == wanted

    async def test_lists_very_many(self, folder: IFolder) -> None:
        """A directory of 10,000 files comes whole."""
        await folder.make_dir(at("many"))
        if IRandomWrite in self.abilities:
            for number in range(self.many):
                await (await folder.open(at(f"many/{number:05}"), WRITE_NEW)).close()
        else:
            for number in range(self.many):
                await put(folder, f"many/{number:05}", b"")
        assert await names_in(folder, "many", batch=500) == [f"{number:05}" for number in range(self.many)]

    async def test_leaves_out_what_vanished(self, folder: IFolder) -> None:
        """Entries that are removed while a listing is under way are no error."""
        for number in range(50):
            await put(folder, f"{number:02}", b"")
        listing = await folder.open_dir(ROOT)
        seen = [entry.name for entry in await listing.read(5)]
        for number in range(50):
            await folder.remove(at(f"{number:02}"), ANY)
        while batch := await listing.read(5):
            seen.extend(entry.name for entry in batch)
        await listing.close()
        assert len(seen) == len(set(seen)) <= 50

    async def test_listing_of_something_else(self, folder: IFolder) -> None:
        """Only a directory can be listed."""
        await put(folder, "file", b"")
        with pytest.raises(NotADirectory):
            await folder.open_dir(at("file"))
        for path in ("missing", "missing/below", "file/below"):
            with pytest.raises(NotFound):
                await folder.open_dir(at(path))

    async def test_close(self, folder: IFolder) -> None:
        """A listing can be left before its end, twice."""
        await folder.make_dir(at("a"))
        listing = await folder.open_dir(ROOT)
        await listing.close()
        await listing.close()
        with pytest.raises(StorageFailure):
            await listing.read(1)


class NamePromises(VolumeCase):
    """Names come back as they were given, or are refused."""

    #: Directories in each other.
    deep: ClassVar[int] = 500

    @pytest.mark.parametrize("raw", HOSTILE_NAMES, ids=repr)
    async def test_keeps_hostile_names(self, volume: IVolume, folder: IFolder, raw: bytes) -> None:
        """A file with this name can be written, listed, read, moved and removed; or the rules say that it cannot be."""
        path = parse_bytes(raw)
        if not volume.names.allows(path.name):
            with pytest.raises(InvalidPath):
                await put(folder, path, b"content")
            assert await names_in(folder) == []
            return
        await put(folder, path, b"content")
        assert [name.encode("utf-8", "surrogateescape") for name in await names_in(folder)] == [raw]
        assert await content_of(folder, path) == b"content"
        await folder.make_dir(at("dir"))
        await folder.rename(path, FolderPath(("dir", path.name)), ANY)
        assert await names_in(folder, "dir") == [path.name]
        await folder.remove(FolderPath(("dir", path.name)), ANY)

    async def test_too_long_names(self, volume: IVolume, folder: IFolder) -> None:
        """A name that is longer than the rules say is refused, and nothing is left."""
        path = FolderPath(("n" * (volume.names.longest + 1),))
        for attempt in (lambda: folder.make_dir(path), lambda: put(folder, path, b"")):
            with pytest.raises(NameTooLong):
                await attempt()
        assert await names_in(folder) == []

    async def test_deep_paths(self, folder: IFolder) -> None:
        """Hundreds of directories in each other are a tree like any other."""
        deep = ROOT
        for _ in range(self.deep):
            deep = deep.child("d")
            await folder.make_dir(deep)
        await put(folder, deep.child("file"), b"content")
        assert await content_of(folder, deep.child("file")) == b"content"

    async def test_case(self, volume: IVolume, folder: IFolder) -> None:
        """Names that differ in case are one name exactly if the rules say so, and keep the case they were given."""
        await put(folder, "Name", b"1")
        await put(folder, "nAME", b"2")
        if volume.names.case_folding:
            assert len(await names_in(folder)) == 1
            assert await content_of(folder, "Name") == await content_of(folder, "NAME") == b"2"
        else:
            assert await names_in(folder) == ["Name", "nAME"]
            assert await content_of(folder, "Name") == b"1"

    async def test_rename_of_case(self, folder: IFolder) -> None:
        """A name can be given another case."""
        await put(folder, "name", b"content")
        await folder.rename(at("name"), at("NAME"), ANY)
        assert await names_in(folder) == ["NAME"]
        assert await content_of(folder, "NAME") == b"content"

    async def test_refused_leaves_no_trace(self, folder: IFolder) -> None:
        """After each refusal the vfolder is what it was."""
        await put(folder, "file", b"1")
        with pytest.raises(GatewayError):
            await put(folder, "missing/file", b"2")
        with pytest.raises(GatewayError):
            await folder.make_dir(at("file/dir"))
        assert await names_in(folder) == ["file"]
        assert not await exists(folder, "missing")
