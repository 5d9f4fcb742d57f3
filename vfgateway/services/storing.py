"""Small files stored at once: with all that publishing means, where nothing of it has to wait.

What :mod:`vfgateway.services.transfer` does in a dozen steps, each of which may wait for a thread or for the database, is done here in one
turn of the reactor: under a claim there are no locks and no properties, and nobody has to be told of the change; room is taken from what
the process has leased; usage is written a little later, together with that of others.
"""

from __future__ import annotations

from vfgateway.interfaces import IAtHand, type_chunk
from vfgateway.model import Permission, Published, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import slabs, trees
from vfgateway.services.context import FolderContext


def store_now(context: FolderContext, target: FolderPath, content: type_chunk) -> Published | None:
    """Create or replace the file ``target``; ``None`` if the ordinary way has to be taken, and nothing has happened.

    For those alone who may remove what they like: of all others it is remembered what they created.
    """
    gateway, vfolder, folder = context.gateway, context.vfolder, context.folder
    if not IAtHand.providedBy(folder) or not folder.stores_now:
        return None
    if context.access.permission < Permission.RWD or context.lock_tokens:
        return None
    if not gateway.claims.covers(vfolder, context.lock_path(target)) or not gateway.processes.dirty.renew(vfolder.key):
        return None
    quota = gateway.quota
    subjects = quota.subjects_now(vfolder)
    if subjects is None:
        return None
    wanted = Usage(len(content), 1)
    needs = {s.key: slabs.limited_part(wanted, s.limits) for s in subjects if s.is_limited}
    if not quota.headroom.take(needs):
        return None
    published: Published | None = None
    try:
        published = folder.store_now(target, content)
    finally:
        stored = Usage() if published is None else wanted - trees.freed(published.replaced)
        quota.settle_now(vfolder, stored, needs, context.folder_of(target))
    if published is not None:
        gateway.metrics.received(context.origin.protocol, len(content))
    return published
