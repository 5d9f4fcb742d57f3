"""Conditional requests (RFC 9110 section 13) as pure functions over the facts of a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import attrs
from twisted.web.http import datetimeToString, stringToDatetime

from vfgateway.errors import PreconditionFailed
from vfgateway.model import ABSENT, ANY, Expect, FileStat
from vfgateway.paths import FolderPath

#: Seconds that must lie between a change and now for its date to tell apart what came after (section 8.8.2.2).
STRONG_AFTER = 1

_TAGS = re.compile(rb'\s*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)")?\s*(?:,|$)')
_SECOND = 1_000_000_000


class IFields(Protocol):
    """The fields of a request, as far as they are looked at here."""

    def getRawHeaders(self, name: bytes, /) -> Sequence[bytes] | None:
        """The values of a field, in the order in which they came; ``None`` without it. ``name`` is in lower case."""


class NotModified(Exception):
    """What the client has is still good: 304."""


def etag_of(stat: FileStat) -> bytes:
    """The strong entity tag of a file."""
    return b'"' + stat.identity.encode("ascii") + b'"'


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> bytes:
    """Epoch seconds as an HTTP date; what lies before 1970 or after 9999 is moved to that end."""
    return bytes(datetimeToString(min(max(seconds, 0), 253402300799)))


def seconds_of(stat: FileStat) -> int:
    """When the file was last modified, as dates in HTTP can tell it."""
    return stat.mtime_ns // _SECOND


def parse_date(value: bytes | None) -> int | None:
    """An HTTP date as epoch seconds; ``None`` for what is none, which is to be ignored."""
    if not value:
        return None
    try:
        return int(stringToDatetime(value.strip()))
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeError):
        return None


@attrs.frozen
class Tags:
    """The entity tags of a field.

    :ivar any: whether it is ``*``
    :ivar strong: those that are not weak
    :ivar all: those and the weak ones
    """

    any: bool
    strong: frozenset[bytes] = frozenset()
    all: frozenset[bytes] = frozenset()


def _tags(headers: IFields, name: bytes) -> Tags | None:
    """``None`` without the field. A list that cannot be read ends there."""
    values = headers.getRawHeaders(name)
    if values is None:
        return None
    joined = b",".join(values).strip()
    if joined == b"*":
        return Tags(True)
    found: dict[bool, set[bytes]] = {False: set(), True: set()}
    at = 0
    while at < len(joined):
        match = _TAGS.match(joined, at)
        if match is None or match.end() == at:
            break
        if match[2] is not None:
            found[match[1] is not None].add(match[2])
        at = match.end()
    return Tags(False, frozenset(found[False]), frozenset(found[False] | found[True]))


@attrs.frozen
class Conditions:
    """Under which a file is sent, as the fields of a GET or HEAD say it; which of them count, section 13.2.2 tells.

    :ivar match: ``If-Match``
    :ivar none_match: ``If-None-Match``
    :ivar unmodified_since: epoch seconds
    :ivar modified_since: likewise
    """

    match: Tags | None
    none_match: Tags | None
    unmodified_since: int | None
    modified_since: int | None

    @classmethod
    def of(cls, headers: IFields) -> Conditions:
        """What a request says."""
        return cls(
            _tags(headers, b"if-match"),
            _tags(headers, b"if-none-match"),
            parse_date(_single(headers, b"if-unmodified-since")),
            parse_date(_single(headers, b"if-modified-since")),
        )

    def check(self, path: FolderPath, stat: FileStat) -> None:
        """Raises ``PreconditionFailed`` or :class:`NotModified`."""
        identity = stat.identity.encode("ascii")
        match, none_match = self.match, self.none_match
        if match is not None:
            if not match.any and identity not in match.strong:
                raise PreconditionFailed(path)
        elif self.unmodified_since is not None and seconds_of(stat) > self.unmodified_since:
            raise PreconditionFailed(path)
        if none_match is not None:
            if none_match.any or identity in none_match.all:  # weak comparison
                raise NotModified
        elif self.modified_since is not None and seconds_of(stat) <= self.modified_since:
            raise NotModified


def range_applies(headers: IFields, stat: FileStat, now: float) -> bool:
    """Whether ``If-Range`` (section 13.1.5) lets a range be sent: without the field yes; with a tag that matches strongly; with a date
    that is exactly that of the file, and old enough to tell apart what came after it."""
    value = _single(headers, b"if-range")
    if value is None:
        return True
    value = value.strip()
    if value.startswith((b'"', b"W/")):
        return value == etag_of(stat)
    return parse_date(value) == seconds_of(stat) and now >= seconds_of(stat) + STRONG_AFTER


def expectation(headers: IFields, path: FolderPath, present: FileStat | None) -> Expect:
    """The state in which a target must be found for a PUT, DELETE or the like to happen, checked already against ``present`` (``None``:
    nothing is there). What is returned makes the change fail if the target changes in between. Raises ``PreconditionFailed``."""
    wanted, unwanted = _tags(headers, b"if-match"), _tags(headers, b"if-none-match")
    identity = present.identity.encode("ascii") if present is not None else None
    expect = ANY
    if wanted is not None:
        if identity is None or not (wanted.any or identity in wanted.strong):
            raise PreconditionFailed(path)
        expect = _as_found(present)
    elif present is not None:
        since = parse_date(_single(headers, b"if-unmodified-since"))
        if since is not None:
            if seconds_of(present) > since:
                raise PreconditionFailed(path)
            expect = _as_found(present)
    if unwanted is not None:
        if identity is not None and (unwanted.any or identity in unwanted.all):
            raise PreconditionFailed(path)
        expect = _as_found(present)
    return expect


def _as_found(present: FileStat | None) -> Expect:
    if present is None:
        return ABSENT
    return Expect.same(present.identity) if present.is_file else ANY


def _single(headers: IFields, name: bytes) -> bytes | None:
    values = headers.getRawHeaders(name)
    return values[-1] if values else None
