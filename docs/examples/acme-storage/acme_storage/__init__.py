"""A volume that somebody else brings. It keeps its bytes as the reference volume does, in memory: where your storage begins, override."""

from collections.abc import Mapping
from typing import Any

from pydantic import ByteSize
from zope.interface import implementer

from vfgateway.backends.memory import MemoryVolume
from vfgateway.errors import VolumeUnavailable
from vfgateway.interfaces import IVolume, IVolumeFactory
from vfgateway.runtime import Runtime
from vfgateway.section import ConfigPath, Secret, Section


class AcmeSettings(Section):
    """``[volumes.NAME]`` with ``backend = "acme"``.

    :ivar path: where Acme's agent listens
    :ivar token: shown to it; ``token_file`` works, too
    :ivar capacity: bytes that it may hold
    """

    path: ConfigPath
    token: Secret = Secret()
    capacity: ByteSize = ByteSize(1 << 30)


class AcmeVolume(MemoryVolume):
    """See the module."""

    backend = "acme"

    def __init__(self, name: str, settings: AcmeSettings, runtime: Runtime) -> None:
        super().__init__(name, runtime.reactor, capacity=settings.capacity)
        self.path = str(settings.path)
        self._settings = settings

    async def start(self) -> None:
        """Reach the storage: only now may anything be touched."""
        if self._settings.token and not self._settings.token.load():
            raise VolumeUnavailable(self.name, "the file of its token is empty: put Acme's token there")


@implementer(IVolumeFactory)
class AcmeFactory:
    name = "acme"
    summary = "Storage by Acme"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        """Check what is written, and touch nothing."""
        return AcmeVolume(name, AcmeSettings.model_validate(settings), runtime)
