"""Accounts: people are who they say they are, once they have proved it, and no longer than they may be."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_twisted
from argon2 import PasswordHasher
from sqlalchemy import select
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.support.databases import open_database
from vfgateway.blocking import Pool
from vfgateway.errors import (
    AccountExists,
    AuthenticationFailed,
    Conflict,
    GatewayError,
    InvalidArgument,
    UnknownAccount,
)
from vfgateway.model import Actor, Limits, Permission, QuotaScopeId, ScopeKind, VFolderId
from vfgateway.principals import PrincipalKind
from vfgateway.services import schema
from vfgateway.services.accounts import Accounts
from vfgateway.services.database import FRESH, Database
from vfgateway.services.logins import REMEMBERED, TOUCH_EVERY
from vfgateway.services.passwords import PasswordPolicy, argon2id, fits, impossible_hash
from vfgateway.services.people import Person, User
from vfgateway.services.vfolders import VFolders

PASSWORD = "correct horse"
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5zYvpNVnJ1d2h1e0dVZzN2M1hQSWJYV3ZQeUdTWkFG"
#: As cheap as Argon2 gets.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class CountingHasher(PasswordHasher):
    """Argon2 that counts how often it was put to work."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.compared: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
        self.compared.append(str(hash))
        return super().verify(hash, password)


@pytest_twisted.async_yield_fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(reactor, 2, "logins")
    pool.start()
    try:
        yield pool
    finally:
        await pool.stop()


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def accounts(database: Database, clock: Clock, pool: Pool, hasher: CountingHasher) -> Accounts:
    return Accounts(database, clock, pool, hasher)


@pytest_twisted.async_fixture
async def alice(accounts: Accounts) -> User:
    user = await accounts.create_user("alice")
    await accounts.set_password(user.id, PASSWORD)
    return user


async def refused(accounts: Accounts, name: str, password: str) -> None:
    with pytest.raises(AuthenticationFailed, match=r"^login failed$"):
        await accounts.authenticate_password(name, password)


# --- users and groups ---


async def test_user_is_kept_as_given(accounts: Accounts, clock: Clock) -> None:
    """An account may take the orchestrator's UUID, and says what the storage needs to know."""
    identity = uuid4()
    user = await accounts.create_user(
        "Älice Ö'Neil",
        user_id=identity,
        email="a@example.org",
        administrator=True,
        actor=Actor(1000, 100),
        limits=Limits(10, None),
        expires=9e9,
    )
    assert user == User(
        identity, "Älice Ö'Neil", "a@example.org", True, True, Actor(1000, 100), Limits(10), clock.seconds(), 9e9
    )
    assert await accounts.user(identity) == await accounts.user("Älice Ö'Neil") == user
    assert list(await accounts.users()) == [user]
    principal = await accounts.principal_of(identity)
    assert (principal.kind, principal.name, principal.user_id) == (PrincipalKind.USER, user.name, identity)
    assert (principal.administrator, principal.actor) == (True, Actor(1000, 100, user.name))


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a:b", "a\n", "\0", " a", "x" * 256, "\udc80", "a\u200db", "manager", "Anonymous"]
)
async def test_unusable_account_names_are_refused(accounts: Accounts, alice: User, name: str) -> None:
    """A name that no login could carry, or that looks like another, is refused for users and groups, at first and later."""
    for attempt in (accounts.create_user(name), accounts.create_group(name), accounts.update_user(alice.id, name=name)):
        with pytest.raises(InvalidArgument, match="name"):
            await attempt


async def test_names_and_identifiers_are_taken_once(accounts: Accounts, alice: User) -> None:
    """Two users cannot share a name or UUID, and a change cannot make them."""
    bob = await accounts.create_user("bob")
    for attempt in (
        accounts.create_user("alice"),
        accounts.create_user("other", user_id=alice.id),
        accounts.update_user(bob.id, name="alice"),
    ):
        with pytest.raises(AccountExists):
            await attempt
    assert (await accounts.update_user(bob.id, name="bob", email="b@example.org")).email == "b@example.org"
    group = await accounts.create_group("alice")  # a group may be called like a user
    with pytest.raises(AccountExists):
        await accounts.create_group("x", group_id=group.id)


async def test_unknown_accounts_are_said_to_be(accounts: Accounts, alice: User) -> None:
    """Whatever is asked about an account that is not there, the answer names kind and account."""
    nobody = uuid4()
    for attempt in (
        accounts.user(nobody),
        accounts.user("\udc80"),
        accounts.group("nobody"),
        accounts.update_user(nobody, email="x"),
        accounts.update_group(nobody, name="x"),
        accounts.delete_user(nobody),
        accounts.delete_group(nobody),
        accounts.members(nobody),
        accounts.set_member(nobody, alice.id),
        accounts.remove_member(nobody, alice.id),
        accounts.set_password(nobody, PASSWORD),
        accounts.add_key(nobody, "api_key"),
        accounts.keys(nobody),
        accounts.delete_key(alice.id, "nothing"),
    ):
        with pytest.raises(UnknownAccount):
            await attempt


async def test_membership_is_in_the_principal(accounts: Accounts, alice: User) -> None:
    """Groups count from the moment one is taken in until one is taken out."""
    team, lab = await accounts.create_group("team"), await accounts.create_group("lab", limits=Limits(5))
    await accounts.set_member(team.id, alice.id)
    await accounts.set_member(lab.id, alice.id, administrator=True)
    principal = await accounts.principal_of(alice.id)
    assert principal.groups == frozenset({team.id, lab.id})
    assert principal.administered_groups == frozenset({lab.id})
    await accounts.set_member(lab.id, alice.id)
    await accounts.remove_member(team.id, alice.id)
    principal = await accounts.principal_of(alice.id)
    assert principal.groups == frozenset({lab.id})
    assert not principal.administered_groups
    assert [(member.user.name, member.administrator) for member in await accounts.members(lab.id)] == [("alice", False)]
    await accounts.delete_group(lab.id)
    assert not (await accounts.principal_of(alice.id)).groups
    assert [group.name for group in await accounts.groups()] == ["team"]
    assert (await accounts.update_group(team.id, name="crew", limits=Limits(1))).limits == Limits(1)


async def test_owner_is_not_deleted_by_accident(
    accounts: Accounts, database: Database, clock: Clock, alice: User
) -> None:
    """A user who owns vfolders stays unless that is asked for; the vfolders then wait for an account of that UUID."""
    vfolders = VFolders(database, clock)
    folder = await vfolders.create("local", VFolderId(QuotaScopeId(ScopeKind.USER, alice.id), uuid4()), name="data")
    with pytest.raises(Conflict, match=r"user alice still owns 1 vfolder: hand over"):
        await accounts.delete_user(alice.id)
    await accounts.delete_user(alice.id, keep_vfolders=True)
    await refused(accounts, "alice", PASSWORD)
    await accounts.create_user("alice again", user_id=alice.id)
    principal = await accounts.principal_of(alice.id)
    assert (await vfolders.access(principal, folder)).administer


async def test_grants_go_with_the_account(accounts: Accounts, database: Database, clock: Clock, alice: User) -> None:
    """A later account of the same UUID does not inherit what was opened to the earlier one."""
    vfolders = VFolders(database, clock)
    folder = await vfolders.create("local", VFolderId(QuotaScopeId(ScopeKind.USER, uuid4()), uuid4()), name="data")
    await vfolders.grant(folder.key, "user", alice.id, Permission.RO)
    principal = await accounts.principal_of(alice.id)
    assert len(await vfolders.visible(principal)) == 1
    await accounts.delete_user(alice.id)
    assert list(await vfolders.visible(principal)) == []
    assert list(await vfolders.grants(folder.key)) == []


# --- passwords ---


async def test_right_password_opens(accounts: Accounts, alice: User) -> None:
    """Name and password give the user's principal; anything else gives one and the same answer."""
    assert (await accounts.authenticate_password("alice", PASSWORD)).user_id == alice.id
    for name, password in (
        ("alice", "wrong"),
        ("alice", ""),
        ("alice", PASSWORD + " "),
        ("alice", "x" * 100_000),
        ("alice", "\udc80"),
        ("Alice", PASSWORD),
        ("nobody", PASSWORD),
        ("\udc80", PASSWORD),
        ("a\0", PASSWORD),
        ("", ""),
    ):
        await refused(accounts, name, password)


async def test_wrong_name_costs_as_much_as_a_wrong_password(
    accounts: Accounts, hasher: CountingHasher, alice: User
) -> None:
    """Each refusal is paid for with one comparison against a hash of the same cost, whatever was wrong."""
    await accounts.create_user("keyless")
    for name in ("alice", "nobody", "keyless", "\udc80"):
        hasher.compared.clear()
        await refused(accounts, name, "wrong")
        assert len(hasher.compared) == 1
        assert hasher.compared[0].startswith("$argon2id$v=19$m=8,t=1,p=1$")


async def test_verified_login_is_remembered_for_a_while(
    accounts: Accounts, hasher: CountingHasher, clock: Clock, alice: User
) -> None:
    """A client that sends its password with every request is not slowed down each time, but proves itself anew in time."""
    for _ in range(3):
        await accounts.authenticate_password("alice", PASSWORD)
    assert len(hasher.compared) == 1
    clock.advance(REMEMBERED)
    await accounts.authenticate_password("alice", PASSWORD)
    assert len(hasher.compared) == 2


async def test_refusal_is_not_remembered(accounts: Accounts, hasher: CountingHasher, alice: User) -> None:
    """A password that was wrong a moment ago may be right now."""
    await refused(accounts, "alice", "new password")
    await accounts.set_password(alice.id, "new password")
    assert (await accounts.authenticate_password("alice", "new password")).user_id == alice.id


async def test_login_ends_with_its_password(accounts: Accounts, alice: User) -> None:
    """A changed or removed password is worth nothing at once, remembered or not."""
    await accounts.authenticate_password("alice", PASSWORD)
    await accounts.set_password(alice.id, "another one")
    await refused(accounts, "alice", PASSWORD)
    await accounts.authenticate_password("alice", "another one")
    await accounts.set_password(alice.id, None)
    await refused(accounts, "alice", "another one")


async def test_remembered_login_ends_with_the_name_or_the_account(
    accounts: Accounts, alice: User, clock: Clock
) -> None:
    """Who was renamed, disabled, deleted or has expired does not get in by what was remembered."""
    await accounts.authenticate_password("alice", PASSWORD)
    await accounts.update_user(alice.id, name="alicia")
    await refused(accounts, "alice", PASSWORD)
    await accounts.authenticate_password("alicia", PASSWORD)
    await accounts.update_user(alice.id, active=False)
    await refused(accounts, "alicia", PASSWORD)
    await accounts.update_user(alice.id, active=True, expires=clock.seconds() + 5)
    await accounts.authenticate_password("alicia", PASSWORD)
    clock.advance(5)
    await refused(accounts, "alicia", PASSWORD)
    await accounts.update_user(alice.id, expires=None)
    await accounts.authenticate_password("alicia", PASSWORD)
    await accounts.delete_user(alice.id)
    await refused(accounts, "alicia", PASSWORD)


async def test_password_changed_by_another_process_counts(tmp_path: Path, clock: Clock, pool: Pool) -> None:
    """A password changed elsewhere ends the logins that this process remembers."""
    async with open_database(tmp_path / "x.db", clock) as here, open_database(tmp_path / "x.db") as there:
        mine, others = Accounts(here, clock, pool, CHEAP), Accounts(there, clock, pool, CHEAP)
        user = await mine.create_user("alice")
        await mine.set_password(user.id, PASSWORD)
        await mine.authenticate_password("alice", PASSWORD)
        await others.set_password(user.id, "another one")
        clock.advance(FRESH)
        await refused(mine, "alice", PASSWORD)


async def test_logins_at_once_share_the_work(accounts: Accounts, hasher: CountingHasher, alice: User) -> None:
    """A client that opens many connections with one password costs one comparison; a wrong one among them is still refused."""
    same = [Deferred.fromCoroutine(accounts.authenticate_password("alice", PASSWORD)) for _ in range(8)]
    other = Deferred.fromCoroutine(refused(accounts, "alice", "wrong"))
    assert {principal.user_id for principal in await gatherResults(same)} == {alice.id}
    await other
    assert len(hasher.compared) == 2


async def test_client_that_gives_up_does_not_harm_the_others(accounts: Accounts, alice: User) -> None:
    """When the connection that began the comparison is closed, those that wait with it still get in."""
    first, second = (Deferred.fromCoroutine(accounts.authenticate_password("alice", PASSWORD)) for _ in range(2))
    first.cancel()
    with pytest.raises(CancelledError):
        await first
    assert (await second).user_id == alice.id


@pytest.mark.parametrize("password", ["", "x" * 1025, "a\0b", "vfg_whatever"])
async def test_unusable_passwords_are_refused(accounts: Accounts, alice: User, password: str) -> None:
    """What cannot be a password is refused without being repeated, and the old one stays."""
    with pytest.raises(InvalidArgument) as refusal:
        await accounts.set_password(alice.id, password)
    assert not password or password not in str(refusal.value)
    await accounts.authenticate_password("alice", PASSWORD)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("seven77", "at least 8 characters"),
        ("Wonderland", "the name or address"),
        ("Alice@Example.org", "the name or address"),
        ("aaaaaaaaaaaa", "again and again"),
    ],
)
async def test_passwords_that_guessers_try_first_are_refused(accounts: Accounts, password: str, why: str) -> None:
    """And it is told why."""
    user = await accounts.create_user("wonderland", email="alice@example.org")
    with pytest.raises(InvalidArgument, match=why):
        await accounts.set_password(user.id, password)


@pytest.mark.parametrize("password", ["eightlet", "sieben ö", "パスワードです!!"])
async def test_what_a_password_is_made_of_does_not_matter(accounts: Accounts, alice: User, password: str) -> None:
    """Only how long it is, in characters; and a site may want more of them, from then on."""
    await accounts.set_password(alice.id, password)
    accounts.password_policy = PasswordPolicy(12)
    with pytest.raises(InvalidArgument, match="at least 12 characters"):
        await accounts.set_password(alice.id, password)
    assert (await accounts.authenticate_password("alice", password)).user_id == alice.id


def test_real_hashes_are_argon2id() -> None:
    """Without a word from tests, passwords are hashed at least as hard as OWASP recommends."""
    hasher = argon2id()
    stored = hasher.hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert fits(hasher, stored, PASSWORD)
    nobody = impossible_hash(hasher)
    assert nobody.rsplit("$", 2)[0] == stored.rsplit("$", 2)[0] and len(nobody) == len(stored)
    assert not hasher.check_needs_rehash(nobody) and not fits(hasher, nobody, "")


# --- keys ---


async def test_api_key_opens_until_it_is_deleted(accounts: Accounts, alice: User) -> None:
    """A key says by itself whose it is; deleting it closes at once."""
    made = await accounts.add_key(alice.id, "api_key", label="laptop")
    assert made.secret is not None and made.secret.startswith("vfg_") and len(made.secret) >= 4 + 43
    assert (await accounts.authenticate_api_key(made.secret)).user_id == alice.id
    assert (await accounts.authenticate_password("alice", made.secret)).user_id == alice.id
    await accounts.delete_key(alice.id, made.credential.id)
    for key in (made.secret, "vfg_", "", "\udc80", made.credential.id):
        with pytest.raises(AuthenticationFailed):
            await accounts.authenticate_api_key(key)
    await refused(accounts, "alice", made.secret)


async def test_api_key_is_its_owners_alone(accounts: Accounts, alice: User) -> None:
    """A key with somebody else's name is refused, and so is deleting somebody else's key."""
    bob = await accounts.create_user("bob")
    made = await accounts.add_key(alice.id, "api_key")
    assert made.secret is not None
    await refused(accounts, "bob", made.secret)
    with pytest.raises(UnknownAccount):
        await accounts.delete_key(bob.id, made.credential.id)
    await accounts.authenticate_api_key(made.secret)


async def test_api_key_ends_with_its_time_and_its_user(accounts: Accounts, clock: Clock, alice: User) -> None:
    """An expired key, or one of a disabled user, opens nothing."""
    made = await accounts.add_key(alice.id, "api_key", expires=clock.seconds() + 10)
    assert made.secret is not None
    await accounts.authenticate_api_key(made.secret)
    await accounts.update_user(alice.id, active=False)
    with pytest.raises(AuthenticationFailed):
        await accounts.authenticate_api_key(made.secret)
    await accounts.update_user(alice.id, active=True)
    clock.advance(10)
    with pytest.raises(AuthenticationFailed):
        await accounts.authenticate_api_key(made.secret)


async def test_keys_are_listed_without_their_secrets(accounts: Accounts, alice: User) -> None:
    """A list tells what a key is for and when it was used; the password is no key."""
    api = await accounts.add_key(alice.id, "api_key", label="laptop")
    public = await accounts.add_key(alice.id, "public_key", public_key=f"  {ED25519} alice@laptop  home \n")
    listed = {key.id: key for key in await accounts.keys(alice.id)}
    assert set(listed) == {api.credential.id, public.credential.id}
    assert (listed[api.credential.id].label, listed[api.credential.id].public_key) == ("laptop", None)
    assert (public.secret, public.credential.public_key) == (None, ED25519)
    assert public.credential.label == "alice@laptop  home"
    with pytest.raises(AccountExists):
        await accounts.add_key(alice.id, "public_key", public_key=ED25519)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 ÄÖÜ",
        ED25519.replace("ssh-ed25519", "ssh-rsa"),
        'command="sh" ' + ED25519,
        "ssh-dss AAAAB3NzaC1kc3MAAACB",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7v3l0sZ0m1sB1kqkqTz5y8Q==",
    ],
)
async def test_what_is_no_public_key_is_refused(accounts: Accounts, alice: User, line: str) -> None:
    """The refusal says what was expected and repeats nothing, since people paste private keys by mistake."""
    with pytest.raises(InvalidArgument, match="public_key") as refusal:
        await accounts.add_key(alice.id, "public_key", public_key=line)
    assert "c2VjcmV0" not in str(refusal.value)


async def test_use_is_noted_at_most_once_a_minute(
    accounts: Accounts, database: Database, clock: Clock, alice: User
) -> None:
    """The time of the last use is right to a minute, and busy clients do not write with every request."""
    made = await accounts.add_key(alice.id, "api_key")
    assert made.secret is not None

    async def last_used() -> float | None:
        return (await accounts.keys(alice.id))[0].last_used

    assert await last_used() is None
    first = clock.seconds()
    for _ in range(3):
        await accounts.authenticate_api_key(made.secret)
        assert await last_used() == first
        clock.advance(TOUCH_EVERY / 3)
    await accounts.authenticate_api_key(made.secret)
    assert await last_used() == first + TOUCH_EVERY
    await accounts.authenticate_password("alice", PASSWORD)
    query = select(schema.credentials.c.last_used).where(schema.credentials.c.kind == "password")
    assert await database.read(lambda connection: connection.execute(query).scalar()) == clock.seconds()


async def test_secrets_appear_nowhere(
    accounts: Accounts, database: Database, tmp_path: Path, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither password nor API key is found in the database's file, in representations, errors or logs."""
    caplog.set_level(logging.DEBUG)
    with capturedLogs() as events:
        made = await accounts.add_key(alice.id, "api_key")
        assert made.secret is not None
        await accounts.authenticate_api_key(made.secret)
        await accounts.authenticate_password("alice", PASSWORD)
        seen = [repr(made), repr(accounts), repr(vars(accounts))]
        for attempt in (
            accounts.authenticate_password("bob", PASSWORD),
            accounts.authenticate_password("bob", made.secret),
            accounts.authenticate_api_key(made.secret + "x"),
        ):
            with pytest.raises(GatewayError) as refusal:
                await attempt
            seen.append(repr(refusal.value) + str(refusal.value))
        await database.stop()
    seen += [path.read_bytes().decode("latin-1") for path in tmp_path.glob("gateway.db*")] + [caplog.text, repr(events)]
    for secret in (PASSWORD, made.secret, made.secret[4:]):
        assert not [text for text in seen if secret in text]


def test_person_hides_its_password_hash() -> None:
    """Not even the hash is shown by what the service keeps in memory."""
    user = User(UUID(int=1), "a", None, False, True, Actor(), Limits(), 0.0)
    assert "argon2" not in repr(Person(user, frozenset(), frozenset(), "id", "$argon2id$x"))


async def test_a_weaker_hash_is_made_anew_at_login(
    accounts: Accounts, database: Database, clock: Clock, pool: Pool, alice: User
) -> None:
    """Once, by whoever shows the password; a wrong one changes nothing, and the right one goes on working everywhere."""
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    later = Accounts(database, clock, pool, stronger)
    before = (await accounts.person(alice.id)).password
    await refused(later, "alice", "wrong")
    assert (await accounts.person(alice.id)).password == before
    for _ in range(2):
        assert (await later.authenticate_password("alice", PASSWORD)).user_id == alice.id
        after = (await later.person(alice.id)).password or ""
        assert "$m=16,t=2,p=1$" in after
    assert (await later.person(alice.id)).password == after
    assert (await accounts.authenticate_password("alice", PASSWORD)).user_id == alice.id
