# mypy: disallow-untyped-calls=False
"""Errors as HTTP tells them: every one has a word for it, and none says more than it should."""

from __future__ import annotations

import inspect
import json
import re

import pytest
from twisted.logger import capturedLogs

from tests.support.site import Wire
from tests.support.uploading import head
from vfgateway import errors
from vfgateway.errors import GatewayError, InvalidArgument, Locked, NotFound, QuotaExceeded, VolumeUnavailable
from vfgateway.protocols.web.faults import FAULTS, NOT_IN_FAMILY, facts_of, fault_of, problem_of
from vfgateway.protocols.web.request import StreamingRequest

FAMILY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GatewayError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_has_its_row(kind: type[GatewayError]) -> None:
    """An error of the family is never answered as a bug by oversight; only the root and mistakes of configuration are."""
    fault = fault_of(kind.__new__(kind))
    assert (fault is NOT_IN_FAMILY) == (kind in (GatewayError, errors.ConfigurationError))


@pytest.mark.parametrize("fault", FAULTS.values())
def test_codes_have_the_form_that_orchestrators_read(fault: object) -> None:
    """Three words joined by underscores."""
    assert re.fullmatch(r"[a-z-]+_[a-z-]+_[a-z-]+", getattr(fault, "code"))  # noqa: B009


def test_facts() -> None:
    """Limits are told as numbers, names as text whatever their bytes are."""
    assert facts_of(QuotaExceeded("vfolder data", "bytes", 10, 9, 5)) == {
        "subject": "vfolder data",
        "resource": "bytes",
        "limit": 10,
        "used": 9,
        "wanted": 5,
    }
    body = json.loads(json.dumps(problem_of(NotFound("a\udcff"))))
    assert body["path"] == "a\\xff"
    assert (body["status"], body["detail"]) == (404, body["msg"])
    assert problem_of(InvalidArgument("size", "too odd"))["data"] == {"size": "too odd"}


def test_decision() -> None:
    """A refusal that was recorded says under which identifier."""
    error = Locked("f", "alice")
    error.decision = "d-17"
    assert problem_of(error)["decision"] == "d-17"


def answer_of(error: BaseException) -> bytes:
    """What a client gets when a handler raises."""

    async def handler(request: StreamingRequest) -> None:
        request.setHeader(b"etag", b'"of a good answer"')
        raise error

    wire = Wire(handler)
    wire.send(head("GET", "/secret?token=abc"))
    return wire.answer


def test_bugs_are_logged_and_not_told() -> None:
    """The traceback goes to the log, with the request's identifier; the client gets the identifier alone."""
    with capturedLogs() as events:
        answer = answer_of(ZeroDivisionError("internal"))
    assert b" 500 " in answer
    assert b"internal" not in answer.partition(b"\r\n\r\n")[2].lower().replace(b"internal server error", b"").replace(
        b"internal-error", b""
    )
    [event] = [event for event in events if "log_failure" in event]
    assert event["request_id"].encode() in answer
    assert "token=abc" not in str(event)


def test_errors_replace_the_good_answer() -> None:
    """Headers prepared for a good answer do not stay on the error."""
    answer = answer_of(NotFound("f"))
    assert b" 404 " in answer
    assert b"of a good answer" not in answer
    assert b"\r\nCache-Control: no-store\r\n" in answer


def test_when_to_try_again() -> None:
    """Storage that does not answer may do so later."""
    assert b"\r\nRetry-After: " in answer_of(VolumeUnavailable("local"))
