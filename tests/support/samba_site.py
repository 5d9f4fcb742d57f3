"""A gateway with all doors open, whose vfolders are on a share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.behaviour.doors import EveryDoor
from tests.support.samba import Samba


class SambaSite(EveryDoor):
    """The site.

    :param options: of the volume, beside where the share is
    """

    def __init__(self, folder: Path, samba: Samba, **options: Any) -> None:
        self.samba = samba
        super().__init__(folder, {"local": {"backend": "smb", **samba.settings(path="volume", **options)}})

    def place_of(self, volume: str, vfid: str) -> Path:
        """On the server's disk."""
        scope, _, digits = vfid.rpartition("/")
        scope = scope.partition(":")[2].replace("-", "")
        return self.samba.share.joinpath("volume", scope, digits[:2], digits[2:4], digits[4:])
