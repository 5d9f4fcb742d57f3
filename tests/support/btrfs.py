"""Btrfs file systems of their own for tests, on loop images. Needs root, or sudo, and Debian's ``btrfs-progs``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.disks import as_root, mounted

#: The smallest on which data and metadata have room enough.
SIZE = 512 << 20


@contextmanager
def btrfs(folder: Path, *options: str) -> Iterator[Path]:
    """A mounted one in ``folder``; unmounted at the end, whatever happened."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / "btrfs.img"
    with image.open("wb") as file:
        file.truncate(SIZE)
    as_root("mkfs.btrfs", "-q", str(image))
    try:
        with mounted(folder / "btrfs", "-o", ",".join(("loop", *options)), str(image)) as place:
            yield place
    finally:
        image.unlink()
