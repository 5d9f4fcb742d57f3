"""What happens behind the interface: full disks, leftovers of a crash, kernels that lack a call, copies."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread

from tests.backends.vfs.conftest import Disk, Opener, furnish
from tests.conformance.harness import WRITE_NEW, Able, at, content_of, names_in, new_vfid, put
from tests.support.mounts import small_tmpfs
from vfgateway.backends.vfs import copy, syscalls
from vfgateway.backends.vfs.publish import LARGE
from vfgateway.errors import AlreadyExists, NoSpace, UploadNotFound
from vfgateway.model import ABSENT, ANY, Actor, Expect, OpenMode, Published


class TestFullDisk:
    """A disk that is full is told as such, and nothing is left by what did not fit."""

    @pytest_twisted.async_yield_fixture
    async def small(self, make_volume: Opener, tmp_path: Path) -> AsyncIterator[Disk]:
        with small_tmpfs(tmp_path / "small", "2m", inodes=60):
            disk = await furnish(make_volume(path=tmp_path / "small"))
            yield disk
            await disk.volume.stop()

    async def test_append(self, small: Disk) -> None:
        """An append that does not fit is an error; the size says what is there, and after the discard there is room again."""
        staged = await small.folder.stage(at("file"), None)
        with pytest.raises(NoSpace):
            await staged.append([b"x" * (1 << 20)] * 3)
        assert staged.size == (small.root / ".upload" / staged.token).stat().st_size
        await staged.discard()
        await put(small.folder, "file", b"x" * (1 << 20))
        assert len(await content_of(small.folder, "file")) == 1 << 20

    async def test_write_in_place(self, small: Disk) -> None:
        """A write in place that does not fit is an error."""
        file: Able = await small.folder.open(at("file"), WRITE_NEW)
        with pytest.raises(NoSpace):
            await file.write(0, [b"x" * (3 << 20)])
        await file.close()

    async def test_expected_size(self, small: Disk) -> None:
        """What cannot fit is refused before the first byte, and leaves no stage."""
        with pytest.raises(NoSpace):
            await small.folder.stage(at("file"), 64 << 20)
        assert await small.folder.stages() == []

    async def test_copies(self, small: Disk) -> None:
        """A copy or clone that does not fit leaves neither stage nor vfolder."""
        await put(small.folder, "file", b"x" * (1200 << 10))
        with pytest.raises(NoSpace):
            await small.folder.copy_file(at("file"), small.folder, at("copy"), ABSENT)
        assert await names_in(small.folder) == ["file"]
        assert await small.folder.stages() == []
        with pytest.raises(NoSpace):
            await small.volume.clone_folder(small.vfid, new_vfid())
        assert await small.volume.folders() == [small.vfid]

    async def test_no_inodes(self, small: Disk) -> None:
        """A disk that takes no further file is full, too; vfolders and directories can still be removed."""
        made = []
        with pytest.raises(NoSpace):
            for number in range(100):
                made.append(at(f"{number}"))
                await small.folder.make_dir(made[-1])
        await small.folder.remove_dir(made[0])
        await small.volume.delete_folder(small.vfid)
        assert await small.volume.folders() == []


class TestRemoval:
    """Removing a vfolder is quick to begin, goes on after a crash, and takes no more than the vfolder."""

    async def test_leftovers_go_at_start(self, make_volume: Opener) -> None:
        """What a crash left in the trash is removed by the next start; links in it are not followed."""
        disk = await furnish(make_volume())
        assert disk.vfid.scope is not None
        trash = Path(disk.volume.path) / disk.vfid.scope.uuid.hex / ".deleted"
        (trash / "half/dir").mkdir(parents=True)
        (trash / "half/dir/file").write_text("")
        (trash / "half/link").symlink_to(disk.root)
        await put(disk.folder, "kept", b"1")
        await disk.volume.stop()
        again = make_volume()
        await again.start()
        await again.stop()  # waits for the cleaning
        assert list(trash.iterdir()) == []
        assert (disk.root / "kept").exists()

    async def test_work_under_way_is_left_alone(self, make_volume: Opener) -> None:
        """What another process is making there is not taken for a leftover."""
        disk = await furnish(make_volume())
        assert disk.vfid.scope is not None
        draft = Path(disk.volume.path) / disk.vfid.scope.uuid.hex / ".deleted/draft"
        (draft / "dir").mkdir(parents=True)
        await disk.volume.stop()
        holder = os.open(draft, os.O_RDONLY)
        fcntl.flock(holder, fcntl.LOCK_EX)
        again = make_volume()
        await again.start()
        await again.stop()
        os.close(holder)
        assert (draft / "dir").exists()

    async def test_deep_trees(self, disk: Disk) -> None:
        """A tree deeper than any path can say is removed without running out of descriptors."""
        here = os.open(disk.root, os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("deeper", dir_fd=here)
            below = os.open("deeper", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        await disk.volume.delete_folder(disk.vfid)
        assert not disk.root.exists()
        assert disk.vfid.scope is not None
        assert list((Path(disk.volume.path) / disk.vfid.scope.uuid.hex / ".deleted").iterdir()) == []

    async def test_shards_go(self, disk: Disk) -> None:
        """Empty shards go with the last vfolder in them; the scope stays."""
        await disk.volume.delete_folder(disk.vfid)
        assert not disk.root.parent.parent.exists()
        assert disk.root.parent.parent.parent.exists()


class TestPublishing:
    """Conditions hold on kernels and file systems that lack the calls made for them."""

    @pytest.fixture(params=["link", "neither"])
    def lacking(self, disk: Disk, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Disk:
        def missing(*args: object, **kwargs: object) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(syscalls, "rename_no_replace", missing)
        if request.param == "neither":
            monkeypatch.setattr(os, "link", missing)
        return disk

    async def test_absent(self, lacking: Disk) -> None:
        """``ABSENT`` is kept, for uploads, files and directories."""
        folder = lacking.folder
        await put(folder, "file", b"1", ABSENT)
        await folder.make_dir(at("dir"))
        with pytest.raises(AlreadyExists):
            await put(folder, "file", b"2", ABSENT)
        for source, target in (("file", "dir"), ("dir", "file")):
            with pytest.raises(AlreadyExists):
                await folder.rename(at(source), at(target), ABSENT)
        for source in ("file", "dir"):
            await folder.rename(at(source), at(f"{source}2"), ABSENT)
        assert await names_in(folder) == ["dir2", "file2"]
        assert (await folder.stat(at("file2"))).nlink == 1
        assert await folder.stages() == []

    async def test_crash_between_link_and_unlink(self, disk: Disk) -> None:
        """A stage that has become a file of the vfolder cannot be resumed, and so not be cut back."""
        staged = await disk.folder.stage(at("file"), None)
        await staged.append([b"published"])
        await staged.close()
        os.link(disk.root / ".upload" / staged.token, disk.root / "file")
        with pytest.raises(UploadNotFound):
            await disk.folder.resume(staged.token, keep=0)
        assert await content_of(disk.folder, "file") == b"published"
        assert await disk.folder.stages() == []

    async def test_publisher_with_a_condition_is_alone(self, disk: Disk) -> None:
        """While another process looks and renames, an upload waits in a thread, and the reactor goes on."""
        seen = (await put(disk.folder, "file", b"seen")).stat
        assert seen is not None
        other = os.open(disk.root.parent, os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting: Deferred[Published] = ensureDeferred(put(disk.folder, "file", b"new", Expect.same(seen.identity)))
        plain: Deferred[Published] = ensureDeferred(put(disk.folder, "other", b"1"))
        await deferToThread(lambda: None)
        assert not waiting.called and not plain.called
        assert await content_of(disk.folder, "file") == b"seen"
        os.close(other)
        await waiting
        await plain
        assert await content_of(disk.folder, "file") == b"new"

    async def test_job_cannot_hold_up_publishers(self, disk: Disk) -> None:
        """A lock that a job takes on anything inside its vfolder stops nobody."""
        await put(disk.folder, "file", b"1")
        held = [os.open(path, os.O_RDONLY) for path in (disk.root, disk.root / ".upload", disk.root / "file")]
        for descriptor in held:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        seen = (await disk.folder.stat(at("file"))).identity
        await put(disk.folder, "file", b"2", Expect.same(seen))
        for descriptor in held:
            os.close(descriptor)

    async def test_a_large_file_is_given_up_in_a_thread(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its pages are freed one by one, and who waits for the reactor would wait for that."""
        freed: list[str] = []

        def watch(call: str, at_last: int) -> None:
            original = getattr(os, call)

            def watched(*names: Any, **descriptors: Any) -> None:
                directory = descriptors.get("dst_dir_fd", descriptors.get("dir_fd"))
                with suppress(FileNotFoundError):
                    if os.stat(names[at_last], dir_fd=directory).st_size > LARGE:
                        freed.append(threading.current_thread().name)
                original(*names, **descriptors)

            monkeypatch.setattr(os, call, watched)

        watch("rename", 1)
        watch("unlink", 0)
        for change in ("replace", "rename", "remove"):
            (disk.root / "file").touch()
            os.truncate(disk.root / "file", LARGE + 1)
            if change == "replace":
                await put(disk.folder, "file", b"2")
            elif change == "rename":
                await put(disk.folder, "other", b"3")
                await disk.folder.rename(at("other"), at("file"), ANY)
            else:
                await disk.folder.remove(at("file"), ANY)
        assert len(freed) == 3
        assert threading.main_thread().name not in freed

    async def test_a_large_file_is_cut_in_a_thread(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Likewise, whether it is opened so or cut later; a small one is cut in place."""
        cut: list[tuple[bool, str]] = []
        original = os.ftruncate

        def watched(descriptor: int, size: int) -> None:
            cut.append((os.fstat(descriptor).st_size - size > LARGE, threading.current_thread().name))
            original(descriptor, size)

        monkeypatch.setattr(os, "ftruncate", watched)
        cutting = OpenMode.WRITE | OpenMode.TRUNCATE
        for size in (LARGE, LARGE + 1):
            (disk.root / "file").touch()
            os.truncate(disk.root / "file", size)
            opened = await disk.folder.open(at("file"), cutting)
            assert (await opened.stat()).size == 0
            await opened.close()
            os.truncate(disk.root / "file", size)
            present: Any = await disk.folder.open(at("file"), OpenMode.WRITE)
            await present.truncate(0)
            assert (await present.stat()).size == 0
            await present.close()
        here = threading.main_thread().name
        assert [(large, name == here) for large, name in cut] == [(False, True)] * 2 + [(True, False)] * 2


class TestCopies:
    """Copies take the quickest way that there is, and each way copies the same."""

    @pytest.fixture(params=["as it comes", "no copy_file_range"])
    def copying(self, disk: Disk, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Disk:
        def missing(*args: object) -> None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        if request.param == "no copy_file_range":
            monkeypatch.setattr(os, "copy_file_range", missing)
            monkeypatch.setattr(copy, "BUFFER", 1000)
        return disk

    async def test_holes_stay_holes(self, copying: Disk) -> None:
        """A sparse file is copied with its holes, the last one too."""
        source = copying.root / "sparse"
        with source.open("wb") as file:
            file.seek(30 << 20)
            file.write(b"x" * 12345)
            file.truncate(64 << 20)
        await copying.folder.copy_file(at("sparse"), copying.folder, at("copy"), ABSENT)
        copied = copying.root / "copy"
        assert copied.stat().st_size == 64 << 20
        assert copied.stat().st_blocks * 512 < 1 << 20
        assert copied.read_bytes() == source.read_bytes()

    async def test_clone_leaves_out_what_is_no_file(self, copying: Disk) -> None:
        """FIFOs are left out rather than waited for; links to the outside are copied as links."""
        os.mkfifo(copying.root / "fifo")
        (copying.root / "link").symlink_to("/etc")
        await put(copying.folder, "file", b"content")
        target = new_vfid()
        await copying.volume.clone_folder(copying.vfid, target)
        clone = await copying.volume.folder(target, Actor())
        assert await names_in(clone) == ["file", "link"]
        assert Path(await copying.volume.mount_path(target)).joinpath("link").readlink() == Path("/etc")

    async def test_clone_keeps_owners(self, copying: Disk) -> None:
        """Owners and the set-group bit of directories go along; set-id bits of files do not."""
        await copying.folder.make_dir(at("dir"))
        await put(copying.folder, "dir/file", b"")
        os.chown(copying.root / "dir/file", 1234, 2345)
        (copying.root / "dir/file").chmod(0o6755)
        target = new_vfid()
        await copying.volume.clone_folder(copying.vfid, target)
        root = Path(await copying.volume.mount_path(target))
        found = (root / "dir/file").stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1234, 2345, 0o755)
        assert (root / "dir").stat().st_mode & 0o7777 == 0o2750


class TestStages:
    """Stages on disk."""

    async def test_room_is_given_back(self, disk: Disk) -> None:
        """What was reserved for an announced size and not used does not stay allocated."""
        staged = await disk.folder.stage(at("file"), 32 << 20)
        await staged.append([b"short"])
        await staged.commit(at("file"), ANY)
        assert (disk.root / "file").stat().st_blocks * 512 < 1 << 20

    async def test_strangers_in_the_staging_area(self, disk: Disk) -> None:
        """Whatever else lies there is neither listed nor resumed."""
        staged = await disk.folder.stage(at("file"), None)
        area = disk.root / ".upload"
        (area / "note").write_text("")
        (area / ("a" * 32)).mkdir()
        assert [token for token, _ in await disk.folder.stages()] == [staged.token]
        await staged.discard()

    async def test_survive_a_restart(self, make_volume: Opener) -> None:
        """A stage is gone on with by another process, also where it has not been closed."""
        disk = await furnish(make_volume(durability="sync"))
        staged = await disk.folder.stage(at("file"), None)
        await staged.append([b"before "])
        await staged.sync()
        await disk.volume.stop()
        again = make_volume()
        await again.start()
        folder: Able = await again.folder(disk.vfid, Actor())
        resumed = await folder.resume(staged.token)
        await resumed.append([b"after"])
        await resumed.commit(at("file"), ANY)
        assert await content_of(folder, "file") == b"before after"
        await staged.close()
        await again.stop()
