"""MKCOL (RFC 4918 section 9.3), with properties in its body where there is one (RFC 5689)."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from lxml import etree

from vfgateway.errors import AlreadyExists, GatewayError
from vfgateway.protocols.webdav import settable
from vfgateway.protocols.webdav.documents import DAV, read_document
from vfgateway.protocols.webdav.exchange import Exchange, refuse_orphan
from vfgateway.protocols.webdav.faults import PROLOGUE, Refused, answer_empty, answer_xml
from vfgateway.protocols.webdav.settable import Change, Outcome

_ANSWER = PROLOGUE + b'<D:mkcol-response xmlns:D="DAV:">%s</D:mkcol-response>\n'


async def answer(exchange: Exchange) -> None:
    """Make a collection."""
    place, request = exchange.place, exchange.request
    if place.is_top:
        raise Refused(405, "it exists")
    if place.is_fixed:
        known = {visible.name for visible in await exchange.session.vfolders()}
        raise Refused(405 if place.name in known else 403, "vfolders are not made here")
    folder = await exchange.folder()
    place = exchange.place
    await refuse_orphan(folder, place)
    changes = _changes(await _document(exchange))
    outcome = settable.judge(changes, None)
    if outcome.refused:
        answer_xml(request, 424 if 403 not in outcome.refused.values() else 403, _told(changes, outcome))
        return
    try:
        await folder.make_dir(place.path)
    except AlreadyExists:
        raise Refused(405, "it exists") from None
    try:
        await settable.apply(folder, place.path, outcome)
    except GatewayError:
        await folder.remove_dir(place.path)
        raise
    if changes and exchange.prefers("return=minimal"):  # RFC 8144 section 2.3; a success tells no more to others either
        request.setHeader(b"preference-applied", b"return=minimal")
    answer_empty(request, 201)


async def _document(exchange: Exchange) -> etree._Element | None:
    request = exchange.request
    if request.body.length == 0:
        return None
    kind = (request.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind not in (b"application/xml", b"text/xml"):
        raise Refused(415, "MKCOL understands XML alone")
    root = await read_document(request)
    if root is not None and root.tag != DAV + "mkcol":
        raise Refused(415, "expected DAV:mkcol")
    return root


def _changes(root: etree._Element | None) -> list[Change]:
    return [] if root is None else [change for change in settable.changes_in(root) if change.element is not None]


def _told(changes: list[Change], outcome: Outcome) -> bytes:
    return _ANSWER % settable.propstats(changes, outcome.refused)
