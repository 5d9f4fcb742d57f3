"""Small files stored at once: with all that publishing means, where none of that has to wait.

What :mod:`vfgateway.services.transfer` does in a dozen steps, each of which may wait for a thread or for the database, is done here in one
turn of the reactor, or with one call in a thread where the storage has to be waited for: under a claim there are no locks and no properties, and
nobody has to be told of the change; room is taken from what the process has leased; usage is written a little later, together with that of others.
Where there is no claim the change is announced and settled as any other, and only the stage is spared.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from vfgateway import eager
from vfgateway.abilities import IAtHand, IWholeStore
from vfgateway.errors import Unsupported
from vfgateway.interfaces import type_chunk
from vfgateway.model import Expect, Permission, Published, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import trees
from vfgateway.services.claimed import is_claimed, settle_now, take_now
from vfgateway.services.context import FolderContext
from vfgateway.services.transfer import publish

type_stored = Published | None


def store_small(
    context: FolderContext, target: FolderPath, content: type_chunk, room_sought: bool = False
) -> type_stored | Deferred[type_stored]:
    """Create or replace the file ``target``, at once, or a little later where storage or others have to be waited for; ``None`` if the ordinary
    way has to be taken, and nothing has happened.

    :param room_sought: there is no more room to be had than what is there
    """
    folder = context.folder
    store_now = folder.store_now if IAtHand.providedBy(folder) and folder.stores_now else None
    whole = folder if IWholeStore.providedBy(folder) else None
    if store_now is None and whole is None:
        return None
    claimed = is_claimed(context, target, whole is not None and whole.stores_together)
    wanted = Usage(len(content), 1)
    needs = take_now(context, wanted)
    if needs is None:
        return None if room_sought else eager.begin(_store_in_room(context, target, content, wanted))
    if not claimed:
        settle_now(context, target, Usage(), needs)
        return None if whole is None else eager.begin(_store_announced(context, whole, target, content))
    if store_now is None:
        assert whole is not None  # one of them is there
        return eager.begin(_store_soon(context, whole, target, content, wanted, needs))
    published: Published | None = None
    try:
        published = store_now(target, content, context.gateway.claims.is_alone(context.vfolder))
    finally:
        _settle(context, target, published, wanted, needs)
    return published


async def _store_in_room(context: FolderContext, target: FolderPath, content: type_chunk, wanted: Usage) -> type_stored:
    """Have room, and store. Who has to ask others for it, or is refused it, goes the ordinary way, and so is told once."""
    if not await context.gateway.quota.find_room(context.vfolder, wanted):
        return None
    await context.standing.refresh()
    context.allow(Permission.RW, target, "write this")
    stored = store_small(context, target, content, True)
    return await stored if isinstance(stored, Deferred) else stored


class _Whole:
    """What :func:`vfgateway.services.transfer.publish` needs of a stage, for content that is there.

    :ivar shared: whether other processes may store at the same time
    :ivar published: what has become of it
    """

    def __init__(self, folder: IWholeStore, content: type_chunk) -> None:
        self._folder = folder
        self._content = content
        self.shared: bool = folder.stores_together
        self.size = len(content)
        self.published: Published | None = None

    async def commit(self, target: FolderPath, expect: Expect) -> Published:
        self.published = await self._folder.store_whole(target, self._content, not self.shared)
        if self.published is None:
            raise Unsupported("storing this with one call")
        return self.published


async def _store_announced(
    context: FolderContext, folder: IWholeStore, target: FolderPath, content: type_chunk
) -> Published | None:
    """As any upload is published, but for the stage. What it raises, the ordinary way would have, or need not."""
    whole = _Whole(folder, content)
    async with await context.gateway.quota.begin(context.vfolder) as reservation:
        await publish(context, whole, target, reservation, shared=whole.shared)
    context.gateway.metrics.received(context.origin.protocol, len(content))
    return whole.published


async def _store_soon(
    context: FolderContext,
    folder: IWholeStore,
    target: FolderPath,
    content: type_chunk,
    wanted: Usage,
    needs: Mapping[str, Usage],
) -> Published | None:
    """The claim lasts, and the path is taken, for as long as it takes."""
    gateway, vfolder = context.gateway, context.vfolder
    published: Published | None = None
    alone = gateway.claims.is_alone(vfolder)
    with gateway.claims.kept(vfolder):
        turn = await gateway.locks.take_turn(
            vfolder, context.lock_path(target)
        )  # nobody is in the way, as has been seen
        try:
            published = await folder.store_whole(target, content, alone)
        finally:
            _settle(context, target, published, wanted, needs)
            gateway.locks.leave_turn(vfolder, turn)
    return published


def _settle(
    context: FolderContext, target: FolderPath, published: Published | None, wanted: Usage, needs: Mapping[str, Usage]
) -> None:
    if published is None:
        settle_now(context, target, Usage(), needs)
        return
    replaced = published.replaced
    settle_now(context, target, wanted if replaced is None else wanted - trees.freed(replaced), needs)
    context.gateway.metrics.received(context.origin.protocol, wanted.bytes)
