"""People from outside get accounts, keep them as their source tells, lose them with it; and take over nobody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.support.databases import ThreadsOf, open_database
from tests.support.gateway import new_vfolder, running_gateway
from vfgateway.blocking import InlinePool
from vfgateway.errors import (
    AccountWithdrawn,
    AuthenticationFailed,
    AuthenticatorUnavailable,
    Conflict,
    IdentityRefused,
    VFolderNotFound,
)
from vfgateway.identity import Identity, OutsideGrant, OutsideGroup
from vfgateway.model import Actor, Permission, VFolder, VFolderId
from vfgateway.principals import Origin, Principal
from vfgateway.services import audit_records
from vfgateway.services.accounts import Accounts
from vfgateway.services.audit_records import Filter
from vfgateway.services.provisioning import OWN, Provisioning, Source, checked

ALICE = Identity("ldap", "uuid-of-alice", "alice", "alice@example.org", Actor(1000, 100), None, frozenset())
STAFF, OPS = OutsideGroup("uuid-of-staff", "staff"), OutsideGroup("uuid-of-ops", "ops")


@attrs.define(eq=False)
class House:
    """Accounts with a source whose answers the test decides.

    :ivar people: whom the source knows, by subject; ``None``: it does not answer
    :ivar asked: how often it was asked
    """

    clock: Clock
    accounts: Accounts
    provisioning: Provisioning
    people: dict[str, Identity] | None
    asked: int = 0

    async def look_up(self, subject: str, name: str) -> Identity | None:
        self.asked += 1
        if self.people is None:
            raise AuthenticatorUnavailable("ldap", "the test says so")
        return self.people.get(subject)

    async def groups(self, name: str = "alice") -> set[str]:
        person = await self.accounts.person((await self.accounts.user(name)).id)
        return {group.name for group in await self.accounts.groups() if group.id in person.groups}


@pytest_twisted.async_yield_fixture
async def house(tmp_path: Path, clock: Clock) -> AsyncIterator[House]:
    """A source called ``ldap`` whose word holds for five minutes, and for an hour while it is silent."""
    async with open_database(tmp_path / "x.db", clock) as database:
        threads: Any = ThreadsOf(reactor, clock)
        accounts = Accounts(database, threads, InlinePool(threads))

        async def find_vfolder(vfid: VFolderId, volume: str) -> VFolder:
            raise VFolderNotFound(vfid)

        house = House(clock, accounts, Provisioning(database, clock, accounts, find_vfolder), {})
        house.provisioning.register(Source("ldap", 300.0, 3600.0, house.look_up))
        yield house


async def test_who_comes_first_gets_an_account(house: House) -> None:
    """With all that the source tells, and the groups."""
    identity = attrs.evolve(ALICE, groups=frozenset({STAFF, OPS}))
    principal = await house.provisioning.admit(identity)
    user = await house.accounts.user("alice")
    assert (user.id, user.email, user.actor, user.source) == (
        principal.user_id,
        "alice@example.org",
        Actor(1000, 100),
        "ldap",
    )
    assert (principal.source, principal.administrator, len(principal.groups)) == ("ldap", False, 2)
    assert await house.groups() == {"staff", "ops"}
    assert {group.source for group in await house.accounts.groups()} == {"ldap"}


async def test_each_login_brings_the_account_up_to_date(house: House) -> None:
    """Joined, left, renamed, promoted; what the source does not tell stays as people here have set it."""
    first = await house.provisioning.admit(attrs.evolve(ALICE, groups=frozenset({STAFF, OPS})))
    local = await house.accounts.create_group("local")
    await house.accounts.set_member(local.id, first.user_id or UUID(int=0), administrator=True)
    renamed = OutsideGroup(STAFF.subject, "everybody")
    changed = attrs.evolve(ALICE, name="alice2", email=None, administrator=True, groups=frozenset({renamed}))
    second = await house.provisioning.admit(changed)
    assert (second.user_id, second.name, second.administrator) == (first.user_id, "alice2", True)
    assert (await house.accounts.user("alice2")).email == "alice@example.org"
    assert await house.groups("alice2") == {"everybody", "local"}
    untold = await house.provisioning.admit(attrs.evolve(changed, groups=None, administrator=None))
    assert (untold.groups, untold.administrator) == (second.groups, True)


async def test_an_unchanged_login_writes_nothing(house: House) -> None:
    """Or each login would empty everybody's caches."""
    identity = attrs.evolve(ALICE, groups=frozenset({STAFF}))
    await house.provisioning.admit(identity)
    database = house.provisioning._database
    before = await database.generation("accounts")
    for _ in range(3):
        await house.provisioning.admit(identity)
        house.clock.advance(1)
    assert await database.generation("accounts") == before


async def test_what_a_source_changes_is_on_record(house: House) -> None:
    """An account that is made, groups that are joined and left, and that somebody is known no more; but no login that changes nothing."""

    async def rows(event: str) -> list[tuple[str, str]]:
        entries = await house.provisioning._database.read(lambda c: audit_records.some(c, Filter(event=event), 10))
        return [(entry.target, str(entry.facts.get("changes", entry.facts["source"]))) for entry in entries]

    identity = attrs.evolve(ALICE, groups=frozenset({STAFF}))
    principal = await house.provisioning.admit(identity)
    await house.provisioning.admit(identity)
    [(who, made)] = await rows("user_provisioned")
    assert who == "alice"
    assert made.startswith(f"account made, group {STAFF.name} made, joined group ")
    await house.provisioning.admit(attrs.evolve(ALICE, groups=frozenset()))
    assert (await rows("user_provisioned"))[1][1].startswith("left group ")
    house.clock.advance(301)
    with pytest.raises(AccountWithdrawn):
        await house.provisioning.confirm(principal)
    assert await rows("user_withdrawn") == [("alice", "ldap")]


async def test_our_own_account_is_never_taken_over(house: House) -> None:
    """Nor one that came from elsewhere, nor one of somebody who had the name there before."""
    own = await house.accounts.create_user("alice", administrator=True)
    with pytest.raises(IdentityRefused, match="an account of the gateway's own, not to ldap"):
        await house.provisioning.admit(ALICE)
    assert await house.accounts.user("alice") == own
    await house.provisioning.admit(attrs.evolve(ALICE, name="bob", subject="uuid-of-bob"))
    with pytest.raises(IdentityRefused, match="belongs to ldap, not to sso"):
        await house.provisioning.admit(attrs.evolve(ALICE, source="sso", name="bob"))
    with pytest.raises(IdentityRefused, match="somebody else whom ldap knew by it before"):
        await house.provisioning.admit(attrs.evolve(ALICE, name="bob", subject="another one"))
    with pytest.raises(IdentityRefused, match="another identifier"):
        await house.provisioning.admit(attrs.evolve(ALICE, name="carol", subject="carol", id=own.id))
    assert [user.name for user in await house.accounts.users()] == ["alice", "bob"]


async def test_a_rename_takes_no_name_away(house: House) -> None:
    """Who is renamed to a name of ours stays outside."""
    await house.accounts.create_user("root2")
    await house.provisioning.admit(ALICE)
    with pytest.raises(IdentityRefused):
        await house.provisioning.admit(attrs.evolve(ALICE, name="root2"))
    assert {user.name for user in await house.accounts.users()} == {"alice", "root2"}


async def test_groups_of_others_do_not_count(house: House) -> None:
    """A group of ours that is called like one of the directory lets nobody in from there."""
    mine = await house.accounts.create_group("staff")
    twin = OutsideGroup("other", "ops")
    principal = await house.provisioning.admit(attrs.evolve(ALICE, groups=frozenset({STAFF, OPS, twin})))
    assert mine.id not in principal.groups
    assert await house.groups() == {"ops"}
    assert [group.source for group in await house.accounts.groups()] == ["ldap", None]


async def test_an_account_can_be_handed_over(house: House) -> None:
    """By an administrator's word alone: the next who comes under its name has it, with its vfolders and without its password."""
    user = await house.accounts.create_user("alice")
    await house.accounts.set_password(user.id, "correct horse")
    await house.accounts.create_group("staff", source="ldap")
    await house.accounts.update_user(user.id, source="ldap")
    principal = await house.provisioning.admit(attrs.evolve(ALICE, groups=frozenset({STAFF})))
    assert principal.user_id == user.id
    assert len(principal.groups) == 1
    with pytest.raises(AuthenticationFailed):
        await house.accounts.authenticate_password("alice", "correct horse")
    with pytest.raises(Conflict, match="kept by ldap"):
        await house.accounts.set_password(user.id, "another one")
    with pytest.raises(IdentityRefused):
        await house.provisioning.admit(attrs.evolve(ALICE, subject="too late"))
    await house.accounts.update_user(user.id, source=None)
    await house.accounts.set_password(user.id, "ours again")
    assert (await house.accounts.authenticate_password("alice", "ours again")).source is None


async def test_the_source_is_asked_when_its_word_is_old(house: House) -> None:
    """Not before; and what it says then counts, also for keys and open connections."""
    house.people = {ALICE.subject: attrs.evolve(ALICE, groups=frozenset({STAFF}))}
    principal = await house.provisioning.admit(ALICE)
    house.clock.advance(299)
    assert await house.provisioning.confirm(principal) == principal
    assert house.asked == 0
    house.clock.advance(2)
    fresh = await house.provisioning.confirm(principal)
    assert (house.asked, len(fresh.groups)) == (1, 1)
    await house.provisioning.confirm(principal)
    assert house.asked == 1


async def test_who_is_known_no_more_is_out(house: House) -> None:
    """By whatever it comes; and in again when it is known again, without anybody's help."""
    principal = await house.provisioning.admit(ALICE)
    assert principal.user_id is not None
    key = (await house.accounts.add_key(principal.user_id, "api_key")).secret or ""
    house.clock.advance(301)
    with pytest.raises(AccountWithdrawn):
        await house.provisioning.confirm(principal)
    with pytest.raises(AccountWithdrawn):
        await house.accounts.authenticate_api_key(key)
    house.people = {ALICE.subject: ALICE}
    assert not await house.provisioning.reconsider(principal.user_id)  # it was asked just now
    house.clock.advance(301)
    assert await house.provisioning.reconsider(principal.user_id)
    assert await house.accounts.authenticate_api_key(key) == principal


async def test_another_person_under_the_same_name_is_not_the_same(house: House) -> None:
    """The directory gave the name to somebody else: the account's own keys open nothing."""
    principal = await house.provisioning.admit(ALICE)
    house.people = {ALICE.subject: attrs.evolve(ALICE, subject="another one")}
    house.clock.advance(301)
    with pytest.raises(AccountWithdrawn):
        await house.provisioning.confirm(principal)


async def test_a_silent_source_is_believed_for_a_while(house: House) -> None:
    """Then what cannot be confirmed is refused, and told from what is wrong."""
    principal = await house.provisioning.admit(ALICE)
    house.people = None
    house.clock.advance(3599)
    assert await house.provisioning.confirm(principal) == principal
    house.clock.advance(2)
    with pytest.raises(AuthenticatorUnavailable):
        await house.provisioning.confirm(principal)


async def test_a_clock_that_jumps_back_lets_nobody_stay(house: House) -> None:
    """An answer from the future is none."""
    principal = await house.provisioning.admit(ALICE)
    house.clock.rightNow -= 7200
    with pytest.raises(AccountWithdrawn):
        await house.provisioning.confirm(principal)


async def test_what_was_heard_outlives_a_restart(house: House) -> None:
    """A directory that is down while the gateway restarts does not lock out whoever came with a key."""
    principal = await house.provisioning.admit(ALICE)
    house.people = None
    database = house.provisioning._database
    threads: Any = ThreadsOf(reactor, house.clock)
    accounts = Accounts(database, threads, InlinePool(threads))
    after = Provisioning(database, house.clock, accounts, house.provisioning._find_vfolder)
    after.register(Source("ldap", 300.0, 3600.0, house.look_up))
    house.clock.advance(1000)
    assert await after.confirm(principal) == principal
    house.clock.advance(3000)
    with pytest.raises(AuthenticatorUnavailable):
        await after.confirm(principal)


async def test_a_source_that_cannot_be_asked(house: House) -> None:
    """Its word holds for the grace; then one has to come with a new proof."""
    house.provisioning.register(Source("sso", 0.0, 3600.0))
    principal = await house.provisioning.admit(attrs.evolve(ALICE, source="sso"))
    house.clock.advance(3599)
    assert await house.provisioning.confirm(principal) == principal
    house.clock.advance(2)
    with pytest.raises(AuthenticationFailed):
        await house.provisioning.confirm(principal)


async def test_a_source_that_was_removed_lets_nobody_in(house: House) -> None:
    """Accounts whose source is configured no more wait for an administrator."""
    principal = await house.provisioning.admit(attrs.evolve(ALICE, source="former"))
    with pytest.raises(AuthenticationFailed):
        await house.provisioning.confirm(principal)


async def test_answers_can_be_forgotten(house: House) -> None:
    """For one person, by any of its names, or for everybody; others are not asked about."""
    alice = await house.provisioning.admit(ALICE)
    bob = await house.provisioning.admit(attrs.evolve(ALICE, name="bob", subject="uuid-of-bob"))
    own = await house.accounts.create_user("own")
    house.people = {ALICE.subject: ALICE, "uuid-of-bob": attrs.evolve(ALICE, name="bob", subject="uuid-of-bob")}
    for name in ("alice", ALICE.subject, str(alice.user_id)):
        assert await house.provisioning.forget(names=[name]) == 1
    await house.provisioning.confirm(bob)
    assert house.asked == 0
    await house.provisioning.confirm(alice)
    assert house.asked == 1
    assert await house.provisioning.forget("ldap") == 2
    assert await house.provisioning.forget("sso") == 0
    assert await house.provisioning.forget(names=[own.name]) == 0


async def test_owners_of_names(house: House) -> None:
    """Which authenticator a login concerns."""
    await house.provisioning.admit(ALICE)
    await house.accounts.create_user("own")
    assert await house.provisioning.owner("alice") == "ldap"
    assert await house.provisioning.owner("own") == OWN
    assert await house.provisioning.owner("nobody") is None
    assert await house.provisioning.owner("no\0body") is None
    assert await house.provisioning.owner("\udcff") is None


BAD_NAMES = [
    "", ".", "..", "a/b", "a\nb", "a\0b", "a:b", " alice", "alice ", "x" * 256, "ä" * 128, "a\u202eb", "a\ud800b", ".upload", "Manager",
    "orchestrator", "a\u2028b",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
async def test_names_that_cannot_be_names_here(house: House, name: str) -> None:
    """Lead to no account; as the name of a group they are left out."""
    with pytest.raises(IdentityRefused):
        await house.provisioning.admit(attrs.evolve(ALICE, name=name))
    await house.provisioning.admit(attrs.evolve(ALICE, groups=frozenset({OutsideGroup("s", name), STAFF})))
    assert await house.groups() == {"staff"}


async def test_names_have_one_form(house: House) -> None:
    """Composed or not, it is the same person."""
    first = await house.provisioning.admit(attrs.evolve(ALICE, name="a\u0308lice"))
    assert first.name == "\u00e4lice"
    assert (await house.provisioning.admit(attrs.evolve(ALICE, name="\u00e4lice"))).user_id == first.user_id


def test_what_cannot_be_used_is_left_out() -> None:
    """Root's number, numbers beyond what storage has, addresses that are none."""
    assert checked(attrs.evolve(ALICE, actor=Actor(0, 0))).actor is None
    assert checked(attrs.evolve(ALICE, actor=Actor(0, 100))).actor == Actor(None, 100)
    assert checked(attrs.evolve(ALICE, actor=Actor(1 << 32, -1))).actor is None
    assert checked(attrs.evolve(ALICE, email="a\nb@example.org")).email is None
    for subject in ("", "x" * 256, "a\0b", "\udcff"):
        with pytest.raises(IdentityRefused):
            checked(attrs.evolve(ALICE, subject=subject))


@given(st.text())
def test_a_name_is_refused_or_can_be_kept(name: str) -> None:
    """Whatever a directory sends, nothing worse happens."""
    try:
        kept = checked(attrs.evolve(ALICE, name=name)).name
    except IdentityRefused:
        return
    assert not set("\0\n\r:") & set(kept)
    assert "/" not in kept
    assert 0 < len(kept.encode()) <= 255


async def test_vfolders_that_a_source_opens(tmp_path: Path) -> None:
    """Come and go with its word; what people here have granted stays."""
    async with running_gateway(tmp_path) as gateway:
        gateway.provisioning.register(Source("manager", 300.0, 3600.0))
        opened = await new_vfolder(gateway, name="opened")
        granted = await new_vfolder(gateway, name="granted")
        missing = OutsideGrant("mem", VFolderId(opened.id.scope, UUID(int=5)), Permission.RO)
        grants = {
            OutsideGrant("mem", opened.id, Permission.RW),
            OutsideGrant("mem", granted.id, Permission.RWD),
            missing,
        }
        told = Identity("manager", "1", "bob", grants=frozenset())

        async def seen(principal: Principal) -> dict[str, Permission]:
            shown = await gateway.session(principal, Origin("test")).vfolders()
            return {each.name: each.access.permission for each in shown}

        bob = await gateway.provisioning.admit(told)
        assert bob.user_id is not None
        await gateway.vfolders.grant(granted.key, "user", bob.user_id, Permission.RO)
        assert await seen(await gateway.provisioning.admit(attrs.evolve(told, grants=frozenset(grants)))) == {
            "opened": Permission.RW,
            "granted": Permission.RO,
        }
        less = frozenset({OutsideGrant("mem", opened.id, Permission.RO)})
        assert (await seen(await gateway.provisioning.admit(attrs.evolve(told, grants=less))))[
            "opened"
        ] is Permission.RO
        assert await seen(await gateway.provisioning.admit(attrs.evolve(told, grants=None))) != {}
        assert await seen(await gateway.provisioning.admit(told)) == {"granted": Permission.RO}
