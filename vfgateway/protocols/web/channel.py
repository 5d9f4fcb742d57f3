# mypy: disallow-untyped-calls=False
"""One HTTP/1.1 connection whose requests begin when their headers are complete.

Twisted's channel collects a whole body, in a temporary file if it is large, before anybody may look at the request. This one
hands the request over at once and gives it the body as it comes. All use of Twisted's private names is in this module, and
``tests/protocols/web/test_request.py`` pins what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers

from vfgateway.interfaces import type_chunk
from vfgateway.protocols.web.forwarded import Caller, address_of
from vfgateway.protocols.web.receiving import Receiver, at_rest, has_ended, has_mail

if TYPE_CHECKING:
    from vfgateway.protocols.web.request import StreamingRequest
    from vfgateway.protocols.web.site import GatewaySite

#: Bytes of a request line and all headers together, and of a single line.
LARGEST_HEAD = 64 << 10
#: Characters of a Content-Length field.
LONGEST_LENGTH = 64
#: Bytes that the transport reads at once while a body comes in.
READ_SIZE = 256 << 10
#: Bytes still to come from which on a body is worth a :class:`Receiver`.
LARGE = 512 << 10
#: An unread rest of a body of at most so many bytes is read and dropped, to keep the connection; above it, the connection is closed.
DRAINED = 256 << 10
#: Bytes that a client may send ahead of an answer of the fast lane before it is kept from sending more.
MOST_AHEAD = 64 << 10
#: Seconds that a connection may be closed too early for being idle: to set its timer anew for each small request takes time, too.
IDLE_GRAIN = 0.1
#: Seconds for which a client that was refused may go on sending before the connection is cut.
LINGER = 5.0
#: Seconds for which who has connected and not asked anything yet is waited for when connections end: the request may be on its way.
FIRST_WORDS = 2.0


class StreamingChannel(http.HTTPChannel):
    """See above. Idle time counts only while we wait for the client: between requests, within a head, or for a body that a
    handler wants to read.

    :ivar site: the :class:`vfgateway.protocols.web.site.GatewaySite`
    :ivar plain_transport: the socket's own transport, if nothing (TLS, a PROXY header's parser) lies between
    :ivar far_end: what the fast lane (:mod:`vfgateway.protocols.web.lane`) found out about the other end
    """

    site: GatewaySite
    transport: Any
    plain_transport: Connection | None = None
    far_end: Caller | None = None
    _networkProducer: Any
    _transferDecoder: Any
    requests: list[StreamingRequest]
    totalHeadersSize = LARGEST_HEAD
    MAX_LENGTH = LARGEST_HEAD
    maxHeaders = 100

    _arriving: StreamingRequest | None = None  # whose body is coming in
    _drained: StreamingRequest | None = None  # the same, once it was answered
    _receiver: Receiver | None = None
    _held_back = False
    _lingering: IDelayedCall | None = None
    _idle: float | None = None
    _heard = 0.0  # epoch seconds; something, and the time that may be idle began anew
    _begun = b""  # a request for the fast lane of which not all has arrived
    _ahead: bytes | None = None  # what has come while the lane waits for its answer
    _asked = False  # whether there ever was a request
    _ending = False

    # --- the connection ---

    def connectionMade(self) -> None:
        self._idle = self.timeOut
        self.site.channels.add(self)
        if isinstance(self.transport, Connection) and not getattr(self.transport, "TLS", False):
            self.plain_transport = self.transport
        super().connectionMade()
        if isinstance(self.transport, HAProxyProtocolWrapper) and not self._proxy_is_trusted():
            self.abort()

    def _proxy_is_trusted(self) -> bool:
        """Whether who connected may say (PROXY protocol) on whose behalf."""
        inner: Any = self.transport.transport
        address = address_of(inner.getPeer())
        if self.site.proxies.trusts(address):
            return True
        self.site.log_events.warn("{address} is not among trusted_proxies: PROXY header refused", address=address)
        return False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.forget(self)
        self._remove_receiver()
        self._held_back = False
        if self._lingering is not None:
            if self._lingering.active():
                self._lingering.cancel()
            self._lingering = None
        super().connectionLost(reason)

    def abort(self) -> None:
        """Cut the connection, so that the client sees that its answer is not whole."""
        self.transport.abortConnection()

    def end_soon(self) -> None:
        """Close after the request that is being answered or is coming in, or now. Who has only just come is answered once, and so is a request that
        has arrived and was not looked at yet."""
        self._leave_the_lane()
        self._ending = True
        under_way = self.requests or self._ahead is not None
        if not under_way and (self._buffer or not self._asked or has_mail(self.transport)):
            self.setTimeout(FIRST_WORDS)
            return
        self.persistent = False
        if not under_way:
            self.loseConnection()

    def timeoutConnection(self) -> None:
        if self._begun:
            self._leave_the_lane()
        elif self._arriving is not None and self._drained is None and not self._arriving.finished:
            self._break_body()  # the handler answers
        else:
            super().timeoutConnection()

    # --- the head ---

    def dataReceived(self, data: bytes) -> None:
        if self._lingering is not None:
            return
        if self._ahead is not None:
            self._ahead += data
            if len(self._ahead) > MOST_AHEAD:
                self._networkProducer.pauseProducing()
            return
        if not self.requests and not self._buffer:  # a head has its time as a whole, however slowly it trickles in
            now = self.site.reactor.seconds()
            if not self._heard <= now < self._heard + IDLE_GRAIN:
                self._heard = now
                self.resetTimeout()
            if self._begun:
                data, self._begun = self._begun + data, b""
            lane = self.site.lane
            if (
                lane is not None
                and not (self._ending or self._waitingForTransport)
                and (self.line_mode and self.persistent)
            ):
                if lane.take(self, data):
                    self._asked = True
                    return
                if lane.waits_for_more(data):
                    self._begun = data
                    return
        super(http.HTTPChannel, self).dataReceived(data)

    def wait_for_lane(self) -> None:
        """The lane answers a little later."""
        self._ahead = b""
        self.setTimeout(None)

    def go_on(self, unanswered: bytes) -> None:
        """The lane has answered, unless there is something ``unanswered``: that goes the ordinary way, and what has come since follows."""
        ahead, self._ahead = self._ahead or b"", None
        if self not in self.site.channels:  # nobody is there any more
            return
        if len(ahead) > MOST_AHEAD:
            self._networkProducer.resumeProducing()
        self.setTimeout(self._idle)
        if unanswered:
            super(http.HTTPChannel, self).dataReceived(unanswered + ahead)
        elif not self.persistent:
            self.loseConnection()
        elif ahead:
            self.dataReceived(ahead)

    def _leave_the_lane(self) -> None:
        """Let what was begun go the ordinary way."""
        if self._begun:
            data, self._begun = self._begun, b""
            super(http.HTTPChannel, self).dataReceived(data)

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        self._asked = True
        self.persistent = self.checkPersistence(request, self._version)
        self.setTimeout(None)
        if self.length != 0:
            self._arriving = request
            plain = self.plain_transport
            if plain is not None:
                plain.bufferSize = READ_SIZE
        request.head_received(self._command, self._path, self._version, self.length)

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        fields = request.requestHeaders.getRawHeaders(b"Connection") or ()
        tokens = {token.strip() for field in fields for token in field.lower().split(b",")}
        return version == b"HTTP/1.1" and b"close" not in tokens and not self._ending

    def headerReceived(self, line: bytes) -> bool:
        begin = line[:15].lower()
        too_long = begin == b"content-length:" and len(line) > LONGEST_LENGTH  # Python would refuse to read the number
        second = begin.startswith(b"host:") and self.requests[-1].requestHeaders.hasHeader(b"host")
        if (
            too_long or second
        ):  # RFC 9112 section 3.2: two hosts are an attempt to be seen differently by different eyes
            self._respondToBadRequestAndDisconnect()
            return False
        return bool(super().headerReceived(line))

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(b"431 Request Header Fields Too Large" if self.requests else b"414 URI Too Long")

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse(b"431 Request Header Fields Too Large")
        else:
            self._refuse(b"400 Bad Request")

    def _refuse(self, status: bytes) -> None:
        """Answer what is no request; nobody else ever sees it."""
        self.requests.clear()
        self.clearLineBuffer()
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self._linger()

    # --- the body ---

    def rawDataReceived(self, data: bytes) -> None:
        if self._lingering is not None:
            return
        if self._handlingRequest:
            super().rawDataReceived(data)
            return
        self.resetTimeout()
        try:
            self._transferDecoder.dataReceived(data)
        except http._MalformedChunkedDataError:
            self._break_body()

    def allContentReceived(self) -> None:
        self._body_over()
        super().allContentReceived()
        if self._drained is not None:
            request, self._drained = self._drained, None
            self.requestDone(request)

    @property
    def has_ended(self) -> bool:
        """Whether the client sends no more (:class:`vfgateway.protocols.web.body.Flow`)."""
        return has_ended(self.transport)

    def want_body(self) -> None:
        """A reader waits (:class:`vfgateway.protocols.web.body.Flow`)."""
        if self._arriving is None:
            return
        self._arriving.send_continue()
        if self._receiver is None:
            self._receive_directly(self._arriving)
        self.setTimeout(self.site.body_timeout)

    def hold_body(self) -> None:
        """Enough is waiting."""
        if self._arriving is not None:
            self._held_back = True
            self.setTimeout(None)
            self._networkProducer.pauseProducing()

    def release_body(self) -> None:
        """There is room again."""
        if self._held_back:
            self._held_back = False
            if not self._waitingForTransport:
                self._networkProducer.resumeProducing()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self._held_back:
            self._networkProducer.pauseProducing()

    def _receive_directly(self, request: StreamingRequest) -> None:
        if self.line_mode or self._buffer:  # the head is being parsed; what follows it lies here, not in the socket
            return
        decoder = self._transferDecoder
        plain = self.plain_transport
        if plain is None or not isinstance(decoder, http._IdentityTransferDecoder) or decoder.contentLength < LARGE:
            return

        def took(count: int) -> None:
            decoder.contentLength -= count
            self.resetTimeout()

        self._receiver = Receiver(plain, request.body, decoder.contentLength, took)
        request.body.source = self._receiver

    def _remove_receiver(self) -> None:
        if self._receiver is not None:
            self._receiver.remove()
            self._receiver = None

    def _body_over(self) -> None:
        """All of the body is here, or no more of it will be taken."""
        self._arriving = None
        self._remove_receiver()
        self.setTimeout(None)
        plain = self.plain_transport
        if plain is not None:
            plain.__dict__.pop("bufferSize", None)
        self.release_body()

    def _break_body(self) -> None:
        """The rest of the body cannot be had."""
        request = self._arriving
        if request is None:
            return
        self.persistent = False
        self.setTimeout(None)
        if request.finished:
            self._drained = None
            self.requests.clear()
            self._linger()
        else:
            request.body.fail()

    # --- the answer ---

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        lines = [b"%b %b %b" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            lines.extend([b"%b: %b" % (name, value) for value in values])
        self.transport.write(b"\r\n".join((*lines, b"\r\n")))

    def send_now(self, head: bytes, body: type_chunk = b"") -> None:
        """Send an answer of the fast lane, what the socket takes of it at once."""
        plain = self.plain_transport
        if plain is None or not at_rest(plain):
            self.transport.write(head)
            if body:
                self.transport.write(bytes(body))
            return
        try:
            sent = plain.socket.sendmsg([head, body]) if body else plain.socket.send(head)
        except OSError:  # nothing goes now; the transport finds out why
            sent = 0
        if sent < len(head):
            plain.write(head[sent:])
            sent = len(head)
        if sent < len(head) + len(body):
            plain.write(bytes(body)[sent - len(head) :])

    def keeps_open(self, request: StreamingRequest) -> bool:
        """Whether the connection can stay open after ``request`` is answered as far as it has been read."""
        if not self.persistent:
            return False
        if self._arriving is not request:
            return True
        left = getattr(self._transferDecoder, "contentLength", None)
        held = self._receiver.held if self._receiver is not None else 0
        return not request.continue_pending and not request.body.failed and left is not None and left + held <= DRAINED

    def requestDone(self, request: StreamingRequest) -> None:
        if self._arriving is request:
            request.body.forget()
            if self.keeps_open(request):  # the answer said so too
                self._drained = request
                self._remove_receiver()
                self.release_body()
                self.setTimeout(LINGER)
            else:
                self._body_over()
                self.requests.remove(request)
                self._linger()
            return
        super().requestDone(request)
        if self.persistent and not self.requests:
            self.setTimeout(self._idle)
        self._push()

    def _push(self) -> None:
        """Send at once what the reactor would send in its next turn: while others move large files, a turn takes long."""
        plain = self.plain_transport
        if plain is not None and plain.connected and plain._tempDataBuffer and not plain.disconnecting:
            plain.doWrite()  # an error comes again in the next turn, and is dealt with there

    def _linger(self) -> None:
        """Close, but not before the client has had time to read the answer: closing on unread data would reset the connection,
        and the answer would be lost with it (RFC 9112 section 9.6)."""
        self._remove_receiver()
        self._arriving = None
        self.setTimeout(None)
        self._networkProducer.unregisterProducer()
        if self.plain_transport is not None:
            self.plain_transport.loseWriteConnection()
        self._lingering = self.callLater(LINGER, self._cut)
        self._held_back = False
        self._networkProducer.resumeProducing()

    def _cut(self) -> None:
        if self.plain_transport is not None:
            self.abort()
        else:
            self.transport.loseConnection()
