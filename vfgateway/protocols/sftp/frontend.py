"""The SFTP front end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vfgateway.interfaces import IFrontEnd
from vfgateway.listening import Listener
from vfgateway.protocols.sftp import hostkeys
from vfgateway.protocols.sftp.certificates import Authorities
from vfgateway.protocols.sftp.factory import SftpFactory
from vfgateway.protocols.sftp.settings import SftpSettings
from vfgateway.services.gateway import Gateway


@implementer(IFrontEnd)
class SftpFrontEnd:
    """See the module."""

    name = "sftp"
    summary = "SFTP, scp and mounts by sshfs, for people and programs"

    def configure(self, settings: Mapping[str, Any], gateway: Gateway) -> IService:
        """Make the service."""
        return SftpService(SftpSettings.model_validate(settings), gateway)


class SftpService(Listener):
    """Listens. Host keys are read, or made, once the gateway runs, when privileges have been dropped.

    :ivar grace: seconds that transfers get to end when it stops
    """

    def __init__(self, settings: SftpSettings, gateway: Gateway) -> None:
        self._settings = settings
        self._gateway = gateway
        self.grace = gateway.settings.gateway.grace
        self.factory = SftpFactory(
            gateway, settings.limits(), Authorities(settings.trusted_user_ca_keys), settings.banner
        )
        super().__init__("sftp", settings.endpoint, self.factory, gateway.reactor, "sftp", _first_steps)

    def startService(self) -> None:
        """Begin to answer. Raises ``ConfigurationError`` for keys that cannot be used."""
        folder = self._settings.keys_folder(self._gateway.data_dir)
        self.factory.use(hostkeys.load(folder), hostkeys.load_coming(folder))
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """Accept no more, let transfers under way end within the grace, and end all connections: clients resume."""
        stopped = super().stopService()
        closed = Deferred.fromCoroutine(self.factory.close(self.grace))
        return stopped.addCallback(lambda _: closed)


def _first_steps(url: str) -> Sequence[str]:
    """For a user and a vfolder as the manager front end's first steps make them."""
    host, _, port = url.removeprefix("sftp://").rpartition(":")
    return (f"sftp -P {port} alice@{host.strip('[]')}",)
