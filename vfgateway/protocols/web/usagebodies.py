"""What both APIs answer about the usage of a vfolder and of the directories at its top."""

from __future__ import annotations

from typing import Any

from vfgateway.model import VFolder
from vfgateway.paths import RESERVED_NAMES, TRASH_NAME, json_name
from vfgateway.protocols.web.fields import Answer
from vfgateway.services.folderusage import FolderUsage
from vfgateway.services.gateway import Gateway
from vfgateway.treeusage import LOOSE, OTHERS


class Share(Answer):
    """Part of what a vfolder holds. ``stale_since`` (epoch seconds) is ``null`` unless the figures are known to be wrong: a large directory came
    or went, and what is in it is being counted."""

    used_bytes: int = 0
    used_files: int = 0
    stale_since: float | None = None


class FolderShare(Answer):
    """A directory at the top with all that lies in it, itself included. ``name_b64`` is ``null`` where the name is UTF-8."""

    name: str
    name_b64: str | None = None
    used_bytes: int
    used_files: int
    stale_since: float | None = None


class VFolderUsage(Answer):
    """What a vfolder is charged, uploads under way included, and where that lies: in the directories at its top, the largest first; at the top
    itself (``loose``); in directories beyond the first 1000, which have no figures of their own (``others``); and in the trash."""

    used_bytes: int
    used_files: int
    folders: list[FolderShare]
    loose: Share
    others: Share
    trash: Share


async def usage_of(gateway: Gateway, vfolder: VFolder) -> VFolderUsage:
    """As things are now. Costs the same however much there is."""
    shares = {share.name: share for share in await gateway.quota.folders(vfolder)}
    usage = await gateway.quota.usage(vfolder)
    own = [shares[name] for name in shares if name not in (LOOSE, OTHERS) and _name(name) not in RESERVED_NAMES]
    own.sort(key=lambda share: (-share.usage.bytes, share.name))
    return VFolderUsage(
        used_bytes=usage.bytes,
        used_files=usage.files,
        folders=[FolderShare.model_validate(json_name(_name(share.name)) | _figures(share)) for share in own],
        loose=_share(shares.get(LOOSE)),
        others=_share(shares.get(OTHERS)),
        trash=_share(shares.get(TRASH_NAME.encode())),
    )


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _figures(share: FolderUsage) -> dict[str, Any]:
    used = share.usage
    return {"used_bytes": max(0, used.bytes), "used_files": max(0, used.files), "stale_since": share.stale}


def _share(share: FolderUsage | None) -> Share:
    return Share() if share is None else Share(**_figures(share))
