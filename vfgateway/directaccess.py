"""Ways past the gateway to storage that lets others in by signed URLs. Whoever has one is bound by what was signed, and by nothing else."""

from __future__ import annotations

import attrs
from zope.interface import Interface

from vfgateway.model import VFolderId


@attrs.frozen
class SharedAccess:
    """What opens a vfolder at the storage itself.

    :ivar url: of the vfolder there, without the token
    :ivar token: to be added to URLs as their query
    :ivar expires: epoch seconds
    """

    url: str
    token: str = attrs.field(repr=False)
    expires: float


class ISharedAccess(Interface):
    """On volumes: a program can be let in to a vfolder at the storage itself, with the storage's own tools. Neither permissions nor limits
    nor locks of the gateway hold there."""

    async def share_access(vfid: VFolderId, write: bool, expires: float, address: str | None) -> SharedAccess:
        """Sign access to read and list, or with ``write`` also to write and delete. It cannot be taken back. ``VFolderNotFound``;
        ``Unsupported`` where the volume is configured without what it takes to sign.

        :param expires: epoch seconds
        :param address: the only address, or range of them (``192.0.2.1-192.0.2.9``), that it is good for
        """


class IDirectRead(Interface):
    """On files: they can be fetched from the storage itself."""

    def direct_url(name: str | None) -> str | None:
        """A URL that gives the file to whoever asks, with the same identity as ETag, for a short while; ``None`` if it is better read here.
        Not a coroutine.

        :param name: under which browsers save it
        """
