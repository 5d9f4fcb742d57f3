"""From a request to a route's handler and back: parameters read and checked, errors told, everything counted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from klein import Klein
from pydantic import ValidationError
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from vfgateway.errors import GatewayError
from vfgateway.protocols.manager import faults
from vfgateway.protocols.manager.access import ICaller
from vfgateway.protocols.web.answering import method_label, write
from vfgateway.protocols.web.faults import enter_refusal
from vfgateway.protocols.web.routing import PATH_LENGTHS, Call, Reply, Route, Source
from vfgateway.services.gateway import Gateway

#: Bytes of the longest body that is read.
LONGEST_BODY = 1 << 20
_PATH_PART = re.compile(r"\{(\w+)\}")


class Dispatcher:
    """Routes requests with Klein and answers them.

    :param table: all routes
    """

    log = Logger()

    def __init__(self, gateway: Gateway, table: Iterable[Route[Any]]) -> None:
        self._gateway = gateway
        self.klein = Klein()
        # Two slashes are a path of their own, which does not exist; Werkzeug would redirect.
        self.klein.url_map.merge_slashes = False
        self.klein.url_map.strict_slashes = True
        for route in table:
            self._enter(route)
        self.klein.handle_errors(HTTPException)(self._unrouted)

    def _enter(self, route: Route[Any]) -> None:
        async def answer(request: Any, **path: str) -> bytes | None:
            return await self._answer(route, request, path)

        rule = _PATH_PART.sub(_converter, route.path)
        self.klein.route(rule, methods=[route.method], endpoint=route.operation)(answer)

    def _unrouted(self, request: Any, failure: Failure) -> bytes:
        assert isinstance(failure.value, HTTPException)
        reply = faults.unrouted(failure.value)
        self._count(request, "", reply, self._gateway.reactor.seconds())
        return write(request, reply)

    async def _answer(self, route: Route[Any], request: Any, path: Mapping[str, str]) -> bytes | None:
        started = self._gateway.reactor.seconds()
        reply: Reply | None = None
        try:
            caller = ICaller(request)
            request.context.operation = route.operation
            reply = await self._params_and_handler(route, Call(request, caller.principal, caller.origin, path))
        except CancelledError:  # the client has gone
            raise
        except ValidationError as error:
            reply = faults.wrong_parameters(error)
        except GatewayError as error:
            reply = self._failed(route, request, error)
        except Exception:
            self.log.failure("{operation} failed", operation=route.operation)
            reply = faults.bug()
            if request.startedWriting:  # too late for an answer; cut the connection so that nobody takes it for one
                request.abort()
                return None
        self._count(request, route.path, reply, started)
        return None if reply is None else write(request, reply)

    async def _params_and_handler(self, route: Route[Any], call: Call) -> Reply | None:
        if route.source is Source.QUERY:
            params = route.params.model_validate(read_query(call.request))
        else:
            body = await call.request.body.read_all(LONGEST_BODY)
            if route.takes_parameters:
                values = read_json(body) if body.strip() or route.needs_body else {}
                if isinstance(values, Reply):
                    return values
                params = route.params.model_validate(values)
            elif body:
                return faults.unexpected_body()
            else:
                params = route.params()
        return await route.handler(call, params)

    def _failed(self, route: Route[Any], request: Any, error: GatewayError) -> Reply:
        enter_refusal(request, error)
        reply = faults.failed(error, route.reference)
        if reply.status >= 500:
            self.log.error("{operation}: {error}", operation=route.operation, error=error)
        return reply

    def _count(self, request: Any, template: str, reply: Reply | None, started: float) -> None:
        domain, operation, detail = faults.labels(reply) if reply is not None else ("", "", "")
        self._gateway.metrics.request(
            method=method_label(request.method),
            endpoint=template,
            status=request.code if reply is None else reply.status,
            domain=domain,
            operation=operation,
            error_detail=detail,
            seconds=self._gateway.reactor.seconds() - started,
        )


def _converter(part: re.Match[str]) -> str:
    """A variable part of a path as Werkzeug writes it."""
    length = PATH_LENGTHS.get(part[1])
    return f"<string(length={length}):{part[1]}>" if length else f"<{part[1]}>"


def read_json(body: bytes) -> dict[str, Any] | Reply:
    """The JSON object in ``body``, or the refusal of what is none. The content type is not looked at, since not every client sets it."""
    if not body.strip():
        return faults.unreadable("a JSON object is expected in the body")
    try:
        values = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return faults.unreadable("the body is not JSON")
    return values if isinstance(values, dict) else faults.unreadable("the body is not a JSON object")


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def read_query(request: Any) -> dict[str, Any]:
    """The parameters of the query string; the last of several with one name counts."""
    return {
        name.decode("utf-8", "replace"): values[-1].decode("utf-8", "replace")
        for name, values in (request.args or {}).items()
    }
