"""Free space as clients see it: what the tightest limit leaves, or, where there is none, what the storage has."""

from __future__ import annotations

import struct

from vfgateway.errors import GatewayError
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession, Session

#: Bytes of the units in which space is told.
UNIT = 4096
#: Where nobody tells anything: enough for whatever comes.
PLENTY = 1 << 50
_LONGEST_NAME = 255


async def figures(session: Session, gateway: Gateway, folder: FolderSession | None) -> tuple[int, int, int, int]:
    """Size and free space in bytes, then files: the most, and how many more. For the top (``None``), of all volumes that hold something of
    the user's."""
    if folder is None:
        volumes = {visible.vfolder.volume for visible in await session.vfolders()}
        sums = [await _of_volume(gateway, name) for name in volumes]
        return sum(size for size, _ in sums), sum(free for _, free in sums), PLENTY, PLENTY
    remaining = await folder.remaining()
    size, free = await _of_volume(gateway, folder.vfolder.volume)
    if remaining.limit_bytes is not None and remaining.free_bytes is not None:
        size, free = remaining.used_bytes + remaining.free_bytes, min(free, remaining.free_bytes)
    files, more = PLENTY, PLENTY
    if remaining.limit_files is not None and remaining.free_files is not None:
        files, more = remaining.used_files + remaining.free_files, remaining.free_files
    return size, free, files, more


async def _of_volume(gateway: Gateway, name: str) -> tuple[int, int]:
    try:
        space = await gateway.volumes.get(name).space()
    except GatewayError:
        return 0, 0
    if space.capacity < 0 or space.available < 0:
        return PLENTY, PLENTY
    return space.capacity, space.available


async def statvfs(session: Session, gateway: Gateway, folder: FolderSession | None) -> bytes:
    """The answer to ``statvfs@openssh.com``."""
    size, free, files, more = await figures(session, gateway, folder)
    blocks, left = size // UNIT, free // UNIT
    fsid = 0 if folder is None else folder.vfolder.key
    return struct.pack(">11Q", UNIT, UNIT, blocks, left, left, files, more, more, fsid, 0, _LONGEST_NAME)
