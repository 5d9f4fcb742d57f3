"""Where the files of a benchmark lie: in memory, or on a disk."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

#: What is said of a measurement in memory.
MEMORY = "memory (tmpfs)"
_PREFIX = "vfgateway-bench-"


@contextmanager
def folder(in_memory: bool = True) -> Iterator[Path]:
    """A new directory: in memory, or on the disk of temporary files.

    Memory is a tmpfs of its own, whose pages are as large as its files allow, as those of ext4 and XFS are. In ``/dev/shm``, whose pages have 4 KiB, the
    kernel takes five times as long to store a GiB, whoever sends it; it is for whoever may not mount.
    """
    with ExitStack() as leaving:
        place = _new(leaving)
        if in_memory and _mount(place):
            leaving.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
        elif in_memory:
            place = _new(leaving, "/dev/shm")
            print(f"no tmpfs can be mounted, so in {place}", flush=True)
        place.chmod(0o755)
        yield place


def _new(leaving: ExitStack, parent: str | None = None) -> Path:
    return Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent)))


def _mount(place: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "huge=within_size", "vfgateway-bench", str(place)]
    return subprocess.run(command, capture_output=True).returncode == 0
