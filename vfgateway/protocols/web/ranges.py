"""Which part of a file is wanted: ``Range`` (RFC 9110 section 14) as a pure function."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

#: Ranges that one request may ask for; more is an attack rather than a need (RFC 9110 section 17.15).
MOST_RANGES = 64

_UNIT = re.compile(rb"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)
_SPEC = re.compile(rb"([0-9]*)\s*-\s*([0-9]*)")
#: What nearly everybody sends.
_PLAIN = re.compile(rb"bytes=([0-9]{1,18})-([0-9]{1,18})")
#: As many as the largest size of a file has.
_DIGITS = 19


class Unsatisfiable(Exception):
    """No byte of the file lies in what was asked for: 416."""


@attrs.frozen
class Span:
    """``length`` bytes from ``start`` on; at least one."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.length

    def content_range(self, size: int) -> bytes:
        """The value of ``Content-Range`` in a file of ``size`` bytes."""
        return b"bytes %d-%d/%d" % (self.start, self.end - 1, size)


def parse(header: bytes | None, size: int) -> Sequence[Span] | None:
    """The spans that ``header`` asks for of a file of ``size`` bytes, in the order asked for; ``None`` where the whole file is to be sent.

    Another unit or a malformed header is ignored, as section 14.2 says; so are too many ranges. Spans that overlap or touch become
    one, and the order is then that of the file. Raises :class:`Unsatisfiable` if no range holds a byte.
    """
    plain = _PLAIN.fullmatch(header) if header else None
    if plain is not None and (start := int(plain[1])) < size and start <= (last := int(plain[2])):
        return [Span(start, min(last + 1, size) - start)]
    match = _UNIT.fullmatch(header) if header else None
    if match is None:
        return None
    specs = [spec.strip() for spec in match[1].split(b",")]
    specs = [spec for spec in specs if spec]
    if not specs or len(specs) > MOST_RANGES:
        return None
    spans = []
    for spec in specs:
        bounds = _SPEC.fullmatch(spec)
        if bounds is None or not (bounds[1] or bounds[2]) or max(len(bounds[1]), len(bounds[2])) > _DIGITS:
            return None
        first, end = bounds[1], bounds[2]
        if first and end and int(end) < int(first):
            return None
        span = _span(first, end, size)
        if span is not None:
            spans.append(span)
    if not spans:
        raise Unsatisfiable
    joined = _joined(spans)
    if joined == [Span(0, size)] and len(specs) > 1:
        return None
    return spans if len(joined) == len(spans) else joined


def _span(first: bytes, last: bytes, size: int) -> Span | None:
    if not first:
        length = min(int(last), size)
        return Span(size - length, length) if length else None
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    return Span(start, end - start) if start < size else None


def _joined(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if joined and span.start <= joined[-1].end:
            before = joined.pop()
            span = Span(before.start, max(before.end, span.end) - before.start)
        joined.append(span)
    return joined
