"""PROPFIND of one thing on the fast lane, where its facts are all there is to tell.

Clients ask for the same of the same over and over. All that an answer is made of but the facts is found out once, and holds for as long as neither
who asks nor what is kept beside the files may have become another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import attrs

from vfgateway.errors import NotFound
from vfgateway.model import FileStat, FileType
from vfgateway.paths import FolderPath
from vfgateway.protocols.web.asked import Answer, lines_of, place_in
from vfgateway.protocols.web.asked import Asked as Request
from vfgateway.protocols.webdav.faults import XML
from vfgateway.protocols.webdav.live import FREE, USED, Described
from vfgateway.protocols.webdav.multistatus import CLOSING, OPENING
from vfgateway.protocols.webdav.places import href_of
from vfgateway.protocols.webdav.rendering import Asked, Rendering, asked_in_body
from vfgateway.services.properties import LOCKED, SET
from vfgateway.services.session import FolderSession

#: How answers to PROPFIND are to be kept by others.
NOT_KEPT: Final = (b"Cache-Control", b"no-store")

#: What the head of an answer says before the length of its body.
_LINES: Final = lines_of(((b"Content-Type", XML), NOT_KEPT, (b"Content-Length", b"")))
_FILE: Final = FileType.FILE


@attrs.define(eq=False)
class _Look:
    """What is known of one request.

    :ivar folder: the vfolder, as it was entered
    :ivar looks: of the database, when this was found out
    :ivar until: when it is out of date in any case, in epoch seconds
    :ivar stat: the facts, if they can be told without waiting
    :ivar element: the body about a file with these facts; ``None`` where they do not tell all that was asked for
    """

    folder: FolderSession
    looks: int
    until: float
    stat: Callable[[], FileStat | None]
    element: Callable[[FileStat], bytes] | None
    rendering: Rendering
    user: str


def answer_at_hand(request: Request, folder: FolderSession, path: FolderPath) -> Answer | None:
    """As :class:`vfgateway.protocols.web.asked.Route` has it."""
    known: _Look | None = request.known.told
    looks = folder.context.gateway.database.looks
    if known is None or known.folder is not folder or known.looks != looks or request.now >= known.until:
        known = request.known.told = _find(request, folder, path)
        if known is None:
            return None
    stat = known.stat()
    if stat is None:
        return None
    again = None
    if stat.type is _FILE and known.element is not None:
        body = known.element(stat)
        if request.known.repeated:
            again = _again(known, body, folder.reread_now(path, stat, None))
    else:  # of which more may bear on the answer than its facts
        body = OPENING + _whole(request, path, known.rendering, stat) + CLOSING
    return Answer(207, _LINES + b"%d" % len(body), body, known.user, again)


def _again(known: _Look, body: bytes, reread: Callable[[], object] | None) -> Callable[[], bytes | None] | None:
    """What gives ``body`` while all is as it is known, and ``reread`` finds the same facts."""
    if reread is None:
        return None
    gateway = known.folder.context.gateway
    database, clock = gateway.database, gateway.reactor

    def again() -> bytes | None:
        if known.looks != database.looks or clock.seconds() >= known.until:
            return None
        return None if reread() is None else body

    return again


def _find(request: Request, folder: FolderSession, path: FolderPath) -> _Look | None:
    """``None`` where more has to be told than facts, or they take time to be found."""
    if request.head.fields.get(b"depth") != b"0":
        return None
    asked = asked_in_body(request.body)
    gateway = folder.context.gateway
    standing = gateway.properties.any_at_hand(folder.vfolder)
    if standing is None or asked.wants(FREE, USED):
        return None
    any_properties, any_locks = standing
    if (any_properties and asked.wants_dead) or (any_locks and asked.wants_locks):
        return None
    stat = folder.stat_at_hand(path)
    if stat is None:
        return None
    rendering = _rendering(asked)
    element = rendering.whole_file(href_of(_place(request, path).parent, True), path.name, OPENING, CLOSING)
    database = gateway.database
    until = database.good_until(SET, LOCKED)
    return _Look(folder, database.looks, until, stat, element, rendering, folder.principal.name)


def _place(request: Request, path: FolderPath) -> FolderPath:
    """Below the list of vfolders."""
    return FolderPath((place_in(request.target)[0], *path.parts))


def _whole(request: Request, path: FolderPath, rendering: Rendering, stat: FileStat) -> bytes:
    """The element of what is no file, or of one of which more was asked than its facts tell."""
    place = _place(request, path)
    if not (stat.is_dir or stat.is_file):
        raise NotFound(place)
    described = Described(place.name, stat, place.parts[0], now=request.now)
    return rendering.response(href_of(place, stat.is_dir), described)


@lru_cache(maxsize=64)
def _rendering(asked: Asked) -> Rendering:
    return Rendering(asked)
