"""Bodies that the kernel moves into a file: byte for byte, and with nothing left behind however they end."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.support.site import Client, answer_ok, listening
from tests.support.uploading import head
from vfgateway.errors import IncompleteBody, NoSpace
from vfgateway.interfaces import type_fill
from vfgateway.protocols.web import receiving, splicing
from vfgateway.protocols.web.request import StreamingRequest

MIB = 1 << 20
CONTENT = b"".join(i.to_bytes(4, "big") for i in range(24 * MIB // 4))


@pytest.fixture(autouse=True)
def as_if_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client counts as one that is ahead of us, and is waited for in the thread."""
    monkeypatch.setattr(receiving, "WORTH_MOVING", 0)
    monkeypatch.setattr(splicing, "PAUSE", 20_000)


class Store:
    """A handler that has the body moved into a file as far as it can be, and reads the rest.

    :param room: bytes of which no more are stored
    :ivar moved: bytes that nobody read
    """

    def __init__(self, path: Path, room: int = 1 << 40) -> None:
        self._number = os.open(path, os.O_RDWR | os.O_CREAT)
        self._room = room
        self.size = self.moved = 0
        self.error: BaseException | None = None
        self.ended: Deferred[None] = Deferred()

    async def __call__(self, request: StreamingRequest) -> None:
        if request.method != b"PUT":
            return await answer_ok(request)
        try:
            await self._store(request)
        except BaseException as error:
            self.error = error
            raise
        finally:
            os.close(self._number)
            self.ended.callback(None)
        return await answer_ok(request)

    async def _store(self, request: StreamingRequest) -> None:
        while True:
            if await request.body.move(self._write):
                continue
            chunks = await request.body.read()
            if not chunks:
                return
            self.size += os.pwritev(self._number, chunks, self.size)

    async def _write(self, fill: type_fill, most: int) -> None:
        before = self.size
        await deferToThread(self._fill, fill)
        assert self.size - before <= most
        self.moved += self.size - before

    def _fill(self, fill: type_fill) -> None:
        for count in fill(self._number, self.size):
            self.size += count
            if self.size > self._room:
                raise NoSpace


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def put(store: Store, content: bytes, length: int | None = None) -> bytes:
    """Send it, and another request; what was answered. With a ``length`` the client leaves after ``content``."""
    async with listening(store) as port:
        client = await Client.open(port)
        client.send(head("PUT", "/", Content_Length=length or len(content)) + content)
        if length is not None:
            client.close()
            await client.lost
            await store.ended
            return b""
        client.send(head("GET", "/next", Connection="close"))
        await client.lost
        return bytes(client.received)


async def test_moves_what_comes_fast(tmp_path: Path) -> None:
    """All of it is stored as it was sent, most of it unseen; the next request on the connection is one."""
    store = Store(tmp_path / "file")
    answer = await put(store, CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert store.moved > len(CONTENT) // 2
    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_keeps_what_came_before_a_cut(tmp_path: Path) -> None:
    """When the client leaves, everything that it sent is there."""
    store = Store(tmp_path / "file")
    await put(store, CONTENT, length=len(CONTENT) + 5 * MIB)
    assert isinstance(store.error, IncompleteBody)
    assert store.error.received == store.size == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_the_end_is_known_before_anybody_reads_it() -> None:
    """While the kernel is to move what has come, nobody reads the socket: that the client has left behind it is seen all the same."""
    looked: list[tuple[bool, int]] = []
    told: Deferred[None] = Deferred()

    async def handler(request: StreamingRequest) -> None:
        async def write(_fill: type_fill, _most: int) -> None:
            looked.append((request.body.over, request.body.arrived))
            client.send(b"!" * 1000)
            client.close()
            while not request.body.over:
                await turn()
            looked.append((request.body.over, request.body.arrived))

        try:
            first = Deferred.fromCoroutine(request.body.read(least=1))
            await turn()
            client.send(b"?")
            assert await first
            first = Deferred.fromCoroutine(request.body.read(least=1))  # from now on the socket is read directly
            client.send(b"?")
            assert await first
            await request.body.move(write)
        finally:
            told.callback(None)

    async with listening(handler) as port:
        client = await Client.open(port)
        client.send(head("PUT", "/", Content_Length=8 * MIB))
        await told
        assert looked == [(False, 2), (True, 2)]


async def turn() -> None:
    """Let the reactor do what is due."""
    passed: Deferred[None] = Deferred()
    reactor.callLater(0, passed.callback, None)
    await passed


async def test_file_systems_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be spliced to, what was taken from the socket is written otherwise."""
    splice = os.splice

    def into_pipes_only(source: Any, target: int, count: int, **more: Any) -> int:
        if "offset_dst" in more:
            raise OSError("cannot")
        return splice(source, target, count, **more)

    monkeypatch.setattr(os, "splice", into_pipes_only)
    store = Store(tmp_path / "file")
    await put(store, CONTENT)
    assert store.moved > 0
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("call", ["splice", "pipe2"])
async def test_nothing_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A kernel that cannot, or a process that has too many files open: everything is read."""

    def refuse(*args: Any, **more: Any) -> int:
        raise OSError("cannot")

    monkeypatch.setattr(splicing, "_pipes", [])
    monkeypatch.setattr(os, call, refuse)
    store = Store(tmp_path / "file")
    await put(store, CONTENT)
    assert store.moved == 0
    assert (tmp_path / "file").read_bytes() == CONTENT


async def test_failing_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When storage takes no more, the client is told, no bytes of this body wait for another one, and nothing is left open."""
    kept: list[Any] = []
    monkeypatch.setattr(splicing, "_pipes", kept)
    before = open_files()
    store = Store(tmp_path / "file", room=8 * MIB)
    async with listening(store) as port:
        client = await Client.open(port)
        client.send(head("PUT", "/", Content_Length=len(CONTENT)) + CONTENT)
        await client.lost
        answer = bytes(client.received)
    assert answer.startswith(b"HTTP/1.1 507")
    assert kept == []
    assert open_files() <= before


def test_pipes_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a splice leaves is an empty pipe for the next one, and of those a few."""
    kept: list[Any] = []
    monkeypatch.setattr(splicing, "_pipes", kept)
    for _ in range(3):
        assert list(_nothing(tmp_path)) == []
    assert len(kept) == 1
    kept[0].close()


def _nothing(tmp_path: Path) -> Iterator[int]:
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "file").open("wb") as file:
        theirs.close()
        splice = splicing.Splice(ours, 1 * MIB)
        yield from splice(file.fileno(), 0)
        splice.close()
