"""Answers that carry a file: conditions, ranges, and the file itself (RFC 9110 sections 13 to 15)."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import secrets
from collections.abc import Sequence

from twisted.web import http

from vfgateway.protocols.web import conditions, ranges
from vfgateway.protocols.web.conditions import NotModified, etag_of, http_date, seconds_of
from vfgateway.protocols.web.disposition import attachment
from vfgateway.protocols.web.faults import PROBLEMS, answer_problem
from vfgateway.protocols.web.ranges import Span, Unsatisfiable
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.sending import send_part
from vfgateway.services.session import Download

OCTETS = b"application/octet-stream"


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
    try:
        stat = download.stat
        _describe(request, download, disposition_name, no_store)
        try:
            conditions.check_read(request.requestHeaders, download.path, stat)
        except NotModified:
            request.setResponseCode(http.NOT_MODIFIED)
            request.write(b"")
            return
        try:
            spans = _wanted(request, download)
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


def _describe(request: StreamingRequest, download: Download, name: str | None, no_store: bool) -> None:
    headers = request.responseHeaders
    headers.setRawHeaders(b"etag", [etag_of(download.stat)])
    headers.setRawHeaders(b"last-modified", [http_date(seconds_of(download.stat))])
    headers.setRawHeaders(b"accept-ranges", [b"bytes"])
    headers.setRawHeaders(b"x-content-type-options", [b"nosniff"])
    if name is not None:
        headers.setRawHeaders(b"content-disposition", [attachment(name)])
    if no_store:
        headers.setRawHeaders(b"cache-control", [b"no-store"])


def _wanted(request: StreamingRequest, download: Download) -> Sequence[Span] | None:
    """Ranges are for GET alone (section 14.2)."""
    header = request.getHeader(b"range")
    if header is None or request.method != b"GET":
        return None
    if not conditions.range_applies(request.requestHeaders, download.stat, request.site.reactor.seconds()):
        return None
    return ranges.parse(header, download.stat.size)


def _refuse_range(request: StreamingRequest, size: int) -> None:
    body = {"type": PROBLEMS + "storage/range-not-satisfiable", "title": "Range not satisfiable", "status": 416}
    request.before_head.append(lambda _: request.setHeader(b"content-range", b"bytes */%d" % size))
    answer_problem(request, http.REQUESTED_RANGE_NOT_SATISFIABLE, body)


async def _send_whole(request: StreamingRequest, download: Download, content_type: bytes) -> None:
    size = download.stat.size
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"content-length", b"%d" % size)
    if request.method == b"HEAD" or size == 0:
        request.write(b"")
        return
    await _send_span(request, download, Span(0, size))


async def _send_one(request: StreamingRequest, download: Download, span: Span, content_type: bytes) -> None:
    request.setResponseCode(http.PARTIAL_CONTENT)
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
    request.setResponseCode(http.PARTIAL_CONTENT)
    request.setHeader(b"content-type", b"multipart/byteranges; boundary=" + boundary)
    request.setHeader(b"content-length", b"%d" % total)
    for head, span in zip(heads, spans, strict=True):
        request.write(head)
        await _send_span(request, download, span)
    request.write(tail)


async def _send_span(request: StreamingRequest, download: Download, span: Span) -> None:
    request.write(b"")  # the head, so that it goes first whichever way the rest goes
    await send_part(request, download.file, span.start, span.length)
