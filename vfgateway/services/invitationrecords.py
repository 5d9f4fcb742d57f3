"""Offers of vfolders to people, as they are kept; each function runs within one read or write of the database."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import attrs
from sqlalchemy import Connection, Row, select

from vfgateway.errors import AuthenticationFailed, UnknownAccount
from vfgateway.model import Permission, VFolder
from vfgateway.services import people, registry
from vfgateway.services.permissions import administers
from vfgateway.services.schema import vfolders
from vfgateway.services.sharing_tables import invitations

type_role = Literal["ro", "rw", "rwd", "owner"]


@attrs.frozen
class Invitation:
    """An offer to one user.

    :ivar role: the permission offered, or ``owner``
    :ivar keep: with ``owner``: what the former owner keeps
    :ivar inviter: who made it; ``None`` for an administrator without an account
    :ivar grant_expires: when the grant would end
    :ivar expires: until when it can be accepted
    """

    id: str
    vfolder: VFolder
    user_id: UUID
    role: type_role
    keep: Permission
    inviter: UUID | None
    message: str
    grant_expires: float | None
    created: float
    expires: float


def is_still_offered(connection: Connection, invitation: Invitation, now: float) -> bool:
    """Whether whoever made the offer could make it now."""
    if invitation.inviter is None:
        return True
    try:
        inviter = people.person(connection, invitation.inviter).principal(now)
    except (UnknownAccount, AuthenticationFailed):
        return False
    return administers(inviter, invitation.vfolder)


#: All offers with their vfolders.
QUERY = (
    select(vfolders, invitations)
    .join(invitations, invitations.c.vfolder == vfolders.c.key)
    .order_by(invitations.c.created, invitations.c.id)
)
_FACTS = len(vfolders.c)


def find(connection: Connection, invitation_id: str, now: float) -> Invitation:
    """An offer that has not expired. ``UnknownAccount``."""
    query = QUERY.where(invitations.c.id == invitation_id, invitations.c.expires > now)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownAccount("invitation", invitation_id)
    return of_row(row)


def of_row(row: Row[Any]) -> Invitation:
    """What a row of :data:`QUERY` says."""
    identity, _, user, role, keep, inviter, message, grant_expires, created, expires = row[_FACTS:]
    return Invitation(
        id=identity,
        vfolder=registry.vfolder_of(row),
        user_id=UUID(user),
        role=role,
        keep=Permission.parse(keep) if keep else Permission.NONE,
        inviter=None if inviter is None else UUID(inviter),
        message=message,
        grant_expires=grant_expires,
        created=created,
        expires=expires,
    )
