"""Promises of :class:`~vfgateway.interfaces.IFolder` about names: what is there, made, removed, moved and changed."""

from __future__ import annotations

import pytest

from tests.conformance.harness import VolumeCase, at, content_of, exists, names_in, new_folder, put
from vfgateway.abilities import IModes
from vfgateway.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidPath,
    IsADirectory,
    NotADirectory,
    NotFound,
    PreconditionFailed,
)
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import ABSENT, ANY, Actor, Attrs, Expect, FileType
from vfgateway.paths import ROOT


class FolderPromises(VolumeCase):
    """A vfolder is a tree of names."""

    async def test_stat_of_a_file(self, folder: IFolder) -> None:
        """A file has its size, no set-id bits, one name, and an identity fit for a header."""
        await put(folder, "file", b"12345")
        found = await folder.stat(at("file"))
        assert (found.type, found.size, found.nlink, found.target) == (FileType.FILE, 5, 1, None)
        assert found.mode == found.mode & 0o777
        assert found.identity.isascii() and found.identity.isprintable() and '"' not in found.identity

    async def test_stat_of_a_directory(self, folder: IFolder) -> None:
        """A directory has no size."""
        await folder.make_dir(at("dir"))
        found = await folder.stat(at("dir"))
        assert (found.type, found.size) == (FileType.DIRECTORY, 0)

    async def test_stat_of_nothing(self, folder: IFolder) -> None:
        """A missing name, below a missing directory or below a file, is not found; the error names the path asked for."""
        await put(folder, "file", b"")
        for path in ("missing", "missing/below", "file/below", "file/below/deeper"):
            with pytest.raises(NotFound) as caught:
                await folder.stat(at(path))
            assert caught.value.path == path

    async def test_identity_follows_content(self, folder: IFolder) -> None:
        """A replaced file has another identity, also at the same size."""
        before = await put(folder, "file", b"old")
        after = await put(folder, "file", b"new")
        assert before.stat is not None and after.stat is not None
        assert before.stat.identity != after.stat.identity

    async def test_identity_stays(self, folder: IFolder) -> None:
        """Looking at a file and reading it does not change its identity."""
        published = await put(folder, "file", b"content")
        await content_of(folder, "file")
        assert published.stat is not None
        assert (await folder.stat(at("file"))).identity == published.stat.identity

    async def test_staging_area_is_hidden(self, folder: IFolder) -> None:
        """Where stages are kept is neither listed nor reached, read or written, by name."""
        staged = await folder.stage(at("x"), None)
        await staged.append([b"secret"])
        assert await names_in(folder) == []
        for path in (".upload", f".upload/{staged.token}"):
            with pytest.raises(NotFound):
                await folder.stat(at(path))
            with pytest.raises(NotFound):
                await content_of(folder, path)
            with pytest.raises(InvalidPath):
                await folder.make_dir(at(path))
            with pytest.raises(InvalidPath):
                await put(folder, path, b"")
        with pytest.raises(NotFound):
            await folder.open_dir(at(".upload"))
        await staged.discard()

    # --- directories

    async def test_make_dir(self, folder: IFolder) -> None:
        """A directory is made in another and is empty."""
        await folder.make_dir(at("a"))
        await folder.make_dir(at("a/b"))
        assert await names_in(folder, "a") == ["b"]
        assert await names_in(folder, "a/b") == []

    async def test_make_dir_where_something_is(self, folder: IFolder) -> None:
        """Whatever has the name, the root included, keeps it."""
        await put(folder, "file", b"1")
        await folder.make_dir(at("dir"))
        for path in (at("file"), at("dir"), ROOT):
            with pytest.raises(AlreadyExists):
                await folder.make_dir(path)
        assert await content_of(folder, "file") == b"1"

    async def test_make_dir_without_parent(self, folder: IFolder) -> None:
        """No directory is made on the way."""
        with pytest.raises(NotFound):
            await folder.make_dir(at("a/b"))
        assert await names_in(folder) == []

    async def test_make_dir_in_a_file(self, folder: IFolder) -> None:
        """A file cannot hold a directory."""
        await put(folder, "file", b"")
        with pytest.raises(NotADirectory):
            await folder.make_dir(at("file/dir"))

    async def test_remove_dir(self, folder: IFolder) -> None:
        """An empty directory goes; one with content stays."""
        await folder.make_dir(at("dir"))
        await put(folder, "dir/file", b"")
        with pytest.raises(DirectoryNotEmpty):
            await folder.remove_dir(at("dir"))
        await folder.remove(at("dir/file"), ANY)
        await folder.remove_dir(at("dir"))
        assert await names_in(folder) == []

    async def test_remove_dir_of_something_else(self, folder: IFolder) -> None:
        """Neither a file, nor nothing, nor the root is removed as a directory."""
        await put(folder, "file", b"")
        with pytest.raises(NotADirectory):
            await folder.remove_dir(at("file"))
        with pytest.raises(NotFound):
            await folder.remove_dir(at("missing"))
        with pytest.raises(NotFound):
            await folder.remove_dir(at("file/below"))
        with pytest.raises(InvalidPath):
            await folder.remove_dir(ROOT)
        assert await names_in(folder) == ["file"]

    # --- removing files

    async def test_remove(self, folder: IFolder) -> None:
        """A removed file is gone, and what it was is told, so that its bytes can be given back."""
        published = await put(folder, "file", b"12345")
        removed = await folder.remove(at("file"), ANY)
        assert removed.stat is None
        assert removed.replaced == published.stat
        assert not await exists(folder, "file")

    async def test_remove_of_something_else(self, folder: IFolder) -> None:
        """Neither a directory, nor the root, nor nothing is removed as a file."""
        await folder.make_dir(at("dir"))
        await put(folder, "file", b"")
        for path in (at("dir"), ROOT):
            with pytest.raises(IsADirectory):
                await folder.remove(path, ANY)
        for text in ("missing", "missing/below", "file/below"):
            with pytest.raises(NotFound):
                await folder.remove(at(text), ANY)
        assert await names_in(folder) == ["dir", "file"]

    async def test_remove_by_identity(self, folder: IFolder) -> None:
        """A file is removed only while it is the one that was seen."""
        seen = (await put(folder, "file", b"old")).stat
        assert seen is not None
        now = (await put(folder, "file", b"new")).stat
        assert now is not None
        with pytest.raises(PreconditionFailed):
            await folder.remove(at("file"), Expect.same(seen.identity))
        await folder.remove(at("file"), Expect.same(now.identity))
        assert not await exists(folder, "file")

    # --- attributes

    async def test_set_attrs(self, folder: IFolder) -> None:
        """Mode, where it can be kept, and times are what was asked for, to the precision of the storage, and the answer says so."""
        await put(folder, "file", b"")
        mode = 0o600 if self.claims(IModes, folder) else (await folder.stat(at("file"))).mode
        wanted = Attrs(mode=0o600, mtime_ns=1_500_000_000_000_000_000, atime_ns=1_400_000_000_000_000_000)
        answered = await folder.set_attrs(at("file"), wanted)
        found = await folder.stat(at("file"))
        assert answered == found
        assert (found.mode, found.mtime_ns, found.atime_ns) == (mode, wanted.mtime_ns, wanted.atime_ns)

    async def test_set_attrs_leaves_the_rest(self, folder: IFolder) -> None:
        """What is not asked for stays."""
        before = (await put(folder, "file", b"")).stat
        assert before is not None
        after = await folder.set_attrs(at("file"), Attrs(mtime_ns=10**18))
        assert (after.mode, after.atime_ns, after.size) == (before.mode, before.atime_ns, before.size)

    async def test_set_id_bits_are_stripped(self, folder: IFolder) -> None:
        """Nobody makes a set-id program through the gateway."""
        await put(folder, "file", b"")
        mode = (await folder.set_attrs(at("file"), Attrs(mode=0o6755))).mode
        assert mode == 0o755 if self.claims(IModes, folder) else mode & 0o7000 == 0

    async def test_set_attrs_of_directories(self, folder: IFolder) -> None:
        """Directories and the root have attributes, too."""
        await folder.make_dir(at("dir"))
        for path, mode in ((at("dir"), 0o700), (ROOT, 0o711)):
            changed = await folder.set_attrs(path, Attrs(mode=mode, mtime_ns=10**18))
            assert changed == await folder.stat(path)
            assert changed.mtime_ns == 10**18
            assert not self.claims(IModes, folder) or changed.mode == mode

    async def test_set_attrs_of_nothing(self, folder: IFolder) -> None:
        """There must be something to change."""
        await put(folder, "file", b"")
        for path in ("missing", "missing/below", "file/below"):
            with pytest.raises(NotFound):
                await folder.set_attrs(at(path), Attrs(mode=0o600))

    async def test_actor_does_not_see_another_tree(self, volume: IVolume) -> None:
        """Whoever acts, an unprivileged number or nobody in particular, can write and read."""
        folder = await new_folder(volume, Actor(uid=12345, gid=12345))
        await put(folder, "file", b"content")
        assert await content_of(folder, "file") == b"content"


class RenamePromises(VolumeCase):
    """Moving is atomic and never loses what it was not asked to replace."""

    async def test_moves_a_file(self, folder: IFolder) -> None:
        """The file has the new name, its bytes, and no longer the old name."""
        await folder.make_dir(at("dir"))
        await put(folder, "old", b"content")
        moved = await folder.rename(at("old"), at("dir/new"), ANY)
        assert moved.replaced is None
        assert moved.stat == await folder.stat(at("dir/new"))
        assert await content_of(folder, "dir/new") == b"content"
        assert not await exists(folder, "old")

    async def test_moves_a_directory(self, folder: IFolder) -> None:
        """A directory takes its content along."""
        await folder.make_dir(at("old"))
        await put(folder, "old/file", b"content")
        await folder.rename(at("old"), at("new"), ANY)
        assert await content_of(folder, "new/file") == b"content"
        assert await names_in(folder) == ["new"]

    async def test_replaces_a_file(self, folder: IFolder) -> None:
        """A file gives way to a file, and what gave way is told."""
        await put(folder, "source", b"new")
        old = (await put(folder, "target", b"12345")).stat
        moved = await folder.rename(at("source"), at("target"), ANY)
        assert moved.replaced == old
        assert await content_of(folder, "target") == b"new"
        assert await names_in(folder) == ["target"]

    async def test_replaces_nothing_where_nothing_is_expected(self, folder: IFolder) -> None:
        """With ``ABSENT`` neither a file nor a directory gives way."""
        await put(folder, "source", b"new")
        await put(folder, "file", b"old")
        await folder.make_dir(at("dir"))
        for target in ("file", "dir"):
            with pytest.raises(AlreadyExists):
                await folder.rename(at("source"), at(target), ABSENT)
        assert await content_of(folder, "file") == b"old"
        await folder.rename(at("source"), at("free"), ABSENT)
        assert await content_of(folder, "free") == b"new"

    async def test_moves_a_directory_where_nothing_is_expected(self, folder: IFolder) -> None:
        """``ABSENT`` holds for directories as well, even empty ones."""
        await folder.make_dir(at("source"))
        await folder.make_dir(at("target"))
        with pytest.raises(AlreadyExists):
            await folder.rename(at("source"), at("target"), ABSENT)
        await folder.rename(at("source"), at("free"), ABSENT)
        assert await names_in(folder) == ["free", "target"]

    async def test_replaces_by_identity(self, folder: IFolder) -> None:
        """A target that changed since it was seen stays, and so does the source."""
        seen = (await put(folder, "target", b"old")).stat
        now = (await put(folder, "target", b"now")).stat
        await put(folder, "source", b"new")
        assert seen is not None and now is not None
        for target in ("target", "missing"):
            with pytest.raises(PreconditionFailed):
                await folder.rename(at("source"), at(target), Expect.same(seen.identity))
        assert await content_of(folder, "source") == b"new"
        await folder.rename(at("source"), at("target"), Expect.same(now.identity))
        assert await content_of(folder, "target") == b"new"

    async def test_file_and_directory_do_not_replace_each_other(self, folder: IFolder) -> None:
        """Kinds do not mix."""
        await put(folder, "file", b"1")
        await folder.make_dir(at("dir"))
        with pytest.raises(IsADirectory):
            await folder.rename(at("file"), at("dir"), ANY)
        with pytest.raises(NotADirectory):
            await folder.rename(at("dir"), at("file"), ANY)
        assert await names_in(folder) == ["dir", "file"]

    async def test_directory_replaces_an_empty_one_only(self, folder: IFolder) -> None:
        """A directory with content never vanishes under another."""
        for path in ("source", "full", "full/x", "empty"):
            await folder.make_dir(at(path))
        await put(folder, "source/file", b"1")
        with pytest.raises(DirectoryNotEmpty):
            await folder.rename(at("source"), at("full"), ANY)
        moved = await folder.rename(at("source"), at("empty"), ANY)
        assert moved.replaced is None
        assert await names_in(folder, "empty") == ["file"]

    async def test_onto_itself(self, folder: IFolder) -> None:
        """Moving something to where it is changes nothing."""
        await put(folder, "file", b"1")
        await folder.make_dir(at("dir"))
        for path in ("file", "dir"):
            assert (await folder.rename(at(path), at(path), ANY)).replaced is None
        assert await names_in(folder) == ["dir", "file"]
        assert await content_of(folder, "file") == b"1"

    async def test_into_itself(self, folder: IFolder) -> None:
        """A directory cannot be moved below itself."""
        await folder.make_dir(at("a"))
        await folder.make_dir(at("a/b"))
        for target in ("a/c", "a/b/c"):
            with pytest.raises(InvalidPath):
                await folder.rename(at("a"), at(target), ANY)
        assert await names_in(folder, "a") == ["b"]

    async def test_over_its_own_parent(self, folder: IFolder) -> None:
        """What lies in a directory cannot replace it."""
        await folder.make_dir(at("a"))
        await folder.make_dir(at("a/b"))
        await put(folder, "a/f", b"")
        with pytest.raises(DirectoryNotEmpty):
            await folder.rename(at("a/b"), at("a"), ANY)
        with pytest.raises(IsADirectory):
            await folder.rename(at("a/f"), at("a"), ANY)
        assert await names_in(folder, "a") == ["b", "f"]

    async def test_root_stays(self, folder: IFolder) -> None:
        """The root is neither moved nor replaced."""
        await folder.make_dir(at("dir"))
        with pytest.raises(InvalidPath):
            await folder.rename(ROOT, at("dir/x"), ANY)
        with pytest.raises(InvalidPath):
            await folder.rename(at("dir"), ROOT, ANY)

    async def test_nothing_to_move(self, folder: IFolder) -> None:
        """The source must be there."""
        await put(folder, "file", b"")
        for source in ("missing", "missing/below", "file/below"):
            with pytest.raises(NotFound):
                await folder.rename(at(source), at("target"), ANY)
        assert await names_in(folder) == ["file"]

    async def test_nowhere_to_move(self, folder: IFolder) -> None:
        """The target's directory must be there and be a directory; the source stays otherwise."""
        await put(folder, "file", b"1")
        await put(folder, "other", b"2")
        with pytest.raises(NotFound):
            await folder.rename(at("file"), at("missing/target"), ANY)
        with pytest.raises(NotADirectory):
            await folder.rename(at("file"), at("other/target"), ANY)
        with pytest.raises(InvalidPath):
            await folder.rename(at("file"), at(".upload"), ANY)
        assert await content_of(folder, "file") == b"1"
