"""What people make by themselves, as far as the site lets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import attrs

from vfgateway.errors import InvalidArgument, PermissionDenied
from vfgateway.model import Limits, QuotaScopeId, ScopeKind, VFolder, VFolderId
from vfgateway.principals import Principal

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway


@attrs.frozen
class Policy:
    """What the site lets people make.

    :ivar volumes: where; on the first, unless they say on which
    :ivar most: vfolders that one owner may have
    :ivar max_size: bytes: the limit of each, and the most that can be asked for
    """

    volumes: Sequence[str]
    most: int
    max_size: int | None


async def make_vfolder(
    gateway: Gateway,
    principal: Principal,
    policy: Policy | None,
    name: str,
    *,
    group: UUID | None = None,
    volume: str | None = None,
    limit_bytes: int | None = None,
    expires: float | None = None,
) -> VFolder:
    """Make a vfolder for ``principal``, or for a ``group`` that it administers. ``PermissionDenied``, ``InvalidArgument``, ``VFolderExists``;
    ``Conflict`` if the owner has as many as the policy allows.

    :param policy: ``None`` lets nobody make any
    """
    if policy is None:
        raise PermissionDenied("", "make vfolders by oneself", "an administrator")
    if principal.user_id is None or principal.key_scope is not None:
        raise PermissionDenied("", "make vfolders with this credential", "the account's own password or key")
    if group is not None and group not in principal.administered_groups:
        raise PermissionDenied("", "make a vfolder for this group", "to administer it")
    chosen = policy.volumes[0] if volume is None else volume
    if chosen not in policy.volumes:
        raise InvalidArgument("volume", f"expected one of {', '.join(policy.volumes)}")
    if policy.max_size is not None:
        if limit_bytes is not None and limit_bytes > policy.max_size:
            raise InvalidArgument("limit_bytes", f"expected at most {policy.max_size}")
        limit_bytes = policy.max_size if limit_bytes is None else limit_bytes
    owner, kind = (principal.user_id, ScopeKind.USER) if group is None else (group, ScopeKind.PROJECT)
    scope = QuotaScopeId(kind, owner)
    await gateway.lifecycle.ensure_scope(chosen, scope)
    return await gateway.lifecycle.create(
        chosen,
        VFolderId(scope, uuid4()),
        name=name,
        owner=owner,
        kind=kind,
        limits=Limits(bytes=limit_bytes),
        expires=expires,
        most=policy.most,
    )
