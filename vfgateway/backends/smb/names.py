"""What Windows lets a file be called, and paths as the protocol has them ([MS-FSCC] section 2.1.5, "Naming Files" of the Windows API)."""

from __future__ import annotations

from typing import Final

import attrs

from vfgateway.errors import InvalidPath, NameTooLong, NotFound, PathError
from vfgateway.model import NameRules
from vfgateway.paths import FolderPath

#: Where stages lie, at the top of each vfolder, as on disks.
STAGING: Final = ".upload"
FORBIDDEN: Final = frozenset('<>:"|?*\\' + "".join(map(chr, range(32))))
_NUMBERED: Final = frozenset(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")
#: Devices, whatever comes after a dot.
RESERVED: Final = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$"}) | _NUMBERED


@attrs.frozen
class SmbNames(NameRules):
    """The rules of a share. They hold whatever the server would let pass, so that every client of the share can have the files."""

    case_folding: bool = True
    forbidden: frozenset[str] = FORBIDDEN

    def allows(self, name: str) -> bool:
        return not self.objection(name)

    def objection(self, name: str) -> str:
        """Why nothing can be called ``name``; empty if it can."""
        if not self.forbidden.isdisjoint(name):
            return 'no name may hold < > : " | ? * \\ or a control character'
        if name.endswith((".", " ")):
            return "no name may end with a dot or a space"
        if name.partition(".")[0].rstrip(" ").casefold() in RESERVED:
            return "that is the name of a device"
        if any("\ud800" <= character <= "\udfff" for character in name):
            return "names have to be UTF-8"
        return ""


@attrs.frozen
class Place:
    """Where one vfolder lies.

    :ivar root: of its directory, from the share's root
    """

    root: str
    names: SmbNames

    @property
    def staging(self) -> str:
        return f"{self.root}\\{STAGING}"

    def hides(self, path: FolderPath) -> bool:
        """Whether it lies where stages do."""
        return bool(path.parts) and self.names.fold(path.parts[0]) == STAGING

    def to_read(self, path: FolderPath) -> str:
        """A path of the vfolder as the server has it. ``NotFound`` for what can never be there."""
        if self.hides(path) or any(map(self.names.objection, path.parts)):
            raise NotFound(path)
        return "\\".join((self.root, *path.parts))

    def to_write(self, path: FolderPath, missing: type[PathError] = InvalidPath) -> str:
        """The same for what is to be there. ``InvalidPath``, ``NameTooLong``; ``missing`` for what lies where stages do."""
        if self.hides(path):
            raise missing(path, None if missing is NotFound else f"a reserved name: {path}")
        for name in path.parts:
            objection = self.names.objection(name)
            if objection:
                raise InvalidPath(path, f"the storage cannot have {path}: {objection}")
            if len(name.encode("utf-8", "surrogateescape")) > self.names.longest:
                raise NameTooLong(path)
        return "\\".join((self.root, *path.parts))

    def key(self, path: FolderPath) -> tuple[str, ...]:
        """The same for all spellings of a path."""
        return (self.root, *map(self.names.fold, path.parts))

    def folded(self, path: FolderPath) -> FolderPath:
        return FolderPath(tuple(map(self.names.fold, path.parts)))
