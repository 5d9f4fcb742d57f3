"""Subvolumes by the kernel's own calls (``linux/btrfs.h``), blocking. All that fails raises ``OSError``."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vfgateway.backends.vfs.faults import is_read_only, not_permitted
from vfgateway.privileged import btrfs
from vfgateway.privileged.client import Helper, HelperAway, HelperRefuses

_CREATE: Final = 0x50009418  # BTRFS_IOC_SUBVOL_CREATE_V2
_SNAPSHOT: Final = 0x50009417  # BTRFS_IOC_SNAP_CREATE_V2
_SET_FLAGS: Final = 0x4008941A  # BTRFS_IOC_SUBVOL_SETFLAGS
_GET_INFO: Final = 0x81F8943C  # BTRFS_IOC_GET_SUBVOL_INFO
_READ_ONLY: Final = 1 << 1  # BTRFS_SUBVOL_RDONLY
#: In ``struct btrfs_ioctl_get_subvol_info_args``: its size, and where the time of its making stands.
_INFO_SIZE: Final = 504
_MADE_AT: Final = 392


def is_subvolume(path: Path) -> bool:
    """Whether a subvolume is at ``path``, and not a link to one."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_ino == btrfs.ROOT_NUMBER


def create(path: Path) -> None:
    """Make an empty one."""
    with directory(path.parent) as parent:
        fcntl.ioctl(parent, _CREATE, btrfs.arguments(path.name))


def snapshot(source: Path, path: Path, read_only: bool) -> None:
    """Make ``path`` what the subvolume ``source`` is now. What was written to it before is in it, and it is durable when this returns."""
    with directory(path.parent) as parent, directory(source) as original:
        fcntl.ioctl(parent, _SNAPSHOT, btrfs.arguments(path.name, original, _READ_ONLY if read_only else 0))


def destroy(path: Path, helper: Helper | None = None) -> None:
    """Remove one with all it holds, at once for everybody; its room comes back later. ``EPERM`` where neither root nor the mount option
    ``user_subvol_rm_allowed`` permits it, ``ENOTEMPTY`` if another subvolume lies in it.

    :param helper: who does it where we may not, if it is there
    """
    with directory(path.parent) as parent:
        try:
            btrfs.destroy(parent, path.name)
        except OSError as error:
            if helper is None or not (not_permitted(error) or is_read_only(error)):
                raise
            try:
                helper.destroy_subvolume(parent, path.name)
            except FileNotFoundError:
                pass  # one that was killed had done it, and could not say so
            except (HelperAway, HelperRefuses):
                if os.path.lexists(path):
                    raise error from None


def make_writable(path: Path) -> None:
    """Lift what keeps one from being changed."""
    with directory(path) as itself:
        fcntl.ioctl(itself, _SET_FLAGS, struct.pack("=Q", 0))


def created(path: Path) -> float:
    """When one was made, in epoch seconds."""
    seconds, nanoseconds = struct.unpack_from("=QI", _info(path), _MADE_AT)
    return float(seconds + nanoseconds / 1e9)


def number(path: Path) -> int:
    """By which the file system knows one."""
    return int(struct.unpack_from("=Q", _info(path))[0])


def _info(path: Path) -> bytearray:
    with directory(path) as itself:
        info = bytearray(_INFO_SIZE)
        fcntl.ioctl(itself, _GET_INFO, info)
    return info


@contextmanager
def directory(path: Path) -> Iterator[int]:
    """A descriptor of the directory at ``path``; no link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
