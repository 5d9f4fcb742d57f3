"""PUT (RFC 4918 section 9.7), with the fields by which ownCloud's family of clients keeps times and checks content."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from vfgateway.errors import QuotaExceeded, TooLarge
from vfgateway.model import Attrs, FileStat
from vfgateway.paths import FolderPath
from vfgateway.protocols.web.asked import Asked, type_served
from vfgateway.protocols.web.conditions import expectation
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.storing import store_at_hand, store_body
from vfgateway.protocols.webdav import digests
from vfgateway.protocols.webdav import partial as partial_put
from vfgateway.protocols.webdav.exchange import Exchange, present, refuse_orphan
from vfgateway.protocols.webdav.faults import Refused, answer_empty, lines_about, tell_file
from vfgateway.services.session import FolderSession

_NUMBER = re.compile(rb"[0-9]{1,18}")
_SECONDS = re.compile(rb"-?[0-9]{1,11}(?:\.[0-9]{1,9})?")


async def answer(exchange: Exchange) -> None:
    """Create or replace a file. Everything is checked before the body is read."""
    request = exchange.request
    if request.requestHeaders.hasHeader(b"content-range"):
        await partial_put.answer_put(exchange)
        return
    folder = await exchange.folder()
    place = exchange.place
    found = await present(folder, place)
    if place.is_fixed or place.slash or (found is not None and found.is_dir):
        raise Refused(405, "a collection cannot be written")
    expect = expectation(request.requestHeaders, place.path, found)
    await refuse_orphan(folder, place)
    mtime, checksums = mtime_of(request), digests.sent_with(request)
    limit = exchange.app.settings.max_upload_size
    await _refuse_what_cannot_fit(request, folder, found, limit)
    stat = await store_body(request, folder, place.path, limit=limit, expect=expect, checksums=checksums)
    if mtime is not None:
        stat = await folder.set_attrs(place.path, Attrs(mtime_ns=mtime))
        request.setHeader(b"x-oc-mtime", b"accepted")
    tell_file(request, stat)
    answer_empty(request, 201 if found is None else 204)


def answer_at_hand(limit: int) -> Callable[[Asked, FolderSession, FolderPath], type_served]:
    """What stores a small file on the fast lane, with nothing said about it but its content."""
    return partial(store_at_hand, limit=limit, tell=_tell)


def _tell(stat: FileStat, is_new: bool) -> bytes:
    return lines_about(stat)


async def _refuse_what_cannot_fit(
    request: StreamingRequest, folder: FolderSession, found: FileStat | None, limit: int
) -> None:
    """Finder sends bodies of undeclared length, and says in a field of its own how long they will be; ownCloud's clients do so for the
    whole of what they send in pieces. So a refusal comes before the bytes here, too."""
    if request.body.length is not None:
        return
    for name in (b"x-expected-entity-length", b"oc-total-length"):
        value = (request.getHeader(name) or b"").strip()
        if not _NUMBER.fullmatch(value):
            continue
        size = int(value)
        if size > limit:
            raise TooLarge(limit, size)
        remaining = await folder.remaining()
        replaced = found.size if found is not None and found.is_file else 0
        if remaining.free_bytes is not None and size - replaced > remaining.free_bytes:
            limited = remaining.limit_bytes or 0
            raise QuotaExceeded("this vfolder", "bytes", limited, remaining.used_bytes, size - replaced)
        return


def mtime_of(request: StreamingRequest) -> int | None:
    """``X-OC-Mtime`` (or ``OC-Mtime``) in nanoseconds; what is not a time is ignored."""
    value = (request.getHeader(b"x-oc-mtime") or b"").strip()
    if not _SECONDS.fullmatch(value):
        return None
    whole, _, fraction = value.decode("ascii").partition(".")
    return int(whole) * 10**9 + int((fraction + "000000000")[:9])
