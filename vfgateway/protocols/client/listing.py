"""A directory as JSON, a page at a time, in the order of names, so that a page can be asked for again whatever changed meanwhile."""

from __future__ import annotations

import base64
import binascii
import heapq
from typing import Any
from urllib.parse import urlencode

from vfgateway.model import DirEntry
from vfgateway.paths import FolderPath, json_name
from vfgateway.protocols.client.query import BadParameters, Query
from vfgateway.protocols.web.faults import answer_json
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.session import FolderSession

#: Entries of a page unless the client says otherwise, and the most it may ask for.
USUAL, MOST = 1000, 10_000
#: Entries taken from the storage at once.
BATCH = 1000


class _Largest:
    """Turns the order round, for a heap that drops the largest name."""

    __slots__ = ("entry", "key")

    def __init__(self, key: bytes, entry: DirEntry) -> None:
        self.key = key
        self.entry = entry

    def __lt__(self, other: _Largest) -> bool:
        return self.key > other.key


async def answer_listing(request: StreamingRequest, folder: FolderSession, path: FolderPath) -> None:
    """Answer with up to ``limit`` entries after the one called ``after``; ``next`` is where the rest is, ``null`` at the end."""
    query = Query(request, ("limit", "after"))
    limit = query.number("limit", USUAL, MOST)
    after = _decoded(query.optional("after"))
    entries, more = await _page(folder, path, limit, after)
    following = None
    if more:
        last = base64.urlsafe_b64encode(_raw(entries[-1].name)).decode("ascii")
        target = request.path.decode("ascii", "backslashreplace")
        following = f"{request.external_base}{target}?{urlencode({'limit': limit, 'after': last})}"
    body = {"path": json_name(str(path))["name"], "entries": [_entry(entry) for entry in entries], "next": following}
    answer_json(request, body)


async def _page(
    folder: FolderSession, path: FolderPath, limit: int, after: bytes | None
) -> tuple[list[DirEntry], bool]:
    """The first ``limit`` entries after a name, by name, and whether there are more. No more than that is kept in memory."""
    heap: list[_Largest] = []
    more = False
    listing = await folder.list(path)
    try:
        while batch := await listing.read(BATCH):
            for entry in batch:
                key = _raw(entry.name)
                if after is not None and key <= after:
                    continue
                if len(heap) < limit:
                    heapq.heappush(heap, _Largest(key, entry))
                else:
                    more = True
                    heapq.heappushpop(heap, _Largest(key, entry))
    finally:
        await listing.close()
    return [item.entry for item in sorted(heap, key=lambda item: item.key)], more


def _entry(entry: DirEntry) -> dict[str, Any]:
    stat = entry.stat
    facts: dict[str, Any] = {
        **json_name(entry.name),
        "type": stat.type.value,
        "size": stat.size,
        "modified": stat.mtime_ns / 1e9,
        "mode": f"{stat.mode:04o}",
    }
    if stat.is_file:
        facts["etag"] = f'"{stat.identity}"'
    if stat.target is not None:
        facts["target"] = json_name(stat.target)["name"]
    return facts


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decoded(after: str | None) -> bytes | None:
    if after is None:
        return None
    try:
        return base64.b64decode(after.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise BadParameters({"after": "should be what an earlier page gave"}) from None
