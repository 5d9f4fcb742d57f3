"""One request with all that its verb needs to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from vfgateway.errors import IsADirectory, NotFound
from vfgateway.model import FileStat
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav.faults import Refused
from vfgateway.protocols.webdav.places import Place, found_name, place_of_url
from vfgateway.services.session import FolderSession, Session

if TYPE_CHECKING:
    from vfgateway.protocols.webdav.app import WebDav

INFINITY = "infinity"


@attrs.define
class Exchange:
    """See the module.

    :ivar place: what the URL names
    :ivar tokens: the lock tokens that the client submitted
    """

    app: WebDav
    request: StreamingRequest
    session: Session
    place: Place
    tokens: frozenset[str] = frozenset()

    async def enter(self, place: Place) -> tuple[FolderSession, Place]:
        """The hands in the vfolder of ``place``, with the tokens; and the place by the names that are there."""
        if place.is_top:
            raise IsADirectory("", "the list of vfolders cannot be changed here")
        folder = (await self.session.folder_named(place.name)).holding(self.tokens)
        path = await found_name(folder, place.path, self.decomposing)
        return folder, attrs.evolve(place, path=path)

    async def folder(self) -> FolderSession:
        """The hands in the vfolder of the request; :attr:`place` is corrected on the way."""
        folder, self.place = await self.enter(self.place)
        return folder

    @property
    def decomposing(self) -> bool:
        """Whether the client is a Mac."""
        agent = self.request.getHeader(b"user-agent") or b""
        return b"WebDAVFS" in agent or b"Darwin" in agent

    def depth(self, default: str) -> str:
        """``Depth`` (section 10.2): ``0``, ``1`` or ``infinity``; more after a comma (``1,noroot``) is for ``without_root``."""
        value = (self.request.getHeader(b"depth") or default.encode()).decode("latin-1").strip().lower()
        value = value.partition(",")[0].strip()
        if value not in ("0", "1", INFINITY):
            raise Refused(400, "Depth must be 0, 1 or infinity")
        return value

    @property
    def overwrite(self) -> bool:
        """``Overwrite`` (section 10.6): true unless it says F."""
        value = (self.request.getHeader(b"overwrite") or b"T").strip().upper()
        if value not in (b"T", b"F"):
            raise Refused(400, "Overwrite must be T or F")
        return value == b"T"

    def destination(self) -> Place:
        """``Destination`` (section 10.3)."""
        value = self.request.getHeader(b"destination")
        if value is None:
            raise Refused(400, "Destination is required")
        return place_of_url(self.request, value)

    def prefers(self, preference: str) -> bool:
        """Whether ``Prefer`` (RFC 7240) asks for it."""
        values = b",".join(self.request.requestHeaders.getRawHeaders(b"prefer") or ()).decode("latin-1").lower()
        asked = [part.partition(";")[0].replace('"', "").replace(" ", "") for part in values.split(",")]
        return preference in asked


async def present(folder: FolderSession, place: Place) -> FileStat | None:
    """What is there, links followed; ``None`` for nothing."""
    try:
        return await folder.stat(place.path, follow=True)
    except NotFound:
        return None


async def refuse_orphan(folder: FolderSession, place: Place) -> None:
    """409 where the directory above ``place`` is missing (section 9.7.1); nothing is made on the way."""
    if place.path.is_root:
        return
    try:
        above = await folder.stat(place.path.parent, follow=True)
    except NotFound:
        above = None
    if above is None or not above.is_dir:
        raise Refused(409, f"the collection above does not exist: {place.path.parent}")
