"""Small files stored at once: with all that publishing means, where none of that has to wait.

What :mod:`vfgateway.services.transfer` does in a dozen steps, each of which may wait for a thread or for the database, is done here in one
turn of the reactor, or with one call in a thread where the storage has to be waited for: under a claim there are no locks and no properties, and
nobody has to be told of the change; room is taken from what the process has leased; usage is written a little later, together with that of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from twisted.internet.defer import Deferred

from vfgateway import eager
from vfgateway.interfaces import IAtHand, IWholeStore, type_chunk
from vfgateway.model import Published, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import trees
from vfgateway.services.claimed import is_claimed, settle_now, take_now
from vfgateway.services.context import FolderContext

type_stored = Published | None


def store_small(context: FolderContext, target: FolderPath, content: type_chunk) -> type_stored | Deferred[type_stored]:
    """Create or replace the file ``target``, at once or, where storage has to be waited for, a little later; ``None`` if the ordinary way has to
    be taken, and nothing has happened."""
    folder = context.folder
    at_once = IAtHand.providedBy(folder) and folder.stores_now
    if not (at_once or IWholeStore.providedBy(folder)) or not is_claimed(context, target):
        return None
    needs = take_now(context, len(content), 1)
    if needs is None:
        return None
    if not at_once:
        return eager.begin(_store_soon(context, target, content, needs))
    published: Published | None = None
    try:
        published = cast(IAtHand, folder).store_now(target, content)
    finally:
        _settle(context, target, published, len(content), needs)
    return published


async def _store_soon(
    context: FolderContext, target: FolderPath, content: type_chunk, needs: Mapping[str, Usage]
) -> Published | None:
    """The claim lasts, and the path is taken, for as long as it takes."""
    gateway, vfolder = context.gateway, context.vfolder
    published: Published | None = None
    with gateway.claims.kept(vfolder):
        turn = await gateway.locks.take_turn(
            vfolder, context.lock_path(target)
        )  # nobody is in the way, as has been seen
        try:
            published = await cast(IWholeStore, context.folder).store_whole(target, content)
        finally:
            _settle(context, target, published, len(content), needs)
            gateway.locks.leave_turn(vfolder, turn)
    return published


def _settle(
    context: FolderContext, target: FolderPath, published: Published | None, count: int, needs: Mapping[str, Usage]
) -> None:
    stored = Usage() if published is None else Usage(count, 1) - trees.freed(published.replaced)
    settle_now(context, target, stored, needs)
    if published is not None:
        context.gateway.metrics.received(context.origin.protocol, count)
