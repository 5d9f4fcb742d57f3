"""Quota groups by the kernel's files in ``/sys``, blocking. All that fails raises ``OSError``.

What a subvolume refers to is counted with the blocks of its metadata, when a transaction ends: every half minute, or at a sync.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from vfgateway.backends.btrfs.subvolumes import directory, number
from vfgateway.privileged.btrfs import file_system

_REFERENCED: Final = 1  # BTRFS_QGROUP_LIMIT_MAX_RFER


@attrs.frozen
class Group:
    """That of one subvolume, in bytes.

    :ivar limit: ``None`` for none
    """

    referenced: int
    limit: int | None


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


def _folder(path: Path) -> Path:
    with directory(path) as descriptor:
        return Path("/sys/fs/btrfs", str(file_system(descriptor)), "qgroups")
