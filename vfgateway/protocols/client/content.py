"""The content API: files by name with plain GET, PUT and DELETE, for people and programs that log in.

``/vfgateway/v1/files/<vfolder>/<path>`` is a file or a directory; everything else that people do is in :mod:`vfgateway.protocols.client.people`.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from vfgateway.errors import InvalidPath, IsADirectory, NotFound
from vfgateway.model import FileStat
from vfgateway.paths import FolderPath, parse_url, url_of
from vfgateway.protocols.client.faults import Answered
from vfgateway.protocols.client.listing import answer_listing
from vfgateway.protocols.client.people.entering import enter
from vfgateway.protocols.client.query import Query
from vfgateway.protocols.client.redirecting import redirected
from vfgateway.protocols.client.settings import ClientSettings
from vfgateway.protocols.web.asked import Answer, Asked, Route, lines_of, place_in, type_served
from vfgateway.protocols.web.conditions import etag_of, expectation, http_date, seconds_of
from vfgateway.protocols.web.faults import Fault
from vfgateway.protocols.web.plainhead import CONDITIONS
from vfgateway.protocols.web.reply import file_at_hand, send_file
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.storing import store_at_hand, store_body
from vfgateway.services.session import FolderSession

if TYPE_CHECKING:
    from vfgateway.protocols.client.app import ClientApp

#: Where our own routes live.
PREFIX = b"/vfgateway/v1/"
_FILES = PREFIX + b"files/"
_UNSHARED = ((b"Cache-Control", b"private, no-cache"),)
_UNSHARED_LINES = lines_of(_UNSHARED)
_ALLOWED = b"GET, HEAD, PUT, DELETE, OPTIONS"

NOT_ALLOWED = Fault(405, "method-not-allowed", "Method not allowed", "storage-proxy_request_not-implemented")
NO_PARTIAL_PUT = Fault(400, "storage/partial-put", "Partial PUT", "storage-proxy_request_not-implemented")


def serves(path: bytes) -> bool:
    """Whether a path is one of ours."""
    return path.startswith(_FILES)


async def answer(app: ClientApp, request: StreamingRequest) -> None:
    """Answer any request to the content API."""
    if request.method not in _ALLOWED.split(b", "):
        request.setHeader(b"allow", _ALLOWED)
        raise Answered(NOT_ALLOWED, "not with this method")
    session = await enter(app.gateway, request)
    where = parse_url(request.path[len(_FILES) :])
    if where.is_root:
        raise NotFound(where, "name a vfolder: their list is at /vfgateway/v1/vfolders")
    folder = await session.folder_named(where.parts[0])
    path = FolderPath(where.parts[1:])
    if request.method == b"PUT":
        await _put(app, request, folder, path)
    elif request.method == b"DELETE":
        await _delete(request, folder, path)
    else:
        await _get(request, folder, path)


def files_url(request: StreamingRequest, name: str) -> str:
    """Where the files of the vfolder lie that somebody sees under ``name``."""
    return f"{request.external_base}{_FILES.decode('ascii')}{url_of(FolderPath((name,)))}/"


# --- files -----------------------------------------------------------------------------------------------


async def _get(request: StreamingRequest, folder: FolderSession, path: FolderPath) -> None:
    stat = await folder.stat(path, follow=True)
    if stat.is_dir:
        await answer_listing(request, folder, path)
        return
    Query(request, ())
    await get_file(request, folder, path)


async def get_file(request: StreamingRequest, folder: FolderSession, path: FolderPath) -> None:
    """Answer with a file, or the parts of it that are asked for."""
    for field in _UNSHARED:
        request.setHeader(*field)
    download = await folder.download(path)
    if not await redirected(request, download, path.name):
        await send_file(request, download, disposition_name=path.name)


def get_at_hand(asked: Asked) -> Answer | None:
    """GET and HEAD of a file on the fast lane."""
    if not asked.target.startswith(_FILES):
        return None
    name, path = place_in(asked.target, _FILES)
    folder = asked.enter(name)
    if folder is None:
        return None
    return file_at_hand(asked, folder, path, disposition_name=path.name, more=_UNSHARED_LINES)


async def _put(app: ClientApp, request: StreamingRequest, folder: FolderSession, path: FolderPath) -> None:
    Query(request, ())
    if request.path.endswith(b"/"):
        raise IsADirectory(path)
    await put_file(app, request, folder, path, _location(request_name(request), path))


async def put_file(
    app: ClientApp, request: StreamingRequest, folder: FolderSession, path: FolderPath, location: str
) -> None:
    """Create or replace a file, with the directories above it. Everything is checked before the body is read.

    :param location: where a new file will be found, from the root of the site
    """
    if path.is_root:
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
        request.setHeader(b"location", f"{request.external_base}{location}".encode("ascii"))
        request.setHeader(b"content-length", b"0")
    request.write(b"")


def _location(name: str, path: FolderPath) -> str:
    """Where a file lies, from the root of the site, in the vfolder that somebody sees under ``name``."""
    return f"{_FILES.decode('ascii')}{url_of(FolderPath((name, *path.parts)))}"


def request_name(request: StreamingRequest) -> str:
    """The name of the vfolder, as the request has it."""
    return parse_url(request.path[len(_FILES) :]).parts[0]


def put_at_hand(asked: Asked, limit: int) -> type_served:
    """PUT of a small file on the fast lane; what directories there are not above it, the ordinary way makes."""
    if not asked.target.startswith(_FILES):
        return None
    name, path = place_in(asked.target, _FILES)

    def tell(stat: FileStat, is_new: bool) -> bytes:
        facts = [(b"Etag", etag_of(stat)), (b"Last-Modified", http_date(seconds_of(stat)))]
        if is_new:
            location = asked.external_base + _location(name, path)
            facts.append((b"Location", location.encode("ascii")))
        return lines_of(facts)

    def store(folder: FolderSession) -> type_served:
        return store_at_hand(asked, folder, path, limit=limit, tell=tell)

    folder = asked.enter(name)
    return asked.enter_again(name, store) if folder is None else store(folder)


def routes(settings: ClientSettings) -> Mapping[bytes, Route]:
    """Those of the fast lane, by method."""
    reading = Route(get_at_hand, CONDITIONS)
    storing = Route(partial(put_at_hand, limit=settings.max_upload_size), body=True)
    return {b"GET": reading, b"HEAD": reading, b"PUT": storing}


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
