"""Who may do what in a vfolder: one pure function over rules, asked in one place (``design.md`` section 3).

A principal's permission is the greatest of these; no rule means no:

====================================  ===========  ============
who                                   permission   administers
====================================  ===========  ============
the orchestrator                      ``rwd``      yes
an administrator of the gateway       ``rwd``      yes
the owner of a user's vfolder         ``rwd``      yes
an administrator of the owning group  ``rwd``      yes
a member of the owning group          ``rw``       no
a grant to the user                   its own      no
a grant to one of the user's groups   its own      no
====================================  ===========  ============

A grant to the owning group takes the place of its members' ``rw``, so that a group's vfolder can be made read-only for
them, or given to them with ``rwd``. An expired grant is as good as none. A token carries the permission of its operation, for
its vfolder alone; a key that was narrowed by its holder permits no more than it says, and administers nothing.


Two things bind everybody: a vfolder that is read-only is written by nobody, and one that has expired or was deleted is entered by nobody
but the orchestrator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import UUID

import attrs

from vfgateway.model import Permission, ScopeKind, VFolder
from vfgateway.principals import KeyScope, Principal, PrincipalKind

#: Whom a grant names.
type_subject = Literal["user", "group"]

_OPERATIONS = {"download": Permission.RO, "archive": Permission.RO, "upload": Permission.RW}


@attrs.frozen
class Access:
    """What a principal may do: with the content, and with the vfolder itself (share, rename, delete)."""

    permission: Permission
    administer: bool = False


NO_ACCESS = Access(Permission.NONE)
FULL_ACCESS = Access(Permission.RWD, administer=True)


@attrs.frozen
class Grant:
    """A vfolder opened to a user or a group; ``expires`` in epoch seconds, ``None`` for never."""

    id: str
    vfolder_key: int
    subject_kind: type_subject
    subject: UUID
    permission: Permission
    expires: float | None
    created: float

    def holds(self, now: float) -> bool:
        """Whether the grant counts at ``now``."""
        return self.expires is None or now < self.expires


def decide(principal: Principal, vfolder: VFolder, grants: Sequence[Grant], now: float) -> Access:
    """What ``principal`` may do in ``vfolder``. Whoever gets ``Permission.NONE`` is to be told that there is no such vfolder.

    :param grants: at least those of this vfolder that name the principal or its groups; others do no harm
    :param now: epoch seconds
    """
    if principal.key_scope is not None:
        whole = decide(attrs.evolve(principal, key_scope=None), vfolder, grants, now)
        return _narrowed(whole, principal.key_scope, vfolder)
    access = _by_rules(principal, vfolder, grants, now)
    if principal.kind is not PrincipalKind.ORCHESTRATOR and (vfolder.is_gone or has_expired(vfolder, now)):
        return NO_ACCESS
    if vfolder.read_only:
        return attrs.evolve(access, permission=min(access.permission, Permission.RO))
    return access


def administers(principal: Principal, vfolder: VFolder) -> bool:
    """Whether ``principal`` may share, rename, delete and restore ``vfolder``, in whatever state it is."""
    if principal.kind is PrincipalKind.USER:
        return principal.key_scope is None and (principal.administrator or _owns(principal, vfolder))
    return principal.kind is PrincipalKind.ORCHESTRATOR


def has_expired(vfolder: VFolder, now: float) -> bool:
    """Whether the time of a temporary vfolder has passed."""
    return vfolder.expires is not None and now >= vfolder.expires


def _by_rules(principal: Principal, vfolder: VFolder, grants: Sequence[Grant], now: float) -> Access:
    if principal.kind is PrincipalKind.ORCHESTRATOR:
        return FULL_ACCESS
    if principal.kind is PrincipalKind.TOKEN:
        return _by_token(principal, vfolder)
    groups = principal.groups | principal.administered_groups
    if principal.administrator or _owns(principal, vfolder):
        return FULL_ACCESS
    live = [grant for grant in grants if grant.vfolder_key == vfolder.key and grant.holds(now)]
    permissions = [grant.permission for grant in live if _names(grant, principal, groups)]
    if vfolder.kind is ScopeKind.PROJECT and vfolder.owner in groups and not _to_owner(live, vfolder):
        permissions.append(Permission.RW)
    return Access(max(permissions, default=Permission.NONE))


def _narrowed(access: Access, scope: KeyScope, vfolder: VFolder) -> Access:
    """What is left of it to whoever comes with a key of that scope."""
    if scope.vfolders is not None and vfolder.key not in scope.vfolders:
        return NO_ACCESS
    return attrs.evolve(access, permission=min(access.permission, scope.permission), administer=False)


def _by_token(principal: Principal, vfolder: VFolder) -> Access:
    token = principal.token
    if token is None or (token.volume, token.vfid) != (vfolder.volume, vfolder.id):
        return NO_ACCESS
    return Access(_OPERATIONS.get(token.operation, Permission.NONE))


def _owns(principal: Principal, vfolder: VFolder) -> bool:
    if vfolder.owner is None:
        return False
    if vfolder.kind is ScopeKind.USER:
        return vfolder.owner == principal.user_id
    return vfolder.owner in principal.administered_groups


def _names(grant: Grant, principal: Principal, groups: frozenset[UUID]) -> bool:
    if grant.subject_kind == "user":
        return grant.subject == principal.user_id
    return grant.subject in groups


def _to_owner(grants: Iterable[Grant], vfolder: VFolder) -> bool:
    return any(grant.subject_kind == "group" and grant.subject == vfolder.owner for grant in grants)
