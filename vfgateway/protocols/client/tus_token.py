"""``/upload?token=…``: uploads that the orchestrator began and whose URL is its token (reference, section 1.6).

The wire is the reference's, where its clients can tell; bytes of a broken request are kept, bytes past the size refused, the target
confined to its vfolder, and a client that missed the last answer learns of its success.
"""

from __future__ import annotations

from klein import Klein

from vfgateway.errors import InvalidToken
from vfgateway.paths import FolderPath, parse_text
from vfgateway.protocols.client.faults import bad_token, fail
from vfgateway.protocols.client.query import BadParameters, Query
from vfgateway.protocols.web import tus_fields, tus_replies
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus_fields import required_number, set_fields
from vfgateway.services.gateway import Gateway
from vfgateway.services.receiving import Terms
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.tokens import UploadClaims

_METHODS = ("OPTIONS", "HEAD", "PATCH", "POST", "DELETE")


class TokenUploads:
    """The route."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def mount(self, app: Klein) -> None:
        """Add it to ``app``."""

        @app.route("/upload", methods=_METHODS, endpoint="token-upload")
        async def upload(request: StreamingRequest) -> None:
            await self.answer(request)

    async def answer(self, request: StreamingRequest) -> None:
        """Answer one request, but for finishing it. Scripts of any site may read every answer, errors too."""
        tus_replies.allow_all_origins(request)
        try:
            await self._answer(request)
        except BadParameters as error:
            fail(request, error)
        except Exception as error:
            tus_replies.fail(request, error, tus_replies.TOKEN_FAULTS)

    async def _answer(self, request: StreamingRequest) -> None:
        method = tus_fields.method(request)
        if method == "OPTIONS":
            tus_replies.describe_server(request, tus_replies.TOKEN_EXTENSIONS, self._gateway.staging.max_size)
            return
        query = Query(request, ("token", "dst_dir"))
        tus_replies.check_version(request, required=False)
        try:
            claims = self._gateway.tokens.verify_upload(query.text("token"))
        except InvalidToken as error:
            raise bad_token(error) from None
        target = parse_text(query.optional("dst_dir") or "").join(parse_text(claims.relpath))
        if method == "PATCH":
            with self._gateway.staging.arrivals.coming(claims.session, request.body) as came:
                upload = await self._find(request, claims)
            await self._append(request, upload, target, came)
            return
        upload = await self._find(request, claims)
        if method == "HEAD":
            offset = await upload.refresh()
            request.setResponseCode(200)
            tus_replies.tell_state(request, upload, offset)
        elif method == "DELETE":
            await upload.cancel()
            request.setResponseCode(204)
            set_fields(request, {"Tus-Resumable": tus_fields.VERSION})
        else:
            await self._create(request, upload)

    async def _find(self, request: StreamingRequest, claims: UploadClaims) -> ResumableUpload:
        session = self._gateway.session(claims.principal, request.origin)
        folder = await session.folder(claims.vfid, claims.volume)
        return await self._gateway.staging.resume(folder, claims.session)

    async def _append(
        self, request: StreamingRequest, upload: ResumableUpload, target: FolderPath, came: float
    ) -> None:
        checksum = tus_fields.checksum(tus_fields.field(request, "Upload-Checksum"))
        terms = Terms(required_number(request, "Upload-Offset"), checksum=checksum, target=target, came=came)
        offset = await self._gateway.staging.receive(upload, request.body, terms)
        request.setResponseCode(204)
        tus_replies.tell_state(request, upload, offset)

    async def _create(self, request: StreamingRequest, upload: ResumableUpload) -> None:
        """tus-js-client creates anew, on the same URL, when an answer to its HEAD did not suit it: it gets what is there."""
        offset = await upload.refresh()
        request.setResponseCode(201)
        tus_replies.tell_state(request, upload, offset)
        set_fields(request, {"Location": request.external_base + request.uri.decode("latin-1"), "Content-Length": 0})
