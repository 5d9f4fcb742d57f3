"""What a client asked to know, and each resource's answer to it: bytes from prepared pieces, with no tree of elements in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final
from xml.sax.saxutils import quoteattr

import attrs
from lxml import etree

from vfgateway.model import DirEntry, FileStat, FileType
from vfgateway.protocols.web.conditions import http_date
from vfgateway.protocols.webdav.documents import DAV, parse
from vfgateway.protocols.webdav.faults import Refused, status_line
from vfgateway.protocols.webdav.get import content_type
from vfgateway.protocols.webdav.live import LIVE, SUPPORTED, USUAL, Described, created, text_of
from vfgateway.protocols.webdav.places import is_plain, segment_of

_PROPSTAT: Final = b"<D:propstat><D:prop>%s</D:prop><D:status>%s</D:status></D:propstat>"
_RESPONSE: Final = b"<D:response><D:href>%s</D:href>%s</D:response>\n"
_END: Final = b"</D:prop>"
_OK, _MISSING = status_line(200), status_line(404)
_FILE: Final = FileType.FILE
#: Properties that one request may name.
MOST_NAMES: Final = 1000


@attrs.frozen
class Asked:
    """What was asked for.

    :ivar names: by name, in order; ``None`` for all that are usual (``allprop``)
    :ivar extra: named beside ``allprop`` (``include``)
    :ivar names_only: ``propname``
    """

    names: tuple[str, ...] | None = None
    extra: tuple[str, ...] = ()
    names_only: bool = False

    def wants(self, *names: str) -> bool:
        """Whether any of these, none of which is usual, was asked for."""
        return any(name in (self.names or ()) or name in self.extra for name in names)

    @property
    def wants_dead(self) -> bool:
        """Whether dead properties matter."""
        return self.names is None or any(name not in LIVE or name in SETTABLE for name in self.names)

    @property
    def wants_locks(self) -> bool:
        """Whether locks matter."""
        return not self.names_only and (self.names is None or "{DAV:}lockdiscovery" in self.names)


#: Live properties for which a client's own value counts, where it has set one.
SETTABLE: Final = frozenset({"{DAV:}displayname"})
ALL: Final = Asked()


@lru_cache(maxsize=64)
def asked_in(data: bytes) -> Asked:
    """The meaning of the body of a PROPFIND (section 9.1). Clients send the same few bodies over and over. Raises :class:`Refused`."""
    root = parse(data)
    if root.tag != DAV + "propfind":
        raise Refused(400, "expected DAV:propfind")
    return asked_by(root)


def asked_by(root: etree._Element) -> Asked:
    """What the children of an element ask for. Raises :class:`Refused`."""
    kinds = {str(child.tag): child for child in root}
    if DAV + "prop" in kinds:
        return Asked(_names(kinds[DAV + "prop"]))
    if DAV + "propname" in kinds:
        return Asked(names_only=True)
    if DAV + "allprop" in kinds:
        return Asked(extra=_names(kinds[DAV + "include"]) if DAV + "include" in kinds else ())
    raise Refused(400, "expected DAV:prop, DAV:propname or DAV:allprop")


def _names(element: etree._Element) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(str(child.tag) for child in element))
    if len(names) > MOST_NAMES:
        raise Refused(400, "too many properties are named")
    return names


@lru_cache(maxsize=4096)
def empty_element(name: str) -> bytes:
    """An element without content, by its name as lxml writes it."""
    namespace, _, local = name.removeprefix("{").rpartition("}")
    if namespace == "DAV:":
        return b"<D:%s/>" % local.encode("utf-8")
    if not namespace:
        return b'<%s xmlns=""/>' % local.encode("utf-8")
    return b"<x:%s xmlns:x=%s/>" % (local.encode("utf-8"), quoteattr(namespace).encode("utf-8"))


#: Properties of a file on which nothing but its facts bears: an element with a place in it, and the expression for what is put there, of
#: ``name``, its form ``text`` in XML, and ``stat``.
_OF_FILES: Final[Mapping[str, tuple[bytes, str]]] = {
    "{DAV:}creationdate": (b"<D:creationdate>%</D:creationdate>", "created(stat)"),
    "{DAV:}displayname": (b"<D:displayname>%</D:displayname>", "text"),
    "{DAV:}getcontentlength": (b"<D:getcontentlength>%</D:getcontentlength>", "b'%d' % stat.size"),
    "{DAV:}getcontenttype": (b"<D:getcontenttype>%</D:getcontenttype>", "content_type(name)"),
    "{DAV:}getetag": (b'<D:getetag>"%"</D:getetag>', "stat.identity.encode()"),
    "{DAV:}getlastmodified": (
        b"<D:getlastmodified>%</D:getlastmodified>",
        "http_date(stat.mtime_ns // 1_000_000_000)",
    ),
    "{DAV:}lockdiscovery": (b"<D:lockdiscovery/>", ""),
    "{DAV:}resourcetype": (b"<D:resourcetype/>", ""),
    "{DAV:}supportedlock": (SUPPORTED, ""),
}
_KNOWN: Final = {
    "created": created,
    "content_type": content_type,
    "flattened": chain.from_iterable,
    "http_date": http_date,
}

#: Makes the pieces of an element, to be joined with those of others: of the collection's path, the last segment, name, text and facts.
type_row = Callable[[bytes, bytes, str, bytes, FileStat], tuple[bytes, ...]]
#: Makes the elements of many, of the collection's path and of entries whose names are their own escaped forms.
type_rows = Callable[[bytes, Iterable[DirEntry]], bytes]


@lru_cache(maxsize=64)
def _row_of(names: tuple[str, ...], minimal: bool) -> tuple[type_row, type_rows] | None:
    """For files without locks and dead properties; ``None`` where something that was asked for is not known of them.

    One function is written for all that was asked, and one for many entries at once, since ten thousand each wait for it: a call for each
    property of each would take twice the time.
    """
    if any(name in LIVE and name not in _OF_FILES for name in names):
        return None
    # A null byte marks the places: XML has none.
    found = [_OF_FILES[name][0].replace(b"%", b"\0") for name in names if name in _OF_FILES]
    missing = [empty_element(name) for name in names if name not in _OF_FILES]
    whole = _RESPONSE % (b"\0", _propstats(found, missing, minimal))
    pieces = whole.split(b"\0")
    expressions = [_OF_FILES[name][1] for name in names if name in _OF_FILES]
    values = ["parent, segment", *filter(None, expressions)]
    known = {**_KNOWN, **{f"piece{at}": piece for at, piece in enumerate(pieces)}}
    row = "".join(f"piece{at}, {value}, " for at, value in enumerate([*values, "b''"]))
    one: type_row = eval(f"lambda parent, segment, name, text, stat: ({row})", known)  # noqa: S307 (all of it is ours)
    plain = row.replace("piece0, parent, segment", "start, (text := name.encode())", 1)
    rows = f"b''.join(flattened([({plain}) for name, stat in entries]))"
    many: type_rows = eval(f"lambda parent, entries: (start := piece0 + parent) and {rows}", known)  # noqa: S307
    return one, many


def _propstats(found: Sequence[bytes], missing: Sequence[bytes], minimal: bool) -> bytes:
    if not missing or minimal:
        return _PROPSTAT % (b"".join(found), _OK)
    absent = _PROPSTAT % (b"".join(missing), _MISSING)
    return _PROPSTAT % (b"".join(found), _OK) + absent if found else absent


class Rendering:
    """Makes the ``response`` elements of one answer.

    :param minimal: leave out what is not there (RFC 8144 section 2.1)
    """

    def __init__(self, asked: Asked, minimal: bool = False) -> None:
        self._asked = asked
        self._minimal = minimal
        names = asked.names if asked.names is not None else (*USUAL, *asked.extra)
        self._getters = [(name, LIVE.get(name)) for name in names]
        self._tolerant = len(USUAL) if asked.names is None else 0  # so many of them need not be there
        made = None if asked.names_only else _row_of(tuple(names), minimal)
        self._row: type_row | None = made[0] if made else None
        self._rows: type_rows | None = made[1] if made else None

    def file(
        self, parent: bytes, name: str, stat: FileStat, dead: Mapping[str, str] | None = None
    ) -> tuple[bytes, ...] | None:
        """The element of a file that has no lock, in pieces; ``parent`` is the path of its collection. ``None`` where :meth:`response` has to
        make it."""
        if self._row is None:
            return None
        if dead and (self._asked.names is not None or self._asked.extra or not SETTABLE.isdisjoint(dead)):
            return None
        if is_plain(name):
            segment = text = name.encode("ascii")
        else:
            segment, text = segment_of(name), text_of(name)
        row = self._row(parent, segment, name, text, stat)
        if not dead:
            return row
        return (b"".join(row).replace(_END, "".join(dead.values()).encode("utf-8") + _END, 1),)

    def plain_files(self, parent: bytes, entries: Sequence[DirEntry]) -> tuple[bytes, Sequence[DirEntry]]:
        """The elements of those among ``entries`` that are files with names that need no escaping, without locks and dead properties; and
        the others."""
        if self._rows is None:
            return b"", entries
        if all(stat.type is _FILE for _, stat in entries) and is_plain("".join([name for name, _ in entries])):
            return self._rows(parent, entries), ()
        mine: list[DirEntry] = []
        others: list[DirEntry] = []
        for entry in entries:
            if entry.stat.type is _FILE and is_plain(entry.name):
                mine.append(entry)
            else:
                others.append(entry)
        return self._rows(parent, mine), others

    def response(self, href: bytes, item: Described, dead: Mapping[str, str] | None = None) -> bytes:
        """One element."""
        if self._asked.names_only:
            return _RESPONSE % (href, self._all_names(item, dead or {}))
        found: list[bytes] = []
        missing: list[bytes] = []
        for at, (name, getter) in enumerate(self._getters):
            value = getter(item) if getter is not None else None
            if dead and name in dead and (getter is None or name in SETTABLE):
                value = dead[name].encode("utf-8")
            if value is not None:
                found.append(value)
            elif at >= self._tolerant:
                missing.append(empty_element(name))
        if dead and self._asked.names is None:
            known = LIVE.keys() | set(self._asked.extra)
            found.extend(value.encode("utf-8") for name, value in dead.items() if name not in known)
        return _RESPONSE % (href, _propstats(found, missing, self._minimal))

    def _all_names(self, item: Described, dead: Mapping[str, str]) -> bytes:
        present = [name for name, getter in LIVE.items() if getter(item) is not None]
        names = dict.fromkeys([*present, *dead])
        return _PROPSTAT % (b"".join(map(empty_element, names)), _OK)
