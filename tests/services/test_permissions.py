"""Who may do what, against an independent model that lists every rule as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfgateway.model import Limits, Permission, QuotaScopeId, ScopeKind, VFolder, VFolderId, VFolderStatus
from vfgateway.principals import ORCHESTRATOR, Principal, PrincipalKind, TokenScope
from vfgateway.services.permissions import FULL_ACCESS, NO_ACCESS, Access, Grant, decide

NOW = 1000.0
#: So few that users, groups and owners often meet; a group may even have a user's UUID.
PEOPLE = [UUID(int=number) for number in range(1, 4)]

uuids = st.sampled_from(PEOPLE)
users = st.builds(
    Principal,
    kind=st.just(PrincipalKind.USER),
    name=st.just("somebody"),
    user_id=uuids,
    groups=st.frozensets(uuids),
    administered_groups=st.frozensets(uuids),
    administrator=st.booleans(),
)
vfolders = st.builds(
    VFolder,
    key=st.just(1),
    id=st.just(VFolderId(QuotaScopeId(ScopeKind.USER, PEOPLE[0]), UUID(int=99))),
    volume=st.just("local"),
    name=st.just("data"),
    owner=st.none() | uuids,
    kind=st.sampled_from(ScopeKind),
    status=st.just(VFolderStatus.READY),
    limits=st.just(Limits()),
    created=st.just(0.0),
)
some_grants = st.lists(
    st.builds(
        Grant,
        id=st.just("0" * 32),
        vfolder_key=st.sampled_from([1, 1, 1, 2]),
        subject_kind=st.sampled_from(["user", "group"]),
        subject=uuids,
        permission=st.sampled_from([Permission.RO, Permission.RW, Permission.RWD]),
        expires=st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
        created=st.just(0.0),
    ),
    max_size=5,
)


def expected(principal: Principal, vfolder: VFolder, grants: Sequence[Grant]) -> Access:
    """The rules once more, the slow way: collect every reason for each permission."""
    in_groups = set(principal.groups) | set(principal.administered_groups)
    mine = vfolder.kind is ScopeKind.USER and vfolder.owner is not None and vfolder.owner == principal.user_id
    ours = vfolder.kind is ScopeKind.PROJECT and vfolder.owner in in_groups
    led = vfolder.kind is ScopeKind.PROJECT and vfolder.owner in principal.administered_groups
    if principal.administrator or mine or led:
        return FULL_ACCESS
    best = 0
    owner_was_granted = False
    for grant in grants:
        if grant.vfolder_key != 1 or (grant.expires is not None and grant.expires <= NOW):
            continue
        if grant.subject_kind == "group" and grant.subject == vfolder.owner:
            owner_was_granted = True
        if (grant.subject_kind == "user" and grant.subject == principal.user_id) or (
            grant.subject_kind == "group" and grant.subject in in_groups
        ):
            best = max(best, int(grant.permission))
    if ours and not owner_was_granted:
        best = max(best, int(Permission.RW))
    return Access(Permission(best))


@given(users, vfolders, some_grants)
def test_users_get_what_the_rules_say(principal: Principal, vfolder: VFolder, grants: list[Grant]) -> None:
    """Whatever the mixture of owner, groups and grants, the decision is that of the model."""
    assert decide(principal, vfolder, grants, NOW) == expected(principal, vfolder, grants)


@given(users, vfolders, some_grants, st.data())
def test_another_personal_grant_never_takes_away(
    principal: Principal, vfolder: VFolder, grants: list[Grant], data: st.DataObject
) -> None:
    """Sharing with a person can only widen what that person may do."""
    extra = attrs.evolve(data.draw(some_grants.filter(len))[0], subject_kind="user")
    before = decide(principal, vfolder, grants, NOW)
    after = decide(principal, vfolder, [*grants, extra], NOW)
    assert after.permission >= before.permission
    assert after.administer == before.administer


@given(vfolders, some_grants)
def test_orchestrator_is_not_bound(vfolder: VFolder, grants: list[Grant]) -> None:
    """Behind the manager API no grant is asked."""
    assert decide(ORCHESTRATOR, vfolder, grants, NOW) == FULL_ACCESS


@pytest.mark.parametrize(
    ("operation", "permission"),
    [("download", Permission.RO), ("archive", Permission.RO), ("upload", Permission.RW), ("delete", Permission.NONE)],
)
@given(vfolder=vfolders, grants=some_grants)
def test_token_does_one_thing_in_one_vfolder(
    operation: str, permission: Permission, vfolder: VFolder, grants: list[Grant]
) -> None:
    """A token carries the permission of its operation for its own vfolder on its own volume, and nothing elsewhere."""

    def bearer(volume: str, vfid: VFolderId) -> Principal:
        return Principal(PrincipalKind.TOKEN, "token", token=TokenScope(operation, volume, vfid))

    other = VFolderId(vfolder.id.scope, UUID(int=1234))
    assert decide(bearer(vfolder.volume, vfolder.id), vfolder, grants, NOW) == Access(permission)
    assert decide(bearer("elsewhere", vfolder.id), vfolder, grants, NOW) == NO_ACCESS
    assert decide(bearer(vfolder.volume, other), vfolder, grants, NOW) == NO_ACCESS
    assert decide(Principal(PrincipalKind.TOKEN, "none"), vfolder, grants, NOW) == NO_ACCESS
