# mypy: disallow-untyped-calls=False
"""The family of errors in WebDAV's words: status, and a body that says which condition failed (RFC 4918 section 16)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Final
from xml.sax.saxutils import escape

import attrs
from twisted.internet.defer import CancelledError
from twisted.web.http import RESPONSES

from vfgateway import errors, plaintext
from vfgateway.errors import GatewayError
from vfgateway.model import FileStat
from vfgateway.paths import FolderPath, parse_text
from vfgateway.protocols.web import faults
from vfgateway.protocols.web.asked import lines_of
from vfgateway.protocols.web.conditions import etag_of, http_date, seconds_of
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav.places import BadUrl, ElsewhereUrl, href_of

XML: Final = b'application/xml; charset="utf-8"'
PROLOGUE: Final = b'<?xml version="1.0" encoding="utf-8"?>\n'

#: Statuses that Twisted has no words for.
REASONS: Final[Mapping[int, bytes]] = {
    422: b"Unprocessable Content",
    423: b"Locked",
    424: b"Failed Dependency",
    429: b"Too Many Requests",
    507: b"Insufficient Storage",
}


#: The fields that say what now stands there, and the same as lines.
_TELLING: Final = (b"Etag", b"Oc-Etag", b"Last-Modified")
_LINES: Final = lines_of([(name, b"%b") for name in _TELLING])


class Refused(GatewayError):
    """A request that the protocol forbids: ``status``, and the condition that failed (an element of ``DAV:``)."""

    def __init__(self, status: int, message: str, condition: str = "") -> None:
        self.status = status
        self.condition = condition
        super().__init__(message)


class ConflictingLock(errors.Locked):
    """A lock that cannot be had beside one that is there; ``path`` is what that one was taken on."""


@attrs.frozen
class Fault:
    """How one kind of error is answered: status and the element of ``DAV:`` that names the condition."""

    status: int
    condition: str = ""


#: Conditions that name the resource which somebody has locked.
_OF_LOCKS: Final = frozenset({"lock-token-submitted", "no-conflicting-lock"})

_KINDS: Final[Mapping[type[GatewayError], Fault]] = {
    errors.PathError: Fault(403),
    errors.InvalidPath: Fault(403),
    errors.LeavesFolder: Fault(404),
    errors.NotFound: Fault(404),
    errors.AlreadyExists: Fault(409),
    errors.NotADirectory: Fault(409),
    errors.IsADirectory: Fault(405),
    errors.DirectoryNotEmpty: Fault(403),
    errors.UnsupportedFileType: Fault(403),
    errors.PreconditionFailed: Fault(412),
    errors.Locked: Fault(423, "lock-token-submitted"),
    ConflictingLock: Fault(423, "no-conflicting-lock"),
    errors.LockLost: Fault(412, "lock-token-matches-request-uri"),
    errors.PermissionDenied: Fault(403, "need-privileges"),
    errors.AuthenticationFailed: Fault(401),
    errors.TooManyAttempts: Fault(429),
    errors.AuthenticatorUnavailable: Fault(503),
    errors.QuotaExceeded: Fault(507, "quota-not-exceeded"),
    errors.NoSpace: Fault(507, "sufficient-disk-space"),
    errors.TooLarge: Fault(413),
    errors.ChecksumMismatch: Fault(400),
    errors.IncompleteBody: Fault(400),
    errors.VolumeUnavailable: Fault(503),
    errors.DatabaseUnavailable: Fault(503),
    errors.UnknownVolume: Fault(503),  # the vfolder is on record, its storage was taken out of the configuration
    errors.StorageFailure: Fault(500),
    errors.Unsupported: Fault(501),
    errors.InvalidArgument: Fault(400),
    errors.UploadNotFound: Fault(404),
    errors.UploadBusy: Fault(423),
    errors.UploadLost: Fault(409),
    errors.OffsetMismatch: Fault(409),
    errors.Conflict: Fault(409),
    faults.ExpectationFailed: Fault(417),
    BadUrl: Fault(400),
    ElsewhereUrl: Fault(502),
}


def fault_of(error: BaseException) -> Fault | None:
    """How an error of the family is answered; ``None`` for a bug."""
    if isinstance(error, Refused):
        return Fault(error.status, error.condition)
    return next((_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS), None)


def status_line(status: int) -> bytes:
    """As a multistatus has it."""
    return b"HTTP/1.1 %d %s" % (status, REASONS.get(status) or RESPONSES.get(status, b"Error"))


def condition_of(error: BaseException, fault: Fault, vfolder: str) -> bytes:
    """The inside of ``DAV:error``: the condition, and the sentence in the elements that clients show."""
    inner = b""
    name = fault.condition.encode("ascii")
    if fault.condition in _OF_LOCKS and isinstance(error, errors.PathError):
        inner = b"<D:%s><D:href>%s</D:href></D:%s>" % (name, _href(error.path, vfolder), name)
    elif name:
        inner = b"<D:%s/>" % name
    text = plaintext.shown(_sentence(error))
    shown = escape("".join(c if c >= " " and c not in "\ufffe\uffff" else "?" for c in text)).encode("utf-8")
    kind = type(error).__name__.encode("ascii")
    if isinstance(error, GatewayError) and error.decision:
        shown += b" [%s]" % error.decision.encode("ascii")
    return inner + b"<s:exception>%s</s:exception><s:message>%s</s:message>" % (kind, shown)


def _sentence(error: BaseException) -> str:
    words = str(error)
    if isinstance(error, errors.Locked) and error.until is not None:
        words += time.strftime(", until %Y-%m-%d %H:%M:%S UTC", time.gmtime(error.until))
    return words


def _href(path: str, vfolder: str) -> bytes:
    return href_of(FolderPath(((vfolder,) if vfolder else ()) + parse_text(path.lstrip("/")).parts), False)


def fail(request: StreamingRequest, error: BaseException, vfolder: str = "") -> None:
    """Answer ``error``, without finishing the request. An answer that has already begun is cut instead."""
    fault = fault_of(error)
    if isinstance(error, CancelledError) or fault is None:
        faults.fail(request, error)
        return
    faults.enter_refusal(request, error)
    if not faults.take_back(request):
        return
    if fault.status == 503:
        request.setHeader(b"retry-after", b"%d" % faults.RETRY_AFTER)
    body = b'%s<D:error xmlns:D="DAV:" xmlns:s="http://sabredav.org/ns">%s</D:error>\n' % (
        PROLOGUE,
        condition_of(error, fault, vfolder),
    )
    answer_xml(request, fault.status, body)


def failing_in(vfolder: str) -> partial[None]:
    """:func:`fail` for a request about a vfolder of that name."""
    return partial(fail, vfolder=vfolder)


def answer_xml(request: StreamingRequest, status: int, body: bytes) -> None:
    """Write a whole answer, without finishing the request."""
    answer_status(request, status)
    request.setHeader(b"content-type", XML)
    request.setHeader(b"content-length", b"%d" % len(body))
    request.setHeader(b"cache-control", b"no-store")
    request.write(body)


def answer_status(request: StreamingRequest, status: int) -> None:
    """Set the status with its proper words."""
    request.setResponseCode(status, REASONS.get(status))


def answer_empty(request: StreamingRequest, status: int) -> None:
    """Write an answer without a body."""
    answer_status(request, status)
    if status != 204:
        request.setHeader(b"content-length", b"0")
    request.write(b"")


def tell_file(request: StreamingRequest, stat: FileStat) -> None:
    """Say what now stands there."""
    for name, value in zip(_TELLING, _told_of(stat), strict=True):
        request.setHeader(name, value)


def lines_about(stat: FileStat) -> bytes:
    """The same on the fast lane."""
    return _LINES % _told_of(stat)


def _told_of(stat: FileStat) -> tuple[bytes, bytes, bytes]:
    etag = etag_of(stat)
    return etag, etag, http_date(seconds_of(stat))
