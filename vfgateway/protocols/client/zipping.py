"""A zip file made piece by piece, in the order in which its members come, without ever seeking.

Members are stored, not deflated: deflate takes thirty times as long per byte as anything else on the way, and most of what is worth
a download is compressed already. ZIP64 structures appear where a member passes 4 GiB, or the archive 4 GiB or 65535 members.
What is kept until the end is about a hundred bytes and the name of each member.
"""

from __future__ import annotations

import stat
import struct
import time
from collections.abc import Iterable, Iterator
from typing import IO, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from vfgateway.interfaces import type_chunk
from vfgateway.model import FileStat

#: The first and the last moment that a zip file can tell.
EARLIEST = (1980, 1, 1, 0, 0, 0)
LATEST = (2107, 12, 31, 23, 59, 58)

_SECOND = 1_000_000_000


class ZipWriter:
    """See the module. What has been made so far is taken with :meth:`taken`."""

    def __init__(self) -> None:
        self._made = _Made()
        self._zip = ZipFile(cast("IO[bytes]", self._made), "w", ZIP_STORED)
        self._zip.filelist = _Members()
        self._zip.NameToInfo = _Forgetful()

    @property
    def size(self) -> int:
        """Bytes that wait to be taken."""
        return self._made.size

    def taken(self) -> bytes:
        """What was made since the last call."""
        return self._made.take()

    def directory(self, name: str, facts: FileStat) -> None:
        """Add a directory; ``name`` without the slash at its end."""
        info = _info(name + "/", facts)
        info.CRC = info.compress_size = 0  # which only the road by open() sets
        self._zip.mkdir(info)

    def member(self, name: str, facts: FileStat) -> IO[bytes]:
        """Begin a file of about ``facts.size`` bytes, to be written to and closed before anything else is added."""
        info = _info(name, facts)
        info.file_size = facts.size  # decides about ZIP64, since the head cannot be changed afterwards
        return self._zip.open(info, "w")

    def close(self) -> None:
        """Write the table of members. Takes some microseconds for each: not for the reactor's thread if there are many."""
        self._zip.close()

    def abandon(self) -> None:
        """Forget it, without the table that would otherwise be written when the object goes away."""
        self._zip.fp = None


class _Made:
    """What :class:``ZipFile`` writes to: it cannot seek, nor tell."""

    def __init__(self) -> None:
        self._pieces: list[type_chunk] = []
        self.size = 0

    def write(self, piece: type_chunk) -> int:
        self._pieces.append(piece)  # which nobody changes afterwards
        self.size += len(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing lies elsewhere."""

    def take(self) -> bytes:
        pieces, self._pieces, self.size = self._pieces, [], 0
        return b"".join(pieces)


def _info(name: str, facts: FileStat) -> ZipInfo:
    seconds = facts.mtime_ns // _SECOND
    info = ZipInfo(name, _dos_time(seconds))
    info.create_system = 3  # Unix, so that permissions count
    kind = stat.S_IFDIR if name.endswith("/") else stat.S_IFREG
    info.external_attr = (kind | facts.mode) << 16 | (0x10 if name.endswith("/") else 0)
    if -(2**31) <= seconds < 2**31:
        info.extra = struct.pack("<HHBl", 0x5455, 5, 1, seconds)  # "UT": the exact time, in UTC
    return info


def _dos_time(seconds: int) -> tuple[int, int, int, int, int, int]:
    """The moment in UTC, moved to the nearest that can be told."""
    try:
        moment = time.gmtime(seconds)[:6]
    except (OverflowError, ValueError, OSError):
        return EARLIEST if seconds < 0 else LATEST
    return min(max(moment, EARLIEST), LATEST)


class _Members(list[ZipInfo]):
    """The table of members, packed: a :class:``ZipInfo`` takes five times the room."""

    _FIELDS = struct.Struct("<QQQLLHHHHHHHHB")

    def __init__(self) -> None:
        super().__init__()
        self._packed: list[bytes] = []

    def append(self, info: ZipInfo) -> None:
        fixed = self._FIELDS.pack(
            info.header_offset,
            info.file_size,
            info.compress_size,
            info.CRC,
            info.external_attr,
            info.flag_bits,
            info.create_version,
            *info.date_time,
            len(info.extra),
        )
        self._packed.append(fixed + info.extra + info.filename.encode("utf-8"))

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[ZipInfo]:
        for packed in self._packed:
            offset, size, compressed, crc, attributes, flags, version, *rest = self._FIELDS.unpack_from(packed)
            *moment, extra = rest
            at = self._FIELDS.size
            info = ZipInfo(packed[at + extra :].decode("utf-8"), tuple(moment))
            info.extra = packed[at : at + extra]
            info.header_offset, info.file_size, info.compress_size, info.CRC = offset, size, compressed, crc
            info.external_attr, info.flag_bits, info.create_version, info.create_system = attributes, flags, version, 3
            yield info


class _Forgetful(dict[str, ZipInfo]):
    """The names known so far, which nobody asks for: remembering them would double what is kept."""

    def __setitem__(self, name: str, info: ZipInfo) -> None:
        pass


def shown_name(parts: Iterable[str]) -> tuple[str, bool]:
    """The name of a member as a zip file can have it, and whether that is the name on disk: bytes that are not UTF-8 are shown
    percent-escaped, since the format has no word for them."""
    name = "/".join(parts)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in name), False
    return name, True
