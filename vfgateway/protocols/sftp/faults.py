"""The family of errors in SFTP's words: a code of version 3, which has few, and a text that says what happened."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vfgateway import errors
from vfgateway.errors import GatewayError
from vfgateway.protocols.sftp import wire
from vfgateway.requestcontext import RequestContext

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway
    from vfgateway.services.session import Session

#: The first that fits decides. Codes beyond 8 belong to later versions and make clients show a bare number.
_CODES: tuple[tuple[type[GatewayError], int], ...] = (
    (errors.LeavesFolder, wire.PERMISSION_DENIED),
    (errors.NotFound, wire.NO_SUCH_FILE),
    (errors.NotADirectory, wire.NO_SUCH_FILE),  # as OpenSSH answers for a path through a file
    (errors.PermissionDenied, wire.PERMISSION_DENIED),
    (errors.Unsupported, wire.OP_UNSUPPORTED),
)


def status(request: int, error: BaseException) -> bytes:
    """The answer to a request that failed. What is outside the family is a bug, and told without detail."""
    return wire.status(request, code(error), text(error))


def code(error: BaseException) -> int:
    """The code."""
    if isinstance(error, wire.Malformed):
        return wire.BAD_MESSAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), wire.FAILURE)


def text(error: BaseException) -> str:
    """The sentence."""
    if not isinstance(error, GatewayError | wire.Malformed):
        return "internal error"
    words = str(error)
    if isinstance(error, errors.Locked) and error.until is not None:
        words += time.strftime(", until %Y-%m-%d %H:%M:%S UTC", time.gmtime(error.until))
    return f"{words} [{error.decision}]" if isinstance(error, GatewayError) and error.decision else words


def enter_refusal(session: Session, gateway: Gateway, error: BaseException) -> None:
    """Have the audit know of it, if ``error`` is a refusal, and the error of the identifier to be told. Before anything is told."""
    if isinstance(error, GatewayError) and error.refuser and error.decision is None:
        context = RequestContext(session.origin, operation="sftp")
        context.identify(session.principal)
        gateway.audit.refused(error, context)
