"""What is asked on the fast lane (:mod:`vfgateway.protocols.web.lane`), what is answered there, and what is kept of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred

from vfgateway.errors import InvalidPath
from vfgateway.interfaces import type_chunk
from vfgateway.paths import LONGEST_NAME, ROOT, FolderPath, parse_url
from vfgateway.principals import Origin
from vfgateway.protocols.web.forwarded import Caller
from vfgateway.protocols.web.login import credentials_of, is_private
from vfgateway.protocols.web.plainhead import Head, read_fields
from vfgateway.protocols.web.request import new_request_id
from vfgateway.services.context import FolderContext
from vfgateway.services.session import FolderSession

if TYPE_CHECKING:
    from vfgateway.protocols.web.channel import StreamingChannel
    from vfgateway.protocols.web.lane import Lane


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

    :ivar route: what answers it
    :ivar target: its path
    :ivar repeated: whether it came before: for most that come once, it would be in vain to keep anything
    :ivar told: what its route remembers of what was answered
    :ivar again: what answers it again, if that needs nothing of the route
    """

    route: Route
    method: bytes
    target: bytes
    head: Head
    repeated: bool = False
    told: Any = None
    again: Again | None = None


class Asked:
    """One request on the lane.

    :param data: all of it
    :ivar known: what it says; ``method``, ``target`` and ``head`` are from there
    :ivar caller: as of a request without any field of a proxy's
    :ivar now: epoch seconds
    :ivar folder: what was entered, and ``name`` by which the one who asks sees it
    :ivar guarded: whether it was entered as ``guarded``
    """

    __slots__ = (
        "_data",
        "_lane",
        "caller",
        "folder",
        "guarded",
        "head",
        "known",
        "method",
        "name",
        "now",
        "request_id",
        "target",
    )

    def __init__(self, lane: Lane, channel: StreamingChannel, known: Known, data: bytes) -> None:
        self._lane = lane
        self._data = data
        self.caller: Caller = channel.far_end or lane.caller(channel)
        self.known = known
        self.method, self.target, self.head = known.method, known.target, known.head
        self.folder: FolderSession | None = None
        self.name, self.guarded = "", False
        self.now: float = lane.clock.seconds()
        self.request_id = new_request_id()

    @property
    def body(self) -> bytes:
        """All of its body."""
        length = self.head.length
        return self._data[len(self._data) - length :] if length else b""

    @property
    def external_base(self) -> str:
        """As of a :class:`vfgateway.protocols.web.request.StreamingRequest`."""
        host = self.head.fields[b"host"].decode("ascii")
        return self._lane.site.public_url or f"{self.caller.scheme}://{host}"

    def enter(self, name: str, guarded: bool = False) -> FolderSession | None:
        """The hands in a vfolder, by the name that whoever asks sees; ``None`` if that is not known now. ``guarded`` as for ``log_in``."""
        self.name, self.guarded = name, guarded
        if guarded and not is_private(self.caller):
            return None
        entrances, ticket = self._lane.entrances, self.head.ticket
        login = entrances.known(ticket, self.caller.address)
        folder = None if login is None else login.folders.get(name)
        self.folder = folder or entrances.enter(ticket, name, self._credentials, self._origin)
        return self.folder

    def once_more(self, again: Again) -> type_chunk | None:
        """The body of what was answered before to the same request, if that is right again."""
        if again.guarded and not is_private(self.caller):
            return None
        login = self._lane.entrances.known(self.head.ticket, self.caller.address)
        self.folder = None if login is None else login.folders.get(again.name)
        if self.folder is None or self.folder.context is not again.context:
            return None
        return again.body()

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
    :ivar again: the body of the same answer to the same request, by whoever has entered the same vfolder with the same rights; ``None`` once it
        has to be made anew. Such requests do not come to the route. To be given where the request is ``repeated``
    """

    status: int
    lines: bytes
    body: type_chunk = b""
    user: str = ""
    again: Callable[[], type_chunk | None] | None = None


@attrs.frozen(eq=False)
class Again:
    """What answers a request over again.

    :ivar context: what has to be entered for that, by that ``name``, and ``guarded`` as it was
    :ivar body: as of :class:`Answer`, and so are the others
    """

    context: FolderContext
    name: str
    guarded: bool
    status: int
    lines: bytes
    user: str
    body: Callable[[], type_chunk | None]


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
