"""Cross-origin requests (the Fetch standard), answered as the reference does: any origin is named back, on errors too."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Collection

from vfgateway.protocols.web.request import StreamingRequest

#: Stands for every origin.
ANY_ORIGIN = "*"

#: Headers that scripts may read without being told.
_SIMPLE = frozenset({b"cache-control", b"content-language", b"content-type", b"expires", b"last-modified", b"pragma"})


class Cors:
    """Who may ask from a web page, and what it may see.

    :param origins: origins (``scheme://host[:port]``) that are let in, or ``*`` for all
    :param open_credentials: let pages of any origin send cookies and logins. Right where nothing but a token in the URL counts; where people
        log in, only origins that are named may
    """

    def __init__(self, origins: Collection[str] = (ANY_ORIGIN,), open_credentials: bool = True) -> None:
        self._any = ANY_ORIGIN in origins
        self._named = frozenset(origin.encode("ascii", "ignore").lower() for origin in origins)
        self._open_credentials = open_credentials

    def apply(self, request: StreamingRequest) -> None:
        """Have the headers added when the answer is written. Nothing is added where there is no ``Origin``, or an answer
        that has such headers already."""
        if request.requestHeaders.hasHeader(b"origin"):
            request.before_head.append(self._expose)

    def preflight(self, request: StreamingRequest) -> bool:
        """Answer a preflight request; ``False`` if it is none that can be let through."""
        method = request.getHeader(b"access-control-request-method")
        origin = request.getHeader(b"origin")
        if not origin or not method or not self._admits(origin):
            return False
        request.setHeader(b"access-control-allow-methods", method)
        fields = request.getHeader(b"access-control-request-headers")
        if fields:
            names = [name.strip().upper() for name in fields.split(b",")]
            request.setHeader(b"access-control-allow-headers", b",".join(name for name in names if name))
        request.setHeader(b"content-length", b"0")
        request.write(b"")
        return True

    def _admits(self, origin: bytes) -> bool:
        return self._any or origin.lower() in self._named

    def _expose(self, request: StreamingRequest) -> None:
        headers = request.responseHeaders
        origin = request.getHeader(b"origin") or b""
        if headers.hasHeader(b"access-control-allow-origin"):
            return
        headers.addRawHeader(b"vary", b"Origin")
        if not self._admits(origin):
            return
        if self._open_credentials or origin.lower() in self._named:
            headers.setRawHeaders(b"access-control-allow-origin", [origin])
            headers.setRawHeaders(b"access-control-allow-credentials", [b"true"])
        else:
            headers.setRawHeaders(b"access-control-allow-origin", [b"*"])
        shown = [name for name, _ in headers.getAllRawHeaders() if name.lower() not in _SIMPLE]
        exposed = [
            name for name in shown if not name.lower().startswith(b"access-control-") and name.lower() != b"vary"
        ]
        if exposed:
            headers.setRawHeaders(b"access-control-expose-headers", [b", ".join(exposed)])


def same_origin(request: StreamingRequest) -> bool:
    """Whether a page of this very site asks, or no page at all: what the browser says (Fetch standard, ``Origin``; Fetch Metadata,
    ``Sec-Fetch-Site``)."""
    site = request.getHeader(b"sec-fetch-site")
    if site is not None:
        return site in (b"same-origin", b"none")
    origin = request.getHeader(b"origin")
    return origin is None or origin.decode("latin-1") == request.external_base.rstrip("/")
