"""The manager front end: listens for an orchestrator, and on a socket of its own for the command line."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from zope.interface import implementer

from vfgateway.errors import ConfigurationError
from vfgateway.interfaces import IFrontEnd
from vfgateway.listening import IWelcoming
from vfgateway.protocols.manager.access import HEADER
from vfgateway.protocols.manager.app import Application, Choices
from vfgateway.protocols.web.site import GatewaySite, SiteListener, Unready
from vfgateway.protocols.web.tls import ReloadingCertificate
from vfgateway.protocols.web.tls_settings import TlsSettings
from vfgateway.section import ConfigPath, Secret
from vfgateway.services.gateway import Gateway
from vfgateway.sockets import IBindsLate

#: The longest path that a Unix socket can have (``sun_path`` of ``unix(7)``, less its end).
LONGEST_SOCKET = 107

_ENDPOINT = re.compile(r"(tcp6?|ssl):(?:port=)?(\d+)(?::(.*))?")


class ManagerSettings(TlsSettings):
    """``[frontends.manager]``.

    :ivar endpoint: a Twisted endpoint, or a list of them
    :ivar client_ca: a PEM file of authorities: only callers with a certificate of theirs get through, and still need the secret
    :ivar secret: what managers show; a list, the current one first, so that it can be rotated. ``secret_file`` is
        made when missing, and ``manager.secret`` in ``data_dir`` by default
    :ivar socket: where the command line connects; by default ``manager.sock`` in ``data_dir``, ``false`` for none
    :ivar scandir_limit: entries of the longest listing; 0 is no limit
    :ivar allow_auto_quota_scope_creation: make a missing quota scope together with the first vfolder in it
    :ivar clone_patience: seconds for which the reply to a clone waits for its end. Managers of the 23.09 line take the reply for
        the end: give them more, below their time limit of 300 seconds
    :ivar public_metrics: tell ``/metrics`` without the secret
    :ivar monitoring_endpoint: an endpoint, or a list of them, for the inside: health and metrics alone, to whoever gets there, without TLS
    :ivar client_url: where people reach the client front end, for URLs that are handed out; by default its ``public_url`` or endpoint
    """

    endpoint: str | tuple[str, ...] = "tcp:6022:interface=127.0.0.1"
    client_ca: ConfigPath | None = None
    secret: Secret = Secret()
    socket: ConfigPath | bool = True
    scandir_limit: int = Field(default=10_000, ge=0)
    allow_auto_quota_scope_creation: bool = True
    clone_patience: float = Field(default=10.0, ge=0, le=280)
    public_metrics: bool = False
    monitoring_endpoint: str | tuple[str, ...] = ()
    client_url: str = ""

    @model_validator(mode="after")
    def _shows_its_own(self) -> Self:
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate: callers are asked for theirs over TLS")
        return self

    def tls(self, clock: Any) -> ReloadingCertificate | None:
        """As of every front end; with the authorities of callers."""
        if self.certificate is None:
            return None
        return ReloadingCertificate(self.certificate, self.key, clock, self.client_ca)

    @field_validator("socket", mode="before")
    @classmethod
    def _path_or_not(cls, value: Any) -> Any:
        if value is True or (isinstance(value, str) and len(value.encode()) > LONGEST_SOCKET):
            raise ValueError(f"should be a path of at most {LONGEST_SOCKET} bytes, or false")
        return value


@implementer(IFrontEnd)
class ManagerFrontEnd:
    """See the module."""

    name = "manager"
    summary = "The API that an orchestrator and the vfgateway command drive"

    def configure(self, settings: Mapping[str, Any], gateway: Gateway) -> IService:
        """Make the service."""
        return ManagerService(ManagerSettings.model_validate(settings), gateway)


@implementer(IWelcoming, IBindsLate)
class ManagerService(Service):
    """Listens. Secrets are read and the socket is made once the gateway runs, when privileges have been dropped."""

    log = Logger()

    def __init__(self, settings: ManagerSettings, gateway: Gateway) -> None:
        self.name = "manager"
        self._settings = settings
        self._secret = settings.secret or Secret(path=gateway.data_dir / "manager.secret")
        self._gateway = gateway
        choices = Choices(
            scandir_limit=settings.scandir_limit,
            auto_scopes=settings.allow_auto_quota_scope_creation,
            clone_patience=settings.clone_patience,
            public_metrics=settings.public_metrics,
            client_url=settings.client_url or client_url(gateway),
        )
        self.application = Application(gateway, choices)
        self._site = GatewaySite(Unready(), gateway, "manager")
        tls = settings.tls(gateway.reactor)
        self._listener = SiteListener(self._site, settings.endpoint, tls, first_steps=self._steps)
        self._monitoring_site = GatewaySite(Unready(), gateway, "manager")
        inside = settings.monitoring_endpoint
        self._monitoring = SiteListener(self._monitoring_site, inside, key="monitoring_endpoint")
        self._socket_site: GatewaySite | None = None
        self._socket_port: IListeningPort | None = None

    @property
    def socket(self) -> Path | None:
        """Where the command line connects."""
        if isinstance(self._settings.socket, Path):
            return self._settings.socket
        return self._gateway.data_dir / "manager.sock" if self._settings.socket else None

    # --- life ---

    def privilegedStartService(self) -> None:
        """Bind the endpoints."""
        self._listener.privilegedStartService()
        self._monitoring.privilegedStartService()

    def startService(self) -> None:
        """Begin to answer. Raises ``ConfigurationError`` for a secret that cannot be read, or a socket that cannot be made."""
        Service.startService(self)
        secrets = self._secret.load(generate=True)
        self._site.resource = self.application.gate(secrets)
        self._monitoring_site.resource = self.application.monitoring_gate()
        self._listener.startService()
        self._monitoring.startService()
        self._listen_on_socket(secrets)
        self.application.monitor.start()

    def _listen_on_socket(self, secrets: Sequence[str]) -> None:
        path = self.socket
        if path is None:
            return
        if len(os.fsencode(path)) > LONGEST_SOCKET:
            self.log.warn("no socket for the command line: {path} is too long", path=str(path))
            return
        # Not "manager": what comes in here is told apart in logs and events.
        self._socket_site = GatewaySite(self.application.gate(secrets, by_peer=True), self._gateway, "cli")
        self._bind_socket(path, self._socket_site)

    def bind_late(self) -> None:
        """See :class:`vfgateway.sockets.IBindsLate`."""
        path = self.socket
        if path is not None and len(os.fsencode(path)) <= LONGEST_SOCKET:
            self._bind_socket(path, self._site)

    def _bind_socket(self, path: Path, factory: GatewaySite) -> None:
        try:
            remove_stale_socket(path)
            self._socket_port = self._gateway.reactor.listenUNIX(str(path), factory, mode=0o600)
        except (CannotListenError, OSError) as error:
            reason = getattr(error, "socketError", error)
            raise ConfigurationError("socket", f"cannot listen on {path}: {reason}") from None

    def stopService(self) -> Deferred[Any]:
        """Accept no more, and let requests under way finish."""
        Service.stopService(self)
        self.application.monitor.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._socket_port = self._socket_port, None
        closing = maybeDeferred(port.stopListening) if port is not None else None
        await gatherResults([maybeDeferred(each.stopService) for each in (self._listener, self._monitoring)])
        if closing is not None and self._socket_site is not None:
            await closing
            await self._socket_site.close_connections()

    # --- welcome ---

    @property
    def urls(self) -> Sequence[str]:
        """See :class:`vfgateway.listening.IWelcoming`."""
        return self._listener.urls

    def first_steps(self) -> Sequence[str]:
        """See :class:`vfgateway.listening.IWelcoming`."""
        return self._listener.first_steps()

    def _steps(self, url: str) -> Sequence[str]:
        path = self._secret.path
        shown = f"$(cat {path})" if path is not None else "SECRET"
        command = _command()
        volume = next(iter(self._gateway.volumes), "VOLUME")
        return [
            f"{command} user add alice",
            f"{command} vfolder create alice/data --volume {volume}",
            f'curl -H "{HEADER}: {shown}" {url}/volumes',
        ]


def _command() -> str:
    """How the ``vfgateway`` command that came with this process is called from here."""
    beside = Path(sys.executable).with_name("vfgateway")
    if shutil.which("vfgateway") == str(beside):
        return "vfgateway"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def remove_stale_socket(path: Path) -> None:
    """Remove a socket on which nobody listens any more. (Twisted's lock file takes any process of the same number for the one that
    died.)"""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)


def client_url(gateway: Gateway) -> str:
    """Where the client front end is reached: as it is configured, or by the first of its endpoints that is a TCP port; ``""`` if none
    is."""
    table = gateway.settings.frontends.get("client", {})
    if public := table.get("public_url"):
        return str(public)
    configured = table.get("endpoint", "tcp:6021:interface=127.0.0.1" if "client" in gateway.settings.frontends else ())
    for endpoint in [configured] if isinstance(configured, str) else configured:
        if match := _ENDPOINT.match(endpoint):
            kind, number, rest = match.groups()
            interface = re.search(r"(?:^|:)interface=((?:\\:|[^:])*)", rest or "")
            host = interface[1].replace("\\:", ":") if interface else "localhost"
            host = "localhost" if host in ("", "0.0.0.0", "::") else host  # noqa: S104
            host = f"[{host}]" if ":" in host else host
            return f"{'https' if kind == 'ssl' or 'certificate' in table else 'http'}://{host}:{number}"
    return ""
