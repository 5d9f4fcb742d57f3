"""How people open vfolders to each other: grants, invitations that wait for an answer, leaving, and handing a vfolder over.

Whoever administers a vfolder (:func:`vfgateway.services.permissions.administers`) shares it. A grant counts at once; an invitation when it is
accepted, and only if whoever made it still administers the vfolder then. To own a vfolder costs its owner room, so nobody is made one
but by accepting it, or for a group that one administers.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from vfgateway.errors import (
    Conflict,
    InvalidArgument,
    PermissionDenied,
    UnknownAccount,
    VFolderExists,
    VFolderNotFound,
)
from vfgateway.model import Permission, ScopeKind, VFolder
from vfgateway.principals import Principal
from vfgateway.services import audit_records, invitationrecords, people, registry
from vfgateway.services.access_events import SharingChanged
from vfgateway.services.holds import recharge
from vfgateway.services.invitationrecords import Invitation, type_role
from vfgateway.services.names import checked_vfolder_name
from vfgateway.services.permissions import Grant, administers, type_subject
from vfgateway.services.schema import grants, users, vfolders
from vfgateway.services.sharing_tables import invitations
from vfgateway.services.subjects import keys_of
from vfgateway.services.vfolders import GENERATION

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

T = TypeVar("T")

#: Seconds for which an invitation waits.
PATIENCE = 14 * 24 * 3600.0
#: Longest message of an invitation, in characters.
LONGEST_MESSAGE = 1000
#: Invitations that wait in one vfolder.
MOST_WAITING = 1000


class Collaboration:
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._database = gateway.database
        self._clock = gateway.reactor

    # --- grants ---

    async def share(
        self,
        principal: Principal,
        vfolder: VFolder,
        kind: type_subject,
        subject: UUID,
        permission: Permission,
        expires: float | None = None,
    ) -> Grant:
        """Open a vfolder to a user or group at once. ``PermissionDenied`` unless ``principal`` administers it."""
        self._check(principal, vfolder, "share this vfolder")
        if (vfolder.kind, vfolder.owner, kind) == (ScopeKind.USER, subject, "user"):
            raise Conflict("the owner needs no grant")
        grant = await self._gateway.vfolders.grant(vfolder.key, kind, subject, permission, expires)
        self._tell("grant", principal, vfolder, f"{kind}:{subject}", str(permission))
        return grant

    async def unshare(self, principal: Principal, vfolder: VFolder, grant_id: str) -> None:
        """Take a grant in ``vfolder`` back. ``UnknownAccount`` if it has none of that identifier."""
        self._check(principal, vfolder, "take this grant back")
        for grant in await self._gateway.vfolders.grants(vfolder.key):
            if grant.id == grant_id:
                await self._gateway.vfolders.revoke(grant_id)
                self._tell("revoke", principal, vfolder, f"{grant.subject_kind}:{grant.subject}")
                return
        raise UnknownAccount("grant", grant_id)

    async def leave(self, principal: Principal, vfolder: VFolder) -> None:
        """Give up the grant that one has oneself. ``Conflict`` where one is in by a group, or by owning it."""
        mine = (grants.c.subject_kind == "user") & (grants.c.subject == str(principal.user_id))

        def write(connection: Connection) -> int:
            return connection.execute(delete(grants).where(mine, grants.c.vfolder == vfolder.key)).rowcount

        subject = {"subject_kind": "user", "subject": principal.user_id}
        if not await self._change(
            write, "grant_left", vfolder=vfolder.key, told=lambda gone: subject if gone else None
        ):
            if administers(principal, vfolder):
                raise Conflict("whoever administers a vfolder hands it over, or deletes it")
            raise Conflict("it is open to a group of yours; leave the group")
        self._tell("leave", principal, vfolder, f"user:{principal.user_id}")

    # --- invitations ---

    async def invite(
        self,
        principal: Principal,
        vfolder: VFolder,
        user_id: UUID,
        role: type_role,
        *,
        message: str = "",
        keep: Permission = Permission.NONE,
        grant_expires: float | None = None,
    ) -> Invitation:
        """Offer a vfolder to a user, in place of an earlier offer. ``PermissionDenied``, ``UnknownAccount``."""
        self._check(principal, vfolder, "share this vfolder")
        if vfolder.kind is ScopeKind.USER and vfolder.owner == user_id:
            raise Conflict("the owner needs no invitation")
        if len(message) > LONGEST_MESSAGE:
            raise InvalidArgument("message", f"expected at most {LONGEST_MESSAGE} characters")
        now = self._clock.seconds()
        row = {
            "id": uuid.uuid4().hex,
            "vfolder": vfolder.key,
            "user_id": str(user_id),
            "role": role,
            "keep": str(keep) if keep else None,
            "inviter": None if principal.user_id is None else str(principal.user_id),
            "message": message,
            "grant_expires": grant_expires,
            "created": now,
            "expires": now + PATIENCE,
        }
        here = invitations.c.vfolder == vfolder.key

        def write(connection: Connection) -> Invitation:
            people.user(connection, user_id)
            connection.execute(delete(invitations).where(here, invitations.c.user_id == str(user_id)))
            if len(connection.execute(select(invitations.c.id).where(here)).all()) >= MOST_WAITING:
                raise Conflict(f"{MOST_WAITING} invitations wait for an answer already")
            connection.execute(insert(invitations).values(row))
            return invitationrecords.find(connection, cast(str, row["id"]), now)

        about = {"subject_kind": "user", "subject": user_id, "role": role, "grant_expires": grant_expires}
        invitation = await self._change(write, "invitation_made", vfolder=vfolder.key, **about)
        self._tell("invite", principal, vfolder, f"user:{user_id}", role)
        return invitation

    async def received(self, principal: Principal) -> Sequence[Invitation]:
        """The offers that ``principal`` can accept, oldest first."""
        return await self._list(invitations.c.user_id == str(principal.user_id))

    async def waiting(self, principal: Principal, vfolder: VFolder) -> Sequence[Invitation]:
        """The offers of a vfolder that were not answered yet. ``PermissionDenied`` unless ``principal`` administers it."""
        self._check(principal, vfolder, "see to whom this is offered")
        return await self._list(invitations.c.vfolder == vfolder.key)

    async def _list(self, which: Any) -> Sequence[Invitation]:
        now = self._clock.seconds()
        query = invitationrecords.QUERY.where(which, invitations.c.expires > now)
        found = await self._database.read(
            lambda connection: [invitationrecords.of_row(row) for row in connection.execute(query)]
        )
        return [one for one in found if not one.vfolder.is_gone]

    async def accept(self, principal: Principal, invitation_id: str, name: str | None = None) -> VFolder:
        """Take an offer. ``UnknownAccount`` unless it is made to ``principal`` and still good; ``VFolderExists`` if one owns another vfolder
        of that name, and ``name`` gives no other."""
        now = self._clock.seconds()

        def write(connection: Connection) -> tuple[Invitation, VFolder | None]:
            invitation = self._mine(connection, principal, invitation_id, now)
            connection.execute(delete(invitations).where(invitations.c.id == invitation_id))
            if not invitationrecords.is_still_offered(connection, invitation, now):
                return invitation, None
            if invitation.role == "owner":
                changes = {"kind": ScopeKind.USER.value, "owner": str(principal.user_id)}
                if name is not None:
                    changes["name"] = checked_vfolder_name(name)
                hand_over(connection, invitation.vfolder, changes, invitation.keep, now)
            else:
                _grant(connection, invitation, now)
            return invitation, registry.by_key(connection, invitation.vfolder.key)

        try:
            invitation, vfolder = await self._change(write, "invitation_accepted", told=_accepted)
        except IntegrityError:
            raise VFolderExists(name or "one of that name is yours; accept it under another") from None
        if vfolder is None:
            raise UnknownAccount("invitation", invitation_id)
        self._tell("accept", principal, vfolder, f"user:{principal.user_id}", invitation.role)
        return vfolder

    def _mine(self, connection: Connection, principal: Principal, invitation_id: str, now: float) -> Invitation:
        invitation = invitationrecords.find(connection, invitation_id, now)
        if invitation.user_id != principal.user_id or invitation.vfolder.is_gone:
            raise UnknownAccount("invitation", invitation_id)
        return invitation

    async def decline(self, principal: Principal, invitation_id: str) -> None:
        """Refuse an offer. ``UnknownAccount``."""
        now = self._clock.seconds()

        def write(connection: Connection) -> Invitation:
            invitation = self._mine(connection, principal, invitation_id, now)
            connection.execute(delete(invitations).where(invitations.c.id == invitation_id))
            return invitation

        def told(one: Invitation) -> dict[str, Any]:
            return {"vfolder_key": one.vfolder.key, "role": one.role}

        invitation = await self._change(write, "invitation_declined", told=told)
        self._tell("decline", principal, invitation.vfolder, f"user:{principal.user_id}", invitation.role)

    async def withdraw(self, principal: Principal, vfolder: VFolder, invitation_id: str) -> None:
        """Take an offer back. ``PermissionDenied``, ``UnknownAccount``."""
        self._check(principal, vfolder, "withdraw this")
        here = (invitations.c.id == invitation_id) & (invitations.c.vfolder == vfolder.key)

        def write(connection: Connection) -> dict[str, Any]:
            gone = connection.execute(delete(invitations).where(here).returning(invitations)).first()
            if gone is None:
                raise UnknownAccount("invitation", invitation_id)
            return {"subject_kind": "user", "subject": gone.user_id, "role": gone.role}

        await self._change(write, "invitation_withdrawn", vfolder=vfolder.key, told=lambda about: about)
        self._tell("withdraw", principal, vfolder, invitation_id)

    # --- ownership ---

    async def transfer(
        self,
        principal: Principal,
        vfolder: VFolder,
        kind: ScopeKind,
        owner: UUID,
        *,
        name: str | None = None,
        keep: Permission = Permission.NONE,
    ) -> VFolder:
        """Make somebody else the owner now. ``PermissionDenied`` unless ``principal`` administers the vfolder, and also the group that gets it;
        to a user only administrators of the gateway can: others offer it (:meth:`invite`). ``VFolderExists``."""
        self._check(principal, vfolder, "hand this vfolder over")
        trusted = principal.user_id is None or principal.administrator
        if not trusted and (kind is ScopeKind.USER or owner not in principal.administered_groups):
            what = "a user without being asked" if kind is ScopeKind.USER else "a group that one does not administer"
            raise PermissionDenied("", f"hand a vfolder over to {what}")
        changes = {"kind": kind.value, "owner": str(owner)}
        if name is not None:
            changes["name"] = checked_vfolder_name(name)
        now = self._clock.seconds()

        def write(connection: Connection) -> VFolder:
            hand_over(connection, registry.by_key(connection, vfolder.key), changes, keep, now)
            return registry.by_key(connection, vfolder.key)

        try:
            changed = await self._change(write, "vfolder_handed_over", vfolder=vfolder.key, **changes)
        except IntegrityError:
            raise VFolderExists(name or vfolder.display_name) from None
        self._tell("transfer", principal, vfolder, f"{kind.value}:{owner}", "owner")
        return changed

    # --- the rest ---

    def _check(self, principal: Principal, vfolder: VFolder, action: str) -> None:
        if vfolder.is_gone:
            raise VFolderNotFound(vfolder.id)
        if not administers(principal, vfolder):
            raise PermissionDenied("", action, "to be its owner")

    async def _change(self, write: Callable[[Connection], T], event: str, **about: Any) -> T:
        return await audit_records.change(self._database, GENERATION, write, event, self._clock.seconds(), **about)

    def _tell(self, action: str, principal: Principal, vfolder: VFolder, subject: str, permission: str = "") -> None:
        self._gateway.events.publish(
            SharingChanged(
                action=action, user=principal.name, vfid=str(vfolder.id), subject=subject, permission=permission
            )
        )

    async def sweep(self) -> None:
        """Strike invitations whose time has passed."""
        old = delete(invitations).where(invitations.c.expires <= self._clock.seconds())
        await self._database.write(lambda connection: connection.execute(old).rowcount, durable=False)

    async def find_user(self, text: str) -> UUID:
        """The user of that name, UUID or e-mail address, as somebody types it who wants to share. ``UnknownAccount``, also where an address
        belongs to several."""

        def read(connection: Connection) -> UUID:
            query = select(users.c.id).where(or_(users.c.name == text, users.c.id == text.lower()))
            found = connection.execute(query).scalars().all()
            if not found and "@" in text:
                found = connection.execute(select(users.c.id).where(users.c.email == text)).scalars().all()
            if len(found) != 1:
                raise UnknownAccount("user", text)
            return UUID(found[0])

        if not people.can_be_stored(text):
            raise UnknownAccount("user", ascii(text)[:80])
        return await self._database.read(read)


def hand_over(connection: Connection, vfolder: VFolder, changes: dict[str, Any], keep: Permission, now: float) -> None:
    """Give a vfolder another owner, who is charged from now on. Offers of the former owner are void, and a grant to the new one has no
    meaning any more."""
    key = vfolder.key
    charged = keys_of(connection, key)
    connection.execute(delete(invitations).where(invitations.c.vfolder == key))
    if changes["kind"] == ScopeKind.USER.value:
        whose = (grants.c.subject_kind == "user") & (grants.c.subject == changes["owner"])
        connection.execute(delete(grants).where(grants.c.vfolder == key, whose))
    connection.execute(update(vfolders).where(vfolders.c.key == key).values(changes))
    recharge(connection, key, charged)
    former = vfolder.owner
    if keep and former is not None and vfolder.kind is ScopeKind.USER and str(former) != changes["owner"]:
        _put_grant(connection, key, former, str(keep), None, now)


def _grant(connection: Connection, invitation: Invitation, now: float) -> None:
    _put_grant(connection, invitation.vfolder.key, invitation.user_id, invitation.role, invitation.grant_expires, now)


def _put_grant(
    connection: Connection, vfolder: int, user: UUID, permission: str, expires: float | None, now: float
) -> None:
    here = (grants.c.vfolder == vfolder) & (grants.c.subject_kind == "user") & (grants.c.subject == str(user))
    connection.execute(delete(grants).where(here))
    row = {"id": uuid.uuid4().hex, "vfolder": vfolder, "subject_kind": "user", "subject": str(user)}
    connection.execute(insert(grants).values(row | {"permission": permission, "expires": expires, "created": now}))


def _accepted(outcome: tuple[Invitation, VFolder | None]) -> dict[str, Any] | None:
    """What the audit is told of an invitation that was accepted; nothing of one that was good no more."""
    invitation, vfolder = outcome
    return None if vfolder is None else {"vfolder_key": vfolder.key, "role": invitation.role}
