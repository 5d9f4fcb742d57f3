"""``Range``: the examples of RFC 9110 section 14, and what hostile clients send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfgateway.protocols.web.ranges import MOST_RANGES, Span, Unsatisfiable, parse


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        (b"bytes=0-499", [Span(0, 500)]),
        (b"bytes=500-999", [Span(500, 500)]),
        (b"bytes=-500", [Span(9500, 500)]),
        (b"bytes=9500-", [Span(9500, 500)]),
        (b"bytes=9500-99999", [Span(9500, 500)]),
        (b"bytes=-99999", [Span(0, 10000)]),
        (b"BYTES = 0-0", [Span(0, 1)]),
        (b"bytes=0-0,-1", [Span(0, 1), Span(9999, 1)]),
        (b"bytes=9000-9009, 0-9", [Span(9000, 10), Span(0, 10)]),
        (b"bytes=,0-9,,", [Span(0, 10)]),
        (b"bytes=500-600,601-999", [Span(500, 500)]),
        (b"bytes=500-700,601-999", [Span(500, 500)]),
        (b"bytes=0-9,99999-", [Span(0, 10)]),
        (b"bytes=0-,0-,0-", None),
    ],
)
def test_what_is_asked_for(header: bytes, spans: list[Span] | None) -> None:
    """The spans of a file of 10000 bytes; those that touch become one, those out of reach are left out."""
    assert parse(header, 10000) == spans


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=a-b",
        b"bytes=5-4",
        b"bytes=0-9;x",
        b"bytes=0x0-9",
        b"bytes=+0-9",
        b"lines=0-9",
        b"bytes=" + b"9" * 5000 + b"-",
        b"bytes=" + b"0-1," * (MOST_RANGES + 1),
    ],
)
def test_what_is_ignored(header: bytes | None) -> None:
    """Malformed headers, other units and too many ranges mean the whole file (section 14.2)."""
    assert parse(header, 10000) is None


@pytest.mark.parametrize(
    ("header", "size"), [(b"bytes=100-", 100), (b"bytes=-0", 100), (b"bytes=0-", 0), (b"bytes=-5", 0)]
)
def test_out_of_reach(header: bytes, size: int) -> None:
    """No byte of the file is in the range: 416."""
    with pytest.raises(Unsatisfiable):
        parse(header, size)


@given(st.binary(max_size=60), st.integers(0, 1 << 50))
def test_any_bytes(header: bytes, size: int) -> None:
    """Whatever comes, the spans lie within the file, none is empty, and none is sent twice."""
    for text in (header, b"bytes=" + header):
        try:
            spans = parse(text, size)
        except Unsatisfiable:
            continue
        if spans is not None:
            assert spans
            assert all(span.length > 0 and 0 <= span.start < span.end <= size for span in spans)
            assert sum(span.length for span in spans) <= size


@given(st.integers(1, 1 << 60), st.data())
def test_content_range(size: int, data: st.DataObject) -> None:
    """First and last byte are both inclusive, as the header has them."""
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    [span] = parse(b"bytes=%d-%d" % (first, last), size) or []
    assert span.content_range(size) == b"bytes %d-%d/%d" % (first, last, size)
