"""What the kernel has mounted for this process: ``/proc/self/mountinfo`` (proc(5)). Reading it waits for no storage."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


@attrs.frozen
class Mount:
    """One line.

    :ivar place: where it is mounted
    :ivar device: numbers of the device; the first is 0 where there is none
    :ivar options: of the mount and of the file system, as ``mount -o`` has them
    """

    place: str
    fstype: str
    source: str
    read_only: bool
    device: tuple[int, int]
    options: frozenset[str]


def mounts() -> Iterator[Mount]:
    """All, in the order in which they came; a later one on the same place hides the earlier."""
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        _, _, numbers, _, place, options, *_ = fields.split(b" ")
        fstype, source, super_options = rest.split(b" ", 2)
        major, _, minor = numbers.partition(b":")
        each = frozenset(map(_plain, (*options.split(b","), *super_options.split(b","))))
        yield Mount(_plain(place), _plain(fstype), _plain(source), "ro" in each, (int(major), int(minor)), each)


def mounted_at(place: str) -> Mount | None:
    """What is mounted exactly there, the topmost of several."""
    found = None
    for mount in mounts():
        if mount.place == place:
            found = mount
    return found


def mount_above(path: str) -> Mount | None:
    """The mount in which ``path`` lies, which is absolute and without links."""
    found: Mount | None = None
    for mount in mounts():
        at = mount.place
        if (at == "/" or path == at or path.startswith(f"{at}/")) and (found is None or len(at) >= len(found.place)):
            found = mount
    return found


def _plain(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field))
