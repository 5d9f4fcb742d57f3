"""Files as answers: whole, in parts, conditionally; by the kernel, by reading, over TLS; and what happens when it goes wrong."""

from __future__ import annotations

import os
import random
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor, ssl
from twisted.internet.endpoints import SSL4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.support.site import Client, listening
from tests.support.tls import certificate
from tests.support.uploading import head
from vfgateway.abilities import IDescriptorRead
from vfgateway.interfaces import IFile
from vfgateway.model import FileStat, FileType
from vfgateway.paths import FolderPath
from vfgateway.protocols.web import sending
from vfgateway.protocols.web.reply import send_file
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.reading import Download

MIB = 1 << 20
MODIFIED = 1_700_000_000


@implementer(IFile)
class PlainFile:
    """A file on disk that can only be read, and counts who lets go of it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self.closed = 0
        self.reads = 0

    async def read(self, offset: int, length: int) -> bytes:
        assert not self.closed
        self.reads += 1
        return os.pread(self.descriptor, length, offset)

    async def stat(self) -> FileStat:
        raise NotImplementedError

    async def sync(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed += 1
        if self.closed == 1:
            os.close(self.descriptor)


@implementer(IDescriptorRead)
class KernelFile(PlainFile):
    """The same with a descriptor to borrow."""

    borrowed = 0
    in_memory = False

    def borrow(self) -> int:
        self.borrowed += 1
        return self.descriptor

    def give_back(self) -> None:
        self.borrowed -= 1


class Files:
    """A handler that answers with one file, opened anew for each request."""

    def __init__(self, path: Path, kind: type[PlainFile] = KernelFile, **options: Any) -> None:
        self.path = path
        self.kind = kind
        self.options = options
        self.opened: list[PlainFile] = []

    async def __call__(self, request: StreamingRequest) -> None:
        file = self.kind(self.path)
        self.opened.append(file)
        size = os.fstat(file.descriptor).st_size
        stat = FileStat(FileType.FILE, size, 0o644, 0, 0, MODIFIED * 10**9, 0, f"id-{size}")
        await send_file(request, Download(FolderPath(("f",)), file, stat), **self.options)

    def let_go(self) -> bool:
        """Whether every file was closed, once, and nothing is borrowed."""
        return all(file.closed == 1 and getattr(file, "borrowed", 0) == 0 for file in self.opened)


def made(tmp_path: Path, size: int) -> tuple[Path, bytes]:
    """A file of ``size`` bytes, each place of it different."""
    content = random.Random(size).randbytes(size)
    path = tmp_path / "f"
    path.write_bytes(content)
    return path, content


async def turn() -> None:
    """Let the reactor do what is due."""
    await deferLater(reactor, 0.001)


async def ask(port: int, method: str = "GET", **fields: object) -> tuple[int, dict[str, str], bytes]:
    """One request; the connection is closed after it, so that the body is all that follows the head."""
    client = await Client.open(port)
    client.send(head(method, "/f", Connection="close", **fields))
    await client.lost
    top, _, body = client.received.partition(b"\r\n\r\n")
    status, *lines = top.decode("latin-1").split("\r\n")
    return int(status.split(" ")[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


KINDS = pytest.mark.parametrize("kind", [PlainFile, KernelFile])


@KINDS
@pytest.mark.parametrize("size", [0, 1, 4096, sending.SMALL, sending.SMALL + 1, 9 * MIB + 3])
async def test_whole(tmp_path: Path, kind: type[PlainFile], size: int) -> None:
    """Every size arrives byte for byte, with its length and validators."""
    path, content = made(tmp_path, size)
    files = Files(path, kind, disposition_name="ünïcode.bin", no_store=True)
    async with listening(files) as port:
        status, headers, body = await ask(port)
    assert (status, body == content) == (200, True)
    assert headers["content-length"] == str(size)
    assert headers["etag"] == f'"id-{size}"'
    assert headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-disposition"].endswith("filename*=UTF-8''%C3%BCn%C3%AFcode.bin")
    assert files.let_go()


@KINDS
async def test_head(tmp_path: Path, kind: type[PlainFile]) -> None:
    """HEAD tells what GET would, without the body, and ignores ranges."""
    path, _ = made(tmp_path, 1000)
    files = Files(path, kind)
    async with listening(files) as port:
        status, headers, body = await ask(port, "HEAD", Range="bytes=0-9")
    assert (status, headers["content-length"], body) == (200, "1000", b"")
    assert files.let_go()


@KINDS
@pytest.mark.parametrize("start", [0, 17, 5 * MIB])
@pytest.mark.parametrize("length", [1, 100, 3 * MIB])
async def test_range(tmp_path: Path, kind: type[PlainFile], start: int, length: int) -> None:
    """A part of the file, and where it lies."""
    path, content = made(tmp_path, 9 * MIB)
    files = Files(path, kind)
    async with listening(files) as port:
        status, headers, body = await ask(port, Range=f"bytes={start}-{start + length - 1}")
    assert (status, body == content[start : start + length]) == (206, True)
    assert headers["content-range"] == f"bytes {start}-{start + length - 1}/{9 * MIB}"
    assert files.let_go()


@KINDS
async def test_several_ranges(tmp_path: Path, kind: type[PlainFile]) -> None:
    """Parts in the order asked for, each with its place, in a body of the length that was told."""
    path, content = made(tmp_path, 3 * MIB)
    wanted = [(2 * MIB, 2 * MIB + 99), (0, MIB - 1), (3 * MIB - 5, 3 * MIB - 1)]
    files = Files(path, kind)
    async with listening(files) as port:
        status, headers, body = await ask(port, Range="bytes=" + ",".join(f"{a}-{b}" for a, b in wanted[:2]) + ",-5")
    assert (status, headers["content-length"]) == (206, str(len(body)))
    message = BytesParser().parsebytes(b"Content-Type: %s\r\n\r\n" % headers["content-type"].encode() + body)
    delimiter = b"\r\n--" + message.get_param("boundary").encode()  # type: ignore[union-attr]
    pieces = body.split(delimiter)
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    for (first, last), piece in zip(wanted, pieces[1:-1], strict=True):
        top, _, data = piece.partition(b"\r\n\r\n")
        assert b"Content-Range: bytes %d-%d/%d" % (first, last, 3 * MIB) in top
        assert data == content[first : last + 1]
    assert files.let_go()


@pytest.mark.parametrize("size", [0, 100])
async def test_range_out_of_reach(tmp_path: Path, size: int) -> None:
    """416 says how large the file is; so does any range of an empty one."""
    path, _ = made(tmp_path, size)
    files = Files(path)
    async with listening(files) as port:
        status, headers, _ = await ask(port, Range="bytes=100-")
    assert (status, headers["content-range"]) == (416, f"bytes */{size}")
    assert files.let_go()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"Range": "bytes=0-9", "If_Range": '"id-100"'}, 206),
        ({"Range": "bytes=0-9", "If_Range": '"other"'}, 200),
        ({"Range": "bytes=0-9", "If_Range": "Tue, 14 Nov 2023 22:13:20 GMT"}, 206),
        ({"Range": "bytes=0-9", "If_Range": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200),
        ({"If_None_Match": '"id-100"'}, 304),
        ({"If_Match": '"other"'}, 412),
        ({"Range": "lines=0-9"}, 200),
    ],
)
async def test_conditions(tmp_path: Path, fields: dict[str, str], status: int) -> None:
    """What a client has is compared before anything is sent; a part is never joined to another version."""
    path, _ = made(tmp_path, 100)
    files = Files(path)
    async with listening(files) as port:
        got, headers, body = await ask(port, **fields)
    assert got == status
    if status == 304:
        assert (headers["etag"], body) == ('"id-100"', b"")
    assert files.let_go()


async def test_many_on_one_connection(tmp_path: Path) -> None:
    """The connection serves further requests after a large answer, pipelined ones too."""
    path, content = made(tmp_path, 2 * MIB)
    files = Files(path)
    async with listening(files) as port:
        client = await Client.open(port)
        client.send(head("GET", "/") * 3 + head("GET", "/", Connection="close"))
        await client.lost
    assert client.received.count(b"HTTP/1.1 200 OK") == 4
    assert client.received.count(content) == 4
    assert files.let_go()


async def test_slow_client(tmp_path: Path) -> None:
    """A client that stops reading for a while gets everything, and the gateway does not read on meanwhile."""
    path, content = made(tmp_path, 24 * MIB)
    files = Files(path, PlainFile)
    async with listening(files) as port:
        client = await Client.open(port)
        client.pause()
        client.send(head("GET", "/", Connection="close"))
        before = -1
        while not files.opened or files.opened[0].reads != before:
            before = files.opened[0].reads if files.opened else -1
            for _ in range(20):
                await turn()
        assert files.opened[0].reads < 80  # of 96
        client.resume()
        await client.lost
    assert client.received.endswith(content)


@KINDS
async def test_client_leaves(tmp_path: Path, kind: type[PlainFile]) -> None:
    """A client that leaves in the middle of a large file leaves no file open behind it."""
    path, _ = made(tmp_path, 24 * MIB)
    files = Files(path, kind)
    async with listening(files) as port:
        client = await Client.open(port)
        client.send(head("GET", "/"))
        await client.until(b"\r\n\r\n")
        client.pause()
        await client.cut()
        while not files.let_go():
            await turn()


@KINDS
async def test_file_becomes_shorter(tmp_path: Path, kind: type[PlainFile]) -> None:
    """A file that loses its end while it is sent ends the connection early: nothing is made up."""
    path, content = made(tmp_path, 24 * MIB)
    files = Files(path, kind)
    async with listening(files) as port:
        client = await Client.open(port)
        client.pause()
        client.send(head("GET", "/"))
        while not files.opened:
            await turn()
        os.truncate(path, 16 * MIB)
        client.resume()
        await client.lost
    body = client.received.partition(b"\r\n\r\n")[2]
    assert len(body) <= 16 * MIB
    assert content.startswith(body)
    assert files.let_go()


async def test_what_is_not_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a file that are not in memory are read by the volume, not by the reactor's thread."""
    path, content = made(tmp_path, 9 * MIB)
    files = Files(path)
    monkeypatch.setattr(sending, "_in_memory", lambda *args: False)
    async with listening(files) as port:
        _, _, body = await ask(port)
    assert body == content
    assert files.opened[0].reads >= 9


async def test_in_memory(tmp_path: Path) -> None:
    """A file on a tmpfs, which cannot tell what is in memory, is sent by the kernel all the same."""
    path = Path("/dev/shm") / f"vfgateway-{os.getpid()}"
    content = random.Random(1).randbytes(9 * MIB)
    path.write_bytes(content)
    try:
        files = Files(path)
        async with listening(files) as port:
            _, _, body = await ask(port)
    finally:
        path.unlink()
    assert body == content
    assert files.opened[0].reads == 0
    assert files.let_go()


@pytest.mark.parametrize("size", [4096, 9 * MIB + 3])
async def test_over_tls(tmp_path: Path, size: int) -> None:
    """The same bytes come through TLS, where the kernel cannot help."""
    path, content = made(tmp_path, size)
    files = Files(path)
    async with listening(files, certificate().options()) as port:
        endpoint = SSL4ClientEndpoint(reactor, "127.0.0.1", port, ssl.CertificateOptions(verify=False))
        client = await connectProtocol(endpoint, Client())
        client.send(head("GET", "/", Connection="close"))
        await client.lost
    assert client.received.endswith(b"\r\n\r\n" + content)
    assert files.let_go()


async def test_stalled_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing for a long time is cut off."""
    monkeypatch.setattr(sending, "STALLED", 0.05)
    path, _ = made(tmp_path, 24 * MIB)
    for kind in (PlainFile, KernelFile):
        files = Files(path, kind)
        async with listening(files) as port:
            client = await Client.open(port)
            client.pause()
            client.send(head("GET", "/"))
            while not (files.opened and files.let_go()):
                await turn()
            client.resume()
            await client.lost
