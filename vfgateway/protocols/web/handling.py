# mypy: disallow-untyped-calls=False
"""From a routed request to a coroutine and back: every handler's answer is finished once, and its errors are answered in one way."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from vfgateway.errors import GatewayError
from vfgateway.protocols.web import faults
from vfgateway.protocols.web.request import StreamingRequest

log = Logger()

type_fail = Callable[[StreamingRequest, BaseException], None]


def handle(request: StreamingRequest, handler: Coroutine[Any, Any, None], fail: type_fail = faults.fail) -> int:
    """Run ``handler``, which writes the answer and does not finish it, for a resource's ``render``. It is cancelled when the client
    leaves, as :class:`vfgateway.protocols.web.request.StreamingRequest` describes; ``fail`` answers what it raises."""

    def done(result: Any) -> None:
        if isinstance(result, Failure):
            error = faults.reason_of(result)
            if request.gone:
                if not isinstance(error, (CancelledError, GatewayError)):
                    log.failure(
                        "request {request_id} failed after its client left", result, request_id=request.request_id
                    )
            else:
                fail(request, error)
        if not request.finished:
            request.finish()

    running = Deferred.fromCoroutine(handler)
    request.notifyFinish().addErrback(lambda _: running.cancel())
    running.addBoth(done)
    running.addErrback(
        lambda failure: log.failure("could not answer request {request_id}", failure, request_id=request.request_id)
    )
    return NOT_DONE_YET


def answer_errors(app: Klein, fail: type_fail = faults.fail) -> None:
    """Let ``fail`` answer whatever the handlers of ``app`` raise, and whatever cannot be routed."""

    @app.handle_errors(Exception)
    def failed(request: Any, failure: Failure) -> None:
        fail(request, faults.reason_of(failure))
