"""What a change within one turn of the reactor needs: a claim (:mod:`vfgateway.services.claims`), and room that the process has leased."""

from __future__ import annotations

from collections.abc import Mapping

from vfgateway.model import Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import folderusage
from vfgateway.services.context import FolderContext
from vfgateway.services.subjects import needs_of

_NOTHING: Mapping[str, Usage] = {}


def is_claimed(context: FolderContext, path: FolderPath, together: bool = False) -> bool:
    """Whether ``path`` may be changed in this turn of the reactor without a word to anybody: there are no locks, nobody follows the vfolder or
    changes it beside us, and what is made need not be remembered of whom made it. Not a coroutine.

    :param together: whether others may be making the same kind of change
    """
    if context.standing.access.permission < Permission.RWD or context.lock_tokens:
        return False
    gateway, vfolder = context.gateway, context.vfolder
    if context.volume.names.case_folding:
        path = context.lock_path(path)
    return gateway.claims.covers(vfolder, path, together) and gateway.processes.dirty.renew(vfolder.key)


def settle_now(context: FolderContext, path: FolderPath, change: Usage, needs: Mapping[str, Usage]) -> None:
    """Count what has truly changed at ``path``, for which ``needs`` was taken. Not a coroutine."""
    if context.volume.names.case_folding:
        path = context.lock_path(path)
    folder = folderusage.folder_of(path, False)
    context.gateway.quota.settle_now(context.vfolder, change, needs, folder)


def take_now(context: FolderContext, wanted: Usage) -> Mapping[str, Usage] | None:
    """Take room out of what the process has leased, to be handed to :func:`settle_now` afterwards; ``None`` if there is not
    enough of it, or limits are not known. Not a coroutine."""
    quota = context.gateway.quota
    limited = quota.limited_now(context.vfolder)
    if not limited:
        return None if limited is None else _NOTHING
    needs = needs_of(limited, wanted)
    return needs if quota.headroom.take(context.vfolder, needs) else None
