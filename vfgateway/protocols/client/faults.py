"""Errors in the words of the client front end: the shared table, and the reference's bodies where its clients look for them."""

from __future__ import annotations

from vfgateway.errors import GatewayError
from vfgateway.protocols.client.query import BadParameters
from vfgateway.protocols.web import faults
from vfgateway.protocols.web.faults import FILE_NOT_FOUND, INVALID_PARAMETERS, Fault
from vfgateway.protocols.web.request import StreamingRequest

TOKEN_EXPIRED = Fault(401, "jwt-expired", "The token has expired", "user_auth_data-expired")
TOKEN_FORGED = Fault(401, "jwt-invalid-signature", "The signature of the token is not valid", "user_auth_unauthorized")
TOKEN_UNREADABLE = Fault(401, "jwt-decode-error", "The token cannot be decoded", "user_auth_unauthorized")
TOKEN_UNFIT = Fault(
    400, "jwt-payload-validation-error", "The token is not one for this", "auth_auth_invalid-parameters"
)


class Answered(GatewayError):
    """An error of the family, to be answered by another row of the table than its own.

    :param fault: the row
    """

    def __init__(self, fault: Fault, message: str) -> None:
        self.fault = fault
        super().__init__(message)


class Hidden(GatewayError):
    """There is nothing that this caller may have; why is not told (the reference's uncoded problem)."""


def bad_token(reason: object) -> BadParameters:
    """A token that cannot be used, on the routes where it is a parameter like others."""
    bad = BadParameters({"token": f"cannot decode the given value as JWT: {reason}"})
    bad.reason = reason if isinstance(reason, GatewayError) else None
    return bad


def fail(request: StreamingRequest, error: BaseException) -> None:
    """Answer ``error``, without finishing the request; see :func:`vfgateway.protocols.web.faults.fail`."""
    if isinstance(error, BadParameters):
        body = {"type": INVALID_PARAMETERS.type, "title": INVALID_PARAMETERS.title, "data": error.data}
        if error.reason is not None:
            faults.enter_refusal(request, error.reason)
            body["decision"] = error.reason.decision or ""
        faults.answer_problem(request, INVALID_PARAMETERS.status, body)
    elif isinstance(error, Hidden):
        body = {"type": FILE_NOT_FOUND.type, "title": FILE_NOT_FOUND.title}
        faults.answer_problem(request, FILE_NOT_FOUND.status, body)
    elif isinstance(error, Answered):
        faults.fail(request, error, error.fault)
    else:
        faults.fail(request, error)
