"""Symbolic and hard links, as verbs of the session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from vfgateway.abilities import ILinks
from vfgateway.errors import Unsupported
from vfgateway.model import Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.services.changes import Change
from vfgateway.services.context import FolderContext
from vfgateway.uninterrupted import whole


async def make_link(context: FolderContext, path: FolderPath, target: str) -> None:
    """See ``FolderSession.make_link``."""
    await _make(context, path, lambda folder: folder.make_link(path, target))


async def hard_link(context: FolderContext, source: FolderPath, target: FolderPath) -> None:
    """See ``FolderSession.hard_link``. A second name needs as much right as writing: it lets the file outlive its first."""
    context.allow(Permission.RW, source, "link this")
    await _make(context, target, lambda folder: folder.hard_link(source, target), source)


@whole
async def _make(
    context: FolderContext,
    path: FolderPath,
    make: Callable[[Any], Awaitable[None]],
    also_named: FolderPath | None = None,
) -> None:
    context.allow(Permission.RW, path, "make a link here")
    if not ILinks.providedBy(context.folder):
        raise Unsupported("links")
    async with context.publishing((path, False)) as intent:
        intent.names(context.lock_path(path))
        if also_named is not None:
            intent.more.append(Change(also_named))
            intent.touches(await context.folder.stat(also_named))
        async with await context.gateway.quota.reserve(context.vfolder, Usage(0, 1)) as reservation:
            await make(context.folder)
            also = [intent.end, *context.after_creation(intent, path)]
            await reservation.settle(Usage(0, 1), also=also, folder=context.folder_of(path))
    await context.remember_creation(path)
