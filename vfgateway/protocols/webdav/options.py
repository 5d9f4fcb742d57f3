"""OPTIONS (RFC 4918 section 10.1): what can be done here. Answered without a login, as Windows and Office need it."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import Final

from vfgateway.protocols.web.request import StreamingRequest

CLASSES: Final = b"1, 2, 3, extended-mkcol, sync-collection"
METHODS: Final = (
    b"OPTIONS, GET, HEAD, PUT, PATCH, POST, DELETE, PROPFIND, PROPPATCH, MKCOL, COPY, MOVE, LOCK, UNLOCK, REPORT"
)


def describe(request: StreamingRequest) -> None:
    """Set the headers that tell a client where it is."""
    request.setHeader(b"dav", CLASSES)
    request.setHeader(b"allow", METHODS)
    request.setHeader(b"ms-author-via", b"DAV")


def answer(request: StreamingRequest) -> None:
    """Write the answer, without finishing the request."""
    describe(request)
    request.setHeader(b"accept-ranges", b"bytes")
    request.setHeader(b"accept-patch", b"application/x-sabredav-partialupdate")
    request.setHeader(b"content-length", b"0")
    request.write(b"")
