"""No way out of a vfolder, and nothing that blocks, whatever a job puts there."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.backends.vfs.conftest import Disk, Opener, Turns, furnish
from tests.conformance.harness import READ, WRITE, WRITE_NEW, at, content_of, names_in, put
from vfgateway.backends.vfs.resolve import KernelResolver, Resolver, best_resolver
from vfgateway.errors import GatewayError, LeavesFolder, NotFound, UnsupportedFileType
from vfgateway.model import ANY, FileType, OpenMode

#: Rounds of each race; one is enough to lose it if the code looks first and opens later.
ROUNDS = 400


@pytest_twisted.async_yield_fixture
async def walled(make_volume: Opener, resolver: Resolver) -> AsyncIterator[Disk]:
    """A vfolder, with a secret beside it."""
    disk = await furnish(make_volume(resolver))
    (disk.root.parent / "secret").mkdir()
    (disk.root.parent / "secret/file").write_bytes(b"secret")
    yield disk
    await disk.volume.stop()


@contextmanager
def swapping(path: Path, other: Path) -> Iterator[None]:
    """Exchange a directory and a link all the time, as a job might."""
    stop = threading.Event()
    aside = path.with_name("aside")

    def swap() -> None:
        while not stop.is_set():
            path.rename(aside)
            other.rename(path)
            path.rename(other)
            aside.rename(path)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class TestRaces:
    """A directory on the way is exchanged for a link to the outside while the gateway resolves."""

    async def test_reading(self, walled: Disk) -> None:
        """A reader gets the inside, or an error, never the outside."""
        (walled.root / "dir").mkdir()
        (walled.root / "dir/file").write_bytes(b"inside")
        (walled.root / "link").symlink_to("../secret")
        seen: set[bytes] = set()
        with swapping(walled.root / "dir", walled.root / "link"):
            rounds = 0
            while rounds < ROUNDS or (not seen and rounds < 100 * ROUNDS):  # some threads get their turn late
                rounds += 1
                try:
                    seen.add(await content_of(walled.folder, "dir/file"))
                except GatewayError:
                    continue
        assert seen == {b"inside"}

    async def test_writing(self, walled: Disk) -> None:
        """A writer writes inside, or gets an error; nothing appears or vanishes outside."""
        (walled.root / "dir").mkdir()
        (walled.root / "link").symlink_to("../secret")
        with swapping(walled.root / "dir", walled.root / "link"):
            for number in range(ROUNDS):
                try:
                    await put(walled.folder, f"dir/new{number % 7}", b"x")
                    await walled.folder.remove(at("dir/file"), ANY)
                    await (await walled.folder.open(at("dir/made"), WRITE_NEW)).close()
                except GatewayError:
                    continue
        outside = walled.root.parent / "secret"
        assert names_in_directory(outside) == ["file"]
        assert (outside / "file").read_bytes() == b"secret"

    async def test_reading_at_hand(self, walled: Disk, turns: Turns) -> None:
        """What needs no waiting needs no less care."""
        (walled.root / "dir").mkdir()
        (walled.root / "dir/file").write_bytes(b"open to all")
        (walled.root / "other").symlink_to("../secret")
        path, all_of_it = at("dir/file"), lambda stat: (0, stat.size)
        again = walled.folder.reread_now(path, walled.folder.stat_now(path), (0, 11))
        assert turns(again, again) == [b"open to all"] * 2
        with swapping(walled.root / "dir", walled.root / "other"):
            for _ in range(ROUNDS):
                found = walled.folder.read_now(path, all_of_it)
                assert found is None or bytes(found[1]) == b"open to all"
                assert all(told in (None, b"open to all") for told in turns(again, again))
                facts = walled.folder.stat_now(path)
                assert facts is None or facts.size == len(b"open to all")
        assert walled.folder.read_now(at("other/file"), all_of_it) is None
        assert walled.folder.stat_now(at("other/file")) is None

    async def test_reading_again(self, walled: Disk, turns: Turns) -> None:
        """What was found once is found again until it is another: written to, replaced, gone, or the storage stopped."""
        file = walled.root / "file"
        path = at("file")

        def of_now(content: bytes) -> list[Any]:
            file.write_bytes(content)
            stat = walled.folder.stat_now(path)
            found = [walled.folder.reread_now(path, stat, part) for part in ((0, 2), (1, 1), None)]
            assert turns(*found) == [content[:2], content[1:2], b""]
            return found

        def gone(found: list[Any]) -> bool:
            return turns(*found) == [None] * 3

        found = of_now(b"one")
        file.write_bytes(b"another")
        assert gone(found)
        found = of_now(b"two")
        file.replace(walled.root / "old")
        assert gone(found)
        (walled.root / "old").replace(file)  # whose time of change is another now
        assert gone(found)
        found = of_now(b"three")
        file.unlink()
        assert gone(found)
        file.symlink_to("../secret/file")
        assert gone(found)
        file.unlink()
        found = of_now(b"four")
        await walled.volume.stop()
        assert gone(found)
        await walled.volume.start()

    async def test_writing_at_hand(self, walled: Disk) -> None:
        """Nor does what is made there."""
        (walled.root / "dir").mkdir()
        (walled.root / "other").symlink_to("../secret")
        with swapping(walled.root / "dir", walled.root / "other"):
            for number in range(ROUNDS):
                try:
                    walled.folder.open_now(at(f"dir/made-{number}"), WRITE_NEW | OpenMode.EXCLUSIVE).close_now()
                except GatewayError:
                    continue
        assert names_in_directory(walled.root.parent / "secret") == ["file"]


def names_in_directory(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


async def test_a_volume_behind_a_link(make_volume: Opener, tmp_path: Path, resolver: Resolver) -> None:
    """A link on the way to the volume is the administrator's: what is at hand is at hand there, too."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to("there")
    disk = await furnish(make_volume(resolver, path=tmp_path / "here" / "volume"))
    await put(disk.folder, "file", b"content")
    (disk.root / "link").symlink_to("file")
    assert disk.folder.stat_now(at("file")).size == 7
    assert bytes(disk.folder.read_now(at("file"), lambda stat: (0, stat.size))[1]) == b"content"
    assert disk.folder.stat_now(at("link")) is None
    disk.folder.open_now(at("file"), OpenMode.READ).close_now()
    disk.folder.open_now(at("made"), WRITE_NEW | OpenMode.EXCLUSIVE).close_now()
    assert (disk.root / "made").is_file()
    await disk.volume.stop()


class TestLinksMadeByJobs:
    """Links that no front end would make."""

    async def test_to_the_outside(self, walled: Disk) -> None:
        """Neither absolute nor relative links show what lies outside."""
        (walled.root / "absolute").symlink_to(walled.root.parent / "secret")
        (walled.root / "relative").symlink_to("../secret")
        for path in ("absolute/file", "relative/file"):
            with pytest.raises(LeavesFolder):
                await content_of(walled.folder, path)
        for path in ("absolute", "relative"):
            with pytest.raises(LeavesFolder):
                await walled.folder.open_dir(at(path))

    async def test_into_proc(self, walled: Disk) -> None:
        """The magic links of ``/proc`` are links to the outside like all others."""
        (walled.root / "self").symlink_to("/proc/self/root")
        with pytest.raises(LeavesFolder):
            await walled.folder.open_dir(at("self"))

    async def test_staging_area_is_a_link(self, walled: Disk) -> None:
        """A staging area that was replaced by a link is not used."""
        (walled.root / ".upload").symlink_to("../secret")
        with pytest.raises(GatewayError):
            await walled.folder.stage(at("file"), None)
        assert [entry.name for entry in (walled.root.parent / "secret").iterdir()] == ["file"]

    async def test_stage_is_a_link(self, walled: Disk) -> None:
        """A stage that was replaced by a link is not resumed."""
        staged = await walled.folder.stage(at("file"), None)
        await staged.close()
        stage = walled.root / ".upload" / staged.token
        stage.unlink()
        stage.symlink_to("../../secret/file")
        with pytest.raises(GatewayError):
            await walled.folder.resume(staged.token, keep=0)
        assert (walled.root.parent / "secret/file").read_bytes() == b"secret"

    async def test_root_is_a_link(self, walled: Disk) -> None:
        """A vfolder whose own directory is a link does not exist."""
        walled.root.rmdir()
        walled.root.symlink_to("secret")
        with pytest.raises(NotFound):
            await names_in(walled.folder)

    async def test_listing_by_a_detour(self, walled: Disk) -> None:
        """The staging area is hidden also where the root is listed through a link."""
        staged = await walled.folder.stage(at("file"), None)
        (walled.root / "again").symlink_to(".")
        assert await names_in(walled.folder, "again") == ["again"]
        await staged.discard()


class TestSpecialFiles:
    """What is neither file nor directory is shown, can be removed, and never opened."""

    @pytest.fixture(params=["fifo", "socket", "device"])
    def special(self, walled: Disk, request: pytest.FixtureRequest) -> Disk:
        path = walled.root / "special"
        if request.param == "fifo":
            os.mkfifo(path)
        elif request.param == "device":
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
        else:
            listener = socket.socket(socket.AF_UNIX)
            here = os.open(walled.root, os.O_RDONLY)
            listener.bind(f"/proc/self/fd/{here}/special")  # a socket's path must be short
            os.close(here)
            listener.close()
        return walled

    async def test_never_blocks(self, special: Disk) -> None:
        """Opening it for reading or writing answers at once, with a refusal."""
        for mode in (READ, WRITE, WRITE_NEW):
            with pytest.raises(UnsupportedFileType):
                await special.folder.open(at("special"), mode)

    async def test_is_shown_and_removed(self, special: Disk) -> None:
        """It is listed as something else, and an upload or a removal gets rid of it."""
        assert (await special.folder.stat(at("special"))).type is FileType.OTHER
        assert await names_in(special.folder) == ["special"]
        removed = await special.folder.remove(at("special"), ANY)
        assert removed.replaced is not None and removed.replaced.size == 0


async def test_ways_agree_on_errors(walled: Disk, resolver: Resolver) -> None:
    """A path through a FIFO or a dangling link is not found, whichever way it is opened."""
    os.mkfifo(walled.root / "fifo")
    (walled.root / "dangling").symlink_to("nowhere")
    for path in ("fifo/x", "dangling/x"):
        with pytest.raises(NotFound):
            await walled.folder.stat(at(path))


async def test_kernel_has_openat2(disk: Disk) -> None:
    """Unless told otherwise the volume takes the kernel's way here, so that both ways are really tested."""
    assert isinstance(best_resolver(), KernelResolver)
