"""Quota groups by the kernel's own calls (``linux/btrfs.h``) and its files in ``/sys``, blocking. All that fails raises ``OSError``.

What a subvolume refers to is counted with the blocks of its metadata, when a transaction ends: every half minute, or at a sync.
"""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path
from typing import Final
from uuid import UUID

import attrs

from vfgateway.backends.btrfs.subvolumes import directory, number

_FS_INFO: Final = 0x8400941F  # BTRFS_IOC_FS_INFO
_QUOTA_CTL: Final = 0xC0109428  # BTRFS_IOC_QUOTA_CTL
_LIMIT: Final = 0x8030942B  # BTRFS_IOC_QGROUP_LIMIT
_ENABLE: Final = 1  # BTRFS_QUOTA_CTL_ENABLE
_REFERENCED: Final = 1  # BTRFS_QGROUP_LIMIT_MAX_RFER
#: Lifts a limit.
_NONE: Final = (1 << 64) - 1
#: In ``struct btrfs_ioctl_fs_info_args``: its size, and where the identifier of the file system stands.
_FS_INFO_SIZE: Final = 1024
_IDENTIFIER: Final = slice(16, 32)


@attrs.frozen
class Group:
    """That of one subvolume, in bytes.

    :ivar limit: ``None`` for none
    """

    referenced: int
    limit: int | None


def enable(top: Path) -> None:
    """Have the file system count. What is there is counted in the background. ``EPERM`` for who is not root."""
    with directory(top) as descriptor:
        fcntl.ioctl(descriptor, _QUOTA_CTL, struct.pack("=QQ", _ENABLE, 0))


def charges_owners(top: Path) -> bool:
    """Whether blocks count for the subvolume that wrote them, be it that only a snapshot has them still ("simple quotas")."""
    try:
        return (_folder(top) / "mode").read_text().strip() == "squota"
    except FileNotFoundError:  # kernels before 6.7 know no other mode than the one
        return False


def group(path: Path) -> Group:
    """That of the subvolume at ``path``."""
    folder = _folder(path) / f"0_{number(path)}"
    limited = int((folder / "limit_flags").read_text()) & _REFERENCED
    limit = int((folder / "max_referenced").read_text()) if limited else None
    return Group(int((folder / "referenced").read_text()), limit)


def set_limit(path: Path, limit: int | None) -> None:
    """Limit what the subvolume at ``path`` refers to, or lift that. ``EPERM`` for who is not root."""
    with directory(path) as descriptor:
        size = _NONE if limit is None else limit
        fcntl.ioctl(descriptor, _LIMIT, struct.pack("=QQQQQQ", 0, _REFERENCED, size, 0, 0, 0))


def _folder(path: Path) -> Path:
    with directory(path) as descriptor:
        info = bytearray(_FS_INFO_SIZE)
        fcntl.ioctl(descriptor, _FS_INFO, info)
    return Path("/sys/fs/btrfs", str(UUID(bytes=bytes(info[_IDENTIFIER]))), "qgroups")
