"""``/vfgateway/v1/uploads``: people's uploads, by tus or by the IETF's protocol, whichever the client speaks; and their list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from klein import Klein

from vfgateway.errors import AuthenticationFailed, InvalidArgument
from vfgateway.paths import json_name
from vfgateway.protocols.client import resumable
from vfgateway.protocols.client.resumable import Resumable
from vfgateway.protocols.client.resumable_fields import NEWEST, PARTIAL_UPLOAD, Dialect, speaks_draft
from vfgateway.protocols.client.tus_places import COLLECTION, Place, url_of_upload
from vfgateway.protocols.web import faults, tus_fields, tus_replies
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus import Tus
from vfgateway.protocols.web.tus_fields import set_fields
from vfgateway.protocols.web.tus_replies import EXTENSIONS, TUS_FAULTS
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import Session
from vfgateway.services.staging import UploadInfo

#: Logs the caller in by ``Authorization``; raises ``AuthenticationFailed``.
type_login = Callable[[StreamingRequest], Awaitable[Session]]

_METHODS = ("OPTIONS", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class PeoplesUploads:
    """The routes."""

    def __init__(self, gateway: Gateway, login: type_login) -> None:
        self._gateway = gateway
        self._login = login
        self._tus = Tus(gateway, url_of_upload)
        self._resumable = Resumable(gateway)

    def mount(self, app: Klein) -> None:
        """Add them to ``app``."""

        @app.route(COLLECTION, methods=_METHODS, endpoint="uploads")
        async def collection(request: StreamingRequest) -> None:
            await self._guarded(request, None)

        @app.route(f"{COLLECTION}/<string:upload_id>", methods=_METHODS, endpoint="upload")
        async def upload(request: StreamingRequest, upload_id: str) -> None:
            await self._guarded(request, upload_id)

    async def _guarded(self, request: StreamingRequest, upload_id: str | None) -> None:
        """Answer in the protocol of the request, errors too, and let scripts of any site read it."""
        tus_replies.allow_all_origins(request)
        method = tus_fields.method(request)
        draft = speaks_draft(request, method)
        try:
            if method == "OPTIONS":
                self._discover(request)
            elif upload_id is None:
                await self._on_collection(request, method, draft)
            else:
                await self._on_upload(request, method, draft, upload_id)
        except Exception as error:
            if isinstance(error, AuthenticationFailed):
                set_fields(request, {"WWW-Authenticate": 'Basic realm="vfgateway", charset="UTF-8"'})
            if draft:
                resumable.fail(request, error, self._gateway)
            else:
                tus_replies.fail(request, error, TUS_FAULTS)

    def _discover(self, request: StreamingRequest) -> None:
        tus_replies.describe_server(request, EXTENSIONS, self._gateway.staging.max_size)
        limits = Dialect(NEWEST, False).limits(self._gateway.staging.max_size, None)
        set_fields(request, {"Accept-Patch": PARTIAL_UPLOAD, **limits})

    async def _on_collection(self, request: StreamingRequest, method: str, draft: bool) -> None:
        if method == "GET":
            faults.answer_json(request, {"items": await self._list(await self._login(request))})
        elif method == "POST" or (method == "PUT" and draft):
            if not draft:
                tus_replies.check_version(request, required=True)
            session = await self._login(request)
            if draft:
                await self._resumable.create(request, session)
            else:
                await self._tus.create(request, session, partial(Place.asked, request))
        else:
            _refuse_method(request, method, "OPTIONS, GET, POST")

    async def _on_upload(self, request: StreamingRequest, method: str, draft: bool, upload_id: str) -> None:
        if not draft and method != "GET":
            tus_replies.check_version(request, required=True)
        if method == "PATCH":
            with self._gateway.staging.arrivals.coming(upload_id, request.body) as came:
                upload = await self._gateway.staging.find(await self._login(request), upload_id)
            await (self._resumable if draft else self._tus).append(request, upload, came)
            return
        upload = await self._gateway.staging.find(await self._login(request), upload_id)
        if method == "GET":
            set_fields(request, {"Cache-Control": "no-store"})
            faults.answer_json(request, await self._describe(self._gateway.staging.describe(upload)))
        elif method == "HEAD":
            await (self._resumable if draft else self._tus).look(request, upload)
        elif method == "DELETE" and draft:
            await self._resumable.cancel(request, upload)
        elif method == "DELETE":
            await self._tus.terminate(request, upload)
        else:
            _refuse_method(request, method, "OPTIONS, GET, HEAD, PATCH, DELETE")

    async def _list(self, session: Session) -> list[dict[str, Any]]:
        """The caller's uploads, or those in one vfolder that it may continue."""
        user = session.principal.user_id
        if user is None:
            raise InvalidArgument("principal", "only people have uploads of their own")
        return [await self._describe(info) for info in await self._gateway.staging.list_of(str(user))]

    async def _describe(self, info: UploadInfo) -> dict[str, Any]:
        vfolder = await self._gateway.vfolders.by_key(info.vfolder)
        path = json_name(str(info.target))
        return {
            "id": info.id,
            "vfolder": str(vfolder.id),
            "vfolder_name": vfolder.display_name,
            "path": path["name"],
            **({"path_b64": path["name_b64"]} if "name_b64" in path else {}),
            "size": info.size,
            "offset": info.offset,
            "state": info.state.value,
            "active": info.active,
            "created": info.created,
            "expires": info.expires,
            "url": f"{COLLECTION}/{info.id}",
        }


def _refuse_method(request: StreamingRequest, method: str, allowed: str) -> None:
    set_fields(request, {"Allow": allowed})
    body = {"type": faults.PROBLEMS + "method-not-allowed", "title": "Method Not Allowed", "status": 405}
    faults.answer_problem(request, 405, {**body, "detail": f"{method[:20]} is not for this resource"})
