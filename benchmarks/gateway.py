"""This gateway as a contestant: one process, as ``twistd`` starts it, with a vfolder for each durability."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.meter import Meter
from tests.support.process import ALICE, GatewayProcess, Site, VFolderOfAlice
from vfgateway import __version__

#: Basic authorization as every request of a person carries it; the peers ask for none.
LOGIN: Mapping[str, str] = {"Authorization": "Basic " + base64.b64encode(":".join(ALICE).encode()).decode()}


class Gateway:
    """vfgateway over HTTP.

    :param folder: holds data directory and volumes
    :param durabilities: ``sync``, ``none`` or both
    :ivar folders: a vfolder by durability
    """

    title = f"vfgateway {__version__}"

    def __init__(self, folder: Path, durabilities: Sequence[str]) -> None:
        volumes = {name: {"path": str(folder / name), "durability": name} for name in durabilities}
        self._site = Site(folder, volumes)
        self._process = GatewayProcess(self._site)
        self._durabilities = durabilities
        self.folders: dict[str, VFolderOfAlice] = {}
        self.port = self._site.client_port

    @property
    def meter(self) -> Meter:
        """What it costs."""
        return Meter(self._process.pid)

    def path(self, durability: str, name: str) -> str:
        """Path of a file in an URL."""
        return self.folders[durability].url(name).removeprefix(self._site.client_url)

    def upload_path(self, durability: str, name: str, size: int) -> str:
        """Path of a new resumable upload."""
        return self.folders[durability].upload_url(name, size).removeprefix(self._site.client_url)

    def archive_path(self, durability: str, name: str) -> str:
        """Path of a directory as a zip."""
        return self.folders[durability].download_url(name, archive=True).removeprefix(self._site.client_url)

    def __enter__(self) -> Gateway:
        self._process.start()
        for name in self._durabilities:
            self.folders[name] = self._site.populate(name, f"{name}-data")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
