"""DELETE (RFC 4918 section 9.6)."""

from __future__ import annotations

import attrs

from vfgateway.errors import GatewayError, PathError
from vfgateway.model import ANY, Expect, Permission
from vfgateway.paths import parse_text
from vfgateway.protocols.web.conditions import expectation
from vfgateway.protocols.webdav.exchange import INFINITY, Exchange
from vfgateway.protocols.webdav.faults import Refused, answer_empty
from vfgateway.protocols.webdav.multistatus import answer_failures
from vfgateway.services.session import FolderSession


async def answer(exchange: Exchange) -> None:
    """Remove a file, or a collection with all below it."""
    folder = await exchange.folder()
    place = exchange.place
    if place.is_fixed:
        raise Refused(403, "a vfolder cannot be deleted here")
    stat = await folder.stat(place.path)
    expect = expectation(exchange.request.requestHeaders, place.path, stat)
    if stat.is_dir and exchange.depth(INFINITY) != INFINITY:
        raise Refused(400, "the Depth of DELETE on a collection is infinity")
    try:
        await remove(folder, exchange, expect if stat.is_file else ANY, stat.is_dir)
    except PathError as error:
        if not _below(error, exchange):
            raise
        member = attrs.evolve(place, path=parse_text(error.path))
        answer_failures(exchange.request, [(member, error)])  # section 9.6.1
        return
    answer_empty(exchange.request, 204)


async def remove(folder: FolderSession, exchange: Exchange, expect: Expect, is_dir: bool) -> None:
    """Remove what the request names."""
    path = exchange.place.path
    if not is_dir:
        await folder.remove(path, expect)
    elif folder.access.permission >= Permission.RWD:
        await folder.remove_tree(path)
    else:
        await folder.remove_dir(path)  # their own, empty, directories are all that they may remove


def _below(error: GatewayError, exchange: Exchange) -> bool:
    return isinstance(error, PathError) and error.path.startswith(f"{exchange.place.path}/")
