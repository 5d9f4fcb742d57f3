"""What is done most often, each so that it can be done over and over: what :mod:`tests.integration.test_hot_paths` and
:mod:`tests.integration.test_instructions` measure."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path

from tests.behaviour.doors import EveryDoor
from tests.protocols.sftp.client import RawSftp, string, take
from tests.support.process import ALICE, PATIENCE, VFolderOfAlice
from tests.support.webdav import basic

MIB = 1 << 20
#: Of requests of one kind in a round.
BATCH = 5
#: Entries of the directory that is listed.
ENTRIES = 500
#: Bytes of a large file.
LARGE = 16 * MIB


def hot_site(folder: Path) -> EveryDoor:
    """A site with everything on, and nothing synced."""
    return EveryDoor(folder / "site", {"local": {"path": str(folder / "volume"), "durability": "none"}})


class Wire:
    """A connection on which requests follow each other; it sends what it is given, and reads whole answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes, body: bytes = b"") -> None:
        """Send, and wait for all of the answer, which has to be a good one."""
        self._socket.sendall(request + body if len(body) <= 65536 else request)
        if len(body) > 65536:
            self._socket.sendall(body)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some()
        head, _, rest = data.partition(b"\r\n\r\n")
        assert head[9:10] == b"2", head
        lowered, count = head.lower(), len(rest)
        if b"content-length: " in lowered:
            left = int(lowered.partition(b"content-length: ")[2].split()[0]) - count
            while left > 0:
                left -= len(self._some())
        elif b"chunked" in lowered:
            while not rest.endswith(b"0\r\n\r\n"):
                rest = rest[-5:] + self._some()

    def _some(self) -> bytes:
        piece = self._socket.recv(MIB)
        assert piece, "the gateway closed the connection"
        return piece


class Paths:
    """Each does one thing so often, and says how often.

    :param folder: has nothing in it
    """

    def __init__(self, site: EveryDoor, folder: VFolderOfAlice) -> None:
        self._site = site
        self._folder = folder
        self.connect()
        self._sftp = RawSftp(site.sftp_port)
        self._made = 0
        self._upload = ""
        (folder.root / "small").write_bytes(bytes(4096))
        (folder.root / "large").write_bytes(bytes(LARGE))
        (folder.root / "many").mkdir()
        for number in range(ENTRIES):
            (folder.root / f"many/file-{number:04}").touch()

    def connect(self) -> None:
        """Begin anew: the gateway ends connections on which nothing was asked for long."""
        self._http, self._dav = Wire(self._site.client_port), Wire(self._site.dav_port)

    def _head(self, method: str, path: str, *lines: str) -> bytes:
        fields = ["Host: 127.0.0.1", f"Authorization: {basic(*ALICE)}", *lines]
        return "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "", ""]).encode()

    def _files(self, name: str) -> str:
        return self._folder.url(name).removeprefix(self._site.client_url)

    def _new(self) -> str:
        self._made += 1
        return f"new-{self._made}"

    def http_get(self) -> int:
        """A small file, by the lane."""
        for _ in range(BATCH):
            self._http.ask(self._head("GET", self._files("small")))
        return BATCH

    def http_range(self) -> int:
        """64 KiB of a large file."""
        for _ in range(BATCH):
            self._http.ask(self._head("GET", self._files("large"), "Range: bytes=65536-131071"))
        return BATCH

    def http_ordinary(self) -> int:
        """A small file, asked for with a field that is unusual."""
        for _ in range(BATCH):
            self._http.ask(self._head("GET", self._files("small"), "X-Unusual: 1"))
        return BATCH

    def http_put(self) -> int:
        """A small new file."""
        for _ in range(BATCH):
            self._http.ask(self._head("PUT", self._files(self._new()), "Content-Length: 4096"), bytes(4096))
        return BATCH

    def http_download(self) -> int:
        """A large file; per MiB."""
        self._http.ask(self._head("GET", self._files("large")))
        return LARGE // MIB

    def http_upload(self) -> int:
        """A large new file; per MiB."""
        self._http.ask(self._head("PUT", self._files(self._new()), f"Content-Length: {LARGE}"), bytes(LARGE))
        return LARGE // MIB

    def before_tus_patch(self) -> None:
        """The orchestrator creates the upload."""
        self._upload = self._folder.upload_url(self._new(), LARGE).removeprefix(self._site.client_url)

    def tus_patch(self) -> int:
        """A large new file; per MiB."""
        lines = ["Tus-Resumable: 1.0.0", "Upload-Offset: 0", "Content-Type: application/offset+octet-stream"]
        self._http.ask(self._head("PATCH", self._upload, *lines, f"Content-Length: {LARGE}"), bytes(LARGE))
        return LARGE // MIB

    def dav_put(self) -> int:
        """A small new file."""
        for _ in range(BATCH):
            self._dav.ask(self._head("PUT", f"/data/{self._new()}", "Content-Length: 4096"), bytes(4096))
        return BATCH

    def dav_look(self) -> int:
        """The properties of a file."""
        for _ in range(BATCH):
            self._dav.ask(self._head("PROPFIND", "/data/small", "Depth: 0", "Content-Length: 0"))
        return BATCH

    def dav_entry(self) -> int:
        """The properties of a directory's entries; per entry."""
        self._dav.ask(self._head("PROPFIND", "/data/many/", "Depth: 1", "Content-Length: 0"))
        return ENTRIES

    def sftp_get(self) -> int:
        """A small file, as OpenSSH's client does it: STAT, OPEN, FSTAT, READ, CLOSE."""
        for _ in range(BATCH):
            self._sftp.ask(17, string(b"data/small"))
            handle = self._sftp.open(b"data/small")
            self._sftp.ask(8, handle)
            self._sftp.ask(5, handle + struct.pack(">QI", 0, 32768))
            self._sftp.ask(4, handle)
        return BATCH

    def sftp_put(self) -> int:
        """A small new file: OPEN, WRITE, FSETSTAT, CLOSE."""
        for _ in range(BATCH):
            handle = self._sftp.open(f"data/{self._new()}".encode(), 2 | 8 | 16)
            self._sftp.ask(6, handle + struct.pack(">Q", 0) + string(bytes(1024)))
            self._sftp.ask(10, handle + struct.pack(">II", 4, 0o644))
            self._sftp.ask(4, handle)
        return BATCH

    def sftp_download(self) -> int:
        """Of a large file; per MiB, in requests of 255 KiB."""
        handle = self._sftp.open(b"data/large")
        for number in range(16):
            self._sftp.request(5, handle + struct.pack(">QI", number * 261120, 261120))
        for _ in range(16):
            self._sftp.answer()
        self._sftp.ask(4, handle)
        return 4

    def sftp_upload(self) -> int:
        """Of a large file; per MiB, in requests of 32 KiB."""
        handle, piece = self._sftp.open(f"data/{self._new()}".encode(), 2 | 8 | 16), string(bytes(32768))
        for number in range(128):
            self._sftp.request(6, handle + struct.pack(">Q", number * 32768) + piece)
        for _ in range(128):
            self._sftp.answer()
        self._sftp.ask(4, handle)
        return 4

    def sftp_entry(self) -> int:
        """Of a directory; per entry."""
        _, body = self._sftp.ask(11, string(b"data/many"))
        handle = string(take(body)[0])
        while self._sftp.ask(12, handle)[0] == 104:
            pass
        self._sftp.ask(4, handle)
        return ENTRIES

    def by_name(self, name: str) -> tuple[Callable[[], int], Callable[[], None]]:
        """One of them, as ``http-get``, and what has to happen before each time."""
        attribute = name.replace("-", "_")
        return getattr(self, attribute), getattr(self, f"before_{attribute}", lambda: None)
