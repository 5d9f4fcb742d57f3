"""Absolute links that jobs leave: into the place where their containers mount the vfolder. Through the gateway they are links inside of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import attrs

from vfgateway.model import FileStat


def _parts(path: bytes) -> tuple[bytes, ...]:
    return tuple(part for part in path.split(b"/") if part not in (b"", b"."))


@lru_cache(1024)
def _names_on(path: str) -> tuple[bytes, ...]:
    return _parts(path.encode("utf-8", "surrogateescape"))


@attrs.define
class JobPlaces:
    """Where jobs see one vfolder.

    :ivar paths: absolute paths in their containers; read only when a link is met, since few are
    """

    paths: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.paths)

    def way_inside(self, target: bytes) -> tuple[bytes, ...] | None:
        """The names from the top of the vfolder to what a link with this target means; ``None`` for what is not inside of it, or relative."""
        if not target.startswith(b"/"):
            return None
        names = _parts(target)
        for place in map(_names_on, self.paths):
            if place and names[: len(place)] == place and _stays(names[len(place) :]):
                return names[len(place) :]
        return None

    def shown(self, stat: FileStat, parent: Path, root: Path) -> FileStat:
        """The facts of a link as clients are to see them, to whom the vfolder is elsewhere: a link that leads inside is relative.

        :param parent: the directory in which the link stands, where the kernel has it
        :param root: the top of the vfolder, likewise
        """
        way = None if stat.target is None else self.way_inside(stat.target.encode("utf-8", "surrogateescape"))
        if way is None or not parent.is_relative_to(root):  # it was moved away a moment ago
            return stat
        upwards = (b"..",) * len(parent.relative_to(root).parts)
        target = b"/".join((*upwards, *way)) or b"."
        return stat._replace(target=target.decode("utf-8", "surrogateescape"))


def _stays(names: tuple[bytes, ...]) -> bool:
    """Whether a way goes nowhere above where it begins."""
    depth = 0
    for name in names:
        depth += -1 if name == b".." else 1
        if depth < 0:
            return False
    return True
