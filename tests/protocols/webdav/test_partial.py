"""Parts of files, by both ways of asking."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.webdav import webdav
from vfgateway.protocols.webdav.faults import Refused
from vfgateway.protocols.webdav.partial import content_range, update_range

SABRE = {"Content_Type": "application/x-sabredav-partialupdate"}


async def test_put_of_a_part(tmp_path: Path) -> None:
    """In place, at the end, from the first byte of a new file; a range that does not fit the body or the file changes nothing."""
    async with webdav(tmp_path, limit_bytes=20) as dav:
        for span, body, status, content in (
            ("bytes 0-4/10", b"hello", 201, b"hello"),
            ("bytes 5-9/10", b"world", 204, b"helloworld"),
            ("bytes 1-2/*", b"AB", 204, b"hABloworld"),
            ("bytes 11-12/13", b"xx", 416, b"hABloworld"),
            ("bytes 0-4/10", b"four", 400, b"hABloworld"),
            ("bytes 4-0/10", b"hello", 400, b"hABloworld"),
            ("pages 1-2/3", b"hello", 400, b"hABloworld"),
            ("bytes 10-20/21", b"x" * 11, 507, b"hABloworld"),
        ):
            answer = await dav.ask("PUT", "/data/f", body, Content_Range=span)
            assert answer.status == status, span
            assert (dav.root / "f").read_bytes() == content
        assert answer.status == 507
        etag = (await dav.ask("HEAD", "/data/f")).headers["etag"]
        done = await dav.ask("PUT", "/data/f", b"z", Content_Range="bytes 0-0/*", If_Match=etag)
        assert done.headers["etag"] == (await dav.ask("HEAD", "/data/f")).headers["etag"] != etag
        assert (await dav.ask("PUT", "/data/f", b"z", Content_Range="bytes 0-0/*", If_Match=etag)).status == 412


async def test_patch(tmp_path: Path) -> None:
    """sabre's four ranges; only of files that are there, and only of its type."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"0123456789")
        for span, body, content in (
            ("bytes=0-1", b"ab", b"ab23456789"),
            ("bytes=8-", b"yz", b"ab234567yz"),
            ("bytes=-3", b"XYZ", b"ab23456XYZ"),
            ("append", b"!", b"ab23456XYZ!"),
        ):
            assert (await dav.ask("PATCH", "/data/f", body, X_Update_Range=span, **SABRE)).status == 204
            assert (dav.root / "f").read_bytes() == content
        assert (await dav.ask("PATCH", "/data/g", b"x", X_Update_Range="append", **SABRE)).status == 404
        assert (await dav.ask("PATCH", "/data/f", b"x", X_Update_Range="append")).status == 415
        assert (await dav.ask("PATCH", "/data/f", b"x", X_Update_Range="bytes=5-2", **SABRE)).status == 416
        assert (await dav.ask("PATCH", "/data/f", b"x", X_Update_Range="bytes=99-", **SABRE)).status == 416
        token = (await dav.ask("LOCK", "/data/f", LOCK)).headers["lock-token"]
        assert (await dav.ask("PATCH", "/data/f", b"x", X_Update_Range="append", **SABRE)).status == 423
        held = await dav.ask("PATCH", "/data/f", b"x", X_Update_Range="append", If=f"({token})", **SABRE)
        assert held.status == 204


LOCK = b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'


@given(st.integers(0, 10**15), st.integers(1, 10**15), st.integers(0, 10**15))
def test_content_ranges(start: int, length: int, rest: int) -> None:
    """What is written is what is read."""
    last = start + length - 1
    for total in (b"*", b"%d" % (last + 1 + rest)):
        part = content_range(b"bytes %d-%d/%s" % (start, last, total))
        assert (part.start, part.length) == (start, length)


@given(st.binary(max_size=30), st.integers(0, 100))
def test_any_range_is_read_or_refused(value: bytes, size: int) -> None:
    """No value does anything else, and none begins before the file."""
    for read in (content_range, lambda text: update_range(text, size)):
        try:
            assert read(value).start >= 0
        except Refused as refusal:
            assert refusal.status in (400, 416)


def test_a_total_that_is_too_small() -> None:
    """A total that the range passes is refused."""
    with pytest.raises(Refused):
        content_range(b"bytes 0-9/5")
