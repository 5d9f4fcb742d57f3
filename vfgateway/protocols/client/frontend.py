"""The client front end: downloads, archives and uploads over HTTP, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from zope.interface import implementer

from vfgateway.interfaces import IFrontEnd
from vfgateway.protocols.client.app import ClientApp
from vfgateway.protocols.client.content import routes
from vfgateway.protocols.client.endpoints import Endpoints
from vfgateway.protocols.client.faults import fail
from vfgateway.protocols.client.settings import ClientSettings
from vfgateway.protocols.web.lane import Lane
from vfgateway.protocols.web.site import GatewaySite, SiteListener
from vfgateway.section import Secret
from vfgateway.services.gateway import Gateway
from vfgateway.services.tokens import Tokens


@implementer(IFrontEnd)
class ClientFrontEnd:
    """See the module."""

    name = "client"
    summary = "Downloads, archives and resumable uploads over HTTP, for people and programs"

    def configure(self, settings: Mapping[str, Any], gateway: Gateway) -> IService:
        """Make the service."""
        return ClientService(ClientSettings.model_validate(settings), gateway)


class ClientService(SiteListener):
    """Listens. The secret is read once the gateway runs, when privileges have been dropped."""

    def __init__(self, settings: ClientSettings, gateway: Gateway) -> None:
        self._settings = settings
        self._gateway = gateway
        self._secret = settings.token_secret or Secret(path=gateway.data_dir / "token.secret")
        self.app = ClientApp(gateway, settings)
        site = GatewaySite(
            self.app.resource(),
            gateway,
            "client",
            fail=fail,
            public_url=settings.public_url,
            body_timeout=settings.body_timeout,
            grace=gateway.settings.gateway.grace,
            endpoint_of=Endpoints(self.app.templates),
        )
        site.lane = Lane(site, routes(settings))
        endpoints = [settings.endpoint] if isinstance(settings.endpoint, str) else list(settings.endpoint)
        super().__init__(site, endpoints, settings.tls(gateway.reactor), first_steps=_first_steps)

    def startService(self) -> None:
        """Begin to answer. Raises ``ConfigurationError`` for a secret that cannot be read."""
        keys = [value.encode("utf-8") for value in self._secret.load(generate=True)]
        self._gateway.tokens = Tokens(keys, self._gateway.reactor, self._settings.session_lifetime)
        self._gateway.staging.max_size = self._settings.max_upload_size
        self._gateway.staging.lifetime = self._settings.upload_lifetime
        self.app.pool.start()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """Accept no more, let requests under way finish."""
        stopped = super().stopService()
        return stopped.addBoth(self._stop_pool)

    def _stop_pool(self, result: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.app.pool.stop()).addCallback(lambda _: result)


def _first_steps(url: str) -> Sequence[str]:
    """For a user and a vfolder as the manager front end's first steps make them."""
    return (
        f"curl -u alice -T FILE {url}/vfgateway/v1/files/data/",
        f"curl -u alice -O {url}/vfgateway/v1/files/data/FILE",
    )
