# mypy: disallow-untyped-calls=False
"""The family of errors in HTTP's words: status, problem type (RFC 9457), title, and the code that the orchestrator reads.

Types and codes are those of the reference where it has the condition (its section 0.4), so that an unmodified client or manager
sees what it expects. Protocols whose wire has another form keep their own table beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from werkzeug.exceptions import HTTPException

from vfgateway import errors
from vfgateway.errors import GatewayError
from vfgateway.plaintext import shown

if TYPE_CHECKING:
    from vfgateway.protocols.web.request import StreamingRequest

#: What all problem types of the reference begin with.
PROBLEMS = "https://api.backend.ai/probs/"
#: Seconds after which something that is not available may be tried again.
RETRY_AFTER = 5

log = Logger()


class ExpectationFailed(GatewayError):
    """The client expects (RFC 9110 section 10.1.1) something other than ``100-continue``."""


@attrs.frozen
class Fault:
    """How one kind of error is answered. ``kind`` is the problem type without :data:`PROBLEMS`."""

    status: int
    kind: str
    title: str
    code: str

    @property
    def type(self) -> str:
        """The problem type."""
        return PROBLEMS + self.kind


NOT_IN_FAMILY = Fault(500, "storage/generic", "Internal server error", "storage-proxy_generic_internal-error")
NOT_READY = Fault(503, "storage/not-ready", "Not ready", "storage-proxy_setup_not-ready")
INVALID_PARAMETERS = Fault(
    400, "storage/invalid-api-params", "Invalid API parameters", "storage-proxy_request_invalid-parameters"
)
FILE_NOT_FOUND = Fault(404, "storage/file-not-found", "File not found", "vfs-storage_read_not-found")
_BAD_PATH = Fault(400, "storage/subpath/invalid", "Invalid path", "vfolder_access_invalid-parameters")
_EXISTS = Fault(409, "storage/already-exists", "Already exists", "vfs-storage_create_already-exists")
_WRONG_TYPE = Fault(409, "storage/wrong-file-type", "Wrong type of file", "vfs-storage_access_conflict")
_FAILED = Fault(500, "storage/execution/failed", "The storage failed", "storage-proxy_execute_internal-error")
_NO_SUCH = Fault(404, "storage/not-found", "Not found", "storage-proxy_read_not-found")
_CONFLICT = Fault(409, "storage/conflict", "Conflict", "storage-proxy_update_conflict")
_FULL = Fault(507, "storage/insufficient-storage", "Insufficient storage", "storage_write_conflict")
_UNAUTHORIZED = Fault(401, "storage/unauthorized", "Login required", "user_auth_unauthorized")

#: The nearest class above an error decides.
FAULTS: Mapping[type[GatewayError], Fault] = {
    GatewayError: NOT_IN_FAMILY,
    errors.PathError: _BAD_PATH,
    errors.InvalidPath: _BAD_PATH,
    errors.LeavesFolder: FILE_NOT_FOUND,  # what lies outside is not told from what is not there
    errors.NotFound: FILE_NOT_FOUND,
    errors.AlreadyExists: _EXISTS,
    errors.NotADirectory: _WRONG_TYPE,
    errors.IsADirectory: _WRONG_TYPE,
    errors.DirectoryNotEmpty: Fault(
        409, "storage/directory-not-empty", "Directory not empty", "vfs-storage_delete_conflict"
    ),
    errors.UnsupportedFileType: Fault(
        400, "storage/unsupported-file-type", "Unsupported file type", "vfs-storage_read_invalid-parameters"
    ),
    errors.PreconditionFailed: Fault(
        412, "storage/precondition-failed", "Precondition failed", "vfs-storage_update_conflict"
    ),
    errors.Locked: Fault(423, "storage/locked", "Locked", "vfs-storage_update_conflict"),
    errors.LockLost: Fault(409, "storage/lock-lost", "Lock lost", "vfs-storage_update_conflict"),
    errors.PermissionDenied: Fault(403, "storage/forbidden", "Forbidden", "vfolder_access_forbidden"),
    errors.AuthenticationFailed: _UNAUTHORIZED,
    errors.SecondFactorRequired: Fault(
        401, "storage/login/second-factor", "The second factor is missing", "user_auth_second-factor"
    ),
    errors.TooManyAttempts: Fault(
        429, "storage/login/too-many", "Too many wrong logins", "user_auth_too-many-attempts"
    ),
    errors.AuthenticatorUnavailable: Fault(
        503, "storage/login/unavailable", "Logins cannot be judged now", "user_auth_unavailable"
    ),
    errors.QuotaExceeded: Fault(507, "storage/quota/exceeded", "Quota exceeded", "quota-scope_update_conflict"),
    errors.NoSpace: _FULL,
    errors.TooLarge: Fault(413, "storage/too-large", "Too large", "storage-proxy_request_invalid-parameters"),
    errors.UploadNotFound: Fault(
        404, "storage/tus-session-not-found", "Upload session not found", "storage-proxy_read_not-found"
    ),
    errors.UploadBusy: Fault(
        409, "storage/tus-lease-held", "Upload is being written to", "storage-proxy_update_conflict"
    ),
    errors.UploadLost: Fault(409, "storage/tus-lease-lost", "Upload was taken over", "storage-proxy_update_conflict"),
    errors.OffsetMismatch: Fault(
        409, "storage/upload-offset-mismatch", "Upload offset mismatch", "storage-proxy_update_conflict"
    ),
    errors.ChecksumMismatch: Fault(
        400, "storage/checksum-mismatch", "Checksum mismatch", "storage-proxy_request_invalid-parameters"
    ),
    errors.IncompleteBody: Fault(
        400, "storage/malformed-request", "Malformed request", "storage-proxy_request_invalid-parameters"
    ),
    errors.VFolderNotFound: Fault(
        404, "storage/vfolder/not-found", "Virtual folder not found", "vfolder_read_not-found"
    ),
    errors.VFolderExists: Fault(
        409, "storage/vfolder/already-exists", "Virtual folder already exists", "vfolder_create_already-exists"
    ),
    errors.QuotaScopeNotFound: Fault(
        404, "storage/quota/scope/not-found", "Quota scope not found", "quota-scope_read_not-found"
    ),
    errors.QuotaScopeExists: Fault(
        409, "storage/quota/scope/already-exists", "Quota scope already exists", "quota-scope_create_already-exists"
    ),
    errors.UnknownVolume: Fault(400, "storage/volume/invalid", "Invalid volume", "storage_access_invalid-parameters"),
    errors.VolumeUnavailable: Fault(
        503, "storage/volume/unavailable", "Storage not available", "storage_setup_unavailable"
    ),
    errors.DatabaseUnavailable: Fault(
        503,
        "storage/database-unavailable",
        "The gateway's database is not available",
        "storage-proxy_setup_unavailable",
    ),
    errors.StorageFailure: _FAILED,
    errors.Unsupported: Fault(
        400,
        "storage/unsupported-operation",
        "Unsupported operation by the storage backend",
        "storage-proxy_request_not-implemented",
    ),
    errors.TaskNotFound: _NO_SUCH,
    errors.UnknownAccount: _NO_SUCH,
    errors.AccountExists: _EXISTS,
    errors.InvalidArgument: INVALID_PARAMETERS,
    errors.Conflict: _CONFLICT,
    errors.ConfigurationError: NOT_IN_FAMILY,
    ExpectationFailed: Fault(
        417, "expectation-failed", "Expectation failed", "storage-proxy_request_invalid-parameters"
    ),
}

#: Facts of an error that its answer shows, where the error has them.
_FACTS = (
    "subject",
    "resource",
    "limit",
    "used",
    "wanted",
    "path",
    "owner",
    "until",
    "expected",
    "got",
    "action",
    "needed",
)


def fault_of(error: BaseException, table: Mapping[type[GatewayError], Fault] = FAULTS) -> Fault:
    """How ``error`` is answered; what is outside the family is an internal error."""
    for kind in type(error).__mro__:
        if kind in table:
            return table[kind]
    return NOT_IN_FAMILY


def facts_of(error: BaseException) -> dict[str, Any]:
    """What ``error`` knows, for machines."""
    if not isinstance(error, GatewayError):
        return {}
    facts = {name: getattr(error, name) for name in _FACTS if getattr(error, name, None) not in (None, "")}
    for name, value in facts.items():
        if isinstance(value, str):
            facts[name] = shown(value)
    return facts


def problem_of(error: BaseException, fault: Fault | None = None) -> dict[str, Any]:
    """The problem body (RFC 9457) of an error of the family. ``msg`` says the same as ``detail``: orchestrators read the one, everybody
    else the other."""
    fault = fault or fault_of(error)
    body: dict[str, Any] = {"type": fault.type, "title": fault.title, "status": fault.status, "error_code": fault.code}
    if isinstance(error, GatewayError) and fault is not NOT_IN_FAMILY:
        body |= {"detail": str(error), "msg": str(error)} | facts_of(error)
        if error.decision is not None:
            body["decision"] = error.decision
        if isinstance(error, errors.InvalidArgument):
            body["data"] = {error.field: str(error).removeprefix(f"{error.field}: ")}
    return body


def reason_of(failure: Failure) -> BaseException:
    """The error within a failure."""
    return failure.value or RuntimeError("a failure without a reason")


def enter_refusal(request: StreamingRequest, error: BaseException) -> None:
    """Have the audit know of it, if ``error`` is a refusal, and the error of the identifier to be told. Before anything is told."""
    request.site.gateway.audit.refused(error, request.context)


def fail(request: StreamingRequest, error: BaseException, fault: Fault | None = None) -> None:
    """Answer ``error`` as a problem, without finishing the request. An answer that has already begun is cut instead.

    What is outside the family is a bug: it is logged with its traceback and answered without detail.
    """
    if isinstance(error, CancelledError):
        request.abort()
        return
    if isinstance(error, HTTPException):
        _fail_routing(request, error)
        return
    enter_refusal(request, error)
    fault = fault or fault_of(error)
    if fault is NOT_IN_FAMILY:
        log.failure(
            "request {request_id} failed: {method} {path}",
            failure=Failure(error),
            request_id=request.request_id,
            method=request.method.decode("ascii", "backslashreplace"),
            path=request.path.decode("ascii", "backslashreplace"),
        )
    answer_problem(request, fault.status, problem_of(error, fault))


def _fail_routing(request: StreamingRequest, error: HTTPException) -> None:
    """No such route, or not with this method."""
    status = error.code or 500
    for name, value in error.get_response({}).headers:
        if name.lower() == "allow":
            methods = {method.strip() for method in value.split(",")} | {"OPTIONS"}
            request.setHeader(b"allow", ", ".join(sorted(methods)).encode("latin-1", "replace"))
        elif name.lower() == "location":
            request.setHeader(b"location", value.encode("latin-1", "replace"))
    word = RESPONSES.get(status, b"Error").decode("ascii")
    kind = {404: "url-not-found", 405: "method-not-allowed"}.get(status, "generic-bad-request")
    answer_problem(request, status, {"type": PROBLEMS + kind, "title": word, "status": status})


def answer_problem(request: StreamingRequest, status: int, body: Mapping[str, Any]) -> None:
    """Write a problem, replacing whatever was prepared for a good answer. An answer that has already begun is cut instead."""
    if not take_back(request):
        return
    request.error_code = str(body.get("error_code") or "")
    request.setHeader(b"cache-control", b"no-store")
    if status == 503 and not request.responseHeaders.hasHeader(b"retry-after"):
        request.setHeader(b"retry-after", b"%d" % RETRY_AFTER)
    answer_json(request, {**body, "request_id": request.request_id}, status, b"application/problem+json")


def take_back(request: StreamingRequest) -> bool:
    """Forget what was prepared for a good answer; one that has already begun is cut instead, and nothing can be answered any more."""
    if request.startedWriting:
        request.abort()
        return False
    for name in (
        b"content-length",
        b"content-range",
        b"content-disposition",
        b"etag",
        b"last-modified",
        b"accept-ranges",
        b"transfer-encoding",
    ):
        request.responseHeaders.removeHeader(name)
    return True


def answer_json(
    request: StreamingRequest, body: Any, status: int = 200, content_type: bytes = b"application/json"
) -> None:
    """Write a JSON answer, without finishing the request."""
    data = json.dumps(body).encode("ascii")
    request.setResponseCode(status)
    request.setHeader(b"content-type", content_type)
    request.setHeader(b"content-length", b"%d" % len(data))
    request.setHeader(b"x-content-type-options", b"nosniff")
    request.write(data)
