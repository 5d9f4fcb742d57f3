"""Who somebody is to those who know people outside: a directory, an identity provider, the orchestrator.

Authenticators make these values; :mod:`vfgateway.services.provisioning` makes accounts of them.
"""

from __future__ import annotations

from uuid import UUID

import attrs

from vfgateway.model import Actor, Permission, VFolderId


@attrs.frozen
class OutsideGroup:
    """A group that somebody belongs to.

    :ivar subject: what the source calls it; stays the same when it is renamed
    :ivar administrator: whether the person administers it; ``None`` where the source does not tell, and people here decide
    :ivar id: the UUID that it must have here, for sources whose vfolders carry it
    """

    subject: str
    name: str
    administrator: bool | None = None
    id: UUID | None = None


@attrs.frozen
class OutsideGrant:
    """A vfolder that the source opens to somebody.

    :ivar name: what people call the vfolder; counts only while it has no name
    :ivar expires: epoch seconds
    """

    volume: str
    vfid: VFolderId
    permission: Permission
    name: str | None = None
    expires: float | None = None


@attrs.frozen
class Identity:
    """A person as a source knows it. ``None`` is what the source does not tell: that is left as it is here.

    :ivar source: the name of the authenticator in the configuration
    :ivar subject: what the source calls the person; stays the same when it is renamed, and is never given to somebody else
    :ivar name: what the person logs in with
    :ivar groups: all groups of the person
    :ivar grants: all vfolders that the source opens to the person
    :ivar id: the UUID that the account must have here
    """

    source: str
    subject: str
    name: str
    email: str | None = None
    actor: Actor | None = None
    administrator: bool | None = None
    groups: frozenset[OutsideGroup] | None = None
    grants: frozenset[OutsideGrant] | None = None
    id: UUID | None = None
