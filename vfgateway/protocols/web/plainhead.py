"""What the head of a request says, if it is of the plainest form: then it goes on the fast lane (:mod:`vfgateway.protocols.web.lane`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from vfgateway.protocols.web.conditions import Conditions
from vfgateway.protocols.web.forwarded import good_host

#: Bytes of the largest body of such a request.
LARGEST_BODY: Final = 64 << 10

#: Fields that mean nothing to any route. A field that is neither among these nor among those that a route names makes a request unusual.
PLAIN_FIELDS: Final = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-length",
        b"content-type",
        b"cookie",
        b"dnt",
        b"host",
        b"pragma",
        b"referer",
        b"translate",
        b"user-agent",
    }
)
#: Fields by which GET and HEAD ask for a file only if something is so of it.
_CONDITIONS: Final = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})
#: Those, and fields by which they ask for less than a whole file.
CONDITIONS: Final = _CONDITIONS | {b"if-range", b"range"}

_FIELD: Final = re.compile(rb"([A-Za-z0-9-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_LENGTH: Final = re.compile(rb"[0-9]{1,6}")


@attrs.frozen(eq=False)
class Head:
    """The fields of a request, of which none is there twice, and what follows from them alone.

    :ivar fields: by names in lower case
    :ivar special: the names of those that are not plain
    :ivar length: of the body
    :ivar ticket: stands for the login
    :ivar ranged: whether less than a whole file is asked for
    :ivar conditions: if a file is asked for only if something is so of it
    """

    fields: Mapping[bytes, bytes]
    special: frozenset[bytes]
    length: int
    ticket: bytes
    ranged: bool = attrs.field(init=False)
    conditions: Conditions | None = attrs.field(init=False)

    @ranged.default
    def _ranged(self) -> bool:
        return b"range" in self.special

    @conditions.default
    def _conditions(self) -> Conditions | None:
        return None if self.special.isdisjoint(_CONDITIONS) else Conditions.of(self)

    def getRawHeaders(self, name: bytes, /) -> Sequence[bytes] | None:
        """See :class:`vfgateway.protocols.web.conditions.IFields`."""
        value = self.fields.get(name)
        return None if value is None else (value,)


def read_fields(text: bytes) -> dict[bytes, bytes] | None:
    """The fields by names in lower case; ``None`` unless all are of the plainest form, and none is there twice."""
    fields: dict[bytes, bytes] = {}
    for line in text.split(b"\r\n"):
        match = _FIELD.fullmatch(line)
        if match is None or match[1].lower() in fields:
            return None
        fields[match[1].lower()] = match[2]
    return fields


def read_head(text: bytes, ticket: Callable[[bytes], bytes]) -> Head | None:
    """What the lines of a head say; ``None`` if they are unusual.

    :param ticket: makes what stands for a login
    """
    fields = read_fields(text)
    if fields is None or b"authorization" not in fields or not good_host(fields.get(b"host", b"").decode("ascii")):
        return None
    if fields.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    length = fields.get(b"content-length", b"0")
    if not _LENGTH.fullmatch(length) or int(length) > LARGEST_BODY:
        return None
    special = frozenset(fields) - PLAIN_FIELDS
    kept = {name: value for name, value in fields.items() if name != b"authorization"}
    return Head(kept, special, int(length), ticket(fields[b"authorization"]))
