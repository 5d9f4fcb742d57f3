"""A directory as JSON, a page at a time, sorted, so that a page can be asked for again whatever changed meanwhile; with all below it, and
only what fits, if that is asked for. However much there is, no more than a page is kept in memory."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import heapq
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

import attrs

from vfgateway.model import DirEntry, FileStat, FileType
from vfgateway.paths import FolderPath, json_name
from vfgateway.protocols.client.query import BadParameters, Query
from vfgateway.protocols.web.faults import answer_json
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.session import FolderSession

#: Entries of a page unless the client says otherwise, and the most it may ask for.
USUAL, MOST = 1000, 10_000
#: Entries taken from the storage at once.
BATCH = 1000
#: Characters of the longest pattern.
LONGEST_PATTERN = 255

_PARAMETERS = ("limit", "after", "recursive", "sort", "order", "match", "type")
_SORTS = ("name", "size", "modified")
#: For the reverse order of bytes: complements, and an end that is greater than all of them.
_COMPLEMENT = bytes(255 - byte for byte in range(256))

type_key = tuple[int, bytes]


@attrs.frozen
class Wish:
    """What shall be listed.

    :ivar after: the place in the order after which the page begins
    """

    limit: int
    after: type_key | None
    recursive: bool
    sort: str
    descending: bool
    match: re.Pattern[str] | None
    type: FileType | None

    def fits(self, name: str, stat: FileStat) -> bool:
        """Whether an entry is to be listed."""
        return (self.type is None or stat.type is self.type) and (self.match is None or bool(self.match.match(name)))

    def key(self, path: bytes, stat: FileStat) -> type_key:
        """The place of an entry in the order: no two have the same."""
        number = 0 if self.sort == "name" else stat.size if self.sort == "size" else stat.mtime_ns
        if not self.descending:
            return number, path
        return -number, path.translate(_COMPLEMENT) + b"\xff"


class _Largest:
    """Turns the order round, for a heap that drops the largest key."""

    __slots__ = ("entry", "key", "path")

    def __init__(self, key: type_key, path: FolderPath, entry: DirEntry) -> None:
        self.key = key
        self.path = path
        self.entry = entry

    def __lt__(self, other: _Largest) -> bool:
        return self.key > other.key


async def answer_listing(
    request: StreamingRequest, folder: FolderSession, path: FolderPath, others: Sequence[str] = ()
) -> None:
    """Answer with up to ``limit`` entries; ``next`` is where the rest is, ``null`` at the end.

    :param others: names of parameters that mean something elsewhere
    """
    query = Query(request, (*_PARAMETERS, *others))
    wish = _wish(query)
    page, more = await _page(folder, path, wish)
    following = None
    if more:
        asked = {name: value for name in (*others, *_PARAMETERS) if (value := query.optional(name)) is not None}
        asked |= {"limit": str(wish.limit), "after": _encoded(page[-1].key)}
        target = request.path.decode("ascii", "backslashreplace")
        following = f"{request.external_base}{target}?{urlencode(asked, errors='surrogateescape')}"
    entries = [entry_json(item.entry, item.path if wish.recursive else None) for item in page]
    answer_json(request, {"path": json_name(str(path))["name"], "entries": entries, "next": following})


def _wish(query: Query) -> Wish:
    sort, order, match, kind = (query.optional(name) for name in ("sort", "order", "match", "type"))
    wrong = {}
    if sort is not None and sort not in _SORTS:
        wrong["sort"] = f"should be one of {', '.join(_SORTS)}"
    if order not in (None, "asc", "desc"):
        wrong["order"] = "should be asc or desc"
    if kind is not None and kind not in FileType.__members__:
        wrong["type"] = f"should be one of {', '.join(FileType.__members__)}"
    if match is not None and len(match) > LONGEST_PATTERN:
        wrong["match"] = f"should have at most {LONGEST_PATTERN} characters"
    if wrong:
        raise BadParameters(wrong)
    return Wish(
        limit=query.number("limit", USUAL, MOST),
        after=_decoded(query.optional("after")),
        recursive=query.flag("recursive"),
        sort=sort or "name",
        descending=order == "desc",
        match=None if match is None else re.compile(fnmatch.translate(match)),
        type=None if kind is None else FileType[kind],
    )


async def _page(folder: FolderSession, path: FolderPath, wish: Wish) -> tuple[list[_Largest], bool]:
    """The first entries after the place where the last page ended, in order, and whether there are more."""
    heap: list[_Largest] = []
    more = False
    source = _all_below(folder, path) if wish.recursive else _members(folder, path)
    async for relative, entry in source:
        if not wish.fits(entry.name, entry.stat):
            continue
        key = wish.key(bytes(relative), entry.stat)
        if wish.after is not None and key <= wish.after:
            continue
        if len(heap) < wish.limit:
            heapq.heappush(heap, _Largest(key, relative, entry))
        else:
            more = True
            heapq.heappushpop(heap, _Largest(key, relative, entry))
    return sorted(heap, key=lambda item: item.key), more


async def _members(folder: FolderSession, path: FolderPath) -> AsyncIterator[tuple[FolderPath, DirEntry]]:
    listing = await folder.list(path)
    try:
        while batch := await listing.read(BATCH):
            for entry in batch:
                yield FolderPath((entry.name,)), entry
    finally:
        await listing.close()


async def _all_below(folder: FolderSession, path: FolderPath) -> AsyncIterator[tuple[FolderPath, DirEntry]]:
    walk = folder.walk(path)
    try:
        while batch := await walk.read(BATCH):
            for walked in batch:
                if walked.error is None:
                    yield walked.path.relative_to(path), DirEntry(walked.path.name, walked.stat)
    finally:
        await walk.close()


def entry_json(entry: DirEntry, path: FolderPath | None = None) -> dict[str, Any]:
    """An entry as JSON; with its ``path``, where the name alone does not say which it is."""
    stat = entry.stat
    facts: dict[str, Any] = {
        **json_name(entry.name),
        "type": stat.type.value,
        "size": stat.size,
        "modified": stat.mtime_ns / 1e9,
        "mode": f"{stat.mode:04o}",
    }
    if path is not None:
        facts["path"] = json_name(str(path))["name"]
    if stat.is_file:
        facts["etag"] = f'"{stat.identity}"'
    if stat.target is not None:
        facts["target"] = json_name(stat.target)["name"]
    return facts


def _encoded(key: type_key) -> str:
    return base64.urlsafe_b64encode(b"%d:%s" % key).decode("ascii")


def _decoded(after: str | None) -> type_key | None:
    if after is None:
        return None
    try:
        number, colon, path = base64.b64decode(after.encode("ascii"), altchars=b"-_", validate=True).partition(b":")
        if not colon or len(number) > 20:
            raise ValueError
        return int(number), path
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise BadParameters({"after": "should be what an earlier page gave"}) from None
