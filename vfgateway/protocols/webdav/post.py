"""tus on collections: POST creates an upload, whose URL lies under ``.uploads`` of its vfolder. So rclone (as ``infinitescale``) and
ownCloud's clients do it, on the same staging as everybody's."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import attrs

from vfgateway.errors import GatewayError, InvalidArgument
from vfgateway.model import Attrs
from vfgateway.paths import FolderPath, parse_text
from vfgateway.protocols.web import tus_fields, tus_replies
from vfgateway.protocols.web.conditions import etag_of
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus import METADATA, Tus
from vfgateway.protocols.webdav.exchange import Exchange
from vfgateway.protocols.webdav.faults import Refused
from vfgateway.protocols.webdav.places import Place, href_of
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession, Session

#: Where uploads are shown to their owners, in every vfolder.
UPLOADS: Final = ".uploads"
METHODS: Final = frozenset({b"HEAD", b"PATCH", b"DELETE"})
_SECONDS: Final = re.compile(r"[0-9]{1,11}(?:\.[0-9]+)?")


@attrs.frozen
class Member:
    """A file to be, in the collection that was posted to."""

    hands: FolderSession
    above: FolderPath
    name: str

    def path(self) -> FolderPath:
        """See :class:`vfgateway.protocols.web.tus.Target`."""
        if not self.name:
            raise InvalidArgument("filename", "name the file by filename in Upload-Metadata")
        return self.above.join(parse_text(self.name))

    async def folder(self, session: Session) -> FolderSession:
        """See :class:`vfgateway.protocols.web.tus.Target`."""
        return self.hands


def is_upload(place: Place) -> bool:
    """Whether a place is the URL of an upload."""
    return len(place.path.parts) == 2 and place.path.parts[0] == UPLOADS


async def answer_create(exchange: Exchange) -> None:
    """POST on a collection."""
    request = exchange.request
    if request.getHeader(b"tus-resumable") is None:
        raise Refused(405, "POST is for uploads by tus")
    folder = await exchange.folder()
    place = exchange.place
    if not (await folder.stat(place.path, follow=True)).is_dir:
        raise Refused(409, "uploads are created by POST on a collection")

    def member(metadata: Mapping[str, str]) -> Member:
        return Member(folder, place.path, metadata.get("filename") or metadata.get("name") or "")

    async def create() -> None:
        tus_replies.check_version(request, required=True)
        upload = await _tus(exchange).create(request, exchange.session, member)
        await _finish(request, folder, upload)

    await _in_words_of_tus(request, create())


async def answer_upload(exchange: Exchange) -> None:
    """HEAD, PATCH and DELETE on the URL of an upload."""
    request, place = exchange.request, exchange.place
    folder = (await exchange.session.folder_named(place.name)).holding(exchange.tokens)

    async def act() -> None:
        tus_replies.check_version(request, required=True)
        staging, upload_id, tus = exchange.app.gateway.staging, place.path.name, _tus(exchange)
        if request.method == b"PATCH":
            with staging.arrivals.coming(upload_id, request.body) as came:
                upload = await staging.resume(folder, upload_id)
            await tus.append(request, upload, came)
            await _finish(request, folder, upload)
        elif request.method == b"HEAD":
            await tus.look(request, await staging.resume(folder, upload_id))
        else:
            await tus.terminate(request, await staging.resume(folder, upload_id))

    await _in_words_of_tus(request, act())


def _tus(exchange: Exchange) -> Tus:
    def url_of(request: StreamingRequest, upload: ResumableUpload) -> str:
        whole = FolderPath((exchange.place.name, UPLOADS, upload.id))
        return request.external_base + href_of(whole, False).decode("ascii")

    return Tus(exchange.app.gateway, url_of)


async def _in_words_of_tus(request: StreamingRequest, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except GatewayError as error:
        tus_replies.fail(request, error, tus_replies.TUS_FAULTS)


async def _finish(request: StreamingRequest, folder: FolderSession, upload: ResumableUpload) -> None:
    """Give a file that was just published the time that its metadata has."""
    if not upload.published:
        return
    moment = tus_fields.metadata(upload.info.get(METADATA)).get("mtime", "")
    stat = None
    if _SECONDS.fullmatch(moment):
        stat = await folder.set_attrs(upload.row.target, Attrs(mtime_ns=int(float(moment) * 1000) * 1_000_000))
    else:
        stat = await folder.stat(upload.row.target)
    etag = etag_of(stat).decode("ascii")
    tus_fields.set_fields(request, {"ETag": etag, "OC-ETag": etag})
