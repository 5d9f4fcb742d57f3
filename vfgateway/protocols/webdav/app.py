"""From a request to its verb: log in, look at ``If``, dispatch."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from twisted.web.resource import Resource

from vfgateway.protocols.web.handling import handle
from vfgateway.protocols.web.login import log_in
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav import (
    chunks,
    copymove,
    delete,
    get,
    locking,
    mkcol,
    options,
    partial,
    post,
    propfind,
    proppatch,
    put,
    report,
)
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.protocols.webdav.faults import Refused, failing_in
from vfgateway.protocols.webdav.places import BadUrl, place_of
from vfgateway.protocols.webdav.settings import WebDavSettings
from vfgateway.protocols.webdav.states import submit_tokens
from vfgateway.services.gateway import Gateway

type_verb = Callable[[Exchange], Awaitable[None]]

VERBS: Final[Mapping[bytes, type_verb]] = {
    b"GET": get.answer,
    b"HEAD": get.answer,
    b"PUT": put.answer,
    b"DELETE": delete.answer,
    b"MKCOL": mkcol.answer,
    b"PROPFIND": propfind.answer,
    b"PROPPATCH": proppatch.answer,
    b"COPY": copymove.answer_copy,
    b"MOVE": copymove.answer_move,
    b"LOCK": locking.answer_lock,
    b"UNLOCK": locking.answer_unlock,
    b"POST": post.answer_create,
    b"PATCH": partial.answer_patch,
    b"REPORT": report.answer,
}


class WebDav(Resource):
    """The root of the site, and what its verbs share."""

    isLeaf = True

    def __init__(self, gateway: Gateway, settings: WebDavSettings) -> None:
        super().__init__()
        self.gateway = gateway
        self.settings = settings

    def render(self, request: StreamingRequest) -> int:
        """Every request of the site comes here."""
        try:
            name = place_of(request.path).name
        except BadUrl:
            name = ""
        return handle(request, self._answer(request), failing_in(name))

    async def _answer(self, request: StreamingRequest) -> None:
        if request.method == b"OPTIONS":
            options.answer(request)
            return
        place = place_of(request.path)
        verb = VERBS.get(request.method)
        if request.method in post.METHODS and post.is_upload(place):
            verb = post.answer_upload
        elif chunks.is_chunked(place):
            verb = chunks.VERBS.get(request.method)
        if verb is None:
            options.describe(request)
            raise Refused(405 if request.method in options.METHODS.split(b", ") else 501, "not with this method")
        session = await log_in(self.gateway, request, guarded=not self.settings.allow_plain_login)
        exchange = Exchange(self, request, session, place)
        await submit_tokens(exchange)
        await verb(exchange)
