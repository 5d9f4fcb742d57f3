"""File systems on which one sync is enough for a new file and its name.

A file is to be whole whenever its name is there, also after a power loss. Where nothing is known of a file system, that takes two syncs with the naming
between them: of the file, and of the directory. ext4 and XFS write what happens to names and files to one journal, in the order in which it happened, and
flush the disk's own memory before each entry. So once the disk has taken over the data (they count it to the file only then), the entry about the name cannot be
there without it, and the sync of the directory makes both durable.

Not on Btrfs, which writes to its log only what it was asked to sync; not on ext4 without a journal; and not where journal and data are on different disks, or
the journal's entries are not waited for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_DEVICES: Final = Path("/sys/dev/block")
_JOURNALS: Final = Path("/proc/fs/jbd2")
#: The inode in which ext4 keeps its journal, if that is not on a disk of its own.
_INSIDE: Final = 8
#: Options of a mount that take the order away.
_LOOSE: Final = frozenset({"journal_async_commit", "nobarrier", "barrier=0", "logdev", "rtdev"})


def keeps_order(device: int) -> bool:
    """Whether the file system with that number (``st_dev``) is one of those. False where the kernel does not say."""
    numbers = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in _MOUNTS.read_text("utf-8", "surrogateescape").splitlines():
            mount, _, storage = line.partition(" - ")
            if mount.split()[2] == numbers:  # proc(5): the third field; options are the last
                kind, *_, options = storage.split()
                return _is_ordered(kind, numbers) and not any(each in _LOOSE for each in _words(options))
    return False


def _is_ordered(kind: str, numbers: str) -> bool:
    if kind == "ext4":
        return (_JOURNALS / f"{(_DEVICES / numbers).readlink().name}-{_INSIDE}").exists()
    return kind == "xfs"


def _words(options: str) -> list[str]:
    return [word for option in options.split(",") for word in (option, option.partition("=")[0])]
