"""Keeps mounted what is to be mounted: looks every so often, and at once when it starts. What is mounted stays when it ends, since jobs use it;
another one finds it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.web.client import Agent

from vfgateway.mounting.errors import MountError, SourceUnavailable
from vfgateway.mounting.etcd import TIMEOUT, Etcd
from vfgateway.mounting.mounts import Mounts
from vfgateway.mounting.settings import MountedVolume, MountingSettings, load

#: Seconds between two looks while the first reading of the volumes fails.
AGAIN: Final = 2.0

_log = Logger()


async def read(reactor: Any, path: Path) -> tuple[MountingSettings, Sequence[MountedVolume]]:
    """The settings, and all volumes. ``SourceUnavailable``."""
    settings = load(path)
    volumes = list(settings.volumes)
    if settings.etcd is not None:
        client = HTTPClient(Agent(reactor, connectTimeout=TIMEOUT))
        volumes += await Etcd(settings.etcd, client).volumes()
    return settings, volumes


class Supervisor:
    """See the module."""

    def __init__(self, reactor: Any, path: Path) -> None:
        self._reactor = reactor
        self._path = path
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            every = AGAIN
            try:
                settings, volumes = await read(self._reactor, self._path)
                every = settings.every
                # While the volumes cannot be read, nothing is changed: what was configured is not forgotten for an outage.
                self._tell(dict(await deferToThread(Mounts(settings, volumes).reconcile)))
            except SourceUnavailable as error:
                self._tell({**self._told, "": str(error)})
            except MountError as error:
                self._tell({"": str(error)})
            await deferLater(self._reactor, every, lambda: None)

    def _tell(self, wrong: dict[str, str]) -> None:
        """Log what is new."""
        for name, sentence in wrong.items():
            if self._told.get(name) != sentence:
                _log.error("{what}{sentence}", what=f"volume {name}: " if name else "", sentence=sentence)
        for name in self._told.keys() - wrong.keys():
            _log.info("{what} again in order", what=f"volume {name} is" if name else "the volumes are")
        self._told = wrong
