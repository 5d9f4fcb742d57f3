"""What the kernel tells of the storage below a directory: which mount it is, which device, and how that is. Nothing of it waits for the storage.
Blocking calls. Sources: proc(5), the kernel's Documentation/ABI/stable/sysfs-block and admin-guide/md.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from vfgateway.model import Health, HealthState

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


@attrs.frozen
class MountPoint:
    """One line of ``/proc/self/mountinfo``.

    :ivar device: numbers of the block device; ``None`` where there is none
    """

    place: str
    fstype: str
    source: str
    read_only: bool
    device: tuple[int, int] | None

    @property
    def sysfs(self) -> Path | None:
        """Where the kernel tells of the device."""
        return None if self.device is None else Path(f"/sys/dev/block/{self.device[0]}:{self.device[1]}")


def mount_of(path: str) -> MountPoint | None:
    """The mount in which ``path`` lies: the last of those whose place is the longest part of it. ``path`` is absolute, without links."""
    found: MountPoint | None = None
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        fields, _, rest = line.partition(b" - ")
        _, _, numbers, _, place, options, *_ = fields.split(b" ")
        at = _plain(place)
        if _is_above(at, path) and (found is None or len(at) >= len(found.place)):
            fstype, source, super_options, *_ = [*rest.split(b" "), b""]
            read_only = b"ro" in options.split(b",") or b"ro" in super_options.split(b",")
            found = MountPoint(at, _plain(fstype), _plain(source), read_only, _device(numbers, _plain(source)))
    return found


def _is_above(place: str, path: str) -> bool:
    return place == "/" or path == place or path.startswith(f"{place}/")


def _plain(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field))


def _device(numbers: bytes, source: str) -> tuple[int, int] | None:
    """Btrfs has numbers of its own; there the source says which device (the first of several)."""
    major, _, minor = numbers.partition(b":")
    if int(major):
        return int(major), int(minor)
    with suppress(OSError, ValueError):
        if source.startswith("/dev/"):
            number = Path(source).stat().st_rdev
            return (os.major(number), os.minor(number)) if number else None
    return None


def health_of(mount: MountPoint) -> Health:
    """How the storage is, as far as the kernel says."""
    metadata = {"file_system": mount.fstype, "source": mount.source, "mount_point": mount.place}
    troubles = ["it is mounted read-only"] if mount.read_only else []
    here = mount.sysfs
    if here is not None:
        disk = here if (here / "queue").exists() else here / ".."  # a partition's facts are those of its disk
        with suppress(OSError):
            metadata["device"] = here.resolve().name
        for name, file in (("model", "device/model"), ("rotational", "queue/rotational"), ("sectors", "size")):
            if (value := _read(disk / file)) is not None:
                metadata[name] = value
        missing = _read(disk / "md/degraded")
        if missing is not None:
            metadata["missing_disks"] = missing
            if missing != "0":
                troubles.append(f"its array lacks {missing} of its disks")
        if _read(disk / "device/state") == "offline":
            return Health(HealthState.OFFLINE, "the kernel has taken its disk offline", metadata)
    if troubles:
        return Health(HealthState.DEGRADED, "; ".join(troubles), metadata)
    return Health(HealthState.HEALTHY, metadata=metadata)


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return None
