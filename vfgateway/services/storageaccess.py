"""Lets programs in to a vfolder at the storage itself, where that breaks none of our promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfgateway.directaccess import ISharedAccess, SharedAccess
from vfgateway.errors import Conflict, InvalidArgument, Unsupported, VFolderNotFound
from vfgateway.model import VFolder

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds for which such access is good unless somebody says so, and for which it can be at most.
USUAL, LONGEST = 3600, 7 * 86400


async def share_access(
    gateway: Gateway, vfolder: VFolder, write: bool, expires: float | None, address: str | None
) -> SharedAccess:
    """Sign access to the vfolder's storage, for an administrator or the orchestrator; it is noted in the audit, without the token.

    :param expires: epoch seconds, :data:`USUAL` from now by default and :data:`LONGEST` at most
    :raises InvalidArgument: it ends too late, or has ended
    :raises Conflict: to write, where a limit applies or nobody is to write: there is no gateway on that way to see to it
    :raises Unsupported: the storage has no such thing
    """
    if vfolder.is_gone:
        raise VFolderNotFound(vfolder.id)
    volume = gateway.volumes.of(vfolder)
    if not ISharedAccess.providedBy(volume):
        raise Unsupported(f"signed access to the storage of volume {vfolder.volume}")
    if write:
        if vfolder.read_only:
            raise Conflict("nobody may write to this vfolder")
        if await gateway.quota.is_limited(vfolder):
            raise Conflict("a limit applies to this vfolder, and access to write would pass it by")
    now = gateway.reactor.seconds()
    if expires is None:
        expires = now + USUAL
    if not now < expires <= now + LONGEST:
        raise InvalidArgument("expires", f"should be within the next {LONGEST // 86400} days: it cannot be taken back")
    access: SharedAccess = await ISharedAccess(volume).share_access(vfolder.id, write, expires, address)
    operation = "storage-write" if write else "storage-read"
    gateway.audit.note("token_minted", vfolder.display_name, operation=operation, expires=access.expires)
    return access
