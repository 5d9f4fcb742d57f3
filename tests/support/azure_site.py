"""A gateway with all doors open, whose vfolders are on Azurite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure.storage.blob import ContainerClient

from tests.behaviour.doors import EveryDoor
from tests.support.azurite import KEY, Azurite

#: The protocol's version that Azurite's clients speak here.
VERSION = "2022-11-02"


class AzureSite(EveryDoor):
    """The site.

    :param options: of the volume, beside those of Azurite's account
    """

    def __init__(self, folder: Path, azurite: Azurite, **options: Any) -> None:
        self.azurite = azurite
        volume: Mapping[str, Any] = {"backend": "azureblob", **azurite.settings(**options)}
        super().__init__(folder, {"local": volume})

    def place_of(self, volume: str, vfid: str) -> Path:
        return Path("/it/is/not/on/disk")

    def container(self, vfid: str, credential: str | None = KEY) -> ContainerClient:
        """The vendor's own view of a vfolder."""
        return ContainerClient(self.azurite.url, f"vf-{vfid[-32:]}", credential=credential, api_version=VERSION)
