"""To whom my vfolders are opened, what others offer me, and share links."""

from __future__ import annotations

from typing import Any, cast

from vfgateway.errors import PermissionDenied
from vfgateway.model import Permission, ScopeKind, VFolder
from vfgateway.protocols.client.people import rooms
from vfgateway.protocols.client.people.bodies import (
    GrantCreation,
    GrantInfo,
    GrantList,
    InvitationCreation,
    InvitationInfo,
    InvitationList,
    NewName,
    Transfer,
    VFolderInfo,
)
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.protocols.web.linkbodies import LinkCreation, LinkInfo, LinkList, NewLinkInfo, link_facts, make_link
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, NoParameters, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.invitationrecords import Invitation
from vfgateway.services.permissions import Grant, administers

#: Where share links lead.
LINKS = "/s/"


class SharingRoutes(Routes):
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="sharing")
        one, offer = "/vfolders/{folder}", "/invitations/{invitation}"
        self.add("GET", one + "/grants", self.grant_list, NoParameters, {200: GrantList}, 404)
        self.add("POST", one + "/grants", self.grant_create, GrantCreation, {201: GrantInfo}, 404, 409)
        self.add("DELETE", one + "/grants/{grant}", self.grant_delete, NoParameters, {204: NOTHING}, 404)
        self.add("GET", one + "/invitations", self.invitation_waiting, NoParameters, {200: InvitationList}, 404)
        made = {201: InvitationInfo}
        self.add("POST", one + "/invitations", self.invitation_create, InvitationCreation, made, 404, 409)
        self.add("DELETE", one + offer, self.invitation_withdraw, NoParameters, {204: NOTHING}, 404)
        self.add("POST", one + "/transfer", self.vfolder_transfer, Transfer, {204: NOTHING}, 404, 409)
        self.add("GET", "/invitations", self.invitation_list, NoParameters, {200: InvitationList})
        self.add("POST", offer + "/accept", self.invitation_accept, NewName, {200: VFolderInfo}, 404, 409)
        self.add("POST", offer + "/decline", self.invitation_decline, NoParameters, {204: NOTHING}, 404)
        self.add("GET", one + "/links", self.link_list, NoParameters, {200: LinkList}, 404)
        self.add("POST", one + "/links", self.link_create, LinkCreation, {201: NewLinkInfo}, 404, 409)
        self.add("DELETE", one + "/links/{link}", self.link_delete, NoParameters, {204: NOTHING}, 404)

    async def _vfolder(self, call: PersonsCall) -> VFolder:
        return (await rooms.visible(self.gateway, call)).vfolder

    # --- grants ---

    async def grant_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List to whom a vfolder is opened. For those who administer it."""
        vfolder = await self._vfolder(call)
        if not administers(call.session.principal, vfolder):
            raise PermissionDenied("", "see to whom this vfolder is opened", "to be its owner")
        known = await rooms.names(self.gateway)
        grants = await self.gateway.vfolders.grants(vfolder.key)
        return Reply(body=GrantList(grants=[_grant(grant, known) for grant in grants]))

    async def grant_create(self, call: PersonsCall, params: GrantCreation) -> Reply:
        """Open a vfolder to a user or group at once; to ask first, send an invitation."""
        vfolder = await self._vfolder(call)
        if params.kind == "user":
            subject = await self.gateway.collaboration.find_user(params.subject)
        else:
            subject = (await self.gateway.accounts.group(rooms.account(params.subject))).id
        permission = Permission.parse(params.permission)
        grant = await self.gateway.collaboration.share(
            call.session.principal, vfolder, params.kind, subject, permission, params.expires
        )
        return Reply(201, _grant(grant, await rooms.names(self.gateway)))

    async def grant_delete(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Take a grant back."""
        vfolder = await self._vfolder(call)
        await self.gateway.collaboration.unshare(call.session.principal, vfolder, call.path["grant"])
        return NO_CONTENT

    # --- invitations ---

    async def invitation_waiting(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List to whom a vfolder is offered. For those who administer it."""
        vfolder = await self._vfolder(call)
        found = await self.gateway.collaboration.waiting(call.session.principal, vfolder)
        return await self._offers(found)

    async def _offers(self, found: Any) -> Reply:
        known = await rooms.names(self.gateway)
        return Reply(body=InvitationList(invitations=[_invitation(one, known) for one in found]))

    async def invitation_create(self, call: PersonsCall, params: InvitationCreation) -> Reply:
        """Offer a vfolder, or with the role ``owner`` its ownership, to a user."""
        vfolder = await self._vfolder(call)
        user = await self.gateway.collaboration.find_user(params.user)
        made = await self.gateway.collaboration.invite(
            call.session.principal,
            vfolder,
            user,
            params.role,
            message=params.message,
            keep=Permission.parse(params.keep) if params.keep else Permission.NONE,
            grant_expires=params.grant_expires,
        )
        return Reply(201, _invitation(made, await rooms.names(self.gateway)))

    async def invitation_withdraw(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Take an offer back."""
        vfolder = await self._vfolder(call)
        await self.gateway.collaboration.withdraw(call.session.principal, vfolder, call.path["invitation"])
        return NO_CONTENT

    async def invitation_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List what others offer me."""
        return await self._offers(await self.gateway.collaboration.received(call.principal))

    async def invitation_accept(self, call: PersonsCall, params: NewName) -> Reply:
        """Take an offer; ownership under another name, if I have a vfolder of that name already."""
        gateway = self.gateway
        vfolder = await gateway.collaboration.accept(call.principal, call.path["invitation"], params.name)
        entry = await rooms.by_key(gateway, call, vfolder.key)
        return Reply(body=await rooms.describe(gateway, call, entry, await rooms.names(gateway)))

    async def invitation_decline(self, call: PersonsCall, params: NoParameters) -> Reply:
        """Refuse an offer."""
        await self.gateway.collaboration.decline(call.principal, call.path["invitation"])
        return NO_CONTENT

    async def vfolder_transfer(self, call: PersonsCall, params: Transfer) -> Reply:
        """Hand a vfolder over to a group that I administer; to a user, it is offered by an invitation."""
        vfolder = await self._vfolder(call)
        group = await self.gateway.accounts.group(rooms.account(params.group))
        keep = Permission.parse(params.keep) if params.keep else Permission.NONE
        await self.gateway.collaboration.transfer(
            call.session.principal, vfolder, ScopeKind.PROJECT, group.id, name=params.name, keep=keep
        )
        return NO_CONTENT

    # --- links ---

    async def link_list(self, call: PersonsCall, params: NoParameters) -> Reply:
        """List the share links of a vfolder. For those who administer it."""
        found = await self.gateway.share_links.list(call.session.principal, await self._vfolder(call))
        return Reply(body=LinkList(links=[LinkInfo(**link_facts(one)) for one in found]))

    async def link_create(self, call: PersonsCall, params: LinkCreation) -> Reply:
        """Make a share link. The URL in the answer cannot be asked for again."""
        folder = await rooms.folder(self.gateway, call)
        made = await make_link(self.gateway.share_links, folder, params)
        url = f"{call.request.external_base}{LINKS}{made.secret}"
        return Reply(201, NewLinkInfo(**link_facts(made.link), url=url))

    async def link_delete(self, call: PersonsCall, params: NoParameters) -> Reply:
        """End a share link at once."""
        vfolder = await self._vfolder(call)
        await self.gateway.share_links.revoke(call.session.principal, vfolder, call.path["link"])
        return NO_CONTENT


def _grant(grant: Grant, known: rooms.type_names) -> GrantInfo:
    return GrantInfo(
        id=grant.id,
        kind=grant.subject_kind,
        subject=known.get((grant.subject_kind, grant.subject)),
        subject_id=str(grant.subject),
        permission=cast(Any, str(grant.permission)),
        created=grant.created,
        expires=grant.expires,
    )


def _invitation(one: Invitation, known: rooms.type_names) -> InvitationInfo:
    return InvitationInfo(
        id=one.id,
        vfolder=one.vfolder.display_name,
        vfolder_id=str(one.vfolder.id),
        user=known.get(("user", one.user_id)),
        inviter=None if one.inviter is None else known.get(("user", one.inviter)),
        role=one.role,
        keep=cast(Any, str(one.keep)),
        message=one.message,
        grant_expires=one.grant_expires,
        created=one.created,
        expires=one.expires,
    )
