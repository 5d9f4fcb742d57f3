# mypy: disallow-untyped-calls=False
"""A :class:`GatewaySite` around one handler, without a gateway behind it: in memory with a clock of the test's, or on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from tests.support.uploading import RawConnection
from vfgateway.protocols.web.handling import handle
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.site import GatewaySite
from vfgateway.services.metrics import Metrics

type_handler = Callable[[StreamingRequest], Coroutine[Any, Any, None]]


class OneHandler(Resource):
    """Gives every request to one handler."""

    isLeaf = True

    def __init__(self, handler: type_handler) -> None:
        super().__init__()
        self._handler = handler

    def render(self, request: StreamingRequest) -> int:
        return handle(request, self._handler(request))


def site_of(handler: type_handler, clock: Any, *, trusted: tuple[str, ...] = (), **options: Any) -> GatewaySite:
    """A site whose every request goes to ``handler``."""
    settings = SimpleNamespace(gateway=SimpleNamespace(trusted_proxies=trusted), volumes={})
    nobody_asks = SimpleNamespace(refused=lambda error, context: None)
    gateway = SimpleNamespace(
        reactor=clock, running=True, settings=settings, audit=nobody_asks, metrics=Metrics(), database=None
    )
    return GatewaySite(OneHandler(handler), gateway, "test", **options)


class Wire:
    """One connection in memory.

    :ivar clock: its time
    """

    def __init__(self, handler: type_handler, **options: Any) -> None:
        self.clock = Clock()
        self.site = site_of(handler, self.clock, **options)
        self.channel: Any = self.site.buildProtocol(None)
        self.transport = StringTransport()
        self.transport.abortConnection = self.lose  # type: ignore[method-assign]
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Bytes from the client."""
        self.channel.dataReceived(data)

    def lose(self) -> None:
        """The connection ends."""
        self.transport.disconnecting = True
        self.channel.connectionLost(Failure(ConnectionLost()))

    @property
    def answer(self) -> bytes:
        """All that was sent to the client."""
        return bytes(self.transport.value())

    @property
    def status(self) -> int:
        """The status of the last answer."""
        return int(self.answer.rpartition(b"HTTP/1.1 ")[2][:3])


@asynccontextmanager
async def listening(
    handler: type_handler, tls: Any = None, proxied: bool = False, **options: Any
) -> AsyncIterator[int]:
    """The port of a real socket on which ``handler`` answers; with a context factory as ``tls``, over TLS; ``proxied``, after a PROXY
    header."""
    site = site_of(handler, reactor, **options)
    factory: Any = site if tls is None else TLSMemoryBIOFactory(tls, False, site)
    if proxied:
        factory = HAProxyWrappingFactory(site)
    port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield port.getHost().port
    finally:
        await port.stopListening()
        await site.close_connections(0.0)


class Client(RawConnection):
    """A client for large answers, which can also stop reading."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    @classmethod
    async def open(cls, port: int) -> Client:
        """Connect."""
        client = await super().open(port)
        assert isinstance(client, Client)
        return client

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)
        if self._waiting:
            self._gather()
            super().dataReceived(b"")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gather()
        super().connectionLost(reason)

    def _gather(self) -> None:
        self.received += b"".join(self._pieces)
        self._pieces.clear()

    def close(self) -> None:
        """Close the connection in order, after what was sent."""
        self._socket.loseConnection()

    def pause(self) -> None:
        """Read no more for now."""
        self._socket.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self._socket.resumeProducing()

    @property
    def _socket(self) -> Any:
        return self.transport


async def answer_ok(request: StreamingRequest, body: bytes = b"ok") -> None:
    """A plain answer."""
    request.setHeader(b"content-length", b"%d" % len(body))
    request.write(body)
