"""Whole vfolders: what I have, what is in the trash, and giving up what I have."""

from __future__ import annotations

from uuid import UUID

from vfgateway.errors import PermissionDenied, VFolderNotFound
from vfgateway.model import VFolder
from vfgateway.protocols.client.people import rooms
from vfgateway.protocols.client.people.bodies import (
    NewName,
    Task,
    TrashedInfo,
    TrashedList,
    VFolderChange,
    VFolderInfo,
    VFolderList,
)
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.protocols.client.people.filebodies import Quota
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, NoParameters, Reply, Routes, type_reply_body
from vfgateway.protocols.web.usagebodies import VFolderUsage, usage_of
from vfgateway.services.gateway import Gateway
from vfgateway.services.permissions import administers
from vfgateway.services.trash import Trashed
from vfgateway.services.vfolders import VisibleVFolder


class VFolderRoutes(Routes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="vfolders")
        one, in_trash = "/vfolders/{folder}", "/trash/{folder}"
        self.add("GET", "/vfolders", self.vfolder_list, NoParameters, {200: VFolderList})
        self.add("GET", one, self.vfolder_show, NoParameters, {200: VFolderInfo}, 404)
        self.add("PATCH", one, self.vfolder_change, VFolderChange, {200: VFolderInfo}, 404, 409)
        deleted: dict[int, type_reply_body] = {200: TrashedInfo, 202: Task}
        self.add("DELETE", one, self.vfolder_delete, NoParameters, deleted, 404, 409)
        self.add("GET", one + "/quota", self.vfolder_quota, NoParameters, {200: Quota}, 404)
        self.add("GET", one + "/usage", self.vfolder_usage, NoParameters, {200: VFolderUsage}, 404)
        self.add("POST", one + "/leave", self.vfolder_leave, NoParameters, {204: NOTHING}, 404, 409)
        self.add("GET", "/trash", self.trash_list, NoParameters, {200: TrashedList})
        self.add("POST", in_trash + "/restore", self.trash_restore, NewName, {200: VFolderInfo}, 404, 409)
        self.add("DELETE", in_trash, self.trash_purge, NoParameters, {202: Task}, 404)

    # --- what I have ---

    async def vfolder_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List the vfolders that I may enter, by the names that I see them under."""
        known = await rooms.names(self.gateway)
        found = await call.session.vfolders()
        shown = [await rooms.describe(self.gateway, call, entry, known) for entry in found]
        return Reply(body=VFolderList(vfolders=shown))

    async def vfolder_show(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Show one vfolder."""
        return await self._shown(call, await rooms.visible(self.gateway, call))

    async def _shown(self, call: PersonsCall, entry: VisibleVFolder) -> Reply:
        return Reply(body=await rooms.describe(self.gateway, call, entry, await rooms.names(self.gateway)))

    async def vfolder_quota(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Tell what a vfolder holds, and what is left of the tightest limit that applies to it."""
        vfolder = (await rooms.visible(self.gateway, call)).vfolder
        usage, left = await self.gateway.quota.usage(vfolder), await self.gateway.quota.remaining(vfolder)
        trash = await self.gateway.file_trash.used(vfolder)
        return Reply(
            body=Quota(
                used_bytes=usage.bytes,
                used_files=usage.files,
                trash_bytes=trash.bytes,
                trash_files=trash.files,
                limit_bytes=left.limit_bytes,
                limit_files=left.limit_files,
                free_bytes=left.free_bytes,
                free_files=left.free_files,
            )
        )

    async def vfolder_usage(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Tell what a vfolder holds, and where: by directory at its top."""
        return Reply(body=await usage_of(self.gateway, (await rooms.visible(self.gateway, call)).vfolder))

    # --- changing ---

    async def _administered(self, call: PersonsCall, action: str) -> VFolder:
        """``PermissionDenied`` unless the caller administers it."""
        entry = await rooms.visible(self.gateway, call)
        if not administers(call.session.principal, entry.vfolder):
            raise PermissionDenied("", action, "to be its owner")
        return entry.vfolder

    async def vfolder_change(self, call: PersonsCall, params: VFolderChange) -> Reply:
        """Rename a vfolder, or say when it shall be deleted. For those who administer it."""
        vfolder = await self._administered(call, "change this vfolder")
        changes = {name: getattr(params, name) for name in params.model_fields_set}
        if changes.get("name", "") is None:
            del changes["name"]
        if changes:
            vfolder = await self.gateway.vfolders.update(vfolder.key, **changes)
        return await self._shown(call, await rooms.by_key(self.gateway, call, vfolder.key))

    async def vfolder_delete(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Delete a vfolder with everything in it, into the trash where one is kept. For those who administer it."""
        vfolder = await self._administered(call, "delete this vfolder")
        if not self.gateway.trash.retention:
            return Reply(202, Task(task=await self.gateway.lifecycle.delete(vfolder.volume, vfolder.id)))
        return Reply(body=await self._trashed(await self.gateway.trash.put(vfolder, call.principal.name)))

    async def vfolder_leave(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Give up a vfolder that somebody opened to me."""
        entry = await rooms.visible(self.gateway, call)
        await self.gateway.collaboration.leave(call.session.principal, entry.vfolder)
        return NO_CONTENT

    # --- trash ---

    async def _trashed(self, trashed: Trashed) -> TrashedInfo:
        vfolder = trashed.vfolder
        return TrashedInfo(
            id=vfolder.id.folder.hex,
            name=trashed.name or vfolder.id.folder.hex,
            used_bytes=(await self.gateway.quota.usage(vfolder)).bytes,
            deleted_by=trashed.deleted_by,
            deleted=trashed.deleted,
            purge_at=trashed.purge_at,
        )

    async def _in_trash(self, call: PersonsCall) -> Trashed:
        wanted = call.path["folder"]
        try:
            digits = UUID(wanted).hex
        except ValueError:
            raise VFolderNotFound(wanted) from None
        for trashed in await self.gateway.trash.list(await call.session.refresh()):
            if trashed.vfolder.id.folder.hex == digits:
                return trashed
        raise VFolderNotFound(wanted)

    async def trash_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List the deleted vfolders that I may restore."""
        found = await self.gateway.trash.list(await call.session.refresh())
        return Reply(body=TrashedList(vfolders=[await self._trashed(one) for one in found]))

    async def trash_restore(self, call: PersonsCall, params: NewName) -> Reply:
        """Take a vfolder out of the trash, with everything in it and with those to whom it is opened."""
        trashed = await self._in_trash(call)
        vfolder = await self.gateway.trash.restore(trashed.vfolder.key, call.principal.name, params.name)
        return await self._shown(call, await rooms.by_key(self.gateway, call, vfolder.key))

    async def trash_purge(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Begin to remove a vfolder in the trash for good."""
        trashed = await self._in_trash(call)
        return Reply(202, Task(task=await self.gateway.trash.purge(trashed.vfolder.key)))
