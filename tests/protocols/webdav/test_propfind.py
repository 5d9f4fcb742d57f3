"""How deep PROPFIND goes, and when its answer begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.support.site import Client
from tests.support.uploading import head
from tests.support.webdav import basic, condition, responses, webdav
from vfgateway.backends.vfs.folder import VfsFolder
from vfgateway.interfaces import IDirectory
from vfgateway.model import DirEntry, FileStat, FileType
from vfgateway.paths import FolderPath


async def test_without_a_depth(tmp_path: Path) -> None:
    """Whole trees are not answered: who names no depth gets the first level, who wants all is refused. Of a file there is but itself,
    whatever the depth (webdav4 asks so)."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d/e").mkdir(parents=True)
        (dav.root / "d/e/f").write_bytes(b"x")
        assert set(responses(await dav.ask("PROPFIND", "/data/d"))) == {"/data/d/", "/data/d/e/"}
        assert set(responses(await dav.ask("PROPFIND", "/"))) == {"/", "/data/"}
        for depth in (None, "0", "1", "infinity"):
            assert set(responses(await dav.ask("PROPFIND", "/data/d/e/f", Depth=depth))) == {"/data/d/e/f"}
        for target in ("/", "/data/", "/data/d"):
            refused = await dav.ask("PROPFIND", target, Depth="infinity")
            assert (refused.status, condition(refused)) == (403, "propfind-finite-depth")
        assert (await dav.ask("PROPFIND", "/data/none", Depth="infinity")).status == 404
    (tmp_path / "deep").mkdir()
    async with webdav(tmp_path / "deep", {"depth_infinity": True}) as dav:
        (dav.root / "d/e").mkdir(parents=True)
        assert set(responses(await dav.ask("PROPFIND", "/data/"))) == {"/data/", "/data/d/", "/data/d/e/"}


@implementer(IDirectory)
class SlowDirectory:
    """A directory that gives its first entries at once, and the next ones when it is told to.

    :ivar more: fire it for the rest
    """

    def __init__(self) -> None:
        self.more: Deferred[None] = Deferred()
        self.waiting: Deferred[None] = Deferred()
        self.closed = False
        self._reads = 0

    async def read(self, limit: int) -> Sequence[DirEntry]:
        """Three batches, the last of them held back; then the end."""
        self._reads += 1
        if self._reads == 3:
            self.waiting.callback(None)
            await self.more
        if self._reads > 3:
            return ()
        stat = FileStat(FileType.FILE, 1, 0o644, 0, 0, 0, 0, "1-1-1")
        return [DirEntry(f"batch-{self._reads}-{number}", stat) for number in range(limit)]

    async def close(self) -> None:
        """Let go."""
        self.closed = True


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowDirectory:
    """What every directory is in this test."""
    directory = SlowDirectory()

    async def open_dir(self: VfsFolder, path: FolderPath) -> Any:
        return directory

    monkeypatch.setattr(VfsFolder, "open_dir", open_dir)
    return directory


async def test_it_begins_before_the_directory_is_read(slow: SlowDirectory, tmp_path: Path) -> None:
    """While storage still works on the directory, the client has the first entries; the answer becomes whole."""
    async with webdav(tmp_path) as dav:
        client = await Client.open(dav.port)
        client.send(head("PROPFIND", "/data/", Depth="1", Connection="close", Authorization=basic("alice")))
        await slow.waiting
        await client.until(b"/data/batch-1-0<")
        assert b"/data/batch-3-0<" not in client.received and b"</D:multistatus>" not in client.received
        slow.more.callback(None)
        await client.lost
        assert b"/data/batch-3-0<" in client.received and b"</D:multistatus>" in client.received
        assert slow.closed


async def test_a_client_that_leaves(slow: SlowDirectory, tmp_path: Path) -> None:
    """The directory is let go, though storage has not answered."""
    async with webdav(tmp_path) as dav:
        client = await Client.open(dav.port)
        client.send(head("PROPFIND", "/data/", Depth="1", Authorization=basic("alice")))
        await slow.waiting
        cancelled: Deferred[None] = Deferred()
        slow.more.addErrback(lambda _: cancelled.callback(None))
        await client.cut()
        await cancelled
        assert (await dav.ask("OPTIONS", "/", user=None)).status == 200
        assert slow.closed


async def test_storage_that_fails_half_way(slow: SlowDirectory, tmp_path: Path) -> None:
    """An answer that has begun is cut, so that nobody takes half of it for the whole."""
    async with webdav(tmp_path) as dav:
        client = await Client.open(dav.port)
        client.send(head("PROPFIND", "/data/", Depth="1", Authorization=basic("alice")))
        await slow.waiting
        await client.until(b"/data/batch-1-0<")
        slow.more.errback(OSError("the disk is on fire"))
        await client.lost
        assert b"</D:multistatus>" not in client.received and not client.received.endswith(b"0\r\n\r\n")
        assert b"fire" not in client.received
        assert slow.closed
