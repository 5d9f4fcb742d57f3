"""What a client asked to know, and each resource's answer to it: bytes from prepared pieces, with no tree of elements in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from stat import ST_CTIME, ST_INO, ST_MTIME, ST_SIZE
from typing import Any, Final, TypeVar
from xml.sax.saxutils import quoteattr

import attrs
from lxml import etree

from vfgateway.model import FileStat
from vfgateway.posix import IDENTITY, type_file
from vfgateway.protocols.web.conditions import http_date
from vfgateway.protocols.webdav.documents import DAV, parse, trimmed
from vfgateway.protocols.webdav.faults import Refused, status_line
from vfgateway.protocols.webdav.get import content_type
from vfgateway.protocols.webdav.live import LIVE, SUPPORTED, USUAL, Described, iso_date, text_of
from vfgateway.protocols.webdav.places import is_plain, segment_of

_PROPSTAT: Final = b"<D:propstat><D:prop>%s</D:prop><D:status>%s</D:status></D:propstat>"
_RESPONSE: Final = b"<D:response><D:href>%s</D:href>%s</D:response>\n"
_END: Final = b"</D:prop>"
_OK, _MISSING = status_line(200), status_line(404)
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


def asked_in_body(body: bytes) -> Asked:
    """As :func:`asked_in`; all, where there is no document."""
    data = trimmed(body)
    return asked_in(data) if data else ALL


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
#: ``name``, its form ``text`` in XML, and the facts.
_OF_FILES: Final[Mapping[str, tuple[bytes, str]]] = {
    "{DAV:}creationdate": (
        b"<D:creationdate>%</D:creationdate>",
        "iso_date({changed} if {changed} < {modified} else {modified})",
    ),
    "{DAV:}displayname": (b"<D:displayname>%</D:displayname>", "text"),
    "{DAV:}getcontentlength": (b"<D:getcontentlength>%</D:getcontentlength>", "b'%d' % {size}"),
    "{DAV:}getcontenttype": (b"<D:getcontenttype>%</D:getcontenttype>", "content_type(name)"),
    "{DAV:}getetag": (b'<D:getetag>"%"</D:getetag>', "{identity}"),
    "{DAV:}getlastmodified": (b"<D:getlastmodified>%</D:getlastmodified>", "http_date({modified})"),
    "{DAV:}lockdiscovery": (b"<D:lockdiscovery/>", ""),
    "{DAV:}resourcetype": (b"<D:resourcetype/>", ""),
    "{DAV:}supportedlock": (SUPPORTED, ""),
}
#: Where the facts are in a ``FileStat``, times in seconds, and in what the kernel says (its members by number are found in half the time).
_TOLD: Final = {
    "size": "stat.size",
    "modified": "stat.mtime_ns // SECOND",
    "changed": "stat.ctime_ns // SECOND",
    "identity": "stat.identity.encode()",
}
_TOLD_BY_KERNEL: Final = {
    "size": f"stat[{ST_SIZE}]",
    "modified": f"stat[{ST_MTIME}]",
    "changed": f"stat[{ST_CTIME}]",
    "identity": f"IDENTITY % (stat[{ST_INO}], stat.st_ctime_ns, stat[{ST_SIZE}])",
}
_KNOWN: Final = {
    "IDENTITY": IDENTITY.encode("ascii"),
    "SECOND": 1_000_000_000,
    "content_type": content_type,
    "flattened": chain.from_iterable,
    "http_date": http_date,
    "iso_date": iso_date,
}

type_told = TypeVar("type_told", FileStat, os.stat_result)
#: Makes the pieces of an element, to be joined with those of others: of the collection's path, the last segment, name, text and facts.
type_row = Callable[[bytes, bytes, str, bytes, type_told], tuple[bytes, ...]]


@attrs.frozen
class _Rows:
    """What makes the elements of files without locks and dead properties.

    :ivar one: of what is known of a file
    :ivar one_posix: of what the kernel says of it
    :ivar many_posix: of many, of the collection's path and of files whose names are their own escaped forms
    """

    one: type_row[FileStat]
    one_posix: type_row[os.stat_result]
    many_posix: Callable[[bytes, Iterable[type_file]], bytes]


@lru_cache(maxsize=64)
def _rows_of(names: tuple[str, ...], minimal: bool) -> _Rows | None:
    """``None`` where something that was asked for is not known of files by their facts.

    One function is written for all that was asked, and one for many entries at once, since ten thousand each wait for it: a call for each
    property of each would take twice the time.
    """
    if any(name in LIVE and name not in _OF_FILES for name in names):
        return None
    # A null byte marks the places: XML has none.
    found = [_OF_FILES[name][0].replace(b"%", b"\0") for name in names if name in _OF_FILES]
    missing = [empty_element(name) for name in names if name not in _OF_FILES]
    pieces = (_RESPONSE % (b"\0", _propstats(found, missing, minimal))).split(b"\0")
    expressions = [_OF_FILES[name][1] for name in names if name in _OF_FILES]
    values = ["parent, segment", *filter(None, expressions), "b''"]
    row = "".join(f"piece{at}, {value}, " for at, value in enumerate(values))
    plain = row.replace("piece0, parent, segment", "start, (text := name.encode())", 1).format_map(_TOLD_BY_KERNEL)
    many = f"b''.join(flattened([({plain}) for name, stat in files]))"
    known = {**_KNOWN, **{f"piece{at}": piece for at, piece in enumerate(pieces)}}
    return _Rows(
        _written(f"parent, segment, name, text, stat: ({row.format_map(_TOLD)})", known),
        _written(f"parent, segment, name, text, stat: ({row.format_map(_TOLD_BY_KERNEL)})", known),
        _written(f"parent, files: (start := piece0 + parent) and {many}", known),
    )


def _written(function: str, known: Mapping[str, Any]) -> Any:
    return eval("lambda " + function, dict(known))  # noqa: S307 (all of it is ours)


def _propstats(found: Sequence[bytes], missing: Sequence[bytes], minimal: bool) -> bytes:
    if not missing or minimal:
        return _PROPSTAT % (b"".join(found), _OK)
    absent = _PROPSTAT % (b"".join(missing), _MISSING)
    return _PROPSTAT % (b"".join(found), _OK) + absent if found else absent


def _forms_of(name: str) -> tuple[bytes, str, bytes]:
    """As a segment of a path, as it is, and as text in XML."""
    if is_plain(name):
        plain = name.encode("ascii")
        return plain, name, plain
    return segment_of(name), name, text_of(name)


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
        self._rows = None if asked.names_only else _rows_of(tuple(names), minimal)

    @property
    def knows_files(self) -> bool:
        """Whether what was asked for follows from the facts of a file, so that :meth:`posix_files` can make its element."""
        return self._rows is not None

    def file(
        self, parent: bytes, name: str, stat: FileStat, dead: Mapping[str, str] | None = None
    ) -> tuple[bytes, ...] | None:
        """The element of a file that has no lock, in pieces; ``parent`` is the path of its collection. ``None`` where :meth:`response` has to
        make it."""
        if self._rows is None:
            return None
        if dead and (self._asked.names is not None or self._asked.extra or not SETTABLE.isdisjoint(dead)):
            return None
        row = self._rows.one(parent, *_forms_of(name), stat)
        if not dead:
            return row
        return (b"".join(row).replace(_END, "".join(dead.values()).encode("utf-8") + _END, 1),)

    def whole_file(self, parent: bytes, name: str, before: bytes, after: bytes) -> Callable[[FileStat], bytes] | None:
        """What makes the element of one file that has neither locks nor dead properties, between two pieces; ``None`` unless :attr:`knows_files`."""
        if self._rows is None:
            return None
        one, forms, join = self._rows.one, _forms_of(name), b"".join
        return lambda stat: before + join(one(parent, *forms, stat)) + after

    def posix_files(self, parent: bytes, files: Sequence[type_file]) -> bytes:
        """The elements of files that have neither locks nor dead properties, if :attr:`knows_files`."""
        rows = self._rows
        assert rows is not None
        if is_plain("".join([name for name, _ in files])):
            return rows.many_posix(parent, files)
        made = [rows.one_posix(parent, *_forms_of(name), stat) for name, stat in files]
        return b"".join(chain.from_iterable(made))

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
