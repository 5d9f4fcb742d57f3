"""URLs with a token in them, for people who have no account or no patience."""

from __future__ import annotations

from urllib.parse import urlencode

from vfgateway.protocols.manager.sessions import begin_upload, claim
from vfgateway.protocols.manager.v1.things import ArchiveToken, DownloadToken, MintedToken, UploadToken
from vfgateway.protocols.web.routing import Call, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession


class LinkRoutes(Routes):
    """Mints tokens.

    :param client_url: what URLs begin with
    """

    def __init__(self, gateway: Gateway, client_url: str) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="tokens, our way")
        self._client_url = client_url.rstrip("/")
        self.add("POST", "/tokens/download", self.token_download, DownloadToken, {201: MintedToken}, 404, 409)
        self.add("POST", "/tokens/archive", self.token_archive, ArchiveToken, {201: MintedToken}, 404, 409)
        self.add("POST", "/tokens/upload", self.token_upload, UploadToken, {201: MintedToken}, 404, 409, 423, 507)

    async def _enter(self, call: Call, vfolder: str) -> FolderSession:
        found = await self.gateway.vfolders.resolve(vfolder)
        return await self.gateway.session(call.principal, call.origin).folder(found.id, found.volume)

    async def token_download(self, call: Call, params: DownloadToken) -> Reply:
        """Mint a URL to fetch a file, or a directory as an archive. What it is for must exist."""
        folder = await self._enter(call, params.vfolder)
        await folder.stat(params.path)
        vfolder = folder.vfolder
        token = self.gateway.tokens.mint_download(vfolder.volume, vfolder.id, claim(params.path))
        expires = self.gateway.tokens.verify_download(token).expires
        self.gateway.audit.note("token_minted", claim(params.path), operation="download", expires=expires)
        return Reply(201, MintedToken(token=token, url=self._url("/download", token), expires=expires))

    async def token_archive(self, call: Call, params: ArchiveToken) -> Reply:
        """Mint a URL to fetch files and directories as one zip. What it is for must exist."""
        folder = await self._enter(call, params.vfolder)
        for path in params.paths:
            await folder.stat(path)
        vfolder, files = folder.vfolder, [claim(path) for path in params.paths]
        token = self.gateway.tokens.mint_archive(vfolder.volume, vfolder.id, files, params.filename)
        expires = self.gateway.tokens.verify_archive(token).expires
        self.gateway.audit.note("token_minted", ", ".join(files), operation="archive", expires=expires)
        return Reply(201, MintedToken(token=token, url=self._url("/download-archive", token), expires=expires))

    async def token_upload(self, call: Call, params: UploadToken) -> Reply:
        """Begin an upload and mint a URL for tus clients. Quota and locks are settled here."""
        folder = await self._enter(call, params.vfolder)
        upload = await begin_upload(self.gateway, folder, params.path, params.size)
        vfolder = folder.vfolder
        token = self.gateway.tokens.mint_upload(vfolder.volume, vfolder.id, claim(params.path), params.size, upload)
        expires = self.gateway.tokens.verify_upload(token).expires
        self.gateway.audit.note("token_minted", claim(params.path), operation="upload", expires=expires)
        return Reply(201, MintedToken(token=token, url=self._url("/upload", token), expires=expires, upload=upload))

    def _url(self, path: str, token: str) -> str:
        return f"{self._client_url}{path}?{urlencode({'token': token})}"
