"""The fast lane: small requests that need no waiting are answered at once, without a request object and all that belongs to it.

A request is looked at here before anything else is done with it. If it is a single, complete, plain one, if its login was found good a
moment ago, and if its route finds the answer at hand, then the answer goes out in one piece. In all other cases, and whenever
anything is unusual or wrong, nothing has happened, and the same bytes go the ordinary way, where all meaning is: the lane answers
nothing that would not be answered so there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from twisted.web.http_headers import Headers

from vfgateway.errors import GatewayError, InvalidPath
from vfgateway.eventloop import together
from vfgateway.interfaces import type_chunk
from vfgateway.paths import LONGEST_NAME, ROOT, FolderPath, parse_url
from vfgateway.principals import Origin
from vfgateway.protocols.web.conditions import http_date
from vfgateway.protocols.web.forwarded import Caller
from vfgateway.protocols.web.login import credentials_of, is_private
from vfgateway.protocols.web.plainhead import Head, read_fields, read_head
from vfgateway.protocols.web.request import new_request_id
from vfgateway.services.session import FolderSession

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


@lru_cache(maxsize=4096)
def place_in(target: bytes, prefix: bytes = b"/") -> tuple[str, FolderPath]:
    """The name of a vfolder and the path in it that a plain ``target`` names below ``prefix``, which it begins with. ``""`` for no vfolder;
    ``InvalidPath`` where escapes hide what is not plain."""
    wanted = target[len(prefix) :].rstrip(b"/")
    if not wanted:
        return "", ROOT
    if len(wanted) <= LONGEST_NAME and b"%" not in wanted:  # then nothing is left to be looked for in a plain one
        name, *parts = wanted.decode("ascii").split("/")
        return name, FolderPath(tuple(parts))
    path = parse_url(wanted)
    if len(path.parts) != wanted.count(b"/") + 1:  # a segment that is a dot
        raise InvalidPath(path)
    return path.parts[0], FolderPath(path.parts[1:])


@attrs.define(eq=False)
class Known:
    """What a request says: the same object for all that are the same to the byte, if such requests are remembered.

    :ivar target: its path
    :ivar told: what its route remembers of what was answered
    """

    method: bytes
    target: bytes
    head: Head
    told: Any = None


class Asked:
    """One request on the lane.

    :param data: all of it
    :ivar known: what it says; ``method``, ``target`` and ``head`` are from there
    :ivar caller: as of a request without any field of a proxy's
    :ivar now: epoch seconds
    :ivar folder: what was entered
    """

    __slots__ = (
        "_data",
        "_lane",
        "body",
        "caller",
        "folder",
        "head",
        "known",
        "method",
        "now",
        "request_id",
        "target",
    )

    def __init__(self, lane: Lane, channel: StreamingChannel, known: Known, data: bytes) -> None:
        self._lane = lane
        self.caller: Caller = channel.far_end or lane.caller(channel)
        self.known = known
        self.method, self.target = known.method, known.target
        self.head = head = known.head
        self._data = data
        self.body = data[len(data) - head.length :] if head.length else b""
        self.folder: FolderSession | None = None
        self.now: float = lane.clock.seconds()
        self.request_id = new_request_id()

    @property
    def external_base(self) -> str:
        """As of a :class:`vfgateway.protocols.web.request.StreamingRequest`."""
        host = self.head.fields[b"host"].decode("ascii")
        return self._lane.site.public_url or f"{self.caller.scheme}://{host}"

    def enter(self, name: str, guarded: bool = False) -> FolderSession | None:
        """The hands in a vfolder, by the name that whoever asks sees; ``None`` if that is not known now. ``guarded`` as for ``log_in``."""
        if guarded and not is_private(self.caller):
            return None
        entrances, ticket = self._lane.entrances, self.head.ticket
        login = entrances.known(ticket, self.caller.address)
        folder = None if login is None else login.folders.get(name)
        self.folder = folder or entrances.enter(ticket, name, self._credentials, self._origin)
        return self.folder

    def enter_again(
        self, name: str, serve: Callable[[FolderSession], type_served], guarded: bool = False
    ) -> Deferred[Answer | None] | None:
        """What to ``serve`` once the vfolder that :meth:`enter` did not enter at once is entered; ``None`` if nobody has logged in so before."""
        if guarded and not is_private(self.caller):
            return None

        def entered(folder: FolderSession | None) -> type_served:
            self.folder = folder
            return None if folder is None else serve(folder)

        entering = self._lane.entrances.enter_again(self.head.ticket, name, self._credentials, self._origin)
        return None if entering is None else entering.addCallback(entered)

    def _credentials(self) -> Any:
        lines = self._data[: self._data.find(b"\r\n\r\n")].partition(b"\r\n")[2]
        fields = read_fields(lines) or {}
        return credentials_of(fields.get(b"authorization", b""))

    @property
    def _origin(self) -> Origin:
        return Origin(self._lane.site.front_end, self.caller.address, self.request_id)


@attrs.define(eq=False)
class Answer:
    """An answer.

    :ivar lines: all fields but those that every answer has, as :func:`lines_of` writes them
    :ivar user: who asked, for the log
    """

    status: int
    lines: bytes
    body: type_chunk = b""
    user: str = ""


def lines_of(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields as they are sent, each with the end of the line before it."""
    return b"".join([b"\r\n%b: %b" % field for field in fields])


type_served = Answer | None | Deferred[Answer | None]
type_serve = Callable[[Asked], type_served]


@attrs.frozen
class Route:
    """What answers one method.

    :ivar serve: the answer, or ``None`` if it is not at hand; then nothing may have happened. What it raises of the family of errors is
        taken for that, too. Where the storage has to be waited for, a Deferred of that
    :ivar fields: those that it understands, beside :data:`vfgateway.protocols.web.plainhead.PLAIN_FIELDS`
    :ivar body: whether requests have a body, which clients often send after the head
    """

    serve: type_serve
    fields: frozenset[bytes] = frozenset()
    body: bool = False


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
        route = self._routes.get(data[: data.find(b" ", 0, 16)])
        if route is None or not self.site.gateway.running:
            return False
        known = self._read(route, data) if route.body else self._recall(route, data)
        if known is None:
            return False
        asked = Asked(self, channel, known, data)
        try:
            answered = route.serve(asked)
        except GatewayError:
            return False
        if type(answered) is Answer:  # as nearly always
            self._answer(partial(together, self.clock, channel.send_now), asked, answered)
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
                self._answer(channel.send_now, asked, answered)
            channel.go_on(b"" if answered is not None else data)

        def failed(failure: Failure) -> None:
            if not failure.check(GatewayError):
                self.log.failure("request {request_id} failed on the lane", failure, request_id=asked.request_id)
            channel.go_on(data)

        coming.addCallbacks(answer, failed)
        coming.addErrback(lambda failure: self.log.failure("an answer could not be sent", failure))

    def _recall(self, route: Route, data: bytes) -> Known | None:
        """As :meth:`_read`, which needs not look at what it has seen before, to the byte."""
        if len(data) > LARGEST_HEAD:
            return self._read(route, data)
        ticket = self.entrances.ticket(data)
        known = self._known.get(ticket)
        if known is None:
            known = self._read(route, data)
            if known is not None:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[ticket] = known
        return known

    def _read(self, route: Route, data: bytes) -> Known | None:
        """The one request that ``data`` is; ``None`` if it is anything else, or unusual."""
        end = data.find(b"\r\n\r\n", 0, LARGEST_HEAD)
        first = data.find(b"\r\n", 0, end)
        if first < 0:
            return None
        words = data[:first].split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or not _PLAIN_PATH.fullmatch(words[1]):
            return None
        head = self._head(data[first + 2 : end])
        if head is None or len(data) != end + 4 + head.length or not head.special <= route.fields:
            return None
        return Known(words[0], words[1], head)

    def waits_for_more(self, data: bytes) -> bool:
        """Whether ``data`` is the beginning of a request that could be answered if all of it were there, but for a part of its body."""
        route = self._routes.get(data[: data.find(b" ")])
        if route is None or not route.body:
            return False
        end = data.find(b"\r\n\r\n", 0, LARGEST_HEAD)
        first = data.find(b"\r\n", 0, end)
        head = self._head(data[first + 2 : end]) if 0 <= first < end else None
        return head is not None and head.special <= route.fields and len(data) < end + 4 + head.length

    def _answer(self, send: Callable[[bytes, type_chunk], object], asked: Asked, answered: Answer) -> None:
        """Send it in one or two parts, and then tell the log: who waits need not wait for that."""
        status, body, now, name = answered.status, answered.body, asked.now, asked.request_id
        start = self._starts.get(status) if now < self._starts_until else None
        start = start or self._start(status, now)
        size = len(body)
        if size <= COPIED:
            send(b"".join((start, name.encode("ascii"), answered.lines, b"\r\n\r\n", body)), b"")
        else:
            send(b"%b%b%b\r\n\r\n" % (start, name.encode("ascii"), answered.lines), body)
        seconds = self.clock.seconds() - now
        if seconds < 0.0:
            seconds = 0.0
        vfolder = None if asked.folder is None else asked.folder.context.vfolder
        method, target, site = asked.method, asked.target, self.site
        site.access_log.add(
            asked.caller.address, answered.user, method, target, status, size, name, seconds, "", vfolder
        )
        site.tally.add(method, target, status, seconds, size)

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
