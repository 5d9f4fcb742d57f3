"""From a request to a route's handler and back: who asks is found out, parameters are read and checked, and the answer is written."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import attrs
from klein import Klein
from pydantic import ValidationError

from vfgateway.errors import InvalidArgument, PermissionDenied
from vfgateway.principals import Principal, PrincipalKind
from vfgateway.protocols.client.people.entering import enter
from vfgateway.protocols.client.query import BadParameters
from vfgateway.protocols.web.answering import write
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.routing import Call, Route, Source
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import Session

#: Bytes of the longest body of JSON.
LONGEST_BODY = 256 << 10
#: Who asks for what is public.
ANYBODY = Principal(PrincipalKind.USER, "anybody")
_PATH_PART = re.compile(r"\{(\w+)\}")


@attrs.frozen
class PersonsCall(Call):
    """A request of somebody who logged in.

    :ivar session: that person's hands
    """

    session: Session

    @property
    def user_id(self) -> Any:
        """Whose account it is. ``PermissionDenied`` for who has none."""
        if self.principal.user_id is None:
            raise PermissionDenied("", "do this without an account")
        return self.principal.user_id


def mount(klein: Klein, gateway: Gateway, table: Iterable[Route[Any]]) -> None:
    """Add all routes of ``table`` to ``klein``, which answers what they raise."""
    for route in table:
        _enter(klein, gateway, route)


def _enter(klein: Klein, gateway: Gateway, route: Route[Any]) -> None:
    async def answer(request: Any, **path: str) -> bytes | None:
        # A body that is a file is for the handler; for others all is refused before anything is done.
        session = gateway.session(ANYBODY, request.origin) if route.public else await enter(gateway, request)
        call = PersonsCall(request, session.principal, request.origin, path, session)
        try:
            reply = await route.handler(call, route.params.model_validate(await _values(route, request)))
        except ValidationError as error:
            raise _wrong(_reasons(error)) from None
        except BadParameters as error:
            raise _wrong(error.data) from None
        return None if reply is None else write(request, reply)

    klein.route(_PATH_PART.sub(r"<\1>", route.path), methods=[route.method], endpoint=route.operation)(answer)


async def _values(route: Route[Any], request: StreamingRequest) -> dict[str, Any]:
    if route.source is Source.QUERY:
        many = {name for name, field in route.params.model_fields.items() if "list" in str(field.annotation)}
        found: dict[str, Any] = {}
        for raw, values in (request.args or {}).items():
            name = _text(raw)
            found[name] = [_text(value) for value in values] if name in many else _text(values[-1])
        return found
    body = await request.body.read_all(LONGEST_BODY)
    if not route.takes_parameters:
        if body.strip():
            raise InvalidArgument("body", "nothing is expected there")
        return {}
    if not body.strip() and not route.needs_body:
        return {}
    try:
        values = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidArgument("body", "expected a JSON object") from None
    if not isinstance(values, dict):
        raise InvalidArgument("body", "expected a JSON object")
    return values


def _text(raw: bytes) -> str:
    """Undecodable bytes survive as they do in paths."""
    return raw.decode("utf-8", "surrogateescape")


def _wrong(reasons: dict[str, str]) -> InvalidArgument:
    """The first of them: people mend one after the other, too."""
    field, reason = next(iter(reasons.items()))
    return InvalidArgument(field, reason)


def _reasons(error: ValidationError) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = ascii(".".join(str(part) for part in fault["loc"]) or "body")[1:-1]
        reasons.setdefault(name, ascii(str(fault["msg"]).removeprefix("Value error, "))[1:-1])
    return reasons
