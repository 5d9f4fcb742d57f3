"""This gateway as a contestant, as ``twistd`` starts it, with a vfolder for each durability."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.meter import Meter
from tests.support.process import ALICE, GatewayProcess, Site, VFolderOfAlice
from vfgateway import __version__

#: Basic authorization as every request of a person carries it; the peers ask for none.
LOGIN: Mapping[str, str] = {"Authorization": "Basic " + base64.b64encode(":".join(ALICE).encode()).decode()}


class SecuredSite(Site):
    """A site whose client front end speaks TLS.

    :param certificate: with its key
    """

    def __init__(
        self, folder: Path, volumes: Mapping[str, Mapping[str, object]], certificate: Path, workers: int
    ) -> None:
        self._certificate = certificate
        super().__init__(folder, volumes, workers=workers)
        self.client_url = self.client_url.replace("http:", "https:")

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        text = super()._configuration(volumes)
        return text.replace("[frontends.client]", f'[frontends.client]\ncertificate = "{self._certificate}"')


class Gateway:
    """vfgateway over HTTP.

    :param folder: holds data directory and volumes
    :param durabilities: ``sync``, ``none`` or both
    :param certificate: to speak TLS
    :param workers: processes
    :ivar folders: a vfolder by durability
    """

    def __init__(
        self, folder: Path, durabilities: Sequence[str], certificate: Path | None = None, workers: int = 1
    ) -> None:
        volumes = {name: {"path": str(folder / name), "durability": name} for name in durabilities}
        self.title = f"vfgateway {__version__}" + (f", {workers} workers" if workers > 1 else "")
        if certificate is None:
            self.site = Site(folder, volumes, workers=workers)
        else:
            self.site = SecuredSite(folder, volumes, certificate, workers)
        self._process = GatewayProcess(self.site)
        self._durabilities = durabilities
        self.folders: dict[str, VFolderOfAlice] = {}
        self.port = self.site.client_port

    @property
    def meter(self) -> Meter:
        """What it costs."""
        return Meter(self._process.pid)

    def path(self, durability: str, name: str) -> str:
        """Path of a file in an URL."""
        return self._path(self.folders[durability].url(name))

    def token_path(self, name: str) -> str:
        """Path of a file in an URL for whoever knows it."""
        return self._path(self.folders[self._durabilities[0]].download_url(name))

    def upload_path(self, durability: str, name: str, size: int) -> str:
        """Path of a new resumable upload."""
        return self._path(self.folders[durability].upload_url(name, size))

    def archive_path(self, durability: str, name: str) -> str:
        """Path of a directory as a zip."""
        return self._path(self.folders[durability].download_url(name, archive=True))

    def _path(self, url: str) -> str:
        return url.removeprefix(self.site.client_url)

    def __enter__(self) -> Gateway:
        self._process.start()
        self._process.all_there()
        for name in self._durabilities:
            self.folders[name] = self.site.populate(name, f"{name}-data")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
