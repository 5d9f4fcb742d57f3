"""SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02): requests taken apart, answers put together."""

from __future__ import annotations

import struct

import attrs

from vfgateway.model import Attrs, FileStat, FileType

(INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT) = range(1, 11)
(OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK) = range(11, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, CONNECTION_LOST, OP_UNSUPPORTED = range(
    9
)

#: Flags of OPEN.
F_READ, F_WRITE, F_APPEND, F_CREATE, F_TRUNCATE, F_EXCLUSIVE = 1, 2, 4, 8, 16, 32
#: Flags of attributes.
A_SIZE, A_OWNER, A_MODE, A_TIMES, A_EXTENDED = 1, 2, 4, 8, 0x80000000
A_ALL = A_SIZE | A_OWNER | A_MODE | A_TIMES

#: Bytes of the longest request: the largest WRITE and room for its head.
LONGEST_REQUEST = (256 << 10) + 1024
#: Bytes that one READ or WRITE moves at most (as OpenSSH, so that its answer fits 256 KiB).
LARGEST_PIECE = (256 << 10) - 1024

TYPE_BITS = {
    FileType.FILE: 0o100000,
    FileType.DIRECTORY: 0o040000,
    FileType.SYMLINK: 0o120000,
    FileType.OTHER: 0o010000,
}
#: Attributes as they are sent: which there are, size, owner, group, type and permissions, times of access and change.
ATTRIBUTES = struct.Struct(">IQIIIII")
_U32_MAX = (1 << 32) - 1


class Malformed(Exception):
    """A request that cannot be taken apart."""


class Reader:
    """Takes a request apart, from the left. Raises :class:`Malformed`."""

    def __init__(self, data: bytes | bytearray | memoryview, at: int = 0) -> None:
        self._data = data
        self._at = at

    def _take(self, count: int) -> int:
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise Malformed("the request is too short")
        return start

    def u32(self) -> int:
        start = self._at
        self._at = end = start + 4
        if end > len(self._data):
            raise Malformed("the request is too short")
        return int.from_bytes(self._data[start:end], "big")

    def u64(self) -> int:
        return int.from_bytes(self._data[self._take(8) : self._at], "big")

    def byte(self) -> int:
        return self._data[self._take(1)]

    def string(self) -> bytes:
        count = self.u32()
        start = self._take(count)
        return bytes(self._data[start : self._at])

    def rest(self) -> memoryview:
        """Everything that is left."""
        return memoryview(self._data)[self._at :]

    def attributes(self) -> Wanted:
        flags = self.u32()
        size = self.u64() if flags & A_SIZE else None
        owner = (self.u32(), self.u32()) if flags & A_OWNER else None
        mode = self.u32() & 0o7777 if flags & A_MODE else None
        times = (self.u32(), self.u32()) if flags & A_TIMES else None
        if flags & A_EXTENDED:
            for _ in range(self.u32()):
                self.string()
                self.string()
        return Wanted(size, owner, mode, times)


@attrs.frozen
class Wanted:
    """Attributes as a client sends them; ``times`` are those of access and change, in seconds."""

    size: int | None = None
    owner: tuple[int, int] | None = None
    mode: int | None = None
    times: tuple[int, int] | None = None

    @property
    def changes(self) -> Attrs | None:
        """What a volume is asked to change; ``None`` if nothing."""
        if self.mode is None and self.times is None:
            return None
        access, change = self.times or (None, None)
        return Attrs(
            mode=self.mode,
            mtime_ns=None if change is None else change * 10**9,
            atime_ns=None if access is None else access * 10**9,
        )


def string(data: bytes) -> bytes:
    """A string with its length."""
    return len(data).to_bytes(4, "big") + data


def _seconds(nanoseconds: int) -> int:
    return min(max(nanoseconds // 10**9, 0), _U32_MAX)


def attributes(stat: FileStat) -> bytes:
    """Everything that version 3 can say of an entry."""
    change = stat.mtime_ns
    return ATTRIBUTES.pack(
        A_ALL,
        stat.size,
        stat.uid & _U32_MAX,
        stat.gid & _U32_MAX,
        TYPE_BITS[stat.type] | stat.mode,
        _seconds(stat.atime_ns or change),
        _seconds(change),
    )


def answer(kind: int, request: int, body: bytes) -> bytes:
    """A whole answer."""
    return struct.pack(">IBI", 5 + len(body), kind, request) + body


def status(request: int, code: int, text: str = "") -> bytes:
    """How a request ended; with the text, since the code says little."""
    words = text.encode("utf-8", "backslashreplace")[:4096]
    return answer(STATUS, request, struct.pack(">II", code, len(words)) + words + b"\0\0\0\2en")


_SUCCESS = struct.pack(">IBI", 5 + 4 + 4 + 4 + 2, STATUS, 0)[:5]
_SUCCESS_TAIL = struct.pack(">II", OK, 0) + b"\0\0\0\2en"


def success(request: int) -> bytes:
    """The answer that is made most often."""
    return b"%b%b%b" % (_SUCCESS, request.to_bytes(4, "big"), _SUCCESS_TAIL)
