"""Judging ``If`` (RFC 4918 section 10.4.3): what each resource that it names is like now."""

from __future__ import annotations

from vfgateway.errors import GatewayError, NotFound
from vfgateway.protocols.webdav import ifheader
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.protocols.webdav.faults import Refused
from vfgateway.protocols.webdav.ifheader import BadIf, Facts
from vfgateway.protocols.webdav.places import BadUrl, ElsewhereUrl, Place, place_of_url

_UNKNOWN = Facts(frozenset(), None)


async def submit_tokens(exchange: Exchange) -> None:
    """Give ``exchange`` the tokens of its ``If``. Raises :class:`Refused`: 400 for one that cannot be read, 412 for one that is false."""
    fields = exchange.request.requestHeaders.getRawHeaders(b"if")
    if not fields:
        return
    try:
        groups = ifheader.parse(b" ".join(fields).decode("latin-1"))
    except BadIf as error:
        raise Refused(400, f"If: {error}") from None
    facts: dict[str | None, Facts] = {}
    for group in groups:
        if group.resource not in facts:
            facts[group.resource] = await _facts(exchange, group.resource)
        if all(facts[group.resource].meet(condition) for condition in group.conditions):
            break
    else:
        raise Refused(412, "no condition of If holds")
    exchange.tokens = ifheader.submitted(groups)


async def _facts(exchange: Exchange, resource: str | None) -> Facts:
    try:
        place = exchange.place if resource is None else place_of_url(exchange.request, resource.encode("latin-1"))
    except (BadUrl, ElsewhereUrl):
        return _UNKNOWN
    try:
        return await _of_place(exchange, place)
    except GatewayError:  # what may not be seen is not told from what is not there
        return _UNKNOWN


async def _of_place(exchange: Exchange, place: Place) -> Facts:
    if place.is_top:
        return _UNKNOWN
    folder, place = await exchange.enter(place)
    path = folder.context.lock_path(place.path)
    locks = await exchange.app.gateway.locks.find(folder.vfolder, path)
    try:
        stat = await folder.stat(place.path, follow=True)
        etag = f'"{stat.identity}"' if stat.is_file else None
    except NotFound:
        etag = None
    return Facts(frozenset(lock.token for lock in locks), etag)
