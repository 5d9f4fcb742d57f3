"""Large files in chunks, as clients of Nextcloud and ownCloud send them: ``MKCOL`` begins, each ``PUT`` is a chunk, and ``MOVE`` of ``.file``
makes a file of them. All of it happens under ``/<vfolder>/.uploads/dav/uploads/<user>/<upload>``.

A chunk is a partial upload of the one staging: it counts against the limits, is listed, and expires like any other; nothing else is kept of
the whole. Where the volume can join stages, no byte goes through the gateway a second time.

Source: the Nextcloud developer manual, "Chunked file upload" (versions 1 and 2), and what rclone sends.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import attrs

from vfgateway.errors import AlreadyExists, PreconditionFailed, QuotaExceeded, TooLarge, UploadNotFound
from vfgateway.model import ABSENT, ANY, Attrs, Expect, FileStat, FileType
from vfgateway.paths import ROOT, FolderPath
from vfgateway.protocols.web.conditions import expectation
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.webdav import digests
from vfgateway.protocols.webdav.exchange import Exchange, present, refuse_orphan
from vfgateway.protocols.webdav.faults import Refused, answer_empty, answer_xml, tell_file
from vfgateway.protocols.webdav.live import Described, top_stat
from vfgateway.protocols.webdav.multistatus import CLOSING, OPENING
from vfgateway.protocols.webdav.places import Place, href_of
from vfgateway.protocols.webdav.propfind import read_asked
from vfgateway.protocols.webdav.put import mtime_of
from vfgateway.protocols.webdav.rendering import Rendering
from vfgateway.services.receiving import Terms
from vfgateway.services.session import FolderSession
from vfgateway.services.uploads import UploadRow, UploadState

CHUNKS: Final = (".uploads", "dav", "uploads")
#: Chunks of one file.
MOST: Final = 10_000
#: Seconds for which a chunk is kept.
LIFETIME: Final = 24 * 3600.0
#: What is kept with a chunk: the upload it is of, and its name.
OF, NAME = "chunk-of", "chunk"

_UPLOAD: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CHUNK: Final = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


def is_chunked(place: Place) -> bool:
    """Whether a place is an upload in chunks, or in one."""
    return place.path.parts[:3] == CHUNKS and len(place.path.parts) in (5, 6)


@attrs.frozen
class Chunked:
    """What a request is about.

    :ivar id: the client's name for the upload
    :ivar member: what it names within; ``""`` for the upload itself
    """

    folder: FolderSession
    id: str
    member: str

    @classmethod
    async def of(cls, exchange: Exchange) -> Chunked:
        """Raises :class:`Refused` for names that clients do not use."""
        folder = (await exchange.session.folder_named(exchange.place.name)).holding(exchange.tokens)
        name, member = (*exchange.place.path.parts[4:], "")[:2]
        if not _UPLOAD.fullmatch(name):
            raise Refused(400, "an upload is named by letters and digits")
        return cls(folder, name, member)

    async def chunks(self, published: bool = False) -> Sequence[UploadRow]:
        """What has come, in order; of a chunk that came twice the later one.

        :param published: those that have become a file lately, instead
        """
        found = {row.info[NAME]: row for row in await self.all() if (row.state is UploadState.PUBLISHED) is published}
        return sorted(found.values(), key=lambda row: _range(row.info[NAME]))

    async def all(self) -> Sequence[UploadRow]:
        """Every chunk, the oldest first."""
        context = self.folder.context
        rows = await context.gateway.staging.uploads.list(self.folder.vfolder.key, context.principal_id)
        return [row for row in rows if row.info.get(OF) == self.id]

    async def forget(self, rows: Sequence[UploadRow]) -> None:
        """Remove chunks, whole or not."""
        staging = self.folder.context.gateway.staging
        for row in rows:
            await staging.remove(self.folder.vfolder, row)


def _range(name: str) -> tuple[int, int]:
    match = _CHUNK.fullmatch(name)
    assert match is not None
    return int(match[1]), -1 if match[2] is None else int(match[2])


async def answer_begin(exchange: Exchange) -> None:
    """``MKCOL``."""
    chunked = await Chunked.of(exchange)
    if chunked.member or await chunked.chunks():
        raise Refused(405, "it exists")
    total = _total(exchange.request)
    if total is not None:
        if total > exchange.app.settings.max_upload_size:
            raise TooLarge(exchange.app.settings.max_upload_size, total)
        remaining = await chunked.folder.remaining()
        if remaining.free_bytes is not None and total > remaining.free_bytes:
            raise QuotaExceeded("this vfolder", "bytes", remaining.limit_bytes or 0, remaining.used_bytes, total)
    await chunked.forget(await chunked.chunks(published=True))  # of an earlier file that the client gave the same name
    answer_empty(exchange.request, 201)


async def answer_chunk(exchange: Exchange) -> None:
    """``PUT``."""
    request, chunked = exchange.request, await Chunked.of(exchange)
    if not _CHUNK.fullmatch(chunked.member):
        raise Refused(400, "a chunk is named by its number, or by its first and its last byte")
    size, limit = request.body.length, exchange.app.settings.max_upload_size
    if size is not None and size > limit:
        raise TooLarge(limit, size)
    checksums = digests.sent_with(request)
    staging = exchange.app.gateway.staging
    info = {OF: chunked.id, NAME: chunked.member, "protocol": "webdav"}
    upload = await staging.begin(chunked.folder, ROOT, size=size, info=info, partial=True, lifetime=LIFETIME)
    try:
        terms = Terms(0, last=True, checksum=checksums[0] if checksums else None)
        await staging.receive(upload, request.body, terms)
    except BaseException:
        await upload.cancel()
        raise
    answer_empty(request, 201)


async def answer_list(exchange: Exchange) -> None:
    """``PROPFIND``: a client that comes back asks what is there."""
    chunked = await Chunked.of(exchange)
    rendering = Rendering(await read_asked(exchange.request))
    depth = exchange.depth("1")
    rows = await chunked.chunks()
    if chunked.member:
        rows, depth = [row for row in rows if row.info[NAME] == chunked.member], "1"
    if not rows:
        raise UploadNotFound(chunked.id)
    top = FolderPath((exchange.place.name, *exchange.place.path.parts[:5]))
    parts = []
    if not chunked.member:
        parts.append(rendering.response(href_of(top, True), Described(chunked.id, top_stat(rows[0].created))))
    for row in rows if depth != "0" else ():
        name, when = row.info[NAME], int(row.created * 10**9)
        stat = FileStat(FileType.FILE, row.mark, 0o600, 0, 0, when, when, row.id)
        parts.append(rendering.response(href_of(top.child(name), False), Described(name, stat)))
    answer_xml(exchange.request, 207, b"".join([OPENING, *parts, CLOSING]))


async def answer_remove(exchange: Exchange) -> None:
    """``DELETE``."""
    chunked = await Chunked.of(exchange)
    rows = await chunked.all()
    if chunked.member:
        rows = [row for row in rows if row.info[NAME] == chunked.member]
    if not rows:
        raise UploadNotFound(chunked.id)
    await chunked.forget(rows)
    answer_empty(exchange.request, 204)


async def answer_join(exchange: Exchange) -> None:
    """``MOVE`` of ``.file`` to where the whole shall be. One that is repeated, since its answer was lost, has its answer again."""
    request, chunked = exchange.request, await Chunked.of(exchange)
    if chunked.member != ".file":
        raise Refused(405, "what is moved is .file")
    folder, target = await exchange.enter(exchange.destination())
    if folder.vfolder.key != chunked.folder.vfolder.key:
        raise Refused(502, "chunks become a file in the vfolder that they were sent to")
    found = await present(folder, target)
    if target.is_fixed or (found is not None and found.is_dir):
        raise Refused(405, "a collection cannot be written")
    expect = _expected(exchange, target, found)
    await refuse_orphan(folder, target)
    rows = await chunked.chunks() or await chunked.chunks(published=True)
    _check(rows, _total(request))
    staging, ids = exchange.app.gateway.staging, [row.id for row in rows]
    try:
        joined = await staging.join(folder, target.path, ids, info={"protocol": "webdav"}, expect=expect)
    except AlreadyExists:
        if not expect.absent:
            raise
        raise PreconditionFailed(target.path) from None
    # What is left came twice.
    await chunked.forget([row for row in await chunked.all() if row.state is not UploadState.PUBLISHED])
    stat = await folder.stat(joined.target)
    mtime = mtime_of(request)
    if mtime is not None:
        stat = await folder.set_attrs(joined.target, Attrs(mtime_ns=mtime))
        request.setHeader(b"x-oc-mtime", b"accepted")
    tell_file(request, stat)
    answer_empty(request, 201 if found is None else 204)


def _expected(exchange: Exchange, target: Place, found: FileStat | None) -> Expect:
    """``Overwrite``, and conditions, which speak of the file."""
    if not exchange.overwrite:
        if found is not None:
            raise Refused(412, "something is at the destination")
        return ABSENT
    expect = expectation(exchange.request.requestHeaders, target.path, found)
    return expect if found is not None or expect.absent else ANY


def _check(rows: Sequence[UploadRow], total: int | None) -> None:
    """Refuse to make a file with a hole in it."""
    if not rows:
        raise UploadNotFound("chunks")
    if len(rows) > MOST:
        raise Refused(413, f"a file is sent in at most {MOST} chunks")
    offset = 0
    for row in rows:
        first, last = _range(row.info[NAME])
        size = row.size if row.state is UploadState.PUBLISHED else row.mark
        if last >= 0 and (first != offset or last + 1 - first != size):
            raise Refused(400, f"there is no chunk that begins at byte {offset}, or it has not come whole")
        offset += size or 0
    if total is not None and offset != total:
        raise Refused(400, f"OC-Total-Length is {total}, and the chunks have {offset} bytes")


def _total(request: StreamingRequest) -> int | None:
    """``OC-Total-Length``."""
    value = (request.getHeader(b"oc-total-length") or b"").strip()
    return int(value) if _LENGTH.fullmatch(value) else None


VERBS: Final[Mapping[bytes, Callable[[Exchange], Awaitable[None]]]] = {
    b"MKCOL": answer_begin,
    b"PUT": answer_chunk,
    b"PROPFIND": answer_list,
    b"DELETE": answer_remove,
    b"MOVE": answer_join,
}
