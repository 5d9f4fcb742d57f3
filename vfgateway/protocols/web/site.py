# mypy: disallow-untyped-calls=False
"""What an HTTP front end listens with: connections, requests, and what every answer has in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web import http, server
from twisted.web.resource import IResource, Resource

from vfgateway.listening import Listener
from vfgateway.protocols.web import faults
from vfgateway.protocols.web.accesslog import AccessLog
from vfgateway.protocols.web.channel import StreamingChannel
from vfgateway.protocols.web.forwarded import TrustedProxies, address_of
from vfgateway.protocols.web.lane import Lane
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tally import Tally
from vfgateway.protocols.web.tls import ReloadingCertificate, speaking_tls
from vfgateway.services.entrances import Entrances

#: Seconds for which a connection may lie idle between requests, and a request's head may take.
IDLE = 75.0
#: Seconds without a byte after which a body that is being read is given up.
BODY_IDLE = 120.0
#: Seconds that requests get to finish when the front end stops, unless configured.
GRACE = 10.0

#: Methods that are counted by name; a client could invent any number of others.
_METHODS = frozenset(
    b"GET HEAD POST PUT PATCH DELETE OPTIONS PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT SEARCH".split()
)


def method_label(method: bytes) -> str:
    """A request's method for the metrics."""
    return method.decode("ascii") if method in _METHODS else "other"


_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

type_fail = Callable[[StreamingRequest, BaseException], None]


class GatewaySite(server.Site):
    """See above.

    :param front_end: the front end's name, for logs and :class:`vfgateway.principals.Origin`
    :param fail: answers an error that no handler answered, without finishing the request
    :param endpoint_of: what a path is called in the metrics: one of a few; without it, whoever answers counts
    :param public_url: ``scheme://host[:port]`` under which callers know us, where that cannot be told from their requests
    :ivar channels: the open connections
    :ivar entrances: remembers who came in a moment ago
    :ivar lane: answers small requests before anything else is done with them
    :ivar tally: what it has answered
    """

    protocol = StreamingChannel  # type: ignore[assignment]
    requestFactory = StreamingRequest  # type: ignore[assignment]
    noisy = False
    log_events = Logger(namespace="vfgateway.http")

    def __init__(
        self,
        resource: IResource,
        gateway: Any,
        front_end: str,
        *,
        fail: type_fail = faults.fail,
        public_url: str = "",
        idle: float = IDLE,
        body_timeout: float = BODY_IDLE,
        grace: float = GRACE,
        endpoint_of: Callable[[bytes], str] | None = None,
    ) -> None:
        super().__init__(resource, reactor=gateway.reactor, timeout=idle, parsePOSTFormSubmission=False)
        self.gateway = gateway
        self.front_end = front_end
        self.fail = fail
        self.public_url = public_url.rstrip("/")
        self.body_timeout = body_timeout
        self.grace = grace
        self.proxies = TrustedProxies(gateway.settings.gateway.trusted_proxies)
        self.channels: set[StreamingChannel] = set()
        backends = {name: volume.backend for name, volume in gateway.settings.volumes.items()}
        self.tally = Tally(gateway.metrics, front_end, endpoint_of)
        self.access_log = AccessLog(front_end, gateway.reactor, backends, self.tally.settle)
        self._endpoint_of = endpoint_of
        self.entrances = Entrances(gateway)
        self.lane: Lane | None = None
        self._all_gone: Deferred[None] | None = None

    # --- requests ---

    def prepare(self, request: StreamingRequest) -> None:
        """Called before anything else is done with a request."""
        given = request.getHeader(b"x-request-id")
        if given and _GOOD_ID.fullmatch(given) and self.proxies.trusts(address_of(request.client)):
            request.request_id = given.decode("ascii")
        request.setHeader(b"x-request-id", request.request_id.encode("ascii"))

    def getResourceFor(self, request: StreamingRequest) -> IResource:
        if not self.gateway.running:
            return Unready()
        return cast(IResource, super().getResourceFor(request))

    def log(self, request: http.Request) -> None:
        """One line for each request, without its query: tokens travel there."""
        assert isinstance(request, StreamingRequest)
        context, seconds = request.context, request.seconds
        line = (
            request.caller.address,
            request.principal_name or context.who,
            request.method,
            request.path,
            request.code,
            request.sentLength,
            request.request_id,
            seconds,
            context.operation,
            context.vfolder,
        )
        self.access_log.add(line)
        if self._endpoint_of is not None:
            words = request.error_code.split("_", 2)
            domain, operation, detail = words if len(words) == 3 else ("", "", "")
            self.gateway.metrics.request(
                method=method_label(request.method),
                endpoint=self._endpoint_of(request.path),
                status=request.code,
                seconds=seconds,
                domain=domain,
                operation=operation,
                error_detail=detail,
            )
        if request.delivers and request.code in (200, 206):
            self.gateway.metrics.sent(self.front_end, request.sentLength)

    def startFactory(self) -> None:
        """No access log of Twisted's: see :meth:`log`."""

    def stopFactory(self) -> None:
        """See :meth:`startFactory`."""
        self.access_log.flush()

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone: bodies stream over its channel only."""
        return [b"http/1.1"]

    # --- connections ---

    def forget(self, channel: StreamingChannel) -> None:
        """A connection has ended."""
        self.channels.discard(channel)
        if not self.channels and self._all_gone is not None:
            done, self._all_gone = self._all_gone, None
            done.callback(None)

    async def close_connections(self, grace: float | None = None) -> None:
        """Close idle connections now, others after their request, or by force after ``grace`` seconds."""
        for channel in list(self.channels):
            channel.end_soon()
        self.access_log.flush()
        if not self.channels:
            return
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        forced = self.reactor.callLater(self.grace if grace is None else grace, self._abort_all)
        try:
            await gone
        finally:
            self.access_log.flush()
            if forced.active():
                forced.cancel()

    def _abort_all(self) -> None:
        for channel in list(self.channels):
            channel.abort()


class Unready(Resource):
    """Answers while the gateway starts or stops."""

    isLeaf = True

    def render(self, request: StreamingRequest) -> int:
        """503 with ``Retry-After``."""
        fault = faults.NOT_READY
        detail = "the gateway is starting or stopping"
        body = {
            "type": fault.type,
            "title": fault.title,
            "status": fault.status,
            "error_code": fault.code,
            "msg": detail,
        }
        faults.answer_problem(request, fault.status, body)
        request.finish()
        return server.NOT_DONE_YET


class SiteListener(Listener):
    """Listens for a :class:`GatewaySite`, and closes its connections when it stops.

    :param certificate: with it TLS is spoken on every endpoint
    """

    def __init__(
        self, site: GatewaySite, endpoints: Any, certificate: ReloadingCertificate | None = None, **options: Any
    ) -> None:
        factory = site if certificate is None else speaking_tls(certificate, site)
        scheme = "http" if certificate is None else "https"
        super().__init__(site.front_end, endpoints, factory, site.reactor, scheme=scheme, **options)
        self._site = site
        self._certificate = certificate

    def startService(self) -> None:
        """Begin to accept. Raises ``ConfigurationError`` for a certificate that cannot be used."""
        if self._certificate is not None:
            self._certificate.load()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """Accept no more and let requests under way finish."""
        stopped = super().stopService()
        closing = Deferred.fromCoroutine(self._site.close_connections())
        return stopped.addCallback(lambda _: closing)
