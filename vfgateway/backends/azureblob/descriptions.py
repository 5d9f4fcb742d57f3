"""The small texts that are kept of vfolders (:class:`vfgateway.abilities.IDescriptions`): in a container of their own, beside those of the
vfolders, so that whoever has a signed access to one of these neither reads nor changes what is known of it."""

from __future__ import annotations

from typing import Final

from vfgateway.backends.azureblob.container import Container
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.model import VFolderId

#: Ends the container's name, after the volume's prefix.
CONTAINER: Final = "descriptions"
#: Bytes of a text that are read; the gateway writes far less.
LARGEST: Final = 4 << 20
_TYPE: Final = {"x-ms-blob-content-type": "application/json"}


async def describe(container: Container, vfid: VFolderId, text: bytes) -> None:
    """Keep a text, and make the container unless it is there. ``Refused``."""
    try:
        await container.put(_blob(vfid), [text], {}, _TYPE)
    except Refused as refused:
        if not refused.missing_container:
            raise
        await _make(container)
        await container.put(_blob(vfid), [text], {}, _TYPE)


async def _make(container: Container) -> None:
    try:
        await container.create({})
    except Refused as refused:
        if refused.status != 409:  # another process was quicker
            raise


async def description(container: Container, vfid: VFolderId) -> bytes | None:
    """What is kept, if anything is. ``Refused``."""
    try:
        _, text = await container.get(_blob(vfid), 0, LARGEST)
    except Refused as refused:
        if refused.missing or refused.missing_container:
            return None
        raise
    return text


async def forget(container: Container, vfid: VFolderId) -> None:
    """Let go of what is kept. ``Refused``."""
    try:
        await container.delete(_blob(vfid), {})
    except Refused as refused:
        if not refused.missing_container:
            raise


def _blob(vfid: VFolderId) -> str:
    return f"{vfid.folder.hex}.json"
