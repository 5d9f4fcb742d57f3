"""``[volumes.NAME]`` with ``backend = "btrfs"``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vfgateway.backends.vfs import VfsSettings
from vfgateway.section import ConfigPath


class BtrfsSettings(VfsSettings):
    """As of a mounted directory, and:

    :ivar limits: ``qgroup`` has the kernel limit vfolders, too; quota groups are turned on for the whole file system
    :ivar helper: the socket of the process that does what only root may; not needed where the gateway itself runs as root
    """

    limits: Literal["off", "qgroup"] = "off"
    helper: ConfigPath = Path("/run/vfgateway/privileged.sock")
