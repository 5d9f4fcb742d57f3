"""The reference's routes that hand out tokens for the client front end (reference 2.6)."""

from __future__ import annotations

from vfgateway.errors import InvalidPath, Unsupported
from vfgateway.paths import FolderPath
from vfgateway.protocols.manager.fields import NOOP
from vfgateway.protocols.manager.wire import ArchiveSession, DownloadSession, OfFolder, Token, UploadSession
from vfgateway.protocols.web.routing import Call, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession


class SessionRoutes(Routes):
    """Everything that ends in a token."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/folder/file", reference=True, tag="tokens")
        self.add("POST", "/download", self.file_download, DownloadSession, {200: Token}, 404)
        self.add("POST", "/archive-download-token", self.file_archive_token, ArchiveSession, {200: Token}, 404)
        self.add("POST", "/upload", self.file_upload, UploadSession, {200: Token}, 404, 409, 423)

    async def file_download(self, call: Call, params: DownloadSession) -> Reply:
        """Mint a token to fetch a file, or a directory as an archive. Whether it exists is asked when the token is used."""
        if params.unmanaged_path:
            raise Unsupported("paths outside of vfolders")
        await self._enter(call, params)
        token = self.gateway.tokens.mint_download(params.volume, params.vfid, claim(params.relpath))
        return Reply(body=Token(token=token))

    async def file_archive_token(self, call: Call, params: ArchiveSession) -> Reply:
        """Mint a token to fetch files and directories as one archive."""
        if params.volume == NOOP:
            raise Unsupported("transfers outside of vfolders")
        await self.gateway.find_vfolder(params.virtual_folder_id, params.volume)
        files = [claim(path) for path in params.files]
        token = self.gateway.tokens.mint_archive(params.volume, params.virtual_folder_id, files, params.filename)
        return Reply(body=Token(token=token))

    async def file_upload(self, call: Call, params: UploadSession) -> Reply:
        """Begin an upload, and mint a token for it.

        Quota and locks are settled here. An upload of no bytes is complete at once, since no client sends anything for it.
        """
        folder = await self._enter(call, params)
        upload = await begin_upload(self.gateway, folder, params.relpath, params.size)
        token = self.gateway.tokens.mint_upload(params.volume, params.vfid, claim(params.relpath), params.size, upload)
        return Reply(body=Token(token=token))

    async def _enter(self, call: Call, params: OfFolder) -> FolderSession:
        if params.volume == NOOP:
            raise Unsupported("transfers outside of vfolders")
        return await self.gateway.session(call.principal, call.origin).folder(params.vfid, params.volume)


async def begin_upload(gateway: Gateway, folder: FolderSession, path: FolderPath, size: int) -> str:
    """Begin an upload that belongs to the vfolder; its identifier. One of no bytes is published at once."""
    if path.is_root:
        raise InvalidPath(path, "an upload needs the name of a file")
    return (await gateway.staging.begin(folder, path, size=size, owned_by_vfolder=True)).id


def claim(path: FolderPath) -> str:
    """A path as tokens carry it."""
    return str(path) or "."
