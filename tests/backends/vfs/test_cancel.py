"""A cancelled call never closes a descriptor under its thread, overtakes the next call, or leaves something behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.threads import deferToThread

from tests.backends.vfs.conftest import Disk
from tests.conformance.harness import READ, WRITE_NEW, Able, at, content_of, names_in, put
from vfgateway.backends.vfs import files, stagedfile, staging, tree
from vfgateway.backends.vfs.gather import write_all
from vfgateway.errors import StorageFailure, VolumeUnavailable
from vfgateway.model import ANY


class Brake:
    """Stops the first call of a function in its thread until it is let go."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._first = True
        self._reached = threading.Event()
        self._free = threading.Event()
        self._done = threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._first:
            return self._function(*args, **kwargs)
        self._first = False
        self._reached.set()
        self._free.wait(10)
        try:
            return self._function(*args, **kwargs)
        finally:
            self._done.set()

    async def reached(self) -> None:
        """Wait until a thread stands here."""
        await deferToThread(self._reached.wait, 10)

    async def let_go(self) -> None:
        """Let it go on, and wait until it has."""
        self._free.set()
        await deferToThread(self._done.wait, 10)


@contextmanager
def braked(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> Iterator[Brake]:
    """Put a brake on a function."""
    brake = Brake(getattr(owner, name))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, brake)
        yield brake


@pytest.fixture
def threaded(disk: Disk) -> Disk:
    """The volume as on storage that may stall: every call goes to a thread."""
    disk.volume._calls.check().inline = False
    return disk


async def cancel(call: Coroutine[Any, Any, Any], brake: Brake) -> None:
    """Begin a call, cancel it while its thread stands at the brake."""
    waiting: Deferred[Any] = ensureDeferred(call)
    await brake.reached()
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting


def open_descriptors() -> set[str]:
    """What this process has open below a temporary directory."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if "/volume/" in target:
            found.add(target)
    return found


async def nothing_is_open(disk: Disk) -> None:
    """Once all threads have ended, no descriptor of the volume is open."""
    await disk.volume.stop()
    assert open_descriptors() == set()


async def test_write_goes_to_its_own_file(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write whose caller was cancelled and whose file was closed does not hit the file that is opened next."""
    file: Able = await threaded.folder.open(at("first"), WRITE_NEW)
    with braked(monkeypatch, files, "_write") as brake:
        await cancel(file.write(0, [b"first"]), brake)
        await file.close()
        other: Able = await threaded.folder.open(at("second"), WRITE_NEW)
        await brake.let_go()
    await other.close()
    assert await content_of(threaded.folder, "first") == b"first"
    assert await content_of(threaded.folder, "second") == b""
    await nothing_is_open(threaded)


async def test_two_cancelled_writes(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two cancelled writes under way the last of them closes the file."""
    file: Able = await threaded.folder.open(at("first"), WRITE_NEW)
    with braked(monkeypatch, files, "_write") as slow:
        await cancel(file.write(0, [b"first"]), slow)
        with braked(monkeypatch, files, "_write") as slower:
            slower._function = slow._function
            await cancel(file.write(5, [b"second"]), slower)
            await file.close()
            other: Able = await threaded.folder.open(at("second"), WRITE_NEW)
            await slow.let_go()
            assert open_descriptors() != set()
            await slower.let_go()
    await other.close()
    assert await content_of(threaded.folder, "first") == b"firstsecond"
    assert await content_of(threaded.folder, "second") == b""
    await nothing_is_open(threaded)


async def test_file_is_closed_for_new_calls(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an old read still runs, a closed file takes no new one."""
    await put(threaded.folder, "file", b"content")
    file: Able = await threaded.folder.open(at("file"), READ)
    file._nowait = False
    with braked(monkeypatch, files, "read_all") as brake:
        await cancel(file.read(0, 7), brake)
        await file.close()
        with pytest.raises(StorageFailure):
            await file.read(0, 7)
        await brake.let_go()
    await nothing_is_open(threaded)


async def test_append_keeps_its_place(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended after a cancelled append comes after its bytes, and is counted with them."""
    staged = await threaded.folder.stage(at("file"), None)
    with braked(monkeypatch, stagedfile, "write_all") as brake:
        await cancel(staged.append([b"first "]), brake)
        second: Deferred[None] = ensureDeferred(staged.append([b"second"]))
        await brake.let_go()
        await second
    assert staged.size == 12
    await staged.commit(at("file"), ANY)
    assert await content_of(threaded.folder, "file") == b"first second"


async def test_discard_waits_for_the_append(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that is discarded under a cancelled append is gone, descriptor and all."""
    staged = await threaded.folder.stage(at("file"), None)
    with braked(monkeypatch, stagedfile, "write_all") as brake:
        await cancel(staged.append([b"first"]), brake)
        discarding: Deferred[None] = ensureDeferred(staged.discard())
        await brake.let_go()
        await discarding
    assert await threaded.folder.stages() == []
    await nothing_is_open(threaded)


async def test_commit_is_whole(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled commit still happens, whole, and committing again tells its outcome."""
    staged = await threaded.folder.stage(at("file"), None)
    await staged.append([b"content"])
    with braked(monkeypatch, staging, "publish") as brake:
        await cancel(staged.commit(at("file"), ANY), brake)
        again: Deferred[Any] = ensureDeferred(staged.commit(at("file"), ANY))
        await brake.let_go()
        published = await again
    assert published.stat == await threaded.folder.stat(at("file"))
    assert await content_of(threaded.folder, "file") == b"content"
    await nothing_is_open(threaded)


async def test_open_leaves_no_descriptor(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was opened for somebody who has gone is closed."""
    await put(threaded.folder, "file", b"content")
    with braked(monkeypatch, tree, "regular") as brake:
        await cancel(threaded.folder.open(at("file"), READ), brake)
        await brake.let_go()
    await nothing_is_open(threaded)


async def test_stage_leaves_no_stage(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that was made for somebody who has gone is removed."""
    with braked(monkeypatch, staging, "Stage") as brake:
        await cancel(threaded.folder.stage(at("file"), None), brake)
        await brake.let_go()
    await threaded.volume.stop()
    assert list((threaded.root / ".upload").iterdir()) == []
    await nothing_is_open(threaded)


async def test_listing_leaves_no_descriptor(threaded: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that is closed under a cancelled read is closed once that has ended."""
    await put(threaded.folder, "file", b"")
    listing = await threaded.folder.open_dir(at(""))
    with braked(monkeypatch, files.Listing, "facts") as brake:
        await cancel(listing.read(10), brake)
        await listing.close()
        assert open_descriptors() != set()
        await brake.let_go()
    await nothing_is_open(threaded)


async def test_stopped_volume_answers(threaded: Disk) -> None:
    """Calls after the stop fail rather than wait for ever, and files can still be closed."""
    await put(threaded.folder, "file", b"")
    file = await threaded.folder.open(at("file"), READ)
    await threaded.volume.stop()
    with pytest.raises(VolumeUnavailable):
        await names_in(threaded.folder)
    await file.close()
    await nothing_is_open(threaded)


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gathered write that the kernel cuts short goes on in the middle of a chunk."""
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, views, offset: real(fd, [b"".join(views)[:3]], offset))
    path = tmp_path / "file"
    with path.open("wb") as file:
        assert sum(write_all(file.fileno(), 0, [b"ab", b"", b"cdefg", b"h", b"ij"])) == 10
    assert path.read_bytes() == b"abcdefghij"
