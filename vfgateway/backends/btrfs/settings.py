"""``[volumes.NAME]`` with ``backend = "btrfs"``."""

from __future__ import annotations

from typing import Literal

from vfgateway.backends.vfs import VfsSettings


class BtrfsSettings(VfsSettings):
    """As of a mounted directory, and:

    :ivar limits: ``qgroup`` has the kernel limit vfolders, too; quota groups are turned on for the whole file system
    """

    limits: Literal["off", "qgroup"] = "off"
