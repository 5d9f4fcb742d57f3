"""Vfolders and grants."""

from __future__ import annotations

from typing import Any, Literal, cast
from uuid import UUID, uuid4

from vfgateway.errors import InvalidArgument, VFolderExists, VFolderNotFound
from vfgateway.model import (
    FolderOptions,
    Limits,
    Permission,
    QuotaScopeId,
    ScopeKind,
    VFolder,
    VFolderId,
    VFolderStatus,
)
from vfgateway.protocols.manager.v1.accounts import account, changed_limits, given
from vfgateway.protocols.manager.v1.owners import Owners, type_names, word_of
from vfgateway.protocols.manager.v1.sharing import trashed_info
from vfgateway.protocols.manager.v1.sharing_things import AdoptionOrder, Deletion, TrashedInfo
from vfgateway.protocols.manager.v1.things import (
    GrantCreation,
    GrantInfo,
    GrantList,
    OnVolume,
    TaskStarted,
    UsageReport,
    VFolderChange,
    VFolderClone,
    VFolderCreation,
    VFolderFilter,
    VFolderInfo,
    VFolderList,
    VFolderMove,
    VFolderName,
)
from vfgateway.protocols.web.routing import (
    NO_CONTENT,
    NOTHING,
    Call,
    NoParameters,
    Reply,
    Routes,
    Source,
    type_reply_body,
)
from vfgateway.protocols.web.usagebodies import VFolderUsage, usage_of
from vfgateway.services import nativelimits
from vfgateway.services.gateway import Gateway
from vfgateway.services.permissions import Grant


class VFolderRoutes(Routes):
    """Everything about vfolders and to whom they are opened. A vfolder is named by its 32 digits."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="vfolders, our way")
        self._owners = Owners(gateway)
        one, query = "/vfolders/{vfolder}", {"source": Source.QUERY}
        self.add("GET", "/vfolders", self.vfolder_list, VFolderFilter, {200: VFolderList}, 404, **query)
        self.add("POST", "/vfolders", self.vfolder_create, VFolderCreation, {201: VFolderInfo}, 404, 409)
        self.add("POST", "/vfolders/adopt", self.vfolder_adopt, AdoptionOrder, {201: VFolderInfo}, 404, 409)
        resolved = {200: VFolderInfo}
        self.add("GET", "/vfolders/resolve", self.vfolder_resolve, VFolderName, resolved, 404, 409, **query)
        self.add("GET", one, self.vfolder_show, OnVolume, {200: VFolderInfo}, 404, 409, **query)
        self.add("PATCH", one, self.vfolder_change, VFolderChange, {200: VFolderInfo}, 404, 409)
        deleted: dict[int, type_reply_body] = {200: TrashedInfo, 202: TaskStarted}
        self.add("DELETE", one, self.vfolder_delete, Deletion, deleted, 404, 409, **query)
        self.add("POST", one + "/clone", self.vfolder_clone, VFolderClone, {202: TaskStarted}, 404, 409)
        self.add("POST", one + "/move", self.vfolder_move, VFolderMove, {202: TaskStarted}, 404, 409)
        self.add("GET", one + "/usage", self.vfolder_usage, OnVolume, {200: VFolderUsage}, 404, 409, **query)
        self.add("POST", one + "/recount", self.vfolder_recount, NoParameters, {200: UsageReport}, 404, 409)
        self.add("GET", one + "/grants", self.grant_list, OnVolume, {200: GrantList}, 404, 409, **query)
        self.add("POST", one + "/grants", self.grant_create, GrantCreation, {201: GrantInfo}, 404, 409)
        self.add("DELETE", "/grants/{grant}", self.grant_delete, NoParameters, {204: NOTHING}, 404)

    async def _find(self, call: Call, volume: str | None = None) -> VFolder:
        """The vfolder in the path. ``Conflict`` if several volumes have one with these digits and none is named."""
        digits = call.path["vfolder"]
        try:
            folder = UUID(digits)
        except ValueError:
            raise VFolderNotFound(digits) from None
        if volume is None:
            return await self.gateway.vfolders.resolve(folder.hex)
        self.gateway.volumes.configured(volume)
        for vfolder in await self.gateway.vfolders.list(volume):
            if vfolder.id.folder == folder:
                return vfolder
        raise VFolderNotFound(digits)

    # --- looking ---

    async def vfolder_list(self, call: Call, params: VFolderFilter) -> Reply:
        """List vfolders, oldest first: all, those on a volume, those of an owner."""
        if params.volume is not None:
            self.gateway.volumes.configured(params.volume)
        found = await self.gateway.vfolders.list(params.volume)
        if params.owner is not None:
            owner = account(params.owner)
            if not isinstance(owner, UUID):
                _, owner = await self._owners.find(params.owner, None)
            found = [vfolder for vfolder in found if vfolder.owner == owner]
        found = [vfolder for vfolder in found if vfolder.status is not VFolderStatus.TRASHED]
        names = await self._owners.names()
        return Reply(body=VFolderList(vfolders=[await self._info(call, vfolder, names) for vfolder in found]))

    async def vfolder_resolve(self, call: Call, params: VFolderName) -> Reply:
        """Find the vfolder that a person means.

        By ``OWNER/NAME``, by ``NAME`` alone where that is unambiguous, by its identifier or the last 32 digits of it.
        """
        return await self._shown(call, await self.gateway.vfolders.resolve(params.vfolder))

    async def vfolder_show(self, call: Call, params: OnVolume) -> Reply:
        """Show a vfolder."""
        return await self._shown(call, await self._find(call, params.volume))

    async def _shown(self, call: Call, vfolder: VFolder, status: int = 200) -> Reply:
        return Reply(status, await self._info(call, vfolder, await self._owners.names()))

    async def _info(self, call: Call, vfolder: VFolder, names: type_names) -> VFolderInfo:
        kind = word_of(vfolder.kind)
        usage = await self.gateway.quota.usage(vfolder)
        access = await self.gateway.vfolders.access(call.principal, vfolder)
        return VFolderInfo(
            id=str(vfolder.id),
            folder=vfolder.id.folder.hex,
            name=vfolder.display_name,
            named=vfolder.name is not None,
            owner=names.get((kind, vfolder.owner)) if vfolder.owner else None,
            owner_id=str(vfolder.owner) if vfolder.owner else None,
            kind=kind,
            volume=vfolder.volume,
            scope=str(vfolder.id.scope) if vfolder.id.scope else None,
            status=vfolder.status.value,
            read_only=vfolder.read_only,
            permission=cast(Any, str(access.permission)),
            used_bytes=usage.bytes,
            used_files=usage.files,
            limit_bytes=vfolder.limits.bytes,
            limit_files=vfolder.limits.files,
            created=vfolder.created,
            expires=vfolder.expires,
        )

    # --- changing ---

    async def vfolder_create(self, call: Call, params: VFolderCreation) -> Reply:
        """Create a vfolder with a name and an owner, and the owner's quota scope if it is missing."""
        kind, owner = await self._owners.find(params.owner, params.kind)
        volume = params.volume or self._only_volume()
        scope = QuotaScopeId(kind, owner)
        await self.gateway.lifecycle.ensure_scope(volume, scope)
        vfolder = await self.gateway.lifecycle.create(
            volume,
            VFolderId(scope, params.id or uuid4()),
            FolderOptions(params.mode & 0o777 if params.mode is not None else None),
            name=params.name,
            owner=owner,
            kind=kind,
            limits=Limits(params.limit_bytes, params.limit_files),
            expires=params.expires,
        )
        return await self._shown(call, vfolder, 201)

    async def vfolder_adopt(self, call: Call, params: AdoptionOrder) -> Reply:
        """Make a vfolder of a directory that is there already, without moving it.

        The volume's configuration says below which directories that is allowed. Nobody writes to it unless ``read_only`` is false; deleting
        the vfolder leaves the content where it is. What it holds is counted in the background.
        """
        kind, owner = await self._owners.find(params.owner, params.kind)
        vfid = VFolderId(QuotaScopeId(kind, owner), uuid4())
        vfolder, _ = await self.gateway.lifecycle.adopt_place(
            params.volume,
            vfid,
            params.place,
            name=params.name,
            owner=owner,
            kind=kind,
            read_only=params.read_only,
        )
        return await self._shown(call, vfolder, 201)

    def _only_volume(self) -> str:
        volumes = list(self.gateway.volumes)
        if len(volumes) != 1:
            raise InvalidArgument("volume", f"say which: {', '.join(volumes) or 'none is configured'}")
        return volumes[0]

    async def vfolder_change(self, call: Call, params: VFolderChange) -> Reply:
        """Change what is given of a vfolder: its name, owner, limits, expiry.

        So a vfolder that an orchestrator made, which has none of these, becomes one that people can use.
        """
        vfolder = await self._find(call)
        changes = given(params, "name", "expires", "read_only") | changed_limits(params, vfolder.limits)
        if params.owner is not None:
            kind = params.kind if "kind" in params.model_fields_set else None
            changes["kind"], changes["owner"] = await self._owners.find(params.owner, kind)
        elif "owner" in params.model_fields_set:
            changes["owner"] = None
        if params.owner is None and "kind" in params.model_fields_set:
            changes["kind"] = ScopeKind.USER if params.kind == "user" else ScopeKind.PROJECT
        if params.owner is not None:
            handing = (changes.pop("kind"), changes.pop("owner"))
            await self.gateway.collaboration.transfer(call.principal, vfolder, *handing, name=changes.pop("name", None))
        if "limits" in changes:
            await nativelimits.set_on_folder(self.gateway.volumes.of(vfolder), vfolder.id, changes["limits"])
        return await self._shown(call, await self.gateway.vfolders.update(vfolder.key, **changes))

    async def vfolder_delete(self, call: Call, params: Deletion) -> Reply:
        """Delete a vfolder with everything in it. It is gone for users at once.

        It lies in the trash for a while, from which it can be restored. With ``purge``, and where no trash is kept, its removal begins.
        """
        vfolder = await self._find(call, params.volume)
        if params.purge == "true" or not self.gateway.trash.retention:
            return Reply(202, TaskStarted(task=await self.gateway.lifecycle.delete(vfolder.volume, vfolder.id)))
        trashed = await self.gateway.trash.put(vfolder, call.principal.name)
        return Reply(body=await trashed_info(self.gateway, trashed, await self._owners.names()))

    async def vfolder_clone(self, call: Call, params: VFolderClone) -> Reply:
        """Begin to copy a vfolder to a new one with a name and an owner, on any volume."""
        source = await self._find(call)
        kind, owner = await self._owners.find(params.owner, params.kind)
        for other in await self.gateway.vfolders.list():
            if (other.kind, other.owner, other.name) == (kind, owner, params.name):
                raise VFolderExists(f"{params.owner}/{params.name}")
        vfid = VFolderId(QuotaScopeId(kind, owner), uuid4())
        task = await self.gateway.cloning.begin(source, params.volume or source.volume, vfid, params.name)
        return Reply(202, TaskStarted(task=task))

    async def vfolder_move(self, call: Call, params: VFolderMove) -> Reply:
        """Begin to move a vfolder to another volume, while it is in use.

        Names, rights, links, locks, limits and the vfolder's identifier stay. At the end writers wait for some seconds. What is being uploaded
        by resumable uploads is waited for, unless ``cancel_uploads``; a vfolder that has snapshots does not move, unless ``drop_snapshots``.
        """
        vfolder = await self._find(call)
        wishes = {"cancel_uploads": params.cancel_uploads, "drop_snapshots": params.drop_snapshots}
        return Reply(202, TaskStarted(task=await self.gateway.relocation.begin(vfolder, params.volume, **wishes)))

    async def vfolder_usage(self, call: Call, params: OnVolume) -> Reply:
        """Tell what a vfolder holds, and where: by directory at its top. Costs the same however much there is."""
        return Reply(body=await usage_of(self.gateway, await self._find(call, params.volume)))

    async def vfolder_recount(self, call: Call, params: NoParameters) -> Reply:
        """Count what a vfolder holds and correct the figures. Writers wait meanwhile."""
        usage = await self.gateway.lifecycle.recount(await self._find(call))
        return Reply(body=UsageReport(used_bytes=usage.bytes, used_files=usage.files))

    # --- grants ---

    async def grant_list(self, call: Call, params: OnVolume) -> Reply:
        """List to whom a vfolder is opened, oldest first."""
        vfolder = await self._find(call, params.volume)
        names = await self._owners.names()
        grants = await self.gateway.vfolders.grants(vfolder.key)
        return Reply(body=GrantList(grants=[_grant(grant, names) for grant in grants]))

    async def grant_create(self, call: Call, params: GrantCreation) -> Reply:
        """Open a vfolder to a user or group, in place of an earlier grant to the same."""
        vfolder = await self._find(call)
        subject = account(params.subject)
        if not isinstance(subject, UUID):
            _, subject = await self._owners.find(params.subject, params.kind)
        permission = Permission.parse(params.permission)
        grant = await self.gateway.vfolders.grant(vfolder.key, params.kind, subject, permission, params.expires)
        return Reply(201, _grant(grant, await self._owners.names()))

    async def grant_delete(self, call: Call, params: NoParameters) -> Reply:
        """Take a grant back."""
        await self.gateway.vfolders.revoke(call.path["grant"])
        return NO_CONTENT


def _grant(grant: Grant, names: type_names) -> GrantInfo:
    return GrantInfo(
        id=grant.id,
        kind=grant.subject_kind,
        subject=names.get((grant.subject_kind, grant.subject)),
        subject_id=str(grant.subject),
        permission=cast(Literal["ro", "rw", "rwd"], str(grant.permission)),
        created=grant.created,
        expires=grant.expires,
    )
