"""What paths mean to an SFTP client: ``/`` lists the vfolders of whoever logged in, and below each lies its content."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import attrs

from vfgateway.errors import GatewayError, PermissionDenied
from vfgateway.paths import FolderPath, checked_name, parse_bytes
from vfgateway.protocols.sftp import uploads
from vfgateway.services.session import FolderSession, Session

#: Seconds for which an entered vfolder is used again: as long as any change of grants may take to be seen.
FRESH = 0.25
#: Names that one pattern stands for, at most.
MOST_EXPANDED = 10_000
#: Bytes of the longest path whose directory is remembered.
_LONGEST_KNOWN = 1024
_NO_NAMES = (b"", b".", b"..")
_WILD = re.compile(rb"[*?[]")


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
        # By what clients write before the last slash: when the vfolder was entered, its session, its name, and the directory in it.
        self._above: dict[bytes, tuple[float, FolderSession, str, tuple[str, ...]]] = {}

    async def find(self, raw: bytes) -> Place | None:
        """The place; ``None`` for the top. ``VFolderNotFound``, ``InvalidPath``."""
        path = parse_bytes(normal(raw))
        if path.is_root:
            return None
        name = checked_name(path.parts[0])
        folder, inner = await self._enter(name), FolderPath(path.parts[1:])
        if uploads.is_here(inner):
            return Place(uploads.UploadsView(folder), name, inner)
        if inner.parts and name in self._entered:
            above, _, last = raw.rpartition(b"/")
            if last not in _NO_NAMES and len(raw) <= _LONGEST_KNOWN:
                if len(self._above) >= 64:
                    self._above.clear()
                self._above[above] = (self._entered[name][0], folder, name, inner.parts[:-1])
        return Place(folder, name, inner)

    def find_now(self, raw: bytes) -> Place | None:
        """As :meth:`find`, for what lies in a directory in which something was found a moment ago; else ``None``. Not a coroutine."""
        above, _, last = raw.rpartition(b"/")
        known = self._above.get(above)
        now: float = self._clock.seconds()  # type: ignore[attr-defined]
        if known is None or not 0 <= now - known[0] < FRESH or last in _NO_NAMES or len(raw) > _LONGEST_KNOWN:
            return None
        try:
            name = checked_name(last.decode("utf-8", "surrogateescape"))
        except GatewayError:
            return None
        _, folder, top, parts = known
        path = FolderPath((*parts, name))
        return None if path.reserved else Place(folder, top, path)

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

    async def expand(self, raw: bytes) -> Sequence[bytes]:
        """What a shell would make of ``raw``, for programs that count on one: all that is there and fits its ``*``, ``?`` and ``[...]``, hidden
        names only where the pattern begins with a dot; ``raw`` itself if something is called so, or if nothing fits."""
        if not _WILD.search(raw) or await self._exists(raw):
            return [raw]
        found = [b""]
        for part in normal(raw)[1:].split(b"/"):
            if not _WILD.search(part):
                found = [place + b"/" + part for place in found]
                continue
            listed = [(place, name) for place in found for name in await self._names(place)]
            fits = [(place, name) for place, name in listed if _fits(name, part)]
            found = [place + b"/" + name for place, name in sorted(fits)[:MOST_EXPANDED]]
        first = 0 if raw.startswith(b"/") else 1
        return [path[first:] for path in found if await self._exists(path)] or [raw]

    async def _exists(self, raw: bytes) -> bool:
        try:
            place = await self.find(raw)
            return place is None or bool(await place.folder.stat(place.path))
        except GatewayError:
            return False

    async def _names(self, raw: bytes) -> Sequence[bytes]:
        """What a directory lists; nothing if it is none."""
        try:
            place = await self.find(raw)
            if place is None:
                names = [visible.name for visible in await self.session.vfolders()]
            else:
                names = []
                listing = await place.folder.list(place.path)
                try:
                    while entries := await listing.read(512):
                        names += [entry.name for entry in entries]
                finally:
                    await listing.close()
        except GatewayError:
            return []
        return [name.encode("utf-8", "surrogateescape") for name in names]

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


def _fits(name: bytes, pattern: bytes) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and (not name.startswith(b".") or pattern.startswith(b"."))
