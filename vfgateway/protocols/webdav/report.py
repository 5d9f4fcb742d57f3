"""REPORT (RFC 3253 section 3.6), which has one report: ``sync-collection``."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from vfgateway.protocols.webdav import sync
from vfgateway.protocols.webdav.documents import read_document
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.protocols.webdav.faults import Refused


async def answer(exchange: Exchange) -> None:
    """Answer the report that the body asks for."""
    root = await read_document(exchange.request)
    if root is None:
        raise Refused(400, "REPORT needs a body")
    if root.tag != sync.REPORT or exchange.place.is_top:
        raise unsupported()
    await sync.answer(exchange, root)


def unsupported() -> Refused:
    """403, and why."""
    return Refused(403, "this report cannot be had here", "supported-report")
