"""Sockets of the front ends: bound while the process still has its privileges, served only once the gateway is ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from zope.interface import Attribute, Interface, implementer

from vfgateway.errors import ConfigurationError


class IWelcoming(Interface):
    """What a front end's service may provide beside ``IService``, to help whoever started it by hand."""

    urls: Sequence[str] = Attribute("where it can be reached, once it listens")

    def first_steps() -> Sequence[str]:
        """Commands that are ready to be pasted; capitals stand for what only the reader knows. Not a coroutine."""


@implementer(IWelcoming)
class Listener(Service):
    """Listens for one front end.

    ``privilegedStartService`` binds, so that low ports work with ``twistd --uid`` and a port that is taken stops start-up;
    clients that connect wait in the socket's queue until ``startService``. ``stopService`` stops listening and leaves
    connections alone.

    :param name: the front end, as in ``[frontends.NAME]``
    :param endpoints: one Twisted endpoint string or several
    :param scheme: of its URLs over a plain connection (``http`` becomes ``https`` over TLS)
    :param first_steps: makes the lines of :meth:`IWelcoming.first_steps` from a URL
    :param key: where in the front end's table the endpoints are written
    """

    def __init__(
        self,
        name: str,
        endpoints: str | Sequence[str],
        factory: IProtocolFactory,
        reactor: Any,
        scheme: str = "http",
        first_steps: Callable[[str], Sequence[str]] = lambda url: (),
        key: str = "endpoint",
    ) -> None:
        self.name = name
        self._key = f"frontends.{name}.{key}"
        self.endpoints = [str(endpoint) for endpoint in ([endpoints] if isinstance(endpoints, str) else endpoints)]
        self.ports: list[IListeningPort] = []
        self._factory = factory
        self._reactor = reactor
        self._scheme = scheme
        self._first_steps = first_steps

    def privilegedStartService(self) -> None:
        """Bind every endpoint. Raises :class:`vfgateway.errors.ConfigurationError` for the first that cannot be bound."""
        try:
            for endpoint in self.endpoints:
                self.ports.append(self._bind(endpoint))
        except ConfigurationError:
            self._close()
            raise
        for port in self.ports:
            _each_descriptor(port, "stopReading")

    def startService(self) -> None:
        """Begin to accept, after binding if that was not done before. Raises as :meth:`privilegedStartService`."""
        if not self.ports:
            self.privilegedStartService()
        for port in self.ports:
            _each_descriptor(port, "startReading")
        Service.startService(self)

    def stopService(self) -> Deferred[Any]:
        """Accept no more; fires when the sockets are closed."""
        Service.stopService(self)
        return self._close()

    def _close(self) -> Deferred[Any]:
        ports, self.ports = self.ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)

    def _bind(self, endpoint: str) -> IListeningPort:
        outcome: list[Any] = []
        try:
            serverFromString(self._reactor, endpoint).listen(self._factory).addBoth(outcome.append)
            if not outcome:
                raise CannotListenError(None, None, OSError("it does not listen at once"))
            return outcome[0] if IListeningPort.providedBy(outcome[0]) else outcome[0].raiseException()
        except Exception as error:  # CannotListenError, but each kind of endpoint has its own mistakes
            reason = getattr(error, "socketError", error)
            reason = getattr(reason, "strerror", None) or reason
            raise ConfigurationError(self._key, f"cannot listen on {endpoint}: {reason}") from None

    @property
    def urls(self) -> list[str]:
        """See :class:`IWelcoming`."""
        return [self._url(endpoint, port.getHost()) for endpoint, port in zip(self.endpoints, self.ports, strict=False)]

    def _url(self, endpoint: str, address: Any) -> str:
        scheme = self._scheme + ("s" if self._scheme == "http" and ":ssl:" in f":{endpoint}" else "")
        match address:
            case IPv4Address():
                return f"{scheme}://{'localhost' if address.host == '0.0.0.0' else address.host}:{address.port}"  # noqa: S104
            case IPv6Address():
                return f"{scheme}://{'localhost' if address.host == '::' else f'[{address.host}]'}:{address.port}"
            case UNIXAddress():
                return f"{scheme}+unix:{os.fsdecode(address.name or b'')}"
            case _:
                return f"{scheme} at {endpoint}"

    def first_steps(self) -> list[str]:
        """See :class:`IWelcoming`; only what can be reached over the network has any."""
        url = next((url for url in self.urls if "://" in url), None)
        return list(self._first_steps(url)) if url else []


def _each_descriptor(port: Any, call: str) -> None:
    """Tell a real socket to pause or go on; what is not one (a test's port) accepts all the time."""
    if hasattr(port, call):
        getattr(port, call)()
