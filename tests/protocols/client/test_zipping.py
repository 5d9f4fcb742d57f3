"""Zip files as others read them: names, times, sizes beyond 4 GiB and tables beyond 65535."""

from __future__ import annotations

import io
import stat
from datetime import UTC, datetime
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfgateway.model import FileStat, FileType
from vfgateway.protocols.client.zipping import ZipWriter, shown_name

MODIFIED = 1_700_000_000


def facts(size: int = 0, seconds: int = MODIFIED, mode: int = 0o640, kind: FileType = FileType.FILE) -> FileStat:
    """A file's facts."""
    return FileStat(kind, size, mode, 0, 0, seconds * 10**9, 0, "")


def test_members() -> None:
    """Content, permissions, times and directories come out as they went in."""
    writer = ZipWriter()
    with writer.member("a/ü.txt", facts(5)) as member:
        member.write(b"hel")
        member.write(b"lo")
    early = writer.taken()
    assert b"hello" in early
    writer.directory("empty", facts(mode=0o750, kind=FileType.DIRECTORY))
    writer.close()
    with ZipFile(io.BytesIO(early + writer.taken())) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a/ü.txt", "empty/"]
        assert archive.read("a/ü.txt") == b"hello"
        info = archive.getinfo("a/ü.txt")
        assert stat.filemode(info.external_attr >> 16) == "-rw-r-----"
        assert datetime(*info.date_time, tzinfo=UTC).timestamp() == MODIFIED
        assert stat.filemode(archive.getinfo("empty/").external_attr >> 16) == "drwxr-x---"


def test_nothing() -> None:
    """An archive of nothing can be opened."""
    writer = ZipWriter()
    writer.close()
    assert ZipFile(io.BytesIO(writer.taken())).namelist() == []


@pytest.mark.parametrize(("seconds", "year"), [(-(2**60), 1980), (-1, 1980), (0, 1980), (2**33, 2107), (2**60, 2107)])
def test_times_that_zip_cannot_tell(seconds: int, year: int) -> None:
    """A file from before 1980 or after 2107 is archived with the nearest time."""
    writer = ZipWriter()
    with writer.member("f", facts(seconds=seconds)):
        pass
    writer.close()
    assert ZipFile(io.BytesIO(writer.taken())).getinfo("f").date_time[0] == year


def test_more_members_than_16_bits_count() -> None:
    """65536 members and more."""
    writer = ZipWriter()
    for number in range(65_540):
        writer.directory(str(number), facts(kind=FileType.DIRECTORY))
    writer.close()
    names = ZipFile(io.BytesIO(writer.taken())).namelist()
    assert (len(names), names[-1]) == (65_540, "65539/")


def test_member_beyond_4_gib() -> None:
    """A member of more than 4 GiB, and one that begins behind it. The zeros are not kept, so the table is read by itself."""
    size = (4 << 30) + 5
    zeros = bytes(64 << 20)
    writer = ZipWriter()
    offset = 0
    with writer.member("large", facts(size)) as member:
        left = size
        while left:
            member.write(zeros[:left])
            left -= min(left, len(zeros))
            offset += len(writer.taken())
    with writer.member("behind", facts(1)) as member:
        member.write(b"x")
    offset += len(writer.taken())
    writer.close()
    sparse = _Sparse(offset, writer.taken())
    with ZipFile(sparse) as archive:
        assert archive.getinfo("large").file_size == size
        assert archive.getinfo("behind").header_offset > 4 << 30


class _Sparse(io.RawIOBase):
    """A file whose first ``hole`` bytes are not there."""

    def __init__(self, hole: int, end: bytes) -> None:
        self._hole = hole
        self._end = end
        self._at = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, self._hole + len(self._end))[whence]
        if base + offset < 0:
            raise OSError
        self._at = base + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        assert self._at >= self._hole
        start = self._at - self._hole
        data = self._end[start : len(self._end) if count < 0 else start + count]
        self._at += len(data)
        return data


@given(st.lists(st.binary(min_size=1).map(lambda raw: raw.replace(b"/", b"").replace(b"\0", b"") or b"x"), min_size=1))
def test_any_name(parts: list[bytes]) -> None:
    """Names of any bytes can be written; those that are UTF-8 come out unchanged."""
    name, exact = shown_name([part.decode("utf-8", "surrogateescape") for part in parts])
    writer = ZipWriter()
    with writer.member(name, facts()):
        pass
    writer.close()
    [read] = ZipFile(io.BytesIO(writer.taken())).namelist()
    assert read == name
    assert exact is (name.encode() == b"/".join(parts))
