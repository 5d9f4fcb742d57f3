"""Sync tokens (RFC 6578 section 6.2): the moment up to which a client knows a vfolder, and how far it got if an answer was cut short."""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from typing import Final

import attrs

from vfgateway.paths import FolderPath
from vfgateway.protocols.webdav.faults import Refused
from vfgateway.services.changes import Mark, can_track
from vfgateway.services.session import FolderSession

_TOKEN: Final = re.compile(
    r"urn:vfgateway:sync:([0-9a-f]{1,32}):([0-9]{1,18})"
    r"(?::([0-9]{1,18}|all):([0-9]{1,18}):([0-9a-f]{16}):([A-Za-z0-9_-]*))?"
)


@attrs.frozen
class Cut:
    """Where an answer was cut short.

    :ivar done: number of the change up to which all was told; ``None`` where the whole collection is told for the first time
    :ivar row: number of the change whose tree was being told; 0 for none
    :ivar after: the names below the top of that tree, or of the collection, up to which it was told
    """

    done: int | None
    row: int = 0
    after: tuple[str, ...] = ()


@attrs.frozen
class SyncToken:
    """See the module.

    :ivar mark: the moment; of a cut answer that from which it tells changes
    """

    mark: Mark
    cut: Cut | None = None

    def text(self, scope: str = "") -> str:
        """As clients see it: a URI. ``scope`` is what a token of a cut answer is good for (:func:`scope_of`)."""
        text = f"urn:vfgateway:sync:{self.mark.epoch}:{self.mark.serial}"
        if self.cut is None:
            return text
        after = base64.urlsafe_b64encode("/".join(self.cut.after).encode("utf-8", "surrogateescape"))
        done = "all" if self.cut.done is None else self.cut.done
        return f"{text}:{done}:{self.cut.row}:{scope}:{after.rstrip(b'=').decode('ascii')}"


def scope_of(vfolder: int, path: FolderPath, infinite: bool) -> str:
    """What tells one question from another."""
    return sha256(b"%d %d %s" % (vfolder, infinite, bytes(path))).hexdigest()[:16]


def parse(text: str, scope: str) -> SyncToken:
    """Read a token. :class:`Refused` for one that was not given out here, or for another question."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise invalid()
    mark = Mark(match[1], int(match[2]))
    if match[3] is None:
        return SyncToken(mark)
    if match[5] != scope:
        raise invalid()
    try:
        names = base64.urlsafe_b64decode(match[6] + "=" * (-len(match[6]) % 4)).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        raise invalid() from None
    done = None if match[3] == "all" else int(match[3])
    return SyncToken(mark, Cut(done, int(match[4]), tuple(names.split("/")) if names else ()))


def invalid() -> Refused:
    """The client has to begin anew (section 3.2)."""
    return Refused(403, "this sync token is not known, or not any more: ask without one", "valid-sync-token")


async def is_followed(folder: FolderSession, path: FolderPath) -> bool:
    """Whether changes of ``path`` and what is below it are known: all of them come this way, it is reached by no link, and is no
    place that the gateway shows of its own."""
    if path.reserved or not can_track(folder.volume):
        return False
    for depth in range(1, len(path.parts) + 1):
        if (await folder.stat(FolderPath(path.parts[:depth]))).target is not None:
            return False
    return True
