"""What the kernel tells of the storage below a directory: which mount it is, which device, and how that is. Nothing of it waits for the storage.
Blocking calls. Sources: proc(5), the kernel's Documentation/ABI/stable/sysfs-block and admin-guide/md.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import attrs

from vfgateway.model import Health, HealthState
from vfgateway.mountinfo import Mount, mount_above


@attrs.frozen
class MountPoint:
    """Where a volume lies.

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
    """The mount in which ``path`` lies, which is absolute and without links."""
    found = mount_above(path)
    if found is None:
        return None
    return MountPoint(found.place, found.fstype, found.source, found.read_only, _device(found))


def _device(mount: Mount) -> tuple[int, int] | None:
    """Btrfs has numbers of its own; there the source says which device (the first of several)."""
    if mount.device[0]:
        return mount.device
    with suppress(OSError, ValueError):
        if mount.source.startswith("/dev/"):
            number = Path(mount.source).stat().st_rdev
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
