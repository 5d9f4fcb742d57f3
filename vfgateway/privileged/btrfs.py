"""What only root may do on Btrfs, by the kernel's own calls (``linux/btrfs.h``), on open directories. Blocking; all that fails raises ``OSError``."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final
from uuid import UUID

#: The number that the root of every subvolume has, and nothing else (``BTRFS_FIRST_FREE_OBJECTID``).
ROOT_NUMBER: Final = 256
_FS_INFO: Final = 0x8400941F  # BTRFS_IOC_FS_INFO
_QUOTA_CTL: Final = 0xC0109428  # BTRFS_IOC_QUOTA_CTL
_LIMIT: Final = 0x8030942B  # BTRFS_IOC_QGROUP_LIMIT
_DESTROY: Final = 0x5000943F  # BTRFS_IOC_SNAP_DESTROY_V2
_ENABLE: Final = 1  # BTRFS_QUOTA_CTL_ENABLE
_REFERENCED: Final = 1  # BTRFS_QGROUP_LIMIT_MAX_RFER
#: Lifts a limit.
_NONE: Final = (1 << 64) - 1
#: In ``struct btrfs_ioctl_fs_info_args``: its size, and where the identifier of the file system stands.
_FS_INFO_SIZE: Final = 1024
_IDENTIFIER: Final = slice(16, 32)
#: ``struct btrfs_ioctl_vol_args_v2``: descriptor, transaction, flags, four words that are not used, name.
_ARGUMENTS: Final = struct.Struct("=qQQ32x4040s")


def file_system(descriptor: int) -> UUID:
    """Which Btrfs it is on; subvolumes of one have different device numbers. ``ENOTTY`` elsewhere."""
    info = bytearray(_FS_INFO_SIZE)
    fcntl.ioctl(descriptor, _FS_INFO, info)
    return UUID(bytes=bytes(info[_IDENTIFIER]))


def enable_quota(descriptor: int) -> None:
    """Have the file system count for quota groups. What is there is counted in the background."""
    fcntl.ioctl(descriptor, _QUOTA_CTL, struct.pack("=QQ", _ENABLE, 0))


def set_limit(descriptor: int, size: int) -> None:
    """Limit what a subvolume refers to, in bytes; 0 is no limit."""
    fcntl.ioctl(descriptor, _LIMIT, struct.pack("=QQQQQQ", 0, _REFERENCED, size or _NONE, 0, 0, 0))


def destroy(parent: int, name: str) -> None:
    """Remove a subvolume with all it holds, at once for everybody. ``ENOTEMPTY`` if another lies in it."""
    fcntl.ioctl(parent, _DESTROY, arguments(name))


def arguments(name: str, descriptor: int = 0, flags: int = 0) -> bytearray:
    """Of calls that speak of a subvolume by its name in a directory."""
    return bytearray(_ARGUMENTS.pack(descriptor, 0, flags, os.fsencode(name)))  # Python passes no larger bytes
