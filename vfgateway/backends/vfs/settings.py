"""``[volumes.NAME]`` with ``backend = "vfs"``."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from vfgateway.backends.vfs.ownership import Ownership
from vfgateway.section import ConfigPath, Section

_NUMBERS = re.compile(r"(\d+):(\d+)")


def _octal(text: Any) -> int:
    if not isinstance(text, str) or not re.fullmatch("[0-7]{3,4}", text):
        raise ValueError('expected a string of three or four octal digits, such as "0640"')
    return int(text, 8)


def _file_mode(text: Any) -> int:
    mode = _octal(text)
    if mode & 0o7000:
        raise ValueError("files never get set-id or sticky bits; expected 0000 to 0777")
    return mode


def _owner(text: Any) -> str | tuple[int, int]:
    if text in ("inherit", "service", "principal"):
        return str(text)
    match = _NUMBERS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError('expected "inherit", "service", "principal" or "UID:GID" in numbers, such as "1000:1000"')
    return int(match[1]), int(match[2])


class VfsSettings(Section):
    """A mounted directory.

    :ivar path: the volume's directory; it is created if its parent exists
    :ivar owner: of new files: that of the vfolder's root (``inherit``), the gateway's own (``service``), fixed numbers, or the
        acting user's where accounts have numbers (``principal``)
    :ivar file_mode: permission bits of new files
    :ivar dir_mode: mode of new directories; the set-group bit hands the group down
    :ivar durability: ``sync`` acknowledges when the storage has it, ``none`` when the kernel has it
    :ivar threads: calls under way at once; the rest queue
    :ivar shared: whether others (jobs on the cluster) change files behind the gateway's back
    :ivar adoptable: directories below which directories can be made vfolders where they lie
    """

    backends: ClassVar[tuple[str, ...]] = ("vfs", "nfs")

    path: ConfigPath
    adoptable: tuple[ConfigPath, ...] = ()
    owner: Annotated[str | tuple[int, int], BeforeValidator(_owner)] = "inherit"
    file_mode: Annotated[int, BeforeValidator(_file_mode)] = 0o640
    dir_mode: Annotated[int, BeforeValidator(_octal)] = 0o2750
    durability: Literal["sync", "none"] = "sync"
    threads: int = Field(default=16, ge=1, le=1024)
    shared: bool = True

    @property
    def durable(self) -> bool:
        return self.durability == "sync"

    @property
    def ownership(self) -> Ownership:
        return Ownership(self.owner, self.file_mode, self.dir_mode)
