"""Logging in by an orchestrator: as it answers, and as it does not."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred

from tests.authenticators.test_ldap import public_key, toml
from tests.support.gateway import running_gateway
from tests.support.manager import ManagerClient
from tests.support.orchestrator import SECRET, Orchestrator, number
from tests.support.slapd import Mute
from tests.support.web_service import Reply
from vfgateway.authenticators.manager import ManagerAuthenticator, ManagerSettings
from vfgateway.authenticators.manager.contract import document
from vfgateway.credentials import Bearer, ProvenKey
from vfgateway.errors import AuthenticationFailed, AuthenticatorUnavailable, IdentityRefused
from vfgateway.model import Actor, HealthState, Permission, QuotaScopeId, ScopeKind, VFolderId
from vfgateway.principals import INTERNAL, Principal
from vfgateway.protocols.manager.frontend import ManagerFrontEnd, ManagerService
from vfgateway.services.gateway import Gateway
from vfgateway.services.provisioning import OWN


@pytest.fixture
def orchestrator() -> Iterator[Orchestrator]:
    with Orchestrator() as orchestrator:
        orchestrator.add("alice", "secret of alice", email="a@example.org", uid=1001, gid=100, groups=[_group("staff")])
        yield orchestrator


def _group(name: str, administrator: bool = False) -> dict[str, Any]:
    return {"id": str(number(name)), "name": name, "administrator": administrator}


@asynccontextmanager
async def gateway_of(tmp_path: Path, url: str, **more: Any) -> AsyncIterator[Gateway]:
    """A gateway that asks there, and then its own accounts."""
    table = {"url": url, "secret": SECRET, "timeout": "5s"} | more
    async with running_gateway(
        tmp_path / "gateway", configuration=toml(table, "manager") + "[authenticators.accounts]\n"
    ) as gateway:
        yield gateway


def authenticator(gateway: Gateway) -> ManagerAuthenticator:
    found = gateway.authentication.authenticators[0]
    assert isinstance(found, ManagerAuthenticator)
    return found


async def log_in(gateway: Gateway, name: str, password: str) -> Principal:
    return await gateway.authenticate(UsernamePassword(name.encode("utf-8", "surrogatepass"), password.encode()))


async def refused(gateway: Gateway, name: str, password: str) -> None:
    with pytest.raises(AuthenticationFailed):
        await log_in(gateway, name, password)


# --- as it answers ---


async def test_whom_it_knows_is_let_in(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """With the identifiers that the orchestrator's vfolders carry, so that those are its own."""
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        alice = await log_in(gateway, "alice", "secret of alice")
        assert (alice.user_id, alice.actor, alice.groups) == (
            number("alice"),
            Actor(1001, 100, "alice"),
            frozenset({number("staff")}),
        )
        user = await gateway.accounts.user("alice")
        assert (user.email, user.source, user.administrator) == ("a@example.org", "manager", False)
        await refused(gateway, "alice", "wrong")
        await refused(gateway, "nobody", "secret of alice")
        ours = await gateway.accounts.create_user("ours")
        await gateway.accounts.set_password(ours.id, "of the house")
        asked = orchestrator.looks()
        assert (await log_in(gateway, "ours", "of the house")).user_id == ours.id
        assert orchestrator.looks() == asked  # a name of ours is none of its business


async def test_tokens_and_keys(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Are passed on, unless they are ours; whether a key would do makes no account."""
    _, blob = public_key()
    digest = base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()
    orchestrator.keys["alice"] = {f"SHA256:{digest}"}
    orchestrator.tokens["of a session"] = "alice"
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        await gateway.authenticate(ProvenKey("alice", blob, "192.0.2.1", False))
        assert await gateway.accounts.users() == []
        assert (await gateway.authenticate(ProvenKey("alice", blob, "192.0.2.1"))).user_id == number("alice")
        assert orchestrator.asked[-1].body["address"] == "192.0.2.1"
        assert (await gateway.authenticate(Bearer("of a session"))).user_id == number("alice")
        for wrong in (Bearer("of nobody"), Bearer("x" * 20_000), ProvenKey("alice", public_key()[1], "192.0.2.1")):
            with pytest.raises(AuthenticationFailed):
                await gateway.authenticate(wrong)
        key = (await gateway.accounts.add_key(number("alice"), "api_key")).secret or ""
        asked = orchestrator.looks("/identify")
        assert (await gateway.authenticate(Bearer(key))).user_id == number("alice")
        assert (await log_in(gateway, "alice", key)).user_id == number("alice")
        assert orchestrator.looks("/identify") == asked


async def test_only_what_is_wanted_is_passed_on(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """An orchestrator that knows tokens alone is shown no password."""
    async with gateway_of(tmp_path, orchestrator.url, kinds=["token"]) as gateway:
        await refused(gateway, "alice", "secret of alice")
        assert orchestrator.looks() == 0


async def test_vfolders_that_it_opens(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Appear, with the permission that it says; and go when it says so no more. Its person's own need not be named."""
    async with gateway_of(tmp_path, orchestrator.url, cache_life=0.001) as gateway:
        scopes = {name: QuotaScopeId(ScopeKind.USER, number(name)) for name in ("alice", "bob")}
        own, shared, other = (VFolderId(scopes[name], uuid4()) for name in ("alice", "bob", "bob"))
        for vfid in (own, shared, other):
            await gateway.lifecycle.create("mem", vfid)
        row = {"volume": "mem", "id": str(shared), "permission": "ro", "name": "ours"}
        gone = {"volume": "mem", "id": str(VFolderId(scopes["bob"], uuid4())), "permission": "rwd"}
        orchestrator.people["alice"]["vfolders"] = [row, gone]
        alice = await log_in(gateway, "alice", "secret of alice")
        seen = {each.vfolder.id: each.access for each in await gateway.session(alice, INTERNAL).vfolders()}
        assert {vfid: access.permission for vfid, access in seen.items()} == {
            own: Permission.RWD,
            shared: Permission.RO,
        }
        assert [seen[own].administer, seen[shared].administer] == [True, False]
        row["permission"] = "rw"
        alice = await log_in(gateway, "alice", "secret of alice")
        folder = await gateway.session(alice, INTERNAL).folder(shared)
        assert folder.access.permission is Permission.RW
        orchestrator.people["alice"]["vfolders"] = []
        alice = await log_in(gateway, "alice", "secret of alice")
        assert [each.vfolder.id for each in await gateway.session(alice, INTERNAL).vfolders()] == [own]


async def test_answers_are_remembered_until_it_says_otherwise(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """A hundred requests ask once; after the event, everything is asked anew."""
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        alice = await log_in(gateway, "alice", "secret of alice")  # the account made by it ends what was remembered
        await log_in(gateway, "alice", "secret of alice")
        asked = orchestrator.looks()
        for _ in range(100):
            assert await log_in(gateway, "alice", "secret of alice") == alice
        assert orchestrator.looks() == asked
        orchestrator.passwords["alice"] = "changed"
        orchestrator.people["alice"]["groups"] = [_group("staff", administrator=True)]
        assert await gateway.provisioning.forget("manager", [str(number("alice"))]) == 1
        await refused(gateway, "alice", "secret of alice")
        assert (await log_in(gateway, "alice", "changed")).administered_groups == {number("staff")}
        del orchestrator.people["alice"]
        await gateway.provisioning.forget("manager")
        with pytest.raises(AuthenticationFailed):
            await gateway.provisioning.confirm(alice)
        await refused(gateway, "alice", "changed")


async def test_many_at_once_ask_once(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """And a wrong password that a program repeats is not passed on each time."""
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        work = [Deferred.fromCoroutine(log_in(gateway, "alice", "secret of alice")) for _ in range(20)]
        assert len(set(await gatherResults(work))) == 1
        assert orchestrator.looks("/identify") == 1
        for _ in range(20):
            await refused(gateway, "alice", "wrong")
        assert orchestrator.looks("/identify") < 5


# --- as it does not ---


async def test_while_it_is_down(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Who is known to be its own is told to come later; keys go on for the grace, and no longer; others notice nothing."""
    async with gateway_of(tmp_path, orchestrator.url, cache_life=0.001) as gateway:
        alice = await log_in(gateway, "alice", "secret of alice")
        key = (await gateway.accounts.add_key(number("alice"), "api_key")).secret or ""
        ours = await gateway.accounts.create_user("ours")
        await gateway.accounts.set_password(ours.id, "of the house")
        orchestrator.stop()
        with pytest.raises(AuthenticatorUnavailable):
            await log_in(gateway, "alice", "secret of alice")
        await refused(gateway, "stranger", "whatever")
        assert (await log_in(gateway, "alice", key)).user_id == alice.user_id
        assert (await log_in(gateway, "ours", "of the house")).user_id == ours.id
        health = await authenticator(gateway).health()
        assert health.state is HealthState.UNAVAILABLE
        assert orchestrator.url in (health.info or "")
        assert SECRET not in (health.info or "")
        orchestrator.start()
        assert (await log_in(gateway, "alice", "secret of alice")).user_id == alice.user_id
        assert (await authenticator(gateway).health()).state is HealthState.HEALTHY
    async with gateway_of(tmp_path, orchestrator.url, cache_life=0.001, grace=0.001) as gateway:
        orchestrator.stop()
        with pytest.raises(AuthenticatorUnavailable):
            await gateway.authenticate(Bearer(key))


async def test_a_connection_that_it_ended_meanwhile(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Is made again without anybody noticing."""
    async with gateway_of(tmp_path, orchestrator.url, cache_life=0.001) as gateway:
        for _ in range(3):
            assert (await log_in(gateway, "alice", "secret of alice")).name == "alice"
            orchestrator.stop()
            orchestrator.start()


@pytest.mark.parametrize("saying", [b"", b"H"], ids=["silent", "one byte after the other"])
async def test_one_that_answers_after_a_minute(tmp_path: Path, saying: bytes) -> None:
    """Is not waited for; nor does anybody else wait."""
    with Mute(saying) as mute:
        url = f"http://127.0.0.1:{mute.port}"
        async with gateway_of(tmp_path, url, timeout=1, connections=2) as gateway:
            ours = await gateway.accounts.create_user("ours")
            await gateway.accounts.set_password(ours.id, "of the house")
            await gateway.accounts.create_user("alice", source="manager")
            waiting = [Deferred.fromCoroutine(log_in(gateway, "alice", str(number))) for number in range(4)]
            assert (await log_in(gateway, "ours", "of the house")).user_id == ours.id
            assert not any(each.called for each in waiting)
            for each in waiting:
                with pytest.raises(AuthenticatorUnavailable):
                    await each
            assert "no answer within" in ((await authenticator(gateway).health()).info or "")
            threads = threading.active_count()
        assert threads < 50


ALICE = {"id": str(number("alice")), "name": "alice"}
NO_ANSWERS = [
    (Reply(302, headers={"location": "http://127.0.0.1:1/steal"}), "answers 302"),
    (Reply(307, headers={"location": "/identify"}), "answers 307"),
    (Reply(500, {"detail": "secret of alice"}), "answers 500"),
    (Reply(200, raw=b"<html>"), "not JSON"),
    (Reply(200, raw=b""), "not answer as agreed"),
    (Reply(200, raw=b"[" * 100_000), "not JSON"),
    (Reply(200, raw=b" " * (2 << 20)), "longer than"),
    (Reply(200, ["alice"]), "not answer as agreed"),
    (Reply(200, {"name": "alice"}), "not answer as agreed"),
    (Reply(200, ALICE | {"administrator": "perhaps"}), "not answer as agreed"),
    (Reply(200, ALICE | {"groups": [{"id": "1"}]}), "not answer as agreed"),
    (Reply(200, ALICE | {"vfolders": [{"volume": "mem", "id": "../etc"}]}), "not answer as agreed"),
    (Reply(200, ALICE | {"uid": -1}), "not answer as agreed"),
]


async def test_answers_that_are_none(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Let nobody in, and lead nowhere; what is wrong stands in the log, without what it said."""
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        await gateway.accounts.create_user("alice", source="manager")
        for count, (reply, told) in enumerate(NO_ANSWERS, 1):
            orchestrator.reply = reply
            with pytest.raises(AuthenticatorUnavailable) as caught:
                await log_in(gateway, "alice", "secret of alice")
            assert told in caught.value.reason
            assert "secret of alice" not in caught.value.reason + str(caught.value)
            assert orchestrator.looks() == count


async def test_names_that_cannot_be_names_here(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Lead to no account, whoever says them."""
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        for name in ("..", "a/b", "line\nbreak", "manager", "internal", " alice", "a" * 300, "a:b", "\u202e", "\udcff"):
            orchestrator.reply = Reply(200, {"id": str(number("x")), "name": name})
            with pytest.raises((AuthenticationFailed, AuthenticatorUnavailable)):
                await log_in(gateway, f"alice of {ascii(name)[:50]}", "secret of alice")
            orchestrator.reply = None
            await refused(gateway, name, "secret of alice")
        assert await gateway.accounts.users() == []


async def test_it_cannot_take_over_what_is_ours(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Neither the name of an account, nor its identifier, nor the name of a group."""
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        ours = await gateway.accounts.create_user("ours", administrator=True)
        team = await gateway.accounts.create_group("team")
        orchestrator.add("mallory", "m", groups=[_group("team", administrator=True)])
        mallory = await log_in(gateway, "mallory", "m")
        assert team.id not in mallory.groups | mallory.administered_groups
        for lie in ({"name": "ours"}, {"id": str(ours.id)}):
            orchestrator.reply = Reply(200, {"id": str(number("liar")), "name": "liar"} | lie)
            with pytest.raises(IdentityRefused):
                await log_in(gateway, "liar", str(lie))
        assert (await gateway.accounts.user(ours.id)).source is None


async def test_the_wrong_secret(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """Is named as what to check, and not shown."""
    async with gateway_of(tmp_path, orchestrator.url, secret="another") as gateway:
        await refused(gateway, "alice", "secret of alice")
        info = (await authenticator(gateway).health()).info or ""
        assert "check secret" in info
        assert "another" not in info


async def test_the_event_call(tmp_path: Path, orchestrator: Orchestrator) -> None:
    """By which the orchestrator tells that something has changed; and what the doctor says of it, and of one that is down."""
    async with gateway_of(tmp_path, orchestrator.url) as gateway:
        service = ManagerFrontEnd().configure({"endpoint": "tcp:0:interface=127.0.0.1", "secret": "the api's"}, gateway)
        assert isinstance(service, ManagerService)
        service.startService()
        try:
            client = ManagerClient(service.urls[0], "the api's")
            for _ in range(2):
                await log_in(gateway, "alice", "secret of alice")
            orchestrator.passwords["alice"] = "changed"
            invalidate = "/vfgateway/v1/authenticators/manager/invalidate"
            assert await client.post(invalidate, {"people": ["bob"]}) == {"accounts": 0}
            assert (await log_in(gateway, "alice", "secret of alice")).name == "alice"
            assert await client.post(invalidate, {"people": [str(number("alice"))]}) == {"accounts": 1}
            await refused(gateway, "alice", "secret of alice")
            assert await client.post(invalidate, {}) == {"accounts": 1}
            await client.refused("POST", invalidate.replace("manager", "accounts"), {}, 404)
            user = await client.get("/vfgateway/v1/users/alice")
            assert (user["source"], user["withdrawn"]) == ("manager", False)
            asked = (await client.get("/vfgateway/v1/authenticators"))["authenticators"]
            assert [(each["name"], each["state"]) for each in asked] == [("manager", "healthy"), ("accounts", None)]
            orchestrator.stop()
            findings = {each["what"]: each for each in (await client.get("/vfgateway/v1/doctor"))["findings"]}
            assert findings["authenticator accounts"]["ok"]
            assert not findings["authenticator manager"]["ok"]
            assert orchestrator.url in findings["authenticator manager"]["detail"]
            handed = await client.ok("PATCH", "/vfgateway/v1/users/alice", {"source": None})
            assert handed["source"] is None
            assert await gateway.provisioning.owner("alice") == OWN
        finally:
            await maybeDeferred(service.stopService)


# --- settings and contract ---


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "url"),
        ({"url": "http://manager.example.org", "secret": "x"}, "could be read on the way"),
        ({"url": "ftp://manager.example.org", "secret": "x"}, "https address"),
        ({"url": "https://m", "secret": "x", "kinds": []}, "kinds"),
        ({"url": "https://m", "secret": "x", "kinds": ["smile"]}, "kinds"),
        ({"url": "https://m", "secret": "x", "connections": 0}, "connections"),
        ({"url": "https://m"}, "secret"),
    ],
)
def test_what_cannot_work_is_refused(table: dict[str, Any], told: str) -> None:
    """Before anything starts."""
    with pytest.raises(ValidationError, match=told):
        ManagerSettings.model_validate(table)


def test_the_contract_is_written_down() -> None:
    """The document in docs/ is what the code asks for, and is valid."""
    kept = json.loads(Path("docs/manager-authenticator.openapi.json").read_text())
    assert kept == document()
