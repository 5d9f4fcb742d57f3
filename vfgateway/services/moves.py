"""Renames within a vfolder, and what they do to the shares of the directories at its top (:mod:`vfgateway.services.folderusage`)."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

from vfgateway.errors import GatewayError
from vfgateway.model import Expect, Published, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import folderusage, trees
from vfgateway.services.context import FolderContext, type_write
from vfgateway.services.locks import Intent

#: Seconds for which a directory that went to another place at the top is measured while its intent waits. What takes longer is counted later.
PATIENCE = 0.25


async def rename(
    context: FolderContext, intent: Intent, source: FolderPath, target: FolderPath, expect: Expect
) -> None:
    """Rename under an intent, and end it with what that changes."""
    gives_way = await _is_dir(context, target) and context.lock_path(source) != context.lock_path(target)
    published = await context.folder.rename(source, target, expect)
    also = [*context.after_rename(intent, source, target, published), await moved(context, source, target, published)]
    freed = Usage(0, 1) if gives_way else trees.freed(published.replaced)
    await context.settle(-freed, intent, also, context.folder_of(target, gives_way))


async def _is_dir(context: FolderContext, path: FolderPath) -> bool:
    try:
        return (await context.folder.stat(path)).is_dir
    except GatewayError:
        return False


async def moved(context: FolderContext, source: FolderPath, target: FolderPath, published: Published) -> type_write:
    """What to write, with the end of the intent, of what is at ``target`` now."""
    is_dir = published.stat is None or published.stat.is_dir
    before, after = context.folder_of(source, is_dir), context.folder_of(target, is_dir)
    vfolder, now = context.vfolder.key, context.gateway.reactor.seconds()
    if before == after:
        return _nothing
    if is_dir and len(source.parts) == 1:
        renamed = len(target.parts) == 1
        return partial(folderusage.move_all, vfolder=vfolder, source=before, target=after, renamed=renamed, now=now)
    amount = await _measured(context, target) if is_dir else trees.freed(published.stat)
    return partial(folderusage.move, vfolder=vfolder, source=before, target=after, amount=amount, now=now)


def _nothing(_: Connection) -> None:
    """It stays where it was counted."""


class _TooLong(Exception):
    """It is too large to be measured now."""


async def _measured(context: FolderContext, path: FolderPath) -> Usage | None:
    """All of a directory; ``None`` if that takes too long, or cannot be told."""
    clock = context.gateway.reactor
    until = clock.seconds() + PATIENCE

    async def go_on(_: int) -> None:
        if clock.seconds() >= until:
            raise _TooLong

    try:
        return await trees.measure(context.folder, path, go_on) + Usage(0, 1)
    except (_TooLong, GatewayError):
        return None
