"""The commands of SMB 2 and 3 that a volume needs, as bytes ([MS-SMB2] section 2.2, [MS-FSCC] section 2.4).

Both drivers take these bodies and bring the rest: negotiation, logging in, signing, encryption, message numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import attrs

# --- commands: code, and where the identifier of the open file stands in the body

CREATE, CLOSE, FLUSH, READ, WRITE, IOCTL = 5, 6, 7, 8, 9, 11
ECHO, QUERY_DIRECTORY, QUERY_INFO, SET_INFO = 13, 14, 16, 17
FILE_ID_AT: Final = {
    CLOSE: 8,
    FLUSH: 8,
    READ: 16,
    WRITE: 16,
    IOCTL: 8,
    QUERY_DIRECTORY: 8,
    QUERY_INFO: 24,
    SET_INFO: 16,
}
#: Stands for the file that the first command of a chain has opened (section 3.2.4.1.4).
RELATED: Final = b"\xff" * 16

# --- access, sharing, dispositions and options of CREATE

READ_DATA, WRITE_DATA, READ_ATTRIBUTES, WRITE_ATTRIBUTES, DELETE = 0x1, 0x2, 0x80, 0x100, 0x10000
SHARE_ALL: Final = 0x7
SHARE_DELETE: Final = 0x4
OPEN, CREATE_NEW, OPEN_IF = 1, 2, 3
DIRECTORY_FILE, NON_DIRECTORY_FILE, DELETE_ON_CLOSE, OPEN_REPARSE_POINT = 0x1, 0x40, 0x1000, 0x200000
ATTRIBUTE_DIRECTORY, ATTRIBUTE_NORMAL, ATTRIBUTE_REPARSE_POINT = 0x10, 0x80, 0x400

# --- classes of information

_FILE, _FILE_SYSTEM = 1, 2
_BASIC, _RENAME, _DISPOSITION, _ALL, _END_OF_FILE = 4, 10, 13, 18, 20
_FULL_SIZE, _ID_FULL_DIRECTORY = 7, 38
_RESUME_KEY, _COPY_CHUNKS = 0x00140078, 0x001480F2

_HEADER: Final = 64
#: 100-nanosecond steps from 1601 to 1970.
_EPOCH: Final = 116_444_736_000_000_000
_CREATE = struct.Struct("<HBBIQQIIIIIHHII")
_READ = struct.Struct("<HBBIQ16sIIIHH")
_WRITE = struct.Struct("<HHIQ16sIIHHI")
_QUERY_DIRECTORY = struct.Struct("<HBBI16sHHI")
_QUERY_INFO = struct.Struct("<HBBIHHIII16s")
_SET_INFO = struct.Struct("<HBBIHHI16s")
_IOCTL = struct.Struct("<HHI16sIIIIIIII")
_ON_FILE = struct.Struct("<HHI16s")
_ENTRY = struct.Struct("<IIQQQQQQIIIIQ")
_ALL_FIXED = struct.Struct("<QQQQIIQQIBBHQ")
_SIZES = struct.Struct("<QQQII")
_CHUNK = struct.Struct("<QQII")


class Command(NamedTuple):
    """One request.

    :ivar payload: bytes of the longer of request and answer, which decides what it costs in credits (section 3.1.5.2)
    """

    code: int
    body: bytes
    payload: int = 1

    def about(self, file_id: bytes) -> Command:
        """The same for another file."""
        at = FILE_ID_AT[self.code]
        return self._replace(body=self.body[:at] + file_id + self.body[at + 16 :])


class Reply(NamedTuple):
    """An answer: its NT status and its body, which begins after the header."""

    status: int
    body: bytes


class Entry(NamedTuple):
    """What the server tells of a file or directory. Times are epoch nanoseconds.

    :ivar number: the file's own on its volume; 0 where the server has none
    """

    name: str
    number: int
    attributes: int
    size: int
    accessed: int
    modified: int
    changed: int

    @property
    def is_dir(self) -> bool:
        return bool(self.attributes & ATTRIBUTE_DIRECTORY)

    @property
    def is_link(self) -> bool:
        """Whether it stands for something elsewhere: a link, a mount, a file that was moved to slow storage."""
        return bool(self.attributes & ATTRIBUTE_REPARSE_POINT)


@attrs.frozen
class Opening:
    """How something is to be opened. ``path`` counts from the share's root, with backslashes."""

    path: str
    access: int
    disposition: int = OPEN
    options: int = 0
    share: int = SHARE_ALL

    @property
    def command(self) -> Command:
        name = self.path.encode("utf-16-le")
        attributes = ATTRIBUTE_DIRECTORY if self.options & DIRECTORY_FILE else ATTRIBUTE_NORMAL
        fixed = _CREATE.pack(
            57,
            0,
            0,  # no oplock: nothing is cached
            2,  # impersonation
            0,
            0,
            self.access,
            attributes,
            self.share,
            self.disposition,
            self.options,
            _HEADER + _CREATE.size,
            len(name),
            0,
            0,
        )
        return Command(CREATE, fixed + (name or b"\0\0"))


def opened(body: bytes) -> bytes:
    """The identifier of the open file, from the answer to CREATE."""
    return body[64:80]


def close() -> Command:
    return Command(CLOSE, _ON_FILE.pack(24, 0, 0, RELATED))


def flush() -> Command:
    return Command(FLUSH, _ON_FILE.pack(24, 0, 0, RELATED))


def echo() -> Command:
    return Command(ECHO, b"\x04\0\0\0")


def read(offset: int, length: int) -> Command:
    return Command(READ, _READ.pack(49, 0x50, 0, length, offset, RELATED, 0, 0, 0, 0, 0) + b"\0", length)


def read_data(body: bytes) -> bytes:
    start = body[2] - _HEADER
    return body[start : start + int.from_bytes(body[4:8], "little")]


def write(offset: int, data: bytes) -> Command:
    fixed = _WRITE.pack(49, _HEADER + _WRITE.size, len(data), offset, RELATED, 0, 0, 0, 0, 0)
    return Command(WRITE, fixed + data, len(data))


def written(body: bytes) -> int:
    return int.from_bytes(body[4:8], "little")


# --- facts


def query_all() -> Command:
    """Facts about the open file; its name, at the end of them, is cut off where it is long."""
    return _query(_FILE, _ALL, 1024)


def query_space() -> Command:
    return _query(_FILE_SYSTEM, _FULL_SIZE, _SIZES.size)


def _query(kind: int, what: int, size: int) -> Command:
    return Command(QUERY_INFO, _QUERY_INFO.pack(41, kind, what, size, 0, 0, 0, 0, 0, RELATED), size)


def facts(body: bytes, name: str = "") -> Entry:
    """From the answer to :func:`query_all`."""
    _, accessed, modified, changed, attributes, _, _, size, _, _, _, _, number = _ALL_FIXED.unpack_from(
        body, _buffer(body)[0]
    )
    return Entry(name, number, attributes, size, _ns(accessed), _ns(modified), _ns(changed))


def space(body: bytes) -> tuple[int, int]:
    """Bytes in all, and available to who asks, from the answer to :func:`query_space`."""
    total, available, _, sectors, size = _SIZES.unpack_from(body, _buffer(body)[0])
    return total * sectors * size, available * sectors * size


def _buffer(body: bytes) -> tuple[int, int]:
    """Where the information begins and ends in an answer."""
    start = int.from_bytes(body[2:4], "little") - _HEADER
    return start, start + int.from_bytes(body[4:8], "little")


def _ns(filetime: int) -> int:
    return (filetime - _EPOCH) * 100


def _filetime(ns: int | None) -> int:
    """In steps of 100 ns; 0 leaves a time as it is."""
    return 0 if ns is None else max(1, ns // 100 + _EPOCH)


# --- changes


def set_times(accessed: int | None, modified: int | None) -> Command:
    return _set(_BASIC, struct.pack("<QQQQII", 0, _filetime(accessed), _filetime(modified), 0, 0, 0))


def set_size(size: int) -> Command:
    return _set(_END_OF_FILE, size.to_bytes(8, "little"))


def set_disposition(remove: bool = True) -> Command:
    """Remove the file when the last who has it open closes it; or do not, after all."""
    return _set(_DISPOSITION, bytes([remove]))


def rename(path: str, replace: bool) -> Command:
    """Give the open file another name, counted from the share's root (section 2.4.42.2 of [MS-FSCC])."""
    name = path.encode("utf-16-le")
    return _set(_RENAME, struct.pack("<B7xQI", replace, 0, len(name)) + name)


def _set(what: int, data: bytes) -> Command:
    fixed = _SET_INFO.pack(33, _FILE, what, len(data), _HEADER + _SET_INFO.size, 0, 0, RELATED)
    return Command(SET_INFO, fixed + data)


# --- directories


def list_entries(size: int, restart: bool = False) -> Command:
    """The next entries of the open directory, in at most ``size`` bytes."""
    at = _HEADER + _QUERY_DIRECTORY.size
    fixed = _QUERY_DIRECTORY.pack(33, _ID_FULL_DIRECTORY, int(restart), 0, RELATED, at, 2, size)
    return Command(QUERY_DIRECTORY, fixed + "*".encode("utf-16-le"), size)


def entries(body: bytes) -> Iterator[Entry]:
    """From the answer to :func:`list_entries`, without ``.`` and ``..``."""
    here, end = _buffer(body)
    unpack, header = _ENTRY.unpack_from, _ENTRY.size
    while here < end:
        step, _, _, accessed, modified, changed, size, _, attributes, length, _, _, number = unpack(body, here)
        name = body[here + header : here + header + length].decode("utf-16-le", "surrogatepass")
        if name not in (".", ".."):
            yield Entry(name, number, attributes, size, _ns(accessed), _ns(modified), _ns(changed))
        if not step:
            return
        here += step


# --- copies on the server


def ask_resume_key() -> Command:
    """The name by which the open file can be the source of :func:`copy_chunks`."""
    return _ioctl(_RESUME_KEY, b"", 32)


def resume_key(body: bytes) -> bytes:
    return _ioctl_output(body)[:24]


def copy_chunks(key: bytes, chunks: Sequence[tuple[int, int, int]]) -> Command:
    """Copy into the open file: offsets in source and target, and length, of each chunk."""
    data = key + struct.pack("<II", len(chunks), 0) + b"".join(_CHUNK.pack(*chunk, 0) for chunk in chunks)
    return _ioctl(_COPY_CHUNKS, data, 12)


def copied(body: bytes) -> tuple[int, int, int]:
    """Chunks and bytes of the last chunk, and bytes in all, that were copied; or, with ``INVALID_PARAMETER``, the most that can be."""
    chunks, last, total = struct.unpack_from("<III", _ioctl_output(body))
    return chunks, last, total


def _ioctl(code: int, data: bytes, answer: int) -> Command:
    at = _HEADER + _IOCTL.size if data else 0
    fixed = _IOCTL.pack(57, 0, code, RELATED, at, len(data), 0, 0, 0, answer, 1, 0)
    return Command(IOCTL, fixed + (data or b"\0"), max(len(data), answer))


def _ioctl_output(body: bytes) -> bytes:
    start, length = struct.unpack_from("<II", body, 32)
    return body[start - _HEADER : start - _HEADER + length]
