"""Every error as this front end tells it; built on the table of :mod:`vfgateway.protocols.web.faults`.

Two dialects. On the reference's routes a failure of the file system is a 400 with its error number, as it has always been, since
managers read a 404 there as "no such vfolder"; our own routes say 404, 409 and so on. All bodies are JSON problems, and where managers look for an
``error_code``, its first word is one that they know: it decides how they take the failure (reference 0.4, 0.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.exceptions import NotFound as NoSuchRoute

from vfgateway import errors
from vfgateway.errors import GatewayError
from vfgateway.protocols.web.faults import FAULTS, INVALID_PARAMETERS, NOT_IN_FAMILY, Fault, fault_of, problem_of
from vfgateway.protocols.web.fields import Problem
from vfgateway.protocols.web.routing import PROBLEM, Reply

_SURROGATE = re.compile("[\ud800-\udfff]")


def _file(code: str, kind: str = "storage/filesystem") -> Fault:
    return Fault(400, kind, "The file operation failed", code)


#: On the reference's routes; the nearest class above an error decides.
_REFERENCE: Mapping[type[GatewayError], Fault] = {
    **FAULTS,
    errors.LeavesFolder: Fault(400, "storage/subpath/invalid", "Invalid path", "vfolder_access_invalid-parameters"),
    errors.NotFound: _file("vfolder_access_bad-request"),
    errors.AlreadyExists: _file("vfolder_create_already-exists"),
    errors.NotADirectory: _file("vfolder_access_bad-request"),
    errors.IsADirectory: _file("vfolder_access_bad-request"),
    errors.DirectoryNotEmpty: _file("vfolder_delete_conflict"),
    errors.UnsupportedFileType: _file("vfolder_read_invalid-parameters", "storage/unsupported-file-type"),
    errors.PermissionDenied: _file("vfolder_access_forbidden"),
    errors.QuotaExceeded: _file("vfolder_create_conflict", "storage/quota/exceeded"),
    errors.NoSpace: _file("vfolder_create_conflict", "storage/insufficient-storage"),
    errors.Locked: Fault(423, "storage/locked", "Locked", "vfolder_update_conflict"),
    errors.LockLost: Fault(409, "storage/lock-lost", "Lock lost", "vfolder_update_conflict"),
    errors.Conflict: Fault(409, "storage/conflict", "Conflict", "vfolder_update_conflict"),
}
#: Error numbers (of Linux, which are part of the wire format) for failures that are the file system's in the reference.
_NUMBERS: Mapping[type[GatewayError], int] = {
    errors.NotFound: 2,
    errors.PermissionDenied: 13,
    errors.AlreadyExists: 17,
    errors.NotADirectory: 20,
    errors.IsADirectory: 21,
    errors.NoSpace: 28,
    errors.DirectoryNotEmpty: 39,
    errors.QuotaExceeded: 122,
}
_MALFORMED = Fault(400, "generic-bad-request", "Malformed request", "api_parsing_bad-request")


def failed(error: GatewayError, reference: bool) -> Reply:
    """The reply to an error of the family.

    :param reference: whether the route is the reference's
    """
    if not reference or isinstance(error, errors.VFolderNotFound | errors.VFolderExists):
        return _reply(fault_of(error), problem_of(error))
    fault = fault_of(error, _REFERENCE)
    number = next((_NUMBERS[kind] for kind in type(error).__mro__ if kind in _NUMBERS), None)
    body = problem_of(error, fault)
    if number is not None:
        body |= {"errno": number, "paths": [shown(error.path)] if isinstance(error, errors.PathError) else []}
    return _reply(fault, body)


def bug() -> Reply:
    """The reply to what is no error of the family. It tells nothing; the log does."""
    return _problem(NOT_IN_FAMILY)


def no_such_file(error: errors.NotFound) -> Reply:
    """The reply of a route whose caller streams the file on, and so has to be told by the status."""
    fault = Fault(404, "storage/filesystem", "No such file", "vfolder_read_not-found")
    return _reply(fault, problem_of(error, fault) | {"errno": 2, "paths": [shown(error.path)]})


def cannot_mount(msg: str, vfid: str, **facts: str) -> Reply:
    """The reply to a vfolder or sub-path that cannot be mounted: 400 for both, and without a code, as managers know it."""
    return _problem(Fault(400, "storage/mount/invalid", "Cannot be mounted", ""), msg, vfid=vfid, **facts)


def deprecated(what: str) -> Reply:
    """The reply of a route that is there only to say that it is gone."""
    code = "storage-proxy_request_not-implemented"
    return _problem(Fault(400, "storage/api/not-implemented", "Deprecated", code), what)


def wrong_parameters(error: ValidationError) -> Reply:
    """The reply to parameters that do not fit: each is named."""
    data: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        key = shown(".".join(str(part) for part in fault["loc"]) or "body")
        message = f"{key} is not allowed key" if fault["type"] == "extra_forbidden" else shown(str(fault["msg"]))
        data.setdefault(key, message.removeprefix("Value error, "))
    key, message = next(iter(data.items()))
    return _problem(INVALID_PARAMETERS, message if key in message else f"{key}: {message}", data=data)


def unreadable(message: str) -> Reply:
    """The reply to what cannot be read: a body that is not JSON, a path that is not text."""
    return _problem(_MALFORMED, message)


def unexpected_body() -> Reply:
    """The reply to a body where none is taken."""
    return _problem(Fault(400, "storage/malformed-request", "Malformed request (the body should be empty)", ""))


def forbidden(reason: str, decision: str | None = None) -> Reply:
    """The reply to whoever does not show the secret."""
    facts = {} if decision is None else {"decision": decision}
    return _problem(Fault(403, "storage/forbidden", f"Forbidden ({reason})", ""), **facts)


def unrouted(error: HTTPException) -> Reply:
    """The reply to a path or method that there is not."""
    if isinstance(error, MethodNotAllowed):
        fault = Fault(405, "method-not-allowed", "Method not allowed", "api_access_method-not-allowed")
        return _reply(fault, _body(fault), {"Allow": ", ".join(sorted(error.valid_methods or ()))})
    if isinstance(error, NoSuchRoute):
        return _problem(Fault(404, "url-not-found", "No such route", "api_access_not-found"))
    return _problem(_MALFORMED)


def _body(fault: Fault) -> dict[str, Any]:
    """A problem without an error of the family behind it; some have no code, as in the reference."""
    body = {"type": fault.type, "title": fault.title, "status": fault.status}
    return {**body, "error_code": fault.code} if fault.code else body


def _problem(fault: Fault, message: str | None = None, **facts: Any) -> Reply:
    said = {} if message is None else {"msg": message, "detail": message}
    return _reply(fault, _body(fault) | said | facts)


def _reply(fault: Fault, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
    showable = {key: shown(value) if isinstance(value, str) else value for key, value in body.items()}
    return Reply(fault.status, Problem.model_validate(showable), PROBLEM, headers or {})


def labels(reply: Reply) -> tuple[str, str, str]:
    """Domain, operation and detail of a reply's error code, for the metrics; three empty words for success."""
    code = reply.body.error_code if isinstance(reply.body, Problem) else None
    words = (code or "").split("_", 2)
    return (words[0], words[1], words[2]) if len(words) == 3 else ("", "", "")


def shown(text: str) -> str:
    """``text`` fit for JSON: bytes that are not UTF-8 as backslash escapes."""
    return _SURROGATE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
