"""A lock as clients see it (RFC 4918 section 14.1)."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape

from vfgateway.paths import FolderPath
from vfgateway.protocols.webdav.places import href_of
from vfgateway.services.locks import Lock

_ACTIVE: Final = (
    b"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:%s/></D:lockscope><D:depth>%s</D:depth>%s"
    b"<D:timeout>%s</D:timeout><D:locktoken><D:href>%s</D:href></D:locktoken>"
    b"<D:lockroot><D:href>%s</D:href></D:lockroot></D:activelock>"
)


def active_lock(lock: Lock, vfolder: str, now: float) -> bytes:
    """The element. One whose holder did not describe itself has its name instead."""
    owner = lock.description or f"<D:owner>{escape(lock.owner)}</D:owner>"
    left = b"Infinite" if lock.expires is None else b"Second-%d" % max(1, round(lock.expires - now))
    return _ACTIVE % (
        b"exclusive" if lock.exclusive else b"shared",
        b"infinity" if lock.infinite else b"0",
        owner.encode("utf-8"),
        left,
        lock.token.encode("ascii"),
        href_of(FolderPath((vfolder, *lock.path.parts)), False),
    )
