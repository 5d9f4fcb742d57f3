"""Directories that were there before the gateway, as vfolders: where the root of the vfolder would lie, a link leads to them.

The link is all that is known of it: it is made in one step, seen by all processes, and removed in place of the content. It is followed only
to where the configuration allows, with every link on the way resolved first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from vfgateway.backends.vfs.resolve import DIRECTORY
from vfgateway.errors import InvalidPath, NotADirectory, NotFound


@attrs.frozen
class Adoption:
    """See the module. Blocking calls.

    :ivar allowed: directories below which others may be adopted
    """

    allowed: Sequence[Path] = ()

    def checked(self, place: str) -> Path:
        """The directory at ``place``, by its true name. ``InvalidPath``, ``NotFound``, ``NotADirectory``."""
        if not place.startswith("/") or "\0" in place:
            raise InvalidPath(place, f"must be an absolute path: {place}")
        found = Path(os.path.realpath(place))
        if not any(found.is_relative_to(os.path.realpath(each)) for each in self.allowed):
            raise InvalidPath(place, f"lies outside what `adoptable` names: {place}")
        if not found.exists():
            raise NotFound(place)
        if not found.is_dir():
            raise NotADirectory(place)
        return found

    def target(self, root: Path) -> Path | None:
        """Where the root of a vfolder leads; ``None`` if it is no link, or one that leads elsewhere than allowed."""
        if not self.allowed:
            return None
        try:
            return self.checked(str(root.readlink()))
        except (OSError, InvalidPath, NotFound, NotADirectory):
            return None

    def open(self, root: Path) -> int:
        """A descriptor of the directory that a vfolder's root leads to. ``NotADirectoryError`` if there is none."""
        target = self.target(root)
        if target is None:
            raise NotADirectoryError
        return os.open(target, DIRECTORY | os.O_NOFOLLOW)
