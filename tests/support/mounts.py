"""File systems that a test mounts for itself; the tests run as root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_tmpfs(mount_point: Path, size: str, inodes: int = 0) -> Iterator[Path]:
    """A tmpfs of ``size`` (as ``mount`` takes it) at ``mount_point``, gone at the end.

    :param inodes: the most files that it takes; 0 is no limit
    """
    mount_point.mkdir()
    options = f"size={size},nr_inodes={inodes}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mount_point], check=True)
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", mount_point], check=True)
