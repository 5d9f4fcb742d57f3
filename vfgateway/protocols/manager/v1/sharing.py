"""The trash of vfolders, invitations and share links, as administrators and orchestrators see them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from vfgateway.errors import UnknownAccount, VFolderNotFound
from vfgateway.model import VFolder
from vfgateway.protocols.manager.v1.owners import Owners, type_names, word_of
from vfgateway.protocols.manager.v1.sharing_things import (
    InvitationCreation,
    InvitationInfo,
    InvitationList,
    NewVFolderLinkInfo,
    Restoration,
    TrashedInfo,
    TrashedList,
    VFolderLinkInfo,
    VFolderLinkList,
)
from vfgateway.protocols.manager.v1.things import TaskStarted
from vfgateway.protocols.web.linkbodies import LinkCreation, link_facts, make_link
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, Call, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.invitationrecords import Invitation
from vfgateway.services.sharelinks import ShareLink
from vfgateway.services.trash import Trashed

#: Where share links lead, on the client front end.
LINKS = "/s/"


class SharingRoutes(Routes):
    """See the module.

    :param client_url: what URLs of links begin with
    """

    def __init__(self, gateway: Gateway, client_url: str) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="sharing")
        self._owners = Owners(gateway)
        self._client_url = client_url.rstrip("/")
        one, in_trash = "/vfolders/{vfolder}", "/trash/{vfolder}"
        self.add("GET", "/trash", self.trash_list, NoParameters, {200: TrashedList})
        self.add("POST", in_trash + "/restore", self.trash_restore, Restoration, {200: TrashedInfo}, 404, 409)
        self.add("DELETE", in_trash, self.trash_purge, NoParameters, {202: TaskStarted}, 404)
        self.add("GET", one + "/invitations", self.invitation_list, NoParameters, {200: InvitationList}, 404, 409)
        created = {201: InvitationInfo}
        self.add("POST", one + "/invitations", self.invitation_create, InvitationCreation, created, 404, 409)
        ended = one + "/invitations/{invitation}"
        self.add("DELETE", ended, self.invitation_delete, NoParameters, {204: NOTHING}, 404, 409)
        self.add("GET", one + "/links", self.link_list, NoParameters, {200: VFolderLinkList}, 404, 409)
        self.add("POST", one + "/links", self.link_create, LinkCreation, {201: NewVFolderLinkInfo}, 404, 409)
        self.add("DELETE", "/links/{link}", self.link_delete, NoParameters, {204: NOTHING}, 404)

    async def _find(self, call: Call) -> VFolder:
        digits = call.path["vfolder"]
        try:
            return await self.gateway.vfolders.resolve(UUID(digits).hex)
        except ValueError:
            raise VFolderNotFound(digits) from None

    # --- trash ---

    async def trash_list(self, call: Call, params: NoParameters) -> Reply:
        """List the vfolders in the trash, what was deleted last first."""
        names = await self._owners.names()
        found = [await trashed_info(self.gateway, one, names) for one in await self.gateway.trash.list()]
        return Reply(body=TrashedList(vfolders=found))

    async def trash_restore(self, call: Call, params: Restoration) -> Reply:
        """Take a vfolder out of the trash, with its content, its grants and its owner."""
        trashed = await self.gateway.trash.get((await self._find(call)).key)
        info = await trashed_info(self.gateway, trashed, await self._owners.names())
        await self.gateway.trash.restore(trashed.vfolder.key, call.principal.name, params.name)
        return Reply(body=info.model_copy(update={"name": params.name or info.name}))

    async def trash_purge(self, call: Call, params: NoParameters) -> Reply:
        """Begin to remove a vfolder in the trash for good."""
        return Reply(202, TaskStarted(task=await self.gateway.trash.purge((await self._find(call)).key)))

    # --- invitations ---

    async def invitation_list(self, call: Call, params: NoParameters) -> Reply:
        """List to whom a vfolder is offered, oldest first."""
        names = await self._owners.names()
        found = await self.gateway.collaboration.waiting(call.principal, await self._find(call))
        return Reply(body=InvitationList(invitations=[_invitation(one, names) for one in found]))

    async def invitation_create(self, call: Call, params: InvitationCreation) -> Reply:
        """Offer a vfolder to a user, who can accept or decline; in place of an earlier offer to the same."""
        vfolder = await self._find(call)
        user = await self.gateway.collaboration.find_user(params.user)
        made = await self.gateway.collaboration.invite(
            call.principal,
            vfolder,
            user,
            params.role,
            message=params.message,
            grant_expires=params.grant_expires,
        )
        return Reply(201, _invitation(made, await self._owners.names()))

    async def invitation_delete(self, call: Call, params: NoParameters) -> Reply:
        """Take an offer back."""
        await self.gateway.collaboration.withdraw(call.principal, await self._find(call), call.path["invitation"])
        return NO_CONTENT

    # --- links ---

    async def link_list(self, call: Call, params: NoParameters) -> Reply:
        """List the share links of a vfolder, oldest first."""
        vfolder = await self._find(call)
        found = await self.gateway.share_links.list(call.principal, vfolder)
        return Reply(body=VFolderLinkList(links=[VFolderLinkInfo(**_link(one, vfolder)) for one in found]))

    async def link_create(self, call: Call, params: LinkCreation) -> Reply:
        """Make a share link. The URL in the answer cannot be asked for again."""
        vfolder = await self._find(call)
        folder = await self.gateway.session(call.principal, call.origin).folder(vfolder.id, vfolder.volume)
        made = await make_link(self.gateway.share_links, folder, params)
        url = f"{self._client_url}{LINKS}{made.secret}"
        return Reply(201, NewVFolderLinkInfo(**_link(made.link, vfolder), url=url))

    async def link_delete(self, call: Call, params: NoParameters) -> Reply:
        """End a share link at once."""
        link = await self.gateway.share_links.by_id(call.path["link"])
        try:
            vfolder = await self.gateway.vfolders.by_key(link.vfolder)
        except VFolderNotFound:
            raise UnknownAccount("link", link.id) from None
        await self.gateway.share_links.revoke(call.principal, vfolder, link.id)
        return NO_CONTENT


async def trashed_info(gateway: Gateway, trashed: Trashed, names: type_names) -> TrashedInfo:
    """A vfolder in the trash, for an answer."""
    vfolder = trashed.vfolder
    kind = word_of(vfolder.kind)
    usage = await gateway.quota.usage(vfolder)
    return TrashedInfo(
        id=str(vfolder.id),
        folder=vfolder.id.folder.hex,
        name=trashed.name or vfolder.id.folder.hex,
        owner=names.get((kind, vfolder.owner)) if vfolder.owner else None,
        owner_id=str(vfolder.owner) if vfolder.owner else None,
        kind=kind,
        volume=vfolder.volume,
        used_bytes=usage.bytes,
        used_files=usage.files,
        deleted_by=trashed.deleted_by,
        deleted=trashed.deleted,
        purge_at=trashed.purge_at,
    )


def _invitation(one: Invitation, names: type_names) -> InvitationInfo:
    return InvitationInfo(
        id=one.id,
        vfolder=one.vfolder.id.folder.hex,
        user=names.get(("user", one.user_id)),
        user_id=str(one.user_id),
        role=one.role,
        inviter_id=None if one.inviter is None else str(one.inviter),
        message=one.message,
        grant_expires=one.grant_expires,
        created=one.created,
        expires=one.expires,
    )


def _link(link: ShareLink, vfolder: VFolder) -> dict[str, Any]:
    creator = None if link.creator is None else str(link.creator)
    return {**link_facts(link), "vfolder": vfolder.id.folder.hex, "creator_id": creator}
