# mypy: disallow-untyped-calls=False
"""The request object of all HTTP front ends."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from twisted.python.failure import Failure
from twisted.web import http, server

from vfgateway.principals import Origin
from vfgateway.protocols.web import faults
from vfgateway.protocols.web.body import BodyStream
from vfgateway.protocols.web.forwarded import Caller
from vfgateway.requestcontext import RequestContext

if TYPE_CHECKING:
    from vfgateway.protocols.web.channel import StreamingChannel
    from vfgateway.protocols.web.site import GatewaySite

#: Methods that change nothing, so that work on them ends when nobody waits for it.
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PROPFIND", b"REPORT", b"SEARCH", b"TRACE"})


#: Names requests; need only be unlike all others.
_names = random.Random(secrets.randbits(128))  # noqa: S311


def new_request_id() -> str:
    """A name for a request, told to the client and to whoever reads the log."""
    return f"{_names.getrandbits(64):016x}"


class StreamingRequest(server.Request):
    """A request that begins when its headers are complete; its :attr:`body` comes in while it is handled.

    When the client leaves, a handler of a safe method, or one that has begun to answer, is cancelled (through ``notifyFinish``, to
    which Klein and :func:`vfgateway.protocols.web.handling.handle` listen). Any other is not: it meets ``IncompleteBody`` when it
    reads on, and may finish what it can; its answer goes nowhere.

    A handler that answers with the body unread costs the client nothing: where it waits for ``100 Continue`` it never sends the
    body, and otherwise the connection is closed once the answer has been read, unless the rest is small.

    :ivar body: what the client sends
    :ivar request_id: told to the client in ``X-Request-ID``, and to whoever reads the log
    :ivar principal_name: that of whoever logged in, for the log
    :ivar context: goes along with all that is done for it
    :ivar error_code: of the problem that was answered, if it was one
    :ivar delivers: the answer is the content of a file
    :ivar before_head: called with the request just before the head of the answer is written
    :ivar continue_pending: the client waits to be told to send the body
    """

    channel: StreamingChannel | None  # type: ignore[assignment]
    site: GatewaySite
    defaultContentType = None

    def __init__(self, channel: StreamingChannel, queued: object = False) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self.site = channel.site
        self.body = BodyStream(channel, 0)
        self.request_id = new_request_id()
        self.principal_name = ""
        self.context = RequestContext()
        self.error_code = ""
        self.delivers = False
        self._began: float = channel.site.reactor.seconds()
        self.before_head: list[Callable[[StreamingRequest], None]] = []
        self.continue_pending = False
        self._begun = False
        self._caller: Caller | None = None
        self._origin: Origin | None = None

    # --- called by the channel ---

    def head_received(self, command: bytes, uri: bytes, version: bytes, length: int | None) -> None:
        """The head is complete. A request without a body is begun by :meth:`requestReceived`, when the channel is ready for the
        next one."""
        self.method, self.uri, self.clientproto = command, self._origin_form(uri), version
        self.path, _, query = self.uri.partition(b"?")
        self.args = http.parse_qs(query, True) if query else {}
        if length == 0:
            return
        self.body = BodyStream(self.channel, length) if self.channel is not None else self.body
        expectation = (self.getHeader(b"expect") or b"").strip().lower()
        self.continue_pending = expectation == b"100-continue" and version == b"HTTP/1.1"
        self._begun = True
        if expectation and not self.continue_pending and version == b"HTTP/1.1":
            self.site.prepare(self)
            self.site.fail(self, faults.ExpectationFailed("only 100-continue can be expected"))
            self.finish()
        else:
            self.process()

    def _origin_form(self, uri: bytes) -> bytes:
        """A server must accept the absolute form too, and believe it more than ``Host`` (RFC 9112 section 3.2.2)."""
        scheme, separator, rest = uri.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            return uri
        authority, slash, path = rest.partition(b"/")
        self.requestHeaders.setRawHeaders(b"host", [authority])
        return slash + path or b"/"

    def handleContentChunk(self, data: bytes) -> None:
        self.continue_pending = False
        if not self.finished and data:
            self.body.put(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.body.end()
        if not self._begun:
            self._begun = True
            self.process()

    def connectionLost(self, reason: Failure) -> None:
        self._disconnected = True
        if self.startedWriting or self.method in SAFE_METHODS:
            super().connectionLost(reason)
        self.channel = None
        self.body.fail()

    def send_continue(self) -> None:
        """Tell a client that waits for it to send the body."""
        if self.continue_pending and not self.startedWriting and self.channel is not None:
            self.continue_pending = False
            self.channel.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_interim(self, status: int, reason: str, fields: Mapping[str, str]) -> None:
        """Send an interim answer (RFC 9110 section 15.2), which more will follow. HTTP/1.0 does not know them, and gets none."""
        if self.clientproto == b"HTTP/1.1" and not self.startedWriting and self.channel is not None:
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            self.channel.transport.write(f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode("latin-1"))

    @property
    def seconds(self) -> float:
        """Since its head was complete."""
        return max(0.0, self.site.reactor.seconds() - self._began)

    # --- who asks ---

    @property
    def caller(self) -> Caller:
        """Where the request came from, and under which name we were asked, behind trusted proxies."""
        if self._caller is None:
            self._caller = self.site.proxies.resolve(self.client, self.isSecure(), self.requestHeaders)
        return self._caller

    @property
    def origin(self) -> Origin:
        """For sessions, logs and events."""
        if self._origin is None:
            self._origin = Origin(self.site.front_end, self.caller.address, self.request_id)
        return self._origin

    @property
    def external_base(self) -> str:
        """``scheme://host[:port]`` as the caller knows us; without a usable ``Host`` that of the socket."""
        if self.site.public_url:
            return self.site.public_url
        caller = self.caller
        host = caller.host
        if not host:
            address = self.getHost()
            name = getattr(address, "host", "localhost")
            host = f"[{name}]" if ":" in name else name
            host += f":{address.port}" if hasattr(address, "port") else ""
        return f"{caller.scheme}://{host}"

    # --- the answer ---

    def process(self) -> None:
        self.site.prepare(self)
        operation = self.method.decode("ascii", "backslashreplace")
        self.context = RequestContext(
            self.origin, operation=operation, target=unquote(self.path, errors="surrogateescape")
        )
        self.context.run(super().process)

    def processingFailed(self, reason: Failure) -> Failure:
        """Something went wrong outside any handler."""
        self.site.fail(self, faults.reason_of(reason))
        self.finish()
        return reason

    def write(self, data: bytes) -> None:
        if not self.startedWriting and not self._disconnected and self.channel is not None:
            for prepare in self.before_head:
                prepare(self)
            self.responseHeaders.setRawHeaders(b"server", [b"vfgateway"])
            if not self.channel.keeps_open(self):
                self.channel.persistent = False
                self.responseHeaders.setRawHeaders(b"connection", [b"close"])
        super().write(data)

    def finish(self) -> None:
        if not self._disconnected:
            super().finish()
        elif not self.finished:
            self.finished = 1
            waiting, self.notifications = self.notifications, []
            for notification in waiting:
                notification.callback(None)

    def abort(self) -> None:
        """Cut the connection: the answer that was begun cannot be completed, and the client must notice."""
        self.chunked = 0  # no closing chunk, which would make it look whole
        if self.channel is not None:
            self.channel.abort()

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        return bool(self._disconnected)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.channel is None:
            producer.stopProducing()
        else:
            super().registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        if self.channel is None:
            self.producer = None
        else:
            super().unregisterProducer()
