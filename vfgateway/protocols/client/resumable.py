"""The IETF's resumable uploads on the URLs of :mod:`vfgateway.protocols.web.tus`, in every draft that clients speak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vfgateway import errors
from vfgateway.errors import GatewayError, InvalidArgument, OffsetMismatch, TooLarge
from vfgateway.model import ABSENT, ANY
from vfgateway.protocols.client import resumable_fields
from vfgateway.protocols.client.resumable_fields import PARTIAL_UPLOAD, Dialect, integer
from vfgateway.protocols.client.tus_places import Place, url_of_upload
from vfgateway.protocols.web import faults, tus_fields
from vfgateway.protocols.web.faults import Fault, fault_of, problem_of
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus_fields import field, media_type, set_fields
from vfgateway.protocols.web.tus_replies import TUS_FAULTS, WrongMediaType
from vfgateway.services.gateway import Gateway
from vfgateway.services.receiving import Terms
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import Session

#: What the draft's own problem types begin with.
PROBLEMS = "https://iana.org/assignments/http-problem-types#"

FAULTS: Mapping[type[GatewayError], Fault] = {
    **TUS_FAULTS,
    errors.ChecksumMismatch: faults.FAULTS[errors.ChecksumMismatch],
}


class CompletedUpload(GatewayError):
    """The upload was complete before this request."""


class InconsistentLength(GatewayError):
    """The client contradicts itself about the length."""


class Resumable:
    """The verbs. Each writes an answer and does not finish it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def create(self, request: StreamingRequest, session: Session) -> None:
        """A request that begins an upload, with all, some or none of its bytes."""
        dialect = Dialect.of(request)
        complete, size = bool(dialect.completes(request)), self._length(request, dialect, 0)
        given = field(request, "Upload-Metadata")
        place = Place.asked(request, tus_fields.metadata(given))
        expect = ABSENT if field(request, "If-None-Match") == "*" else ANY
        info = {"protocol": "ietf"} | ({"metadata": given} if given else {})
        folder = await place.folder(session)
        upload = await self._gateway.staging.begin(folder, place.path(), size=size, info=info, expect=expect)
        location = url_of_upload(request, upload)
        self._announce(request, dialect, upload, location)
        offset = upload.offset
        if not upload.published and (request.body.length != 0 or complete):
            checksum = resumable_fields.content_digest(request)
            terms = Terms(0, last=complete, checksum=checksum)
            offset = await self._gateway.staging.receive_first(
                upload, request.body, terms, self._progress(request, dialect)
            )
        request.setResponseCode(201)
        set_fields(request, {"Location": location, "Content-Length": 0})
        self._tell(request, dialect, upload, offset)

    async def look(self, request: StreamingRequest, upload: ResumableUpload) -> None:
        """``HEAD``: how far it has come."""
        offset = await upload.refresh()
        request.setResponseCode(204)
        self._tell(request, Dialect.of(request), upload, offset)

    async def append(self, request: StreamingRequest, upload: ResumableUpload, came: float) -> None:
        """``PATCH``; ``came`` as ``Arrivals.coming`` tells."""
        dialect = Dialect.of(request)
        if dialect.needs_media_type and media_type(request) != PARTIAL_UPLOAD:
            raise WrongMediaType(PARTIAL_UPLOAD)
        offset, complete = integer(request, "Upload-Offset"), dialect.completes(request)
        if offset is None:
            raise InvalidArgument("Upload-Offset", "is required")
        if complete is None and dialect.needs_completeness:
            raise InvalidArgument("Upload-Complete", "is required")
        size = self._length(request, dialect, offset)
        if upload.published:
            self._refuse_more(request, upload, offset, bool(complete))
        checksum = resumable_fields.content_digest(request)
        terms = Terms(offset, size=size, last=bool(complete), checksum=checksum, came=came)
        progress = self._progress(request, dialect)
        offset = await self._gateway.staging.receive(upload, request.body, terms, progress)
        # The last one is answered as the creation would have been, had it carried everything.
        request.setResponseCode(201 if upload.published else 204)
        if upload.published:
            set_fields(request, {"Location": url_of_upload(request, upload), "Content-Length": 0})
        self._tell(request, dialect, upload, offset)

    def _refuse_more(self, request: StreamingRequest, upload: ResumableUpload, offset: int, complete: bool) -> None:
        """Only the empty request that declares the end may be repeated: its answer may have been lost."""
        if offset == upload.size and request.body.length != 0:
            raise InconsistentLength(f"the upload is complete with {upload.size} bytes")
        if offset == upload.size and not complete:
            raise CompletedUpload("the upload is complete")

    def _progress(self, request: StreamingRequest, dialect: Dialect) -> Callable[[int], None]:
        """Tells the client how far it is, where it can be told."""

        def progress(offset: int) -> None:
            if dialect.named and dialect.version >= 5:
                self._interim(request, dialect, {"Upload-Offset": offset})

        return progress

    async def cancel(self, request: StreamingRequest, upload: ResumableUpload) -> None:
        """``DELETE``."""
        await upload.cancel()
        request.setResponseCode(204)

    def _length(self, request: StreamingRequest, dialect: Dialect, offset: int) -> int | None:
        """The whole's length, by both ways of telling it. ``InconsistentLength`` if they differ."""
        declared = integer(request, "Upload-Length")
        if dialect.completes(request) and request.body.length is not None:
            by_body = offset + request.body.length
            if declared not in (None, by_body):
                raise InconsistentLength(
                    f"Upload-Length says {declared} bytes, but the last of them is number {by_body}"
                )
            return by_body
        return declared

    # --- answers ---

    def _announce(self, request: StreamingRequest, dialect: Dialect, upload: ResumableUpload, location: str) -> None:
        """Tell the URL before the bytes come, so that the client can resume even this request."""
        if dialect.named:
            self._interim(request, dialect, {"Location": location, **self._limits(dialect, upload)})

    def _interim(self, request: StreamingRequest, dialect: Dialect, values: Mapping[str, object]) -> None:
        lines = {"Upload-Draft-Interop-Version": dialect.version, **values}
        request.send_interim(104, "Upload Resumption Supported", {name: str(value) for name, value in lines.items()})

    def _limits(self, dialect: Dialect, upload: ResumableUpload) -> dict[str, object]:
        left = None if upload.published else upload.expires - self._gateway.staging.now()
        return dialect.limits(self._gateway.staging.max_size, left)

    def _tell(self, request: StreamingRequest, dialect: Dialect, upload: ResumableUpload, offset: int) -> None:
        set_fields(
            request,
            {
                "Cache-Control": "no-store",
                "Upload-Offset": offset,
                "Upload-Length": upload.size,
                **dialect.completeness(upload.published),
                **self._limits(dialect, upload),
            },
        )


def fail(request: StreamingRequest, error: BaseException, gateway: Gateway) -> None:
    """Answer an error in the draft's words."""
    dialect = Dialect.of(request)
    if isinstance(error, OffsetMismatch):
        set_fields(request, {"Upload-Offset": error.expected})
        facts = {"expected-offset": error.expected, "provided-offset": error.got}
        _problem(request, 409, "mismatching-upload-offset", error, facts)
    elif isinstance(error, CompletedUpload):
        set_fields(request, dialect.completeness(True))
        _problem(request, 400, "completed-upload", error, {})
    elif isinstance(error, InconsistentLength) or (isinstance(error, InvalidArgument) and error.field == "size"):
        _problem(request, 400, "inconsistent-upload-length", error, {})
    else:
        fault = fault_of(error, FAULTS)
        if not isinstance(error, GatewayError) or fault is faults.NOT_IN_FAMILY:
            faults.fail(request, error)
            return
        if isinstance(error, TooLarge):
            set_fields(request, dialect.limits(gateway.staging.max_size, None))
        faults.enter_refusal(request, error)
        faults.answer_problem(request, fault.status, problem_of(error, fault))


def _problem(request: StreamingRequest, status: int, kind: str, error: GatewayError, facts: Mapping[str, Any]) -> None:
    title = kind.replace("-", " ").capitalize()
    body = {"type": PROBLEMS + kind, "title": title, "status": status, "detail": str(error), **facts}
    faults.answer_problem(request, status, body)
