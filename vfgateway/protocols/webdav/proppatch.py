"""PROPPATCH (RFC 4918 section 9.2)."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from vfgateway.model import Permission
from vfgateway.protocols.webdav import settable
from vfgateway.protocols.webdav.documents import DAV, read_document
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.protocols.webdav.faults import Refused, answer_empty, answer_xml
from vfgateway.protocols.webdav.multistatus import CLOSING, OPENING


async def answer(exchange: Exchange) -> None:
    """Set and remove properties: all that are named, or none."""
    request = exchange.request
    if exchange.place.is_top:
        raise Refused(403, "the list of vfolders has no properties to set")
    folder = await exchange.folder()
    place = exchange.place
    stat = await folder.stat(place.path, follow=True)
    folder.context.allow(Permission.RW, place.path, "change this")
    root = await read_document(request)
    if root is None or root.tag != DAV + "propertyupdate":
        raise Refused(400, "expected DAV:propertyupdate")
    changes = settable.changes_in(root)
    outcome = settable.judge(changes, stat)
    if not outcome.refused:
        await settable.apply(folder, place.path, outcome)
        if exchange.prefers("return=minimal"):  # RFC 8144 section 2.2
            request.setHeader(b"preference-applied", b"return=minimal")
            answer_empty(request, 204)
            return
    response = b"<D:response><D:href>%s</D:href>%s</D:response>\n"
    body = response % (place.href(stat.is_dir), settable.propstats(changes, outcome.refused))
    answer_xml(request, 207, OPENING + body + CLOSING)
