"""Parts of files: PUT with ``Content-Range`` (RFC 9110 section 14.5) and PATCH as sabre/dav has it. Both write in place, with POSIX's
promises: what came before a cut is there, and durable once it was answered."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import re
from typing import Final

import attrs

from vfgateway.errors import IncompleteBody, NotFound, TooLarge
from vfgateway.model import FileStat, OpenMode
from vfgateway.protocols.web.conditions import expectation
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav import digests
from vfgateway.protocols.webdav.exchange import Exchange, present, refuse_orphan
from vfgateway.protocols.webdav.faults import Refused, answer_empty, tell_file
from vfgateway.services.session import FolderSession

PATCH_TYPE: Final = b"application/x-sabredav-partialupdate"
_CONTENT_RANGE: Final = re.compile(rb"\s*bytes\s+([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\s*", re.IGNORECASE)
_UPDATE_RANGE: Final = re.compile(rb"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


@attrs.frozen
class Part:
    """Where bytes go: from ``start`` on, ``length`` of them (``None``: as many as come)."""

    start: int
    length: int | None


async def answer_put(exchange: Exchange) -> None:
    """PUT with ``Content-Range``: into a file, or a new one from its first byte on."""
    folder = await exchange.folder()
    place = exchange.place
    part = content_range(exchange.request.getHeader(b"content-range") or b"")
    found = await present(folder, place)
    if found is None:
        await refuse_orphan(folder, place)
    await _write(exchange, folder, part, found)


async def answer_patch(exchange: Exchange) -> None:
    """PATCH with ``X-Update-Range``: into a file that is there."""
    request = exchange.request
    if request.requestHeaders.hasHeader(b"x-recalculate-hash"):
        await digests.answer_recalculate(exchange)
        return
    kind = (request.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind != PATCH_TYPE:
        raise Refused(415, f"expected Content-Type {PATCH_TYPE.decode()}")
    if request.body.length is None:
        raise Refused(411, "Content-Length is required")
    folder = await exchange.folder()
    found = await present(folder, exchange.place)
    if found is None:
        raise NotFound(exchange.place.path)
    await _write(exchange, folder, update_range(request.getHeader(b"x-update-range") or b"", found.size), found)


def content_range(value: bytes) -> Part:
    """``Content-Range`` of a request. Raises :class:`Refused`."""
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None or int(match[2]) < int(match[1]) or (match[3] != b"*" and int(match[2]) >= int(match[3])):
        raise Refused(400, "Content-Range must be bytes FIRST-LAST/TOTAL")
    return Part(int(match[1]), int(match[2]) - int(match[1]) + 1)


def update_range(value: bytes, size: int) -> Part:
    """``X-Update-Range`` on a file of ``size`` bytes: ``append``, ``bytes=3-6``, ``bytes=4-`` or ``bytes=-5``. Raises :class:`Refused`."""
    if value.strip().lower() == b"append":
        return Part(size, None)
    match = _UPDATE_RANGE.fullmatch(value)
    if match is None or not (match[1] or match[2]):
        raise Refused(400, "X-Update-Range must be append or a range of bytes")
    if not match[1]:
        return Part(max(0, size - int(match[2])), None)
    if not match[2]:
        return Part(int(match[1]), None)
    if int(match[2]) < int(match[1]):
        raise Refused(416, "the range ends before it begins")
    return Part(int(match[1]), int(match[2]) - int(match[1]) + 1)


async def _write(exchange: Exchange, folder: FolderSession, part: Part, found: FileStat | None) -> None:
    request, place = exchange.request, exchange.place
    if place.is_fixed or (found is not None and found.is_dir):
        raise Refused(405, "a collection cannot be written")
    expectation(request.requestHeaders, place.path, found)
    size = found.size if found is not None else 0
    if part.start > size:
        raise Refused(416, f"the file has {size} bytes; a part cannot begin behind its end")
    declared = request.body.length
    if part.length is not None and declared is not None and declared != part.length:
        raise Refused(400, "the body is not as long as its range")
    limit = exchange.app.settings.max_upload_size
    if part.start + (declared or 0) > limit:
        raise TooLarge(limit, part.start + (declared or 0))
    stat = await _stored(request, folder, exchange, part, limit)
    tell_file(request, stat)
    answer_empty(request, 201 if found is None else 204)


async def _stored(
    request: StreamingRequest, folder: FolderSession, exchange: Exchange, part: Part, limit: int
) -> FileStat:
    path = exchange.place.path
    end = limit if part.length is None else part.start + part.length
    offset = part.start
    handle = await folder.open(path, OpenMode.WRITE | OpenMode.CREATE)
    try:
        while chunks := await request.body.read():
            count = sum(map(len, chunks))
            if offset + count > end:
                raise TooLarge(end, offset + count)
            await handle.write(offset, chunks)
            offset += count
        if part.length is not None and offset != end:
            raise IncompleteBody(part.length, offset - part.start)
        await handle.sync()
    finally:
        await handle.close()
    return await folder.stat(path)
