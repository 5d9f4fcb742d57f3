"""``/download`` and ``/download-archive``: a file or an archive for whoever has a token (reference, sections 1.4 and 1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfgateway.errors import (
    InvalidClaims,
    InvalidPath,
    InvalidToken,
    LeavesFolder,
    NotADirectory,
    NotFound,
    TokenExpired,
    UnsupportedFileType,
)
from vfgateway.model import FileType
from vfgateway.paths import ROOT, FolderPath, parse_text
from vfgateway.plaintext import shown
from vfgateway.protocols.client.archive import Top, send_archive
from vfgateway.protocols.client.faults import (
    TOKEN_EXPIRED,
    TOKEN_FORGED,
    TOKEN_UNFIT,
    TOKEN_UNREADABLE,
    Answered,
    Hidden,
    bad_token,
)
from vfgateway.protocols.client.query import Query
from vfgateway.protocols.client.redirecting import redirected
from vfgateway.protocols.web.faults import INVALID_PARAMETERS, Fault
from vfgateway.protocols.web.reply import send_file
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.session import FolderSession
from vfgateway.services.tokens import ArchiveClaims, DownloadClaims

if TYPE_CHECKING:
    from vfgateway.protocols.client.app import ClientApp

#: Errors that must not be told from each other: what lies outside a vfolder, and what is not there.
_NOT_THERE = (NotFound, LeavesFolder, NotADirectory, InvalidPath)
_ESCAPES = Fault(400, "storage/subpath/invalid", "Invalid path", "vfolder_access_invalid-parameters")
_UNSUPPORTED = Fault(
    400, "storage/unsupported-file-type", "Unsupported file type", "vfs-storage_read_invalid-parameters"
)


async def download(app: ClientApp, request: StreamingRequest) -> None:
    """GET or HEAD one file, or with ``archive`` a directory as a zip file."""
    query = Query(request, ("token", "dst_dir", "archive", "no_cache"))
    try:
        claims = app.gateway.tokens.verify_download(query.text("token"))
    except InvalidToken as error:
        raise bad_token(error) from None
    archive, no_store = query.flag("archive"), query.flag("no_cache")
    try:
        await _download(app, request, claims, query.optional("dst_dir") or "", archive, no_store)
    except _NOT_THERE as error:
        if request.startedWriting:
            raise
        raise Hidden(str(error)) from None


async def _download(
    app: ClientApp, request: StreamingRequest, claims: DownloadClaims, dst_dir: str, archive: bool, no_store: bool
) -> None:
    path = parse_text(dst_dir).join(parse_text(claims.relpath))
    folder = await app.gateway.session(claims.principal, request.origin).folder(claims.vfid, claims.volume)
    facts = await folder.stat(path, follow=True)
    if facts.is_dir:
        if not archive:
            raise Answered(INVALID_PARAMETERS, f"The file is not a regular file: {shown(str(path))}")
        name = (path.name or folder.vfolder.display_name) + ".zip"
        await send_archive(request, folder, [Top(path, path)], name, app.pool, no_store)
        return
    try:
        opened = await folder.download(path)
    except UnsupportedFileType:
        raise Answered(INVALID_PARAMETERS, f"The file is not a regular file: {shown(str(path))}") from None
    if not await redirected(request, opened, path.name):
        await send_file(request, opened, disposition_name=path.name, no_store=no_store)


async def download_archive(app: ClientApp, request: StreamingRequest) -> None:
    """GET or HEAD several files and directories as one zip file."""
    claims = _archive_claims(app, request)
    folder = await app.gateway.session(claims.principal, request.origin).folder(claims.vfid, claims.volume)
    tops = [Top(await _checked(folder, text), ROOT) for text in claims.files]
    await send_archive(request, folder, tops, claims.filename or "archive.zip", app.pool)


def _archive_claims(app: ClientApp, request: StreamingRequest) -> ArchiveClaims:
    token = (request.args or {}).get(b"token", [b""])[0]
    try:
        return app.gateway.tokens.verify_archive(token.decode("utf-8", "replace"))
    except TokenExpired as error:
        raise Answered(TOKEN_EXPIRED, str(error)) from None
    except InvalidClaims as error:
        raise Answered(TOKEN_UNFIT, str(error)) from None
    except InvalidToken as error:
        forged = "ignature" in str(error)
        raise Answered(TOKEN_FORGED if forged else TOKEN_UNREADABLE, str(error)) from None


async def _checked(folder: FolderSession, text: str) -> FolderPath:
    """An entry of an archive token; everything is checked before the first byte goes out."""
    try:
        path = parse_text(text)
        facts = await folder.stat(path, follow=True)
    except InvalidPath:  # LeavesFolder is one
        raise Answered(_ESCAPES, f"Path escapes vfolder boundary: {shown(text)}") from None
    if facts.type is FileType.OTHER:
        raise Answered(_UNSUPPORTED, f"Unsupported file type: {shown(text)}")
    return path
