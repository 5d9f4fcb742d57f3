"""MKCOL (RFC 4918 section 9.3)."""

from __future__ import annotations

from vfgateway.errors import AlreadyExists
from vfgateway.protocols.webdav.exchange import Exchange, refuse_orphan
from vfgateway.protocols.webdav.faults import Refused, answer_empty


async def answer(exchange: Exchange) -> None:
    """Make a collection."""
    place = exchange.place
    if place.is_top:
        raise Refused(405, "it exists")
    if place.is_fixed:
        known = {visible.name for visible in await exchange.session.vfolders()}
        raise Refused(405 if place.name in known else 403, "vfolders are not made here")
    if exchange.request.body.length != 0:
        raise Refused(415, "MKCOL understands no body")
    folder = await exchange.folder()
    place = exchange.place
    await refuse_orphan(folder, place)
    try:
        await folder.make_dir(place.path)
    except AlreadyExists:
        raise Refused(405, "it exists") from None
    answer_empty(exchange.request, 201)
