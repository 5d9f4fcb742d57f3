"""Logging in by a directory: a real one, one that dies, and one that does not answer."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from twisted.cred.credentials import UsernamePassword
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.support.gateway import running_gateway
from tests.support.slapd import ALICE, BOB, READER, SUFFIX, Mute, Slapd, group, password, person
from vfgateway.authenticators.ldap import LdapAuthenticator, LdapSettings
from vfgateway.authenticators.ldap.entries import dn_key
from vfgateway.credentials import ProvenKey
from vfgateway.errors import AuthenticationFailed, AuthenticatorUnavailable, IdentityRefused
from vfgateway.model import Actor, HealthState
from vfgateway.principals import Principal
from vfgateway.services.gateway import Gateway
from vfgateway.services.provisioning import OWN

PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A directory that tests do not change."""
    with Slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Slapd]:
    """A directory for a test that changes it."""
    with Slapd(tmp_path / "slapd") as server:
        yield server


def settings(servers: Sequence[str], **more: Any) -> dict[str, Any]:
    """Search and bind; as little patience as a busy machine allows."""
    table = {
        "servers": list(servers),
        "bind_dn": READER[0],
        "bind_password": READER[1],
        "user_base": PEOPLE,
        "group_base": GROUPS,
        "timeout": "2s",
        "patience": "4s",
    }
    return table | more


def toml(table: dict[str, Any], name: str = "ldap") -> str:
    """As the configuration has it; what is ``None`` is left out."""
    return "".join(
        [
            f"[authenticators.{name}]\n",
            *(f"{key} = {json.dumps(value)}\n" for key, value in table.items() if value is not None),
        ]
    )


@asynccontextmanager
async def gateway_of(tmp_path: Path, *servers: str, **more: Any) -> AsyncIterator[Gateway]:
    """A gateway that asks these servers, and then its own accounts."""
    text = toml(settings(servers, **more)) + "[authenticators.accounts]\n"
    async with running_gateway(tmp_path / "gateway", configuration=text) as gateway:
        yield gateway


async def log_in(gateway: Gateway, name: str, password: str) -> Principal:
    return await gateway.authenticate(UsernamePassword(name.encode("utf-8", "surrogatepass"), password.encode()))


async def refused(gateway: Gateway, name: str, password: str) -> None:
    with pytest.raises(AuthenticationFailed):
        await log_in(gateway, name, password)


async def groups_of(gateway: Gateway, principal: Principal) -> set[str]:
    return {group.name for group in await gateway.accounts.groups() if group.id in principal.groups}


def authenticator(gateway: Gateway) -> LdapAuthenticator:
    found = gateway.authentication.authenticators[0]
    assert isinstance(found, LdapAuthenticator)
    return found


# --- the ordinary ways ---

ALL = {"staff", "everybody", "left", "right", "unique", "hpc", "primary"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"bind_dn": None, "bind_password": None},
        {"bind_dn": None, "bind_password": None, "user_base": None, "user_dn": f"uid={{name}},{PEOPLE}"},
        {"user_base": None, "user_dn": f"uid={{name}},{PEOPLE}"},
    ],
    ids=["search and bind", "search anonymously and bind", "bind", "bind, search as another"],
)
@pytest.mark.parametrize("way", ["plain", "StartTLS", "ldaps"])
async def test_who_is_in_the_directory_is_let_in(tmp_path: Path, slapd: Slapd, more: dict[str, Any], way: str) -> None:
    """With address, numbers and groups; who is not, or has another password, is not."""
    more = more | ({} if way == "plain" else {"ca_file": str(slapd.ca_file), "start_tls": way == "StartTLS"})
    async with gateway_of(tmp_path, slapd.tls_url if way == "ldaps" else slapd.url, **more) as gateway:
        alice = await log_in(gateway, "alice", password(1001))
        user = await gateway.accounts.user("alice")
        assert (user.email, user.actor, user.source) == ("1001@example.org", Actor(1001, 5000), "ldap")
        assert await groups_of(gateway, alice) == ALL
        assert alice.actor == Actor(1001, 5000, "alice")
        assert (await log_in(gateway, "alice", password(1001))).user_id == alice.user_id
        assert (await log_in(gateway, "o, h=ara+x", password(1004))).name == "o, h=ara+x"
        await refused(gateway, "alice", password(1002))
        await refused(gateway, "nobody", password(1001))
        await refused(gateway, "alice", "")
        assert (await authenticator(gateway).health()).state is HealthState.HEALTHY


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"nested_groups": 0}, ALL - {"everybody", "right"}),
        ({"member_attributes": []}, {"staff", "everybody", "left", "right"}),
        ({"member_of_attribute": ""}, ALL),
        ({"member_attributes": ["memberUid"], "member_of_attribute": ""}, {"hpc", "primary"}),
        ({"group_filter": "(objectClass=posixGroup)"}, {"hpc", "primary"}),
        ({"group_filter": "(cn=staff)"}, {"staff"}),
    ],
)
async def test_ways_to_find_groups(tmp_path: Path, slapd: Slapd, more: dict[str, Any], expected: set[str]) -> None:
    """By the members that groups list, or the groups that members list; to a depth; and those alone that are wanted."""
    async with gateway_of(tmp_path, slapd.url, **more) as gateway:
        assert await groups_of(gateway, await log_in(gateway, "alice", password(1001))) == expected


async def test_groups_may_be_left_to_people_here(tmp_path: Path, slapd: Slapd) -> None:
    """Without a base for groups, memberships are what they were set to."""
    async with gateway_of(tmp_path, slapd.url, group_base=None) as gateway:
        alice = await log_in(gateway, "alice", password(1001))
        assert alice.user_id is not None
        ours = await gateway.accounts.create_group("ours")
        await gateway.accounts.set_member(ours.id, alice.user_id)
        await gateway.provisioning.forget()
        assert (await log_in(gateway, "alice", password(1001))).groups == {ours.id}


async def test_groups_decide(tmp_path: Path, slapd: Slapd) -> None:
    """Who may come in at all, and who administers; a group counts by way of others, too."""
    more = {"required_groups": ["everybody"], "administrator_groups": ["staff"]}
    async with gateway_of(tmp_path, slapd.url, **more) as gateway:
        assert (await log_in(gateway, "alice", password(1001))).administrator
        assert not (await log_in(gateway, "bob", password(1002))).administrator
        with pytest.raises(IdentityRefused, match="none of the groups"):
            await log_in(gateway, "o, h=ara+x", password(1004))
        await refused(gateway, "o, h=ara+x", "wrong")
        assert {user.name for user in await gateway.accounts.users()} == {"alice", "bob"}


async def test_case_and_form_of_a_name_do_not_matter(tmp_path: Path, mine: Slapd) -> None:
    """As they do not to the directory: there is one account, called as it is there."""
    mine.add(person("zo\u00eb", 1005))
    async with gateway_of(tmp_path, mine.url) as gateway:
        first = await log_in(gateway, "zo\u00eb", password(1005))
        for name in ("Zo\u00cb", "zoe\u0308"):
            assert await log_in(gateway, name, password(1005)) == first


async def test_a_name_of_ours_is_no_business_of_the_directory(tmp_path: Path, mine: Slapd) -> None:
    """It is not even asked, whichever comes first; its namesake stays outside, and ours comes in."""
    async with gateway_of(tmp_path, mine.url) as gateway:
        ours = await gateway.accounts.create_user("alice")
        await gateway.accounts.set_password(ours.id, "of the house")
        assert (await log_in(gateway, "alice", "of the house")).user_id == ours.id
        await refused(gateway, "alice", password(1001))
        with pytest.raises(IdentityRefused, match="the gateway's own"):
            await log_in(gateway, "ALICE", password(1001))
        mine.kill()
        assert (await log_in(gateway, "alice", "of the house")).user_id == ours.id
        assert await gateway.provisioning.owner("alice") == OWN


async def test_keys_of_ours_are_not_shown_to_the_directory(tmp_path: Path, slapd: Slapd) -> None:
    """An API key works in the place of the password, as for everybody."""
    async with gateway_of(tmp_path, slapd.url) as gateway:
        alice = await log_in(gateway, "alice", password(1001))
        assert alice.user_id is not None
        key = (await gateway.accounts.add_key(alice.user_id, "api_key")).secret or ""
        seen: list[str] = []
        found = authenticator(gateway)
        found._log_in = lambda name, password: seen.append(password)  # type: ignore[method-assign,assignment,return-value]
        assert await log_in(gateway, "alice", key) == alice
        assert seen == []


# --- what changes there ---


async def test_answers_hold_for_a_while_and_no_longer(tmp_path: Path, mine: Slapd) -> None:
    """A changed password, group, or a removed entry counts once the answer is old, or was forgotten."""
    async with gateway_of(tmp_path, mine.url) as gateway:
        for _ in range(2):  # the first makes the account
            alice = await log_in(gateway, "alice", password(1001))
        mine.modify(ALICE, "replace: userPassword", "userPassword: changed")
        mine.modify(f"cn=hpc,{GROUPS}", "delete: memberUid", "memberUid: alice")
        assert await log_in(gateway, "alice", password(1001)) == alice
        await gateway.provisioning.forget(names=["alice"])
        await refused(gateway, "alice", password(1001))
        assert await groups_of(gateway, await log_in(gateway, "alice", "changed")) == ALL - {"hpc"}
        mine.delete(ALICE)
        await gateway.provisioning.forget()
        with pytest.raises(AuthenticationFailed):
            await gateway.provisioning.confirm(alice)
        await refused(gateway, "alice", "changed")


async def test_who_was_removed_and_is_back_comes_in_by_key(tmp_path: Path, mine: Slapd) -> None:
    """Disabled for a while: as a filter sees it."""
    wanted = "(&(uid={name})(!(employeeType=gone)))"
    async with gateway_of(tmp_path, mine.url, user_filter=wanted, cache_life=0.01) as gateway:
        alice = await log_in(gateway, "alice", password(1001))
        assert alice.user_id is not None
        key = (await gateway.accounts.add_key(alice.user_id, "api_key")).secret or ""
        mine.modify(ALICE, "add: employeeType", "employeeType: gone")
        await deferLater(reactor, 0.02)
        await refused(gateway, "alice", key)
        mine.modify(ALICE, "delete: employeeType")
        await deferLater(reactor, 0.02)
        assert (await log_in(gateway, "alice", key)).user_id == alice.user_id


async def test_somebody_new_under_an_old_name(tmp_path: Path, mine: Slapd) -> None:
    """Does not inherit."""
    async with gateway_of(tmp_path, mine.url) as gateway:
        await log_in(gateway, "alice", password(1001))
        mine.delete(ALICE)
        mine.add(person("alice", 1009))
        await gateway.provisioning.forget()
        with pytest.raises(IdentityRefused, match="somebody else"):
            await log_in(gateway, "alice", password(1009))


# --- keys ---


def public_key() -> tuple[str, bytes]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from twisted.conch.ssh.keys import Key

    line = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return line.decode(), Key.fromString(line).blob()


async def test_public_keys_of_the_directory(tmp_path: Path, mine: Slapd) -> None:
    """Open for whom they are listed, from where they say; a question alone makes no account."""
    (line, blob), (narrow, from_elsewhere), (_, strange) = public_key(), public_key(), public_key()
    mine.modify(
        ALICE,
        "add: sshPublicKey",
        "sshPublicKey: not a key at all",
        f"sshPublicKey: {line} alice@home",
        f'sshPublicKey: from="192.0.2.0/24" {narrow}',
    )
    async with gateway_of(tmp_path, mine.url, key_attribute="sshPublicKey") as gateway:
        await gateway.authenticate(ProvenKey("alice", blob, "127.0.0.1", False))
        assert await gateway.accounts.users() == []
        alice = await gateway.authenticate(ProvenKey("alice", blob, "127.0.0.1"))
        assert alice.name == "alice"
        assert await groups_of(gateway, alice) == ALL
        assert await gateway.authenticate(ProvenKey("alice", from_elsewhere, "192.0.2.7")) == alice
        for proof in (
            ProvenKey("alice", strange, "127.0.0.1"),
            ProvenKey("alice", from_elsewhere, "127.0.0.1"),
            ProvenKey("bob", blob, "127.0.0.1"),
            ProvenKey("*", blob, "127.0.0.1"),
        ):
            with pytest.raises(AuthenticationFailed):
                await gateway.authenticate(proof)


async def test_keys_are_not_taken_unless_asked_for(tmp_path: Path, mine: Slapd) -> None:
    """An attribute that users may write is no key to everything."""
    line, blob = public_key()
    mine.modify(ALICE, "add: sshPublicKey", f"sshPublicKey: {line}")
    async with gateway_of(tmp_path, mine.url) as gateway:
        with pytest.raises(AuthenticationFailed):
            await gateway.authenticate(ProvenKey("alice", blob, "127.0.0.1"))


# --- bad input ---

HOSTILE = [
    "*", "a*", "alic?", "alice)(uid=*", "alice)(|(uid=*", "*)(uid=*))(|(uid=*", "alice))(&(uid=alice", "\\61lice", "\\2a", "alice\\", "\\",
    "alice\0", "alice\n", "al\rice", "&", "|", "!", "()", "(uid=alice)", "=", "uid=alice", f"uid=alice,{PEOPLE}", f"alice,{PEOPLE}",
    "alice,ou=people", "alice+uid=bob", "alice\\,ou", "#616c696365", " alice", "alice ", "\"alice\"", "<alice>", "alice;bob", "..", "a/b", "../alice",
    "alice@example.org", "example\\alice", "\u0430lice", "a\u200blice", "alice\u202e", "\udc80", "x" * 5000, "(" * 2000, "{name}", "%s",
    "cn=reader", "admin", READER[0], "dn:" + ALICE, "root\u2028", "",
]  # fmt: skip


@pytest.mark.parametrize(
    "more", [{}, {"user_base": None, "user_dn": f"uid={{name}},{PEOPLE}"}], ids=["into a filter", "into a DN"]
)
async def test_nobody_comes_in_by_what_a_name_does_to_a_question(
    tmp_path: Path, slapd: Slapd, more: dict[str, Any]
) -> None:
    """Whatever is put into the name is a name, and nobody has it; and the directory is there for all others afterwards."""
    async with gateway_of(tmp_path, slapd.url, key_attribute="sshPublicKey", **more) as gateway:
        for name in HOSTILE:
            for secret in (password(1001), READER[1]):
                await refused(gateway, name, secret)
            with pytest.raises(AuthenticationFailed):
                await gateway.authenticate(ProvenKey(name, b"", "127.0.0.1"))
        assert await gateway.accounts.users() == []
        assert (await log_in(gateway, "alice", password(1001))).name == "alice"
        assert (await authenticator(gateway).health()).state is HealthState.HEALTHY


@pytest.mark.parametrize(
    "secret", ["", "\0", "\0" * 10, " ", "x" * 100_000, "\u0000alice", "*", "{SSHA}", "pass\nword"]
)
async def test_odd_passwords(tmp_path: Path, slapd: Slapd, secret: str) -> None:
    """Above all the empty one, with which a directory lets anybody bind as nobody."""
    async with gateway_of(tmp_path, slapd.url) as gateway:
        await refused(gateway, "alice", secret)


async def test_names_of_the_directory_that_cannot_be_names_here(tmp_path: Path, mine: Slapd) -> None:
    """Lead to no account, however good the password is; and a group called so is left out."""
    mine.add(person("..", 1010, rdn="x1") + "uid: x1\n")
    mine.modify(f"uid=x1,{PEOPLE}", "add: cn", "cn: manager")
    mine.add(group("a/b", "uid=bob,ou=people"))
    async with gateway_of(tmp_path, mine.url, user_filter="(|(uid={name})(cn={name}))", name_attribute="cn") as gateway:
        for name in ("x1", ".."):
            await refused(gateway, name, password(1010))
        bob = await log_in(gateway, "bob", password(1002))
        assert "a/b" not in await groups_of(gateway, bob)
        assert [user.name for user in await gateway.accounts.users()] == ["bob"]


async def test_a_name_of_two_entries_is_nobodys(tmp_path: Path, mine: Slapd) -> None:
    """Rather than the first one's."""
    async with gateway_of(tmp_path, mine.url, user_filter="(|(uid={name})(gidNumber=5000))") as gateway:
        await refused(gateway, "alice", password(1001))


async def test_an_entry_without_an_identifier(tmp_path: Path, slapd: Slapd) -> None:
    """Is nobody that could be known again."""
    async with gateway_of(tmp_path, slapd.url, id_attribute="departmentNumber") as gateway:
        with pytest.raises(IdentityRefused, match="does not tell who this is"):
            await log_in(gateway, "alice", password(1001))


async def test_ten_thousand_wrong_passwords(tmp_path: Path, slapd: Slapd) -> None:
    """Use up neither threads nor descriptors, and the right one works in their midst and afterwards."""
    async with gateway_of(tmp_path, slapd.url, connections=4) as gateway:
        await log_in(gateway, "bob", password(1002))
        threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
        found = authenticator(gateway)

        async def wrong(number: int) -> None:
            try:
                await found.authenticate(UsernamePassword(b"alice", b"wrong %d" % number))
            except (AuthenticationFailed, AuthenticatorUnavailable):
                return
            raise AssertionError("a wrong password was taken")

        for batch in range(20):
            work = [Deferred.fromCoroutine(wrong(500 * batch + number)) for number in range(500)]
            await gatherResults(work)
            await gateway.provisioning.forget(names=["bob"])
            assert (await log_in(gateway, "bob", password(1002))).name == "bob"
        # Pools fill as they are used: four connections here, four readers of the database, two for passwords.
        assert threading.active_count() <= threads + 4 + 4 + 2
        assert 1 <= len([thread for thread in threading.enumerate() if thread.name.startswith("PoolThread-ldap")]) <= 4
        assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 4 + 4 * 3 + 4
        assert (await log_in(gateway, "alice", password(1001))).name == "alice"


# --- when it is down ---


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Slapd, Slapd]]:
    """Two servers of one directory."""
    with Slapd(tmp_path / "first") as first, Slapd(tmp_path / "second", origin=first) as second:
        yield first, second


async def test_the_next_server_takes_over_in_the_middle(tmp_path: Path, pair: tuple[Slapd, Slapd]) -> None:
    """Kept connections included; and when the first is back, nobody notices."""
    first, second = pair
    async with gateway_of(tmp_path, first.url, second.url) as gateway:
        alice = await log_in(gateway, "alice", password(1001))
        first.kill()
        await gateway.provisioning.forget()
        assert (await log_in(gateway, "alice", password(1001))).user_id == alice.user_id
        assert (await log_in(gateway, "bob", password(1002))).name == "bob"
        await refused(gateway, "bob", "wrong")
        health = await authenticator(gateway).health()
        assert health.state is HealthState.DEGRADED
        assert first.url in (health.info or "")
        assert second.url not in (health.info or "")
        first.start()
        second.kill()
        assert (await authenticator(gateway).health()).state is HealthState.DEGRADED
        await gateway.provisioning.forget()
        assert (await log_in(gateway, "alice", password(1001))).user_id == alice.user_id


async def test_without_any_server(tmp_path: Path, mine: Slapd) -> None:
    """Who is known to belong there is told to try later; others are wrong, as nobody can know better; ours come in. Answers and keys
    hold on for a while."""
    async with gateway_of(tmp_path, mine.url) as gateway:
        for _ in range(2):
            alice = await log_in(gateway, "alice", password(1001))
        assert alice.user_id is not None
        key = (await gateway.accounts.add_key(alice.user_id, "api_key")).secret or ""
        ours = await gateway.accounts.create_user("ours")
        await gateway.accounts.set_password(ours.id, "of the house")
        mine.kill()
        assert await log_in(gateway, "alice", password(1001)) == alice
        with pytest.raises(AuthenticatorUnavailable) as caught:
            await log_in(gateway, "alice", "another")
        assert "127.0.0.1" not in str(caught.value)
        await refused(gateway, "bob", password(1002))
        assert (await log_in(gateway, "ours", "of the house")).user_id == ours.id
        await refused(gateway, "ours", "wrong")
        assert await log_in(gateway, "alice", key) == alice
        health = await authenticator(gateway).health()
        assert health.state is HealthState.UNAVAILABLE
        await gateway.provisioning.forget(names=["alice"])  # nothing is known of her any more
        with pytest.raises(AuthenticatorUnavailable):
            await log_in(gateway, "alice", key)
        with pytest.raises(AuthenticatorUnavailable):
            await log_in(gateway, "alice", password(1001))
        mine.start()
        assert (await authenticator(gateway).health()).state is HealthState.HEALTHY
        assert (await log_in(gateway, "alice", password(1001))).user_id == alice.user_id


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "ldaps"])
@pytest.mark.parametrize("saying", [b"", b"\x30"], ids=["silent", "without an end"])
async def test_a_server_that_accepts_and_never_answers(tmp_path: Path, slapd: Slapd, tls: bool, saying: bytes) -> None:
    """Costs the first login its time, and the next ones nothing: they go where there is an answer. It keeps no thread."""
    with Mute(saying * 1) as mute:
        servers = [mute.tls_url, slapd.tls_url] if tls else [mute.url, slapd.url]
        more = {"timeout": "1s", "patience": "10s", "ca_file": str(slapd.ca_file) if tls else None}
        async with gateway_of(tmp_path, *servers, **more) as gateway:
            assert (await log_in(gateway, "alice", password(1001))).name == "alice"
            accepted = mute.accepted
            assert (await log_in(gateway, "bob", password(1002))).name == "bob"
            await refused(gateway, "bob", "wrong")
            assert mute.accepted == accepted


async def test_only_a_server_that_drips(tmp_path: Path) -> None:
    """One byte after the other, for ever: patience ends it; others are not held up; everything stops when the gateway does."""
    head = b"\x30\x84\x7f\xff\xff\xff"
    with Mute(b"\x00") as mute:
        mute._saying = head
        async with gateway_of(tmp_path, mute.url, timeout="1s", patience="1s", connections=1) as gateway:
            ours = await gateway.accounts.create_user("ours")
            await gateway.accounts.set_password(ours.id, "of the house")
            await gatherResults([Deferred.fromCoroutine(refused(gateway, "alice", str(n))) for n in range(10)])
            assert (await log_in(gateway, "ours", "of the house")).name == "ours"
            health = await authenticator(gateway).health()
            assert health.state is HealthState.UNAVAILABLE


# --- trust ---


@pytest.mark.parametrize(
    ("server", "more", "told"),
    [
        ("tls_url", {}, "its authority is your own"),
        ("url", {"start_tls": True}, "its authority is your own"),
        ("tls_url", {"ca_file": "missing.pem"}, "cannot read ca_file"),
        ("url", {"bind_password": "wrong"}, "check bind_dn and bind_password"),
        ("url", {"user_base": "ou=peple,dc=example,dc=org"}, "check user_base"),
        ("url", {"group_base": "ou=grups,dc=example,dc=org"}, "check group_base"),
    ],
)
async def test_what_is_wrong_is_said(
    tmp_path: Path, slapd: Slapd, server: str, more: dict[str, Any], told: str
) -> None:
    """A certificate of nobody, a wrong secret, a place that is not there: the doctor says what to do, and nobody is let in."""
    async with gateway_of(tmp_path, getattr(slapd, server), **more) as gateway:
        if "group_base" not in more:
            await refused(gateway, "alice", password(1001))
        health = await authenticator(gateway).health()
        assert health.state is HealthState.UNAVAILABLE
        assert told in (health.info or "")
        assert READER[1] not in (health.info or "")


async def test_a_certificate_for_another_name(tmp_path: Path, slapd: Slapd) -> None:
    """Is none, whoever signed it."""
    async with gateway_of(tmp_path, slapd.misnamed_url, ca_file=str(slapd.ca_file)) as gateway:
        await refused(gateway, "alice", password(1001))
        assert "certificate is not valid for" in ((await authenticator(gateway).health()).info or "")
    async with gateway_of(tmp_path, slapd.misnamed_url, verify=False) as gateway:
        assert (await log_in(gateway, "alice", password(1001))).name == "alice"


async def test_without_verification(tmp_path: Path, slapd: Slapd) -> None:
    """Only where the configuration says so."""
    async with gateway_of(tmp_path, slapd.tls_url, verify=False) as gateway:
        assert (await log_in(gateway, "alice", password(1001))).name == "alice"


# --- settings ---


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "servers"),
        ({"servers": []}, "servers"),
        ({"servers": ["http://x"], "user_base": "o=x"}, "ldaps://host"),
        ({"servers": ["ldap://"], "user_base": "o=x"}, "ldaps://host"),
        ({"servers": ["ldaps://x"]}, "user_base"),
        ({"servers": ["ldap://dir.example.org"], "user_base": "o=x"}, "could be read on the way"),
        ({"servers": ["ldaps://x"], "user_dn": "uid=alice"}, "should hold {name}"),
        ({"servers": ["ldaps://x"], "user_base": "o=x", "user_filter": "(uid=alice)"}, "should hold {name}"),
        ({"servers": ["ldaps://x"], "user_base": "o=x", "user_filter": "(uid={name}"}, "not a filter"),
        ({"servers": ["ldaps://x"], "user_base": "o=x", "bind_dn": "cn=x"}, "belong together"),
        ({"servers": ["ldaps://x"], "user_dn": "uid={name}", "key_attribute": "k"}, "needs bind_dn"),
        ({"servers": ["ldaps://x"], "user_base": "o=x", "required_groups": ["g"]}, "need group_base"),
        ({"servers": ["ldaps://x"], "user_base": "o=x", "sevrers": []}, "there is no such key"),
    ],
)
def test_what_cannot_work_is_refused(table: dict[str, Any], told: str) -> None:
    """Before anything starts."""
    with pytest.raises(ValidationError, match=told):
        LdapSettings.model_validate(table)


@pytest.mark.parametrize(
    "url", ["ldap://localhost", "ldap://127.0.0.1:3389", "ldap://[::1]", "ldapi://%2Frun%2Fslapd.sock"]
)
def test_this_machine_needs_no_tls(url: str) -> None:
    """Nobody is between."""
    assert LdapSettings.model_validate({"servers": [url], "user_base": "o=x"})


def test_two_ways_to_write_a_dn() -> None:
    """Are one, or a circle of groups would be walked twice."""
    assert dn_key(f"UID=Alice, ou=people,{SUFFIX}") == dn_key(ALICE) != dn_key(BOB)
    assert dn_key("not a dn") == "not a dn"
