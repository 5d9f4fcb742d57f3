"""The small texts that lie beside vfolders on a share, where the volume ``vfs`` has them, too (:class:`vfgateway.abilities.IDescriptions`)."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import Refused
from vfgateway.backends.smb.files import READ_ACCESS, WRITE_ACCESS, read_piece, write_all
from vfgateway.backends.smb.layout import Layout
from vfgateway.backends.smb.link import Handle
from vfgateway.backends.smb.share import Share
from vfgateway.backends.smb.wire import Opening
from vfgateway.errors import VFolderNotFound
from vfgateway.model import VFolderId

#: Bytes of a text that are read; the gateway writes far less.
LARGEST: Final = 4 << 20


async def describe(share: Share, layout: Layout, vfid: VFolderId, text: bytes) -> None:
    """Keep a text. ``VFolderNotFound``, ``Refused``, ``Lost``."""
    if await share.find(layout.root(vfid)) is None:
        raise VFolderNotFound(vfid)
    file = layout.description(vfid)
    for directory in (file.rpartition("\\")[0], layout.trash(vfid.scope)):
        await share.make_dir(directory, exist_ok=True)
    # In the trash, so that what a crash leaves is cleared away; shared with nobody, so that it is not before.
    draft = f"{layout.trash(vfid.scope)}\\described-{uuid4().hex}"
    opening = Opening(draft, WRITE_ACCESS | wire.DELETE, wire.CREATE_NEW, wire.NON_DIRECTORY_FILE, share=0)
    handle, _ = await share.open(opening)
    try:
        await _publish(handle, file, text)
    finally:
        await handle.close()


async def _publish(draft: Handle, file: str, text: bytes) -> None:
    try:
        await write_all(draft, 0, text)
        await draft.do(wire.flush())
        await draft.do(wire.rename(file, replace=True))
    except Refused:
        await draft.ask(wire.set_disposition())
        raise


async def description(share: Share, layout: Layout, vfid: VFolderId) -> bytes | None:
    """What is kept, if anything is. ``Refused``, ``Lost``."""
    opening = Opening(layout.description(vfid), READ_ACCESS, options=wire.NON_DIRECTORY_FILE)
    try:
        handle, entry = await share.open(opening)
    except Refused as error:
        if error.missing:
            return None
        raise
    try:
        return await _content(handle, min(entry.size, LARGEST))
    finally:
        await handle.close()


async def _content(handle: Handle, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = await read_piece(handle, len(found), min(handle.link.driver.largest_read, size - len(found)))
        if not piece:
            break
        found += piece
    return bytes(found)


async def forget(share: Share, layout: Layout, vfid: VFolderId) -> None:
    """Let go of what is kept. ``Refused``, ``Lost``."""
    try:
        await share.remove_file(layout.description(vfid))
    except Refused as error:
        if not error.missing:
            raise
