"""Files and directories: listed, read, written, made, moved, copied, deleted and restored. The bytes go the same ways as everywhere else in
this front end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from vfgateway.errors import AlreadyExists, DirectoryNotEmpty, NotFound
from vfgateway.model import ABSENT, ANY, DirEntry
from vfgateway.paths import FolderPath, json_name
from vfgateway.protocols.client import content
from vfgateway.protocols.client.archive import Top, send_archive
from vfgateway.protocols.client.listing import answer_listing, entry_json
from vfgateway.protocols.client.people import rooms
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.protocols.client.people.filebodies import (
    Archive,
    Below,
    Directory,
    Entries,
    Entry,
    FileTrashItem,
    FileTrashList,
    Journey,
    Listed,
    Putting,
    Removal,
    Removed,
    Where,
)
from vfgateway.protocols.web.routing import (
    BYTES,
    NO_CONTENT,
    NOTHING,
    NoParameters,
    Raw,
    Reply,
    Routes,
    Source,
    type_reply_body,
)
from vfgateway.services import copying
from vfgateway.services.filetrash import Discarded
from vfgateway.services.session import FolderSession

if TYPE_CHECKING:
    from vfgateway.protocols.client.app import ClientApp


class EntryRoutes(Routes):
    """See the module."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__(app.gateway, "/vfgateway/v1", tag="files")
        self._app = app
        one, query = "/vfolders/{folder}", {"source": Source.QUERY}
        self.add("GET", one + "/entries", self.entry_list, Listed, {200: Entries}, 404, 409, **query)
        self.add("GET", one + "/entry", self.entry_show, Where, {200: Entry}, 404, 409, **query)
        self.add("DELETE", one + "/entry", self.entry_delete, Removal, {200: Removed}, 404, 409, 423, **query)
        whole: dict[int, type_reply_body] = {
            200: Raw(BYTES, "The file"),
            206: Raw(BYTES, "The part of it that was asked for"),
            304: NOTHING,
        }
        self.add("GET", one + "/content", self.content_get, Below, whole, 404, 409, 412, 416, **query)
        stored = {201: NOTHING, 204: NOTHING}
        self.add("PUT", one + "/content", self.content_put, Below, stored, 404, 409, 412, 423, 507, **query)
        self.add(
            "GET", one + "/archive", self.archive_get, Archive, {200: Raw("application/zip", "All of it")}, 404, **query
        )
        made = {201: Entry}
        self.add("POST", one + "/directories", self.directory_create, Directory, made, 404, 409, 423, 507)
        self.add("POST", one + "/move", self.entry_move, Journey, {200: Entry}, 404, 409, 423, 507)
        self.add("POST", one + "/copy", self.entry_copy, Journey, {201: Entry}, 404, 409, 423, 507)
        item = one + "/trash/{item}"
        self.add("GET", one + "/trash", self.file_trash_list, NoParameters, {200: FileTrashList}, 404)
        self.add("DELETE", one + "/trash", self.file_trash_empty, NoParameters, {204: NOTHING}, 404, 409)
        self.add("POST", item + "/restore", self.file_trash_restore, Putting, {200: Entry}, 404, 409, 423, 507)
        self.add("DELETE", item, self.file_trash_purge, NoParameters, {204: NOTHING}, 404, 409)

    async def _folder(self, call: PersonsCall) -> FolderSession:
        return await rooms.folder(self.gateway, call)

    # --- looking ---

    async def entry_list(self, call: PersonsCall, params: Listed) -> None:
        """List a directory: a page at a time, sorted, filtered, and with all below it if that is asked for."""
        await answer_listing(call.request, await self._folder(call), params.path, ("path",))

    async def entry_show(self, call: PersonsCall, params: Where) -> Reply:
        """Show one entry. Links are shown as such."""
        return await self._shown(await self._folder(call), params.path)

    async def _shown(self, folder: FolderSession, path: FolderPath, status: int = 200) -> Reply:
        facts = entry_json(DirEntry(path.name, await folder.stat(path)), path)
        return Reply(status, Entry(**facts))

    async def content_get(self, call: PersonsCall, params: Below) -> None:
        """Read a file, or ranges of it. Conditions are honoured."""
        await content.get_file(call.request, await self._folder(call), params.path)

    async def archive_get(self, call: PersonsCall, params: Archive) -> None:
        """Fetch files and directories as one zip file, sent while it is made."""
        folder = await self._folder(call)
        for path in params.path:
            await folder.stat(path, follow=True)
        top = params.path[0]
        single = len(params.path) == 1
        name = (top.name if single and top.name else folder.vfolder.display_name) + ".zip"
        tops = [Top(path, path if single and not path.is_root else FolderPath()) for path in params.path]
        if single and not top.is_root:
            tops = [Top(top, top.parent)]
        await send_archive(call.request, folder, tops, params.filename or name, self._app.pool)

    # --- changing ---

    async def content_put(self, call: PersonsCall, params: Below) -> None:
        """Create or replace a file with the body, whole or not at all; missing directories are made. Conditions are honoured.

        Large files had better be sent to ``/vfgateway/v1/uploads``, where they can be continued.
        """
        place = quote(call.path["folder"], safe="")
        path = urlencode({"path": str(params.path)}, errors="surrogateescape")
        location = f"/vfgateway/v1/vfolders/{place}/content?{path}"
        await content.put_file(self._app, call.request, await self._folder(call), params.path, location)

    async def directory_create(self, call: PersonsCall, params: Directory) -> Reply:
        """Make a directory."""
        folder = await self._folder(call)
        await folder.make_dir(params.path, parents=params.parents)
        return await self._shown(folder, params.path, 201)

    async def entry_move(self, call: PersonsCall, params: Journey) -> Reply:
        """Rename an entry, or move it to another vfolder."""
        origin, into = await self._sides(call, params)
        await self._check_target(into, params)
        await copying.move(origin, params.source, into, params.target)
        return await self._shown(into, params.target)

    async def entry_copy(self, call: PersonsCall, params: Journey) -> Reply:
        """Copy a file or a directory with all below it, to another vfolder too."""
        origin, into = await self._sides(call, params)
        expect = ANY if params.replace else ABSENT
        stat = await origin.stat(params.source)
        await origin.copy(params.source, params.target, into=into, expect=ANY if stat.is_dir else expect)
        return await self._shown(into, params.target, 201)

    async def _sides(self, call: PersonsCall, params: Journey) -> tuple[FolderSession, FolderSession]:
        origin = await self._folder(call)
        return origin, origin if params.to is None else await rooms.folder(self.gateway, call, params.to)

    async def _check_target(self, into: FolderSession, params: Journey) -> None:
        if params.replace:
            return
        try:
            await into.stat(params.target)
        except NotFound:
            return
        raise AlreadyExists(params.target)

    async def entry_delete(self, call: PersonsCall, params: Removal) -> Reply:
        """Delete a file, a link or an empty directory, or with ``recursive`` any; into the vfolder's trash where one is kept."""
        folder = await self._folder(call)
        stat = await folder.stat(params.path)
        if stat.is_dir and params.recursive == "false":
            await self._refuse_full(folder, params.path)
        if params.permanently == "false":
            item = await self.gateway.file_trash.discard(folder, params.path)
            if item is not None:
                return Reply(body=Removed(trash=item.id, purge_at=item.purge_at))
        elif not stat.is_dir:
            await folder.remove(params.path)
        elif params.recursive == "true":
            await folder.remove_tree(params.path)
        else:
            await folder.remove_dir(params.path)
        return Reply(body=Removed(trash=None, purge_at=None))

    async def _refuse_full(self, folder: FolderSession, path: FolderPath) -> None:
        listing = await folder.list(path)
        try:
            if await listing.read(1):
                raise DirectoryNotEmpty(path)
        finally:
            await listing.close()

    # --- trash ---

    async def file_trash_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List the deleted files of a vfolder that I may restore."""
        found = await self.gateway.file_trash.list(await self._folder(call))
        return Reply(body=FileTrashList(items=[FileTrashItem(**_item(one)) for one in found]))

    async def file_trash_restore(self, call: PersonsCall, params: Putting) -> Reply:
        """Put a deleted file or directory back, where it was or elsewhere."""
        folder = await self._folder(call)
        path = await self.gateway.file_trash.restore(folder, call.path["item"], params.path)
        return await self._shown(folder, path)

    async def file_trash_purge(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Remove a deleted file for good."""
        await self.gateway.file_trash.purge(await self._folder(call), call.path["item"])
        return NO_CONTENT

    async def file_trash_empty(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Remove all deleted files that I may for good."""
        await self.gateway.file_trash.empty(await self._folder(call))
        return NO_CONTENT


def _item(one: Discarded) -> dict[str, Any]:
    return {
        "id": one.id,
        "path": json_name(str(one.path))["name"],
        "directory": one.directory,
        "size": one.size,
        "deleted_by": one.deleted_by,
        "deleted": one.deleted,
        "purge_at": one.purge_at,
    }
