"""What answers about uploads have in common: CORS on every one of them, tus's own fields, and errors in tus's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from vfgateway import errors
from vfgateway.errors import GatewayError
from vfgateway.protocols.web import faults, tus_fields
from vfgateway.protocols.web.faults import FAULTS, Fault, fault_of, problem_of
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus_fields import http_date, set_fields
from vfgateway.services.checksums import ALGORITHMS
from vfgateway.services.resumable import ResumableUpload

EXTENSIONS: Final = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "termination",
    "checksum",
    "expiration",
    "concatenation",
)
#: Of an upload that was created elsewhere (by the orchestrator).
TOKEN_EXTENSIONS: Final = ("termination", "checksum", "expiration")

# The first five are the reference's (its section 1.6); the rest is what else clients may send or want to read.
_FIELDS: Final = ("Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset", "Content-Type")
ALLOWED: Final = (
    *_FIELDS,
    "Authorization",
    "Content-Digest",
    "Content-Disposition",
    "If-None-Match",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Incomplete",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
)
EXPOSED: Final = (
    *_FIELDS,
    "Location",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Version",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Incomplete",
    "Upload-Limit",
    "X-Request-ID",
)


class UnsupportedVersion(GatewayError):
    """The client speaks another version of tus, or does not say which."""


class WrongMediaType(GatewayError):
    """The body is not of the type that this request needs: ``wanted``."""

    def __init__(self, wanted: str) -> None:
        super().__init__(f"Content-Type must be {wanted}")


class ModifiesFinal(GatewayError):
    """Nothing can be added to an upload that was joined from others."""


_INVALID = FAULTS[errors.InvalidArgument]

#: 460 for a checksum, 413 for what cannot fit; 423 for an upload to which another client is sending now, upon which clients try
#: again later without forgetting the upload.
TUS_FAULTS: Final[Mapping[type[GatewayError], Fault]] = {
    **FAULTS,
    errors.ChecksumMismatch: attrs.evolve(FAULTS[errors.ChecksumMismatch], status=460),
    errors.QuotaExceeded: attrs.evolve(FAULTS[errors.QuotaExceeded], status=413),
    errors.UploadBusy: attrs.evolve(FAULTS[errors.UploadBusy], status=423),
    UnsupportedVersion: attrs.evolve(
        _INVALID, status=412, kind="storage/tus-version", title="Unsupported version of tus"
    ),
    WrongMediaType: attrs.evolve(_INVALID, status=415, kind="storage/media-type", title="Unsupported media type"),
    ModifiesFinal: attrs.evolve(FAULTS[errors.Conflict], status=403, kind="storage/final-upload"),
}
#: The same towards the orchestrator's clients, which know 409 and 507.
TOKEN_FAULTS: Final[Mapping[type[GatewayError], Fault]] = {
    **TUS_FAULTS,
    errors.QuotaExceeded: FAULTS[errors.QuotaExceeded],
    errors.UploadBusy: FAULTS[errors.UploadBusy],
}


def allow_all_origins(request: StreamingRequest) -> None:
    """Let scripts of any site read the answer, whatever it will be. No credentials go along by themselves: clients send a token or an
    ``Authorization`` field of their own accord."""
    set_fields(
        request,
        {
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "*",
            "Access-Control-Allow-Headers": ", ".join(ALLOWED),
            "Access-Control-Expose-Headers": ", ".join(EXPOSED),
            "X-Content-Type-Options": "nosniff",
        },
    )


def check_version(request: StreamingRequest, required: bool) -> None:
    """``Tus-Resumable`` must be ours, where it is given or ``required``."""
    version = tus_fields.field(request, "Tus-Resumable")
    if version is None and not required:
        return
    if version != tus_fields.VERSION:
        raise UnsupportedVersion(f"Tus-Resumable must be {tus_fields.VERSION}")


def describe_server(request: StreamingRequest, extensions: Sequence[str], max_size: int) -> None:
    """The answer to ``OPTIONS``. 200, since some engines take nothing else from a preflight."""
    request.setResponseCode(200)
    set_fields(
        request,
        {
            "Tus-Resumable": tus_fields.VERSION,
            "Tus-Version": tus_fields.VERSION,
            "Tus-Max-Size": max_size,
            "Tus-Extension": ",".join(extensions),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
            "Content-Length": 0,
        },
    )


def tell_state(request: StreamingRequest, upload: ResumableUpload, offset: int) -> None:
    """The fields that every good answer about an upload has."""
    set_fields(
        request,
        {
            "Tus-Resumable": tus_fields.VERSION,
            "Cache-Control": "no-store",
            "Upload-Offset": offset,
            "Upload-Length": upload.size,
            "Upload-Defer-Length": 1 if upload.size is None else None,
            "Upload-Expires": None if upload.published else http_date(upload.expires),
        },
    )


def fail(request: StreamingRequest, error: BaseException, table: Mapping[type[GatewayError], Fault]) -> None:
    """Answer an error in tus's words."""
    fault = fault_of(error, table)
    if not isinstance(error, GatewayError) or fault is faults.NOT_IN_FAMILY:
        faults.fail(request, error)
        return
    faults.enter_refusal(request, error)
    told = tus_fields.VERSION if isinstance(error, UnsupportedVersion) else None
    set_fields(request, {"Tus-Resumable": tus_fields.VERSION, "Tus-Version": told})
    faults.answer_problem(request, fault.status, problem_of(error, fault))
