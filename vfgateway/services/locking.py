"""What a principal may do with locks and properties in a vfolder: the rules above :mod:`vfgateway.services.locks`."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from vfgateway.errors import LockLost, PermissionDenied
from vfgateway.model import Permission
from vfgateway.paths import FolderPath
from vfgateway.services import properties
from vfgateway.services.context import FolderContext
from vfgateway.services.locks import Lock
from vfgateway.uninterrupted import whole


async def lock(
    context: FolderContext,
    path: FolderPath,
    infinite: bool,
    exclusive: bool,
    timeout: float | None,
    description: str,
) -> Lock:
    """See ``FolderSession.lock``."""
    context.allow(Permission.RW, path, "lock this")
    return await context.gateway.locks.acquire(
        context.vfolder,
        context.lock_path(path),
        principal_id=context.principal_id,
        owner=context.principal.name,
        infinite=infinite,
        exclusive=exclusive,
        timeout=timeout,
        description=description,
    )


async def refresh(context: FolderContext, token: str, timeout: float | None) -> Lock:
    """See ``FolderSession.refresh_lock``."""
    found = await context.gateway.locks.get(token)
    if found is None or found.vfolder != context.vfolder.key or found.principal_id != context.principal_id:
        raise LockLost("", "no such lock, or it has expired")
    return await context.gateway.locks.refresh(token, timeout)


async def unlock(context: FolderContext, token: str) -> None:
    """See ``FolderSession.unlock``."""
    found = await context.gateway.locks.get(token)
    if found is None or found.vfolder != context.vfolder.key:
        raise LockLost("", "no such lock, or it has expired")
    if found.principal_id != context.principal_id and not context.access.administer:
        error = PermissionDenied(found.path, "end somebody else's lock", "the vfolder's administrator")
        error.vfolder_key = context.vfolder.key
        raise error
    await context.gateway.locks.release(token)


@whole
async def set_properties(context: FolderContext, path: FolderPath, changes: Mapping[str, str | None]) -> None:
    """See ``FolderSession.set_properties``."""
    context.allow(Permission.RW, path, "change this")
    key, folded = context.vfolder.key, context.lock_path(path)
    async with context.publishing((path, False)) as intent:
        await context.folder.stat(path, follow=True)  # nothing is kept with what is not there

        def write(connection: Connection) -> None:
            properties.change(connection, key, folded, changes)
            intent.end(connection)

        await context.gateway.database.write(write)
    context.gateway.database.forget_generations()
