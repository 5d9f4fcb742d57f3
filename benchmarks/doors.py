"""This gateway with all protocols of people at once, for what is asked of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.meter import Meter
from tests.behaviour.doors import EveryDoor
from tests.support.process import GatewayProcess, VFolderOfAlice

#: More connections than are opened.
_BOUNDS = ("max_connections", "max_connections_per_address", "max_connections_per_user", "max_unauthenticated")


class CrowdedSite(EveryDoor):
    """A site that lets in as many as come."""

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        lines = "".join(f"{name} = 5000\n" for name in _BOUNDS)
        return super()._configuration(volumes).replace("[frontends.sftp]\n", f"[frontends.sftp]\n{lines}")


class Doors:
    """One process, a volume without durability, and a vfolder of Alice's called ``data``."""

    def __init__(self, folder: Path) -> None:
        self.site = CrowdedSite(folder, {"local": {"path": str(folder / "volume"), "durability": "none"}})
        self._process = GatewayProcess(self.site)
        self.folder: VFolderOfAlice

    @property
    def meter(self) -> Meter:
        """What it costs."""
        return Meter(self._process.pid)

    def resident(self) -> int:
        """Bytes of memory that it has now; :meth:`benchmarks.meter.Meter.peak` begins anew."""
        self.meter.forget_peak()
        return self.meter.peak()

    def __enter__(self) -> Doors:
        self._process.start()
        self.folder = self.site.populate()
        self.site.admit_key()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
