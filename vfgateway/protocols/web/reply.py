"""Answers that carry a file: conditions, ranges, and the file itself (RFC 9110 sections 13 to 15)."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from twisted.web.http import NOT_MODIFIED, OK, PARTIAL_CONTENT, REQUESTED_RANGE_NOT_SATISFIABLE

from vfgateway.errors import PreconditionFailed
from vfgateway.model import FileStat
from vfgateway.paths import FolderPath
from vfgateway.protocols.web import ranges
from vfgateway.protocols.web.asked import Answer, Asked, lines_of
from vfgateway.protocols.web.conditions import (
    Conditions,
    IFields,
    NotModified,
    etag_of,
    http_date,
    range_applies,
    seconds_of,
)
from vfgateway.protocols.web.disposition import attachment
from vfgateway.protocols.web.faults import PROBLEMS, answer_problem
from vfgateway.protocols.web.ranges import Span, Unsatisfiable
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.sending import SMALL, send_part
from vfgateway.services.reading import Download
from vfgateway.services.session import FolderSession

OCTETS = b"application/octet-stream"
_ALWAYS: Final = ((b"Accept-Ranges", b"bytes"), (b"X-Content-Type-Options", b"nosniff"))
_ALWAYS_LINES: Final = lines_of(_ALWAYS)
#: Bytes of the largest part of a file that is read and sent at once.
LARGEST_PART = 256 << 10


async def send_file(
    request: StreamingRequest,
    download: Download,
    *,
    disposition_name: str | None = None,
    no_store: bool = False,
    content_type: bytes = OCTETS,
) -> None:
    """Answer a GET or HEAD with ``download``, as its headers ask for it, and close the file, whatever happens.

    Does not finish the request. Raises ``PreconditionFailed`` before anything is written, and what reading raises.

    :param disposition_name: the name to save under; ``None`` leaves the header out
    :param no_store: forbid caches to keep it
    """
    request.delivers = True
    try:
        stat = download.stat
        for name, value in _described(stat, disposition_name, no_store):
            request.responseHeaders.setRawHeaders(name, [value])
        try:
            Conditions.of(request.requestHeaders).check(download.path, stat)
        except NotModified:
            request.setResponseCode(NOT_MODIFIED)
            request.write(b"")
            return
        try:
            spans = _wanted(request.requestHeaders, request.method, stat, request.site.reactor.seconds())
        except Unsatisfiable:
            _refuse_range(request, stat.size)
            return
        if spans is None:
            await _send_whole(request, download, content_type)
        elif len(spans) == 1:
            await _send_one(request, download, spans[0], content_type)
        else:
            await _send_several(request, download, spans, content_type)
    finally:
        await download.close()


def _described(stat: FileStat, name: str | None, no_store: bool) -> list[tuple[bytes, bytes]]:
    """What every answer about a file says of it."""
    fields = [(b"Etag", etag_of(stat)), (b"Last-Modified", http_date(seconds_of(stat))), *_ALWAYS]
    if name is not None:
        fields.append((b"Content-Disposition", attachment(name)))
    if no_store:
        fields.append((b"Cache-Control", b"no-store"))
    return fields


def _wanted(headers: IFields, method: bytes, stat: FileStat, now: float) -> Sequence[Span] | None:
    """Ranges are for GET alone (section 14.2)."""
    values = headers.getRawHeaders(b"range")
    if not values or method != b"GET" or not range_applies(headers, stat, now):
        return None
    return ranges.parse(values[-1], stat.size)


def _refuse_range(request: StreamingRequest, size: int) -> None:
    body = {"type": PROBLEMS + "storage/range-not-satisfiable", "title": "Range not satisfiable", "status": 416}
    request.before_head.append(lambda _: request.setHeader(b"content-range", b"bytes */%d" % size))
    answer_problem(request, REQUESTED_RANGE_NOT_SATISFIABLE, body)


async def _send_whole(request: StreamingRequest, download: Download, content_type: bytes) -> None:
    size = download.stat.size
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"content-length", b"%d" % size)
    if request.method == b"HEAD" or size == 0:
        request.write(b"")
        return
    await _send_span(request, download, Span(0, size))


async def _send_one(request: StreamingRequest, download: Download, span: Span, content_type: bytes) -> None:
    request.setResponseCode(PARTIAL_CONTENT)
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"content-length", b"%d" % span.length)
    request.setHeader(b"content-range", span.content_range(download.stat.size))
    await _send_span(request, download, span)


async def _send_several(
    request: StreamingRequest, download: Download, spans: Sequence[Span], content_type: bytes
) -> None:
    """``multipart/byteranges`` (section 14.6)."""
    boundary = secrets.token_hex(16).encode("ascii")
    size = download.stat.size
    heads = [
        b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"
        % (boundary, content_type, span.content_range(size))
        for span in spans
    ]
    tail = b"\r\n--%s--\r\n" % boundary
    total = sum(map(len, heads)) + sum(span.length for span in spans) + len(tail)
    request.setResponseCode(PARTIAL_CONTENT)
    request.setHeader(b"content-type", b"multipart/byteranges; boundary=" + boundary)
    request.setHeader(b"content-length", b"%d" % total)
    for head, span in zip(heads, spans, strict=True):
        request.write(head)
        await _send_span(request, download, span)
    request.write(tail)


async def _send_span(request: StreamingRequest, download: Download, span: Span) -> None:
    request.write(b"")  # the head, so that it goes first whichever way the rest goes
    if span.length <= SMALL:
        await send_part(request, download.file, span.start, span.length)
        return
    unguard = download.guard(request.abort)  # what has begun cannot be refused any more, only broken off
    try:
        await send_part(request, download.file, span.start, span.length)
    finally:
        unguard()


# --- at hand -----------------------------------------------------------------------------------------------


def file_at_hand(
    asked: Asked,
    folder: FolderSession,
    path: FolderPath,
    *,
    disposition_name: str | None = None,
    content_type: bytes = OCTETS,
    more: bytes = b"",
) -> Answer | None:
    """What :func:`send_file` would answer, if the file is in memory and small; ``None`` where it has to be asked.

    :param more: further fields of the answer, as :func:`vfgateway.protocols.web.asked.lines_of` writes them
    """
    choice = _Choice(asked, path)
    try:
        found = folder.read_now(path, choice)
    except (PreconditionFailed, Unsatisfiable, _NotAtHand):
        return None
    if found is None:
        return None
    stat, content = found
    lines = _lines(more, stat.identity, seconds_of(stat), disposition_name)
    if choice.status != NOT_MODIFIED:
        lines += b"\r\nContent-Type: %b\r\nContent-Length: %d" % (content_type, choice.length)
    if choice.span is not None:
        lines += b"\r\nContent-Range: " + choice.span.content_range(stat.size)
    again = None
    hangs_on_time = b"if-range" in asked.head.special  # the same facts may be answered differently a second later
    if asked.known.repeated and not hangs_on_time:
        again = folder.reread_now(path, stat, choice.part)
    return Answer(choice.status, lines, content, folder.principal.name, again)


@lru_cache(maxsize=4096)
def _lines(more: bytes, identity: str, modified: int, name: str | None) -> bytes:
    """What :func:`_described` has, as :func:`vfgateway.protocols.web.asked.lines_of` writes it."""
    facts = (more, identity.encode("ascii"), http_date(modified), _ALWAYS_LINES)
    lines = b'%b\r\nEtag: "%b"\r\nLast-Modified: %b%b' % facts
    return lines if name is None else b"%b\r\nContent-Disposition: %b" % (lines, attachment(name))


class _NotAtHand(Exception):
    """Too much, or too many parts."""


class _Choice:
    """Which bytes of a file answer a request; what is made of the facts, once they are known.

    :ivar length: of the body, sent or not (HEAD)
    :ivar span: for an answer with a part of the file
    :ivar part: what is read of it
    """

    def __init__(self, asked: Asked, path: FolderPath) -> None:
        self._asked = asked
        self._path = path
        self.status: int = OK
        self.length = 0
        self.span: Span | None = None
        self.part: tuple[int, int] | None = None

    def __call__(self, stat: FileStat) -> tuple[int, int] | None:
        self.part = self._choose(stat)
        return self.part

    def _choose(self, stat: FileStat) -> tuple[int, int] | None:
        asked = self._asked
        if asked.head.conditions is not None:
            try:
                asked.head.conditions.check(self._path, stat)
            except NotModified:
                self.status = NOT_MODIFIED
                return None
        if asked.head.ranged:
            spans = _wanted(asked.head, asked.method, stat, asked.now)
            if spans is not None:
                return self._part(spans)
        self.length = stat.size
        if asked.method == b"HEAD" or not stat.size:
            return None
        if stat.size > SMALL:
            raise _NotAtHand
        return 0, stat.size

    def _part(self, spans: Sequence[Span]) -> tuple[int, int]:
        if len(spans) > 1 or spans[0].length > LARGEST_PART:
            raise _NotAtHand
        self.status, self.span, self.length = PARTIAL_CONTENT, spans[0], spans[0].length
        return spans[0].start, spans[0].length
