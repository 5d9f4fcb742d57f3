"""Where an upload of a person shall go: which vfolder, which path in it, and the URL of the upload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import attrs
from werkzeug.http import parse_options_header

from vfgateway.errors import InvalidArgument, VFolderNotFound
from vfgateway.model import VFolderId
from vfgateway.paths import FolderPath, parse_text
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.protocols.web.tus_fields import field
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession, Session

#: The collection of uploads.
COLLECTION = "/vfgateway/v1/uploads"


@attrs.frozen
class Place:
    """What the client said of the target.

    :ivar vfolder: the name under which the person sees it, or its identifier
    :ivar name: the path, or what has to do for one
    """

    vfolder: str | None
    name: str | None

    @classmethod
    def asked(cls, request: StreamingRequest, metadata: Mapping[str, str]) -> Self:
        """From the metadata, else from the query (partial uploads come without metadata, but with the same URL), else, for the name,
        from ``Content-Disposition``."""
        query = {
            key.decode("utf-8", "replace"): values[0].decode("utf-8", "surrogateescape")
            for key, values in (request.args or {}).items()
        }
        name = metadata.get("path") or query.get("path")
        if not name or name.endswith("/"):
            # tus-js-client and tuspy say filename by custom, Uppy says name.
            last = metadata.get("filename") or metadata.get("name") or _disposed(request)
            name = (name or "") + last if last else name
        return cls(metadata.get("vfolder") or query.get("vfolder"), name)

    def path(self) -> FolderPath:
        """The target. ``InvalidArgument`` if none was given, ``InvalidPath``."""
        if not self.name:
            raise InvalidArgument("path", "name the file by path (or filename) in Upload-Metadata")
        return parse_text(self.name)

    async def folder(self, session: Session) -> FolderSession:
        """The vfolder. Who sees only one need not name it. ``VFolderNotFound``, ``InvalidArgument``."""
        if self.vfolder is None:
            visible = await session.vfolders()
            if len(visible) != 1:
                raise InvalidArgument("vfolder", "name the vfolder in Upload-Metadata, or as ?vfolder= in the URL")
            return await session.folder_named(visible[0].name)
        try:
            return await session.folder_named(self.vfolder)
        except VFolderNotFound:
            try:
                vfid = VFolderId.parse(self.vfolder)
            except InvalidArgument:
                vfid = None
            if vfid is None:
                raise
            return await session.folder(vfid)


def _disposed(request: StreamingRequest) -> str | None:
    value = field(request, "Content-Disposition")
    return parse_options_header(value)[1].get("filename") if value else None


def url_of_upload(request: StreamingRequest, upload: ResumableUpload) -> str:
    """The absolute URL of an upload, as the caller reaches us."""
    return f"{request.external_base}{COLLECTION}/{upload.id}"
