"""The content API: files by name with plain GET, PUT and DELETE, for people and programs that log in.

``/vfgateway/v1/vfolders`` lists what one may enter; ``/vfgateway/v1/files/<vfolder>/<path>`` is a file or a directory in it.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfgateway.errors import InvalidPath, IsADirectory, NotFound
from vfgateway.model import FileStat
from vfgateway.paths import FolderPath, parse_url, url_of
from vfgateway.protocols.client.faults import Answered
from vfgateway.protocols.client.listing import answer_listing
from vfgateway.protocols.client.query import Query
from vfgateway.protocols.web.conditions import etag_of, expectation, http_date, seconds_of
from vfgateway.protocols.web.faults import Fault, answer_json
from vfgateway.protocols.web.lane import CONDITIONS, Answer, Asked, Route, place_in
from vfgateway.protocols.web.login import log_in
from vfgateway.protocols.web.reply import file_at_hand, send_file
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.storing import store_body
from vfgateway.services.session import FolderSession, Session
from vfgateway.services.vfolders import VisibleVFolder

if TYPE_CHECKING:
    from vfgateway.protocols.client.app import ClientApp

#: Where our own routes live.
PREFIX = b"/vfgateway/v1/"
_FILES = PREFIX + b"files/"
_UNSHARED = ((b"Cache-Control", b"private, no-cache"),)
_VFOLDERS = PREFIX + b"vfolders"
_ALLOWED = {b"files": b"GET, HEAD, PUT, DELETE, OPTIONS", b"vfolders": b"GET, HEAD, OPTIONS"}

NOT_ALLOWED = Fault(405, "method-not-allowed", "Method not allowed", "storage-proxy_request_not-implemented")
NO_PARTIAL_PUT = Fault(400, "storage/partial-put", "Partial PUT", "storage-proxy_request_not-implemented")


def serves(path: bytes) -> bool:
    """Whether a path is one of ours."""
    return path.startswith(_FILES) or path in (_VFOLDERS, _VFOLDERS + b"/", _FILES[:-1])


async def answer(app: ClientApp, request: StreamingRequest) -> None:
    """Answer any request to the content API."""
    allowed = _ALLOWED[b"files" if request.path.startswith(_FILES) else b"vfolders"]
    if request.method not in allowed.split(b", "):
        request.setHeader(b"allow", allowed)
        raise Answered(NOT_ALLOWED, "not with this method")
    session = await log_in(app.gateway, request)
    if not request.path.startswith(_FILES):
        await _list_vfolders(request, session)
        return
    where = parse_url(request.path[len(_FILES) :])
    if where.is_root:
        await _list_vfolders(request, session)
        return
    folder = await session.folder_named(where.parts[0])
    path = FolderPath(where.parts[1:])
    if request.method == b"PUT":
        await _put(app, request, folder, path)
    elif request.method == b"DELETE":
        await _delete(request, folder, path)
    else:
        await _get(request, folder, path)


# --- vfolders --------------------------------------------------------------------------------------------


async def _list_vfolders(request: StreamingRequest, session: Session) -> None:
    Query(request, ())
    answer_json(request, {"vfolders": [_vfolder(request, visible) for visible in await session.vfolders()]})


def _vfolder(request: StreamingRequest, visible: VisibleVFolder) -> dict[str, Any]:
    vfolder = visible.vfolder
    return {
        "name": visible.name,
        "id": str(vfolder.id),
        "volume": vfolder.volume,
        "owner": str(vfolder.owner) if vfolder.owner else None,
        "kind": vfolder.kind.value,
        "permission": str(visible.access.permission),
        "status": vfolder.status.value,
        "limit_bytes": vfolder.limits.bytes,
        "limit_files": vfolder.limits.files,
        "url": f"{request.external_base}{_FILES.decode('ascii')}{url_of(FolderPath((visible.name,)))}/",
    }


# --- files -----------------------------------------------------------------------------------------------


async def _get(request: StreamingRequest, folder: FolderSession, path: FolderPath) -> None:
    stat = await folder.stat(path, follow=True)
    if stat.is_dir:
        await answer_listing(request, folder, path)
        return
    Query(request, ())
    for field in _UNSHARED:
        request.setHeader(*field)
    await send_file(request, await folder.download(path), disposition_name=path.name)


def get_at_hand(asked: Asked) -> Answer | None:
    """GET and HEAD of a file on the fast lane."""
    if not asked.target.startswith(_FILES):
        return None
    name, path = place_in(asked.target, _FILES)
    folder = asked.enter(name)
    if folder is None:
        return None
    return file_at_hand(asked, folder, path, disposition_name=path.name, more=_UNSHARED)


#: By method.
ROUTES = {method: Route(get_at_hand, CONDITIONS) for method in (b"GET", b"HEAD")}


async def _put(app: ClientApp, request: StreamingRequest, folder: FolderSession, path: FolderPath) -> None:
    """Create or replace a file, with the directories above it. Everything is checked before the body is read."""
    Query(request, ())
    if path.is_root or request.path.endswith(b"/"):
        raise IsADirectory(path)
    if request.requestHeaders.hasHeader(b"content-range"):  # RFC 9110 section 14.5
        raise Answered(NO_PARTIAL_PUT, "a part of a file cannot be put; use a resumable upload")
    present = await _present(folder, path)
    expect = expectation(request.requestHeaders, path, present)
    limit = app.settings.max_upload_size
    stat = await store_body(request, folder, path, limit=limit, expect=expect, parents=True)
    request.setResponseCode(204 if present is not None else 201)
    request.setHeader(b"etag", etag_of(stat))
    request.setHeader(b"last-modified", http_date(seconds_of(stat)))
    if present is None:
        where = FolderPath((request_name(request), *path.parts))
        request.setHeader(
            b"location", f"{request.external_base}{_FILES.decode('ascii')}{url_of(where)}".encode("ascii")
        )
        request.setHeader(b"content-length", b"0")
    request.write(b"")


def request_name(request: StreamingRequest) -> str:
    """The name of the vfolder, as the request has it."""
    return parse_url(request.path[len(_FILES) :]).parts[0]


async def _present(folder: FolderSession, path: FolderPath) -> FileStat | None:
    try:
        return await folder.stat(path)
    except NotFound:
        return None


async def _delete(request: StreamingRequest, folder: FolderSession, path: FolderPath) -> None:
    """Remove a file, a link or an empty directory; with ``recursive`` a directory with all below it."""
    query = Query(request, ("recursive",))
    recursive = query.flag("recursive")
    if path.is_root:
        raise InvalidPath(path, "a vfolder cannot be deleted here")
    stat = await folder.stat(path)
    expect = expectation(request.requestHeaders, path, stat)
    if not stat.is_dir:
        await folder.remove(path, expect)
    elif recursive:
        await folder.remove_tree(path)
    else:
        await folder.remove_dir(path)
    request.setResponseCode(204)
    request.write(b"")
