"""What the kernel has counted of a mount's reading and writing, and the rates that come of it. Blocking calls. Sources: the kernel's
Documentation/admin-guide/iostats.rst, and nfs-utils' mountstats for ``/proc/self/mountstats``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from vfgateway.backends.vfs.hardware import MountPoint
from vfgateway.model import PerformanceMetric

_SECTOR: Final = 512
_DISKS: Final = Path("/proc/diskstats")
_MOUNTS: Final = Path("/proc/self/mountstats")


@attrs.frozen
class Done:
    """What has been done in one direction since the mount, or the machine, came up."""

    operations: int = 0
    size: int = 0
    milliseconds: int = 0


@attrs.frozen
class Counters:
    """Everything at one moment, by the monotonic clock."""

    at: float
    read: Done
    written: Done


def counters(mount: MountPoint, now: float) -> Counters | None:
    """Of the block device, or of an NFS mount; ``None`` where the kernel counts nothing."""
    done = _of_nfs(mount.place) if mount.fstype.startswith("nfs") else _of_disk(mount.device)
    return None if done is None else Counters(now, *done)


def _of_disk(device: tuple[int, int] | None) -> tuple[Done, Done] | None:
    for line in _DISKS.read_text().splitlines():
        fields = line.split()
        if device == (int(fields[0]), int(fields[1])):
            reads, _, sectors_read, reading, writes, _, sectors_written, writing = map(int, fields[3:11])
            return Done(reads, sectors_read * _SECTOR, reading), Done(writes, sectors_written * _SECTOR, writing)
    return None


def _of_nfs(place: str) -> tuple[Done, Done] | None:
    """Operations as the server was asked for them, with all the time until they were done."""
    sizes = (0, 0)
    calls: dict[str, tuple[int, int]] = {}
    for name, values in _lines_of(place):
        if name == "bytes":
            sizes = int(values[4]), int(values[5])
        elif name in ("READ", "WRITE"):
            calls[name] = int(values[0]), int(values[7])
    if len(calls) != 2:
        return None
    (reads, reading), (writes, writing) = calls["READ"], calls["WRITE"]
    return Done(reads, sizes[0], reading), Done(writes, sizes[1], writing)


def _lines_of(place: str) -> Iterator[tuple[str, list[str]]]:
    """What is told of the last mount on ``place``, by name."""
    told: list[tuple[str, list[str]]] = []
    here = False
    escaped = place.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    for line in _MOUNTS.read_text("utf-8", "surrogateescape").splitlines():
        if line.startswith("device "):
            here = f" mounted on {escaped} with fstype nfs" in line
            told = [] if here else told
        elif here and ":" in line:
            name, _, values = line.strip().partition(":")
            told.append((name, values.split()))
    yield from told


def rates(before: Counters, after: Counters) -> PerformanceMetric:
    """What was done between two moments, per second; and the time of one operation. A count that began anew in between counts as nothing."""
    seconds = max(after.at - before.at, 1e-3)

    def each(then: Done, now: Done) -> tuple[float, float, float]:
        operations = max(0, now.operations - then.operations)
        spent = max(0, now.milliseconds - then.milliseconds) * 1000
        size = max(0, now.size - then.size)
        return operations / seconds, size / seconds, spent / operations if operations else 0.0

    (reads, bytes_read, reading), (writes, bytes_written, writing) = (
        each(before.read, after.read),
        each(before.written, after.written),
    )
    return PerformanceMetric(reads, writes, bytes_read, bytes_written, reading, writing)
