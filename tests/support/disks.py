"""File systems of their own for tests: small ones that fill up, and ones whose power can be cut. Mounting needs root, or sudo."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: mkfs at once, not in the background.
_MKFS = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0")
#: Nothing reaches the disk for time having passed, and no rename flushes what it publishes: only what is synced is safe.
_UNSYNCED = "loop,commit=300,noauto_da_alloc"


def as_root(*command: str) -> None:
    """Run a command as root. Fails the test where that is not possible, with what to do."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run([*prefix, *command], capture_output=True, text=True, env={**os.environ, "PATH": path})
    hint = (
        ""
        if os.geteuid() == 0
        else "\nThis test mounts file systems: run it as root, or where sudo asks for no password."
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{hint}"


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    """``mount ARGUMENTS place``, owned by whoever runs the test; unmounted at the end."""
    place.mkdir(exist_ok=True)
    as_root("mount", *arguments, str(place))
    try:
        if os.geteuid() != 0:
            as_root("chown", f"{os.geteuid()}:{os.getegid()}", str(place))
        yield place
    finally:
        as_root("umount", str(place))


@contextmanager
def small_memory_disk(place: Path, size: int) -> Iterator[Path]:
    """A file system in memory that holds ``size`` bytes."""
    with mounted(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield place


class PowerlessDisk:
    """An ext4 file system in an image file. What was not synced is in the kernel's memory only, not in the file: so a copy of the file is
    what a machine finds after its power was cut at that moment.

    :param folder: where the images lie
    :param place: where it is mounted
    """

    def __init__(self, folder: Path, name: str, place: Path, size: int = 64 << 20) -> None:
        self._image = folder / f"{name}.img"
        self.place = place
        with self._image.open("wb") as file:
            os.truncate(file.fileno(), size)
        as_root(*_MKFS, str(self._image))

    @contextmanager
    def running(self, moment: str | None = None) -> Iterator[Path]:
        """Mounted as it is, or as it was left at a moment; the journal is replayed."""
        image = self._image if moment is None else self._left(moment)
        with mounted(self.place, "-o", _UNSYNCED, str(image)):
            yield self.place

    def cut_power(self, moment: str) -> None:
        """Keep what the disk has now."""
        subprocess.run(["cp", "--sparse=always", self._image, self._left(moment)], check=True)

    def _left(self, moment: str) -> Path:
        return self._image.with_name(f"{self._image.stem}-{moment}.img")
