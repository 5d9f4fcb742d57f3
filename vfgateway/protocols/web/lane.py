"""The fast lane: small requests that need no waiting are answered at once, without a request object and all that belongs to it.

A request is looked at here before anything else is done with it. If it is a single, complete, plain one, if its login was found good a
moment ago, and if its route finds the answer at hand, then the answer goes out in one piece. In all other cases, and whenever
anything is unusual or wrong, nothing has happened, and the same bytes go the ordinary way, where all meaning is: the lane answers
nothing that would not be answered so there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from twisted.web.http_headers import Headers

from vfgateway.errors import GatewayError
from vfgateway.eventloop import together
from vfgateway.interfaces import type_chunk
from vfgateway.protocols.web.asked import Again, Answer, Asked, Known, Route
from vfgateway.protocols.web.conditions import http_date
from vfgateway.protocols.web.forwarded import Caller
from vfgateway.protocols.web.plainhead import Head, read_head

if TYPE_CHECKING:
    from vfgateway.protocols.web.channel import StreamingChannel
    from vfgateway.protocols.web.site import GatewaySite

#: Bytes of the largest head that is looked at.
LARGEST_HEAD: Final = 4 << 10
#: Bytes of a body that is rather copied behind its head than sent as a second part.
COPIED: Final = 8 << 10
#: Heads that are remembered, and whole requests.
MOST_HEADS: Final = 4096
MOST_KNOWN: Final = 8192

#: A path that names one thing: no query, no empty or dotted segments. What escapes stand for is seen by :func:`place_in`.
_PLAIN_PATH: Final = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))(?:[A-Za-z0-9._~!$()*,=@+-]|%[0-9A-Fa-f]{2})+)+/?")


class Lane:
    """The lane of one site.

    :param routes: by method
    """

    log = Logger()

    def __init__(self, site: GatewaySite, routes: Mapping[bytes, Route]) -> None:
        self.site = site
        self.entrances = site.entrances
        self.clock = site.reactor
        self._routes = routes
        self._heads: dict[bytes, Head | None] = {}
        self._known: dict[bytes, Known] = {}
        self._starts: dict[int, bytes] = {}
        self._starts_until = 0.0

    def take(self, channel: StreamingChannel, data: bytes) -> bool:
        """Answer what is in ``data``, if it is one request that can be; whether it was answered."""
        if not self.site.gateway.running:
            return False
        ticket = self.entrances.ticket(data) if len(data) <= LARGEST_HEAD else b""
        known = self._known.get(ticket) or self._read(ticket, data)
        if known is None:
            return False
        asked = Asked(self, channel, known, data)
        again = known.again
        if again is not None:
            body = asked.once_more(again)
            if body is not None:
                self._answer(channel, asked, again, body)
                return True
            known.again = None
        try:
            answered = known.route.serve(asked)
        except GatewayError:
            return False
        if type(answered) is Answer:  # as nearly always
            self._answer(channel, asked, answered, answered.body)
            known.repeated = True
            if answered.again is not None and asked.folder is not None:
                terms = (asked.folder.context, asked.name, asked.guarded)
                known.again = Again(*terms, answered.status, answered.lines, answered.user, answered.again)
            return True
        if isinstance(answered, Deferred):
            self._answer_later(channel, asked, data, answered)
            return True
        return False

    def _answer_later(
        self, channel: StreamingChannel, asked: Asked, data: bytes, coming: Deferred[Answer | None]
    ) -> None:
        """What comes on the connection waits; and what could not be answered goes the ordinary way after all."""
        channel.wait_for_lane()

        def answer(answered: Answer | None) -> None:
            if answered is not None:
                self._answer(channel, asked, answered, answered.body, late=True)
            channel.go_on(b"" if answered is not None else data)

        def failed(failure: Failure) -> None:
            if not failure.check(GatewayError):
                self.log.failure("request {request_id} failed on the lane", failure, request_id=asked.request_id)
            channel.go_on(data)

        coming.addCallbacks(answer, failed)
        coming.addErrback(lambda failure: self.log.failure("an answer could not be sent", failure))

    def _read(self, ticket: bytes, data: bytes) -> Known | None:
        """The one request that ``data`` is, known by its ``ticket`` from now on, if it has one; ``None`` if it is anything else, or unusual."""
        route = self._routes.get(data[: data.find(b" ", 0, 16)])
        end = data.find(b"\r\n\r\n", 0, LARGEST_HEAD)
        first = data.find(b"\r\n", 0, end)
        if route is None or first < 0:
            return None
        words = data[:first].split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or not _PLAIN_PATH.fullmatch(words[1]):
            return None
        head = self._head(data[first + 2 : end])
        if head is None or len(data) != end + 4 + head.length or not head.special <= route.fields:
            return None
        known = Known(route, words[0], words[1], head)
        if ticket and not route.body:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[ticket] = known
        return known

    def waits_for_more(self, data: bytes) -> bool:
        """Whether ``data`` is the beginning of a request that could be answered if all of it were there, but for a part of its body."""
        route = self._routes.get(data[: data.find(b" ")])
        if route is None or not route.body:
            return False
        end = data.find(b"\r\n\r\n", 0, LARGEST_HEAD)
        first = data.find(b"\r\n", 0, end)
        head = self._head(data[first + 2 : end]) if 0 <= first < end else None
        return head is not None and head.special <= route.fields and len(data) < end + 4 + head.length

    def _answer(
        self, channel: StreamingChannel, asked: Asked, answered: Answer | Again, body: type_chunk, late: bool = False
    ) -> None:
        """Send it in one or two parts, and then tell the log: who waits need not wait for that. What comes ``late`` is sent at once."""
        status, now, name = answered.status, asked.now, asked.request_id
        start = self._starts.get(status) if now < self._starts_until else None
        start = start or self._start(status, now)
        size = len(body)
        head, rest = b"%b%b%b\r\n\r\n" % (start, name.encode("ascii"), answered.lines), body
        if size <= COPIED:
            head, rest = head + body, b""
        if late:
            channel.send_now(head, rest)
        else:
            together(self.clock, channel.send_now, head, rest)
        seconds = self.clock.seconds() - now
        if seconds < 0.0:
            seconds = 0.0
        vfolder = None if asked.folder is None else asked.folder.context.vfolder
        line = (
            asked.caller.address,
            answered.user,
            asked.method,
            asked.target,
            status,
            size,
            name,
            seconds,
            "",
            vfolder,
        )
        self.site.access_log.add(line)
        self.site.tally.add(line)

    def _start(self, status: int, now: float) -> bytes:
        """What every answer with that status begins with; made once a second."""
        if now >= self._starts_until:
            self._starts.clear()
            self._starts_until = int(now) + 1
        start = self._starts.get(status)
        if start is None:
            words = (status, RESPONSES[status], http_date(int(now)))
            start = b"HTTP/1.1 %d %b\r\nServer: vfgateway\r\nDate: %b\r\nX-Request-Id: " % words
            self._starts[status] = start
        return start

    def caller(self, channel: StreamingChannel) -> Caller:
        """Who is at the other end of a connection, if no field of a proxy's says otherwise; ``host`` is left out."""
        known = channel.far_end
        if known is None:
            secure = ISSLTransport(channel.transport, None) is not None
            known = channel.far_end = self.site.proxies.resolve(channel.transport.getPeer(), secure, Headers())
        return known

    def _head(self, text: bytes) -> Head | None:
        """What the lines of a head say; ``None`` if they are unusual. Clients send the same over and over."""
        known = self.entrances.ticket(text)
        try:
            return self._heads[known]
        except KeyError:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            head = self._heads[known] = read_head(text, self.entrances.ticket)
            return head
