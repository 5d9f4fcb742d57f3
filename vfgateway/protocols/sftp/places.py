"""What paths mean to an SFTP client: ``/`` lists the vfolders of whoever logged in, and below each lies its content."""

from __future__ import annotations

import attrs

from vfgateway.errors import PermissionDenied
from vfgateway.paths import FolderPath, checked_name, parse_bytes
from vfgateway.protocols.sftp import uploads
from vfgateway.services.session import FolderSession, Session

#: Seconds for which an entered vfolder is used again: as long as any change of grants may take to be seen.
FRESH = 0.25


@attrs.frozen
class Place:
    """A path below a vfolder.

    :ivar name: the vfolder's name as shown
    """

    folder: FolderSession
    name: str
    path: FolderPath

    def __str__(self) -> str:
        return f"/{self.name}/{self.path}" if self.path.parts else f"/{self.name}"


def normal(raw: bytes) -> bytes:
    """``raw`` as an absolute path without ``.``, ``..`` and empty names; relative paths count from the top, and nothing leads above
    it. By the text alone: a link on the way is not looked at, so that nothing can lead out."""
    parts: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


class Places:
    """Resolves paths for one session."""

    def __init__(self, session: Session, clock: object) -> None:
        self.session = session
        self._clock = clock
        self._entered: dict[str, tuple[float, FolderSession]] = {}

    async def find(self, raw: bytes) -> Place | None:
        """The place; ``None`` for the top. ``VFolderNotFound``, ``InvalidPath``."""
        path = parse_bytes(normal(raw))
        if path.is_root:
            return None
        name = checked_name(path.parts[0])
        folder, inner = await self._enter(name), FolderPath(path.parts[1:])
        return Place(uploads.UploadsView(folder) if uploads.is_here(inner) else folder, name, inner)

    async def inside(self, raw: bytes, action: str) -> Place:
        """As :meth:`find`, for what can only be done below a vfolder: ``action`` says what, for the refusal."""
        place = await self.find(raw)
        if place is None:
            raise PermissionDenied("", f"{action} at the top, where only vfolders are")
        return place

    async def entry(self, raw: bytes, action: str) -> Place:
        """As :meth:`inside`, for what cannot be done to a vfolder itself."""
        place = await self.inside(raw, action)
        if place.path.is_root:
            raise PermissionDenied(place.name, f"{action} a vfolder by this way")
        return place

    async def _enter(self, name: str) -> FolderSession:
        now: float = self._clock.seconds()  # type: ignore[attr-defined]
        known = self._entered.get(name)
        if known is not None and now - known[0] < FRESH:
            return known[1]
        self._entered.pop(name, None)
        folder = await self.session.folder_named(name)
        if len(self._entered) >= 64:
            self._entered.clear()
        self._entered[name] = (now, folder)
        return folder
