"""tus 1.0 for people, wherever a front end puts it. All extensions that clients use: creation, with the first bytes or with the length
to come, termination, checksum, expiration and concatenation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from vfgateway.errors import InvalidArgument
from vfgateway.model import ABSENT, ANY
from vfgateway.paths import FolderPath
from vfgateway.protocols.web import tus_fields, tus_replies
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus_fields import CHUNK_TYPE, field, media_type, number, required_number, set_fields
from vfgateway.protocols.web.tus_replies import ModifiesFinal, WrongMediaType
from vfgateway.services.gateway import Gateway
from vfgateway.services.receiving import Terms
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession, Session

#: What an upload keeps of its creation (``ResumableUpload.info``), to say it again.
METADATA, CONCAT, PROTOCOL = "metadata", "concat", "protocol"


class Target(Protocol):
    """Where an upload shall go, as a front end finds out."""

    def path(self) -> FolderPath:
        """The path in the vfolder."""

    async def folder(self, session: Session) -> FolderSession:
        """The vfolder."""


class Tus:
    """The verbs. Each writes an answer and does not finish it.

    :param url_of_upload: where an upload that was created is to be found, as an absolute URL
    """

    def __init__(self, gateway: Gateway, url_of_upload: Callable[[StreamingRequest, ResumableUpload], str]) -> None:
        self._gateway = gateway
        self._url_of_upload = url_of_upload

    async def create(
        self, request: StreamingRequest, session: Session, asked: Callable[[Mapping[str, str]], Target]
    ) -> ResumableUpload:
        """``POST`` on the collection; ``asked`` makes a target of ``Upload-Metadata``."""
        concat = field(request, "Upload-Concat") or ""
        size = self._size(request, concat)
        given = field(request, "Upload-Metadata")
        place = asked(tus_fields.metadata(given))
        info = {PROTOCOL: "tus"}
        info |= {METADATA: given} if given else {}
        info |= {CONCAT: concat} if concat else {}
        expect = ABSENT if field(request, "If-None-Match") == "*" else ANY
        folder = await place.folder(session)
        staging = self._gateway.staging
        if concat.startswith("final;"):
            upload = await staging.join(folder, place.path(), tus_fields.parts_of(concat), info=info, expect=expect)
        elif concat == "partial":
            upload = await staging.begin(folder, FolderPath(), size=size, info=info, partial=True)
        else:
            upload = await staging.begin(folder, place.path(), size=size, info=info, expect=expect)
        location = self._url_of_upload(request, upload)
        offset = upload.offset
        if media_type(request) == CHUNK_TYPE and request.body.length != 0 and not upload.published:
            terms = Terms(0, checksum=tus_fields.checksum(field(request, "Upload-Checksum")))
            offset = await staging.receive_first(upload, request.body, terms)
        request.setResponseCode(201)
        set_fields(request, {"Location": location, "Content-Length": 0})
        tus_replies.tell_state(request, upload, offset)
        return upload

    def _size(self, request: StreamingRequest, concat: str) -> int | None:
        if concat and concat != "partial" and not concat.startswith("final;"):
            raise InvalidArgument("Upload-Concat", "expected 'partial' or 'final;' and URLs")
        size, deferred = number(request, "Upload-Length"), field(request, "Upload-Defer-Length")
        if concat.startswith("final;"):
            if size is not None or request.body.length not in (0, None):
                raise InvalidArgument("Upload-Concat", "a joined upload has the length and the bytes of its parts")
            return None
        if deferred is not None and (deferred != "1" or size is not None):
            raise InvalidArgument("Upload-Defer-Length", "expected 1, and no Upload-Length beside it")
        if size is None and deferred is None:
            raise InvalidArgument("Upload-Length", "is required, or Upload-Defer-Length")
        return size

    async def look(self, request: StreamingRequest, upload: ResumableUpload) -> None:
        """``HEAD`` on an upload."""
        offset = await upload.refresh()
        request.setResponseCode(200)
        tus_replies.tell_state(request, upload, offset)
        self._repeat(request, upload.info)

    def _repeat(self, request: StreamingRequest, info: Mapping[str, str]) -> None:
        set_fields(request, {"Upload-Metadata": info.get(METADATA), "Upload-Concat": info.get(CONCAT)})

    async def append(self, request: StreamingRequest, upload: ResumableUpload, came: float) -> None:
        """``PATCH`` on an upload; ``came`` as ``Arrivals.coming`` tells."""
        if media_type(request) != CHUNK_TYPE:
            raise WrongMediaType(CHUNK_TYPE)
        if upload.info.get(CONCAT, "").startswith("final;"):
            raise ModifiesFinal("nothing can be added to an upload that was joined from others")
        terms = Terms(
            required_number(request, "Upload-Offset"),
            size=number(request, "Upload-Length"),
            checksum=tus_fields.checksum(field(request, "Upload-Checksum")),
            came=came,
        )
        offset = await self._gateway.staging.receive(upload, request.body, terms)
        request.setResponseCode(204)
        tus_replies.tell_state(request, upload, offset)

    async def terminate(self, request: StreamingRequest, upload: ResumableUpload) -> None:
        """``DELETE`` on an upload. A published file stays."""
        await upload.cancel()
        request.setResponseCode(204)
        set_fields(request, {"Tus-Resumable": tus_fields.VERSION})
