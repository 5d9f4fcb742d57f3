"""Logging in with tokens of an identity provider: whose, for whom, until when, signed with what; and its keys, as they come and go."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError
from twisted.cred.credentials import UsernamePassword

from tests.authenticators.test_ldap import toml
from tests.support.gateway import running_gateway
from tests.support.provider import AUDIENCE, Provider, as_jwk, new_key
from tests.support.web_service import Reply
from vfgateway.authenticators.jwt import JwtAuthenticator, JwtSettings
from vfgateway.authenticators.jwt import keys as jwt_keys
from vfgateway.credentials import Bearer
from vfgateway.errors import AuthenticationFailed, AuthenticatorUnavailable, IdentityRefused, TokenExpired
from vfgateway.model import Actor, HealthState
from vfgateway.principals import Principal
from vfgateway.services.gateway import Gateway


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys may be looked for at any time."""
    monkeypatch.setattr(jwt_keys, "REFRESH_EVERY", 0.0)


@asynccontextmanager
async def gateway_of(tmp_path: Path, provider: Provider, **more: Any) -> AsyncIterator[Gateway]:
    """A gateway that takes this provider's tokens, besides its own keys. Tables come last."""
    table = {"issuer": provider.issuer, "audience": [AUDIENCE], "jwks_url": provider.jwks_url, "timeout": "5s"} | more
    require = table.pop("require", {})
    text = "[authenticators.accounts]\n" + toml(table, "jwt")
    text += "[authenticators.jwt.require]\n" + "".join(
        f"{json.dumps(k)} = {json.dumps(v)}\n" for k, v in require.items()
    )
    async with running_gateway(tmp_path / "gateway", configuration=text) as gateway:
        yield gateway


def authenticator(gateway: Gateway) -> JwtAuthenticator:
    found = gateway.authentication.authenticators[1]
    assert isinstance(found, JwtAuthenticator)
    return found


async def come(gateway: Gateway, token: str) -> Principal:
    return await gateway.authenticate(Bearer(token))


async def refused(gateway: Gateway, token: str) -> None:
    with pytest.raises(AuthenticationFailed):
        await come(gateway, token)


# --- what a token says ---


async def test_a_token_opens(tmp_path: Path, provider: Provider) -> None:
    """For whom it was made out, with its groups; the next one finds the same account."""
    async with gateway_of(tmp_path, provider) as gateway:
        alice = await come(gateway, provider.token())
        user = await gateway.accounts.user("alice")
        assert (user.id, user.email, user.source) == (alice.user_id, "alice@example.org", "jwt")
        assert {group.name for group in await gateway.accounts.groups()} == {"staff", "hpc"}
        assert len(alice.groups) == 2
        again = await come(gateway, provider.token(groups=["hpc"], preferred_username="alicia"))
        assert (again.user_id, again.name, len(again.groups)) == (alice.user_id, "alicia", 1)
        assert not (await come(gateway, provider.token(groups=None, preferred_username="alicia"))).groups


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
async def test_algorithms(tmp_path: Path, provider: Provider, algorithm: str) -> None:
    """All that providers use."""
    provider.add("second", algorithm)
    async with gateway_of(tmp_path, provider) as gateway:
        assert (await come(gateway, provider.token())).name == "alice"


async def test_claims_are_where_the_configuration_says(tmp_path: Path, provider: Provider) -> None:
    """Also within others, and with dots in their names."""
    more = {
        "name_claim": "email",
        "subject_claim": "ids.site",
        "groups_claim": "realm_access.roles",
        "uid_claim": "https://example.org/uid",
        "gid_claim": "gid",
        "administrator_groups": ["admins"],
        "required_groups": ["users"],
        "require": {"email_verified": True, "entitlements": "storage"},
    }
    good: dict[str, Any] = {
        "ids": {"site": "7"},
        "realm_access": {"roles": ["admins", "users"]},
        "https://example.org/uid": 1234,
        "gid": "100",
        "email_verified": True,
        "entitlements": ["storage", "compute"],
    }
    async with gateway_of(tmp_path, provider, **more) as gateway:
        alice = await come(gateway, provider.token(**good))
        assert (alice.name, alice.administrator, alice.actor) == (
            "alice@example.org",
            True,
            Actor(1234, 100, "alice@example.org"),
        )
        for wrong in (
            {"email_verified": False},
            {"email_verified": "true"},
            {"email_verified": 1},
            {"email_verified": None},
            {"entitlements": ["compute"]},
            {"entitlements": None},
            {"realm_access": {"roles": ["admins"]}},
            {"realm_access": ["users"]},
            {"ids": None},
            {"ids": {"site": 7}},
            {"email": None},
            {"email": ["alice@example.org"]},
        ):
            with pytest.raises(IdentityRefused):
                await come(gateway, provider.token(**good | wrong))
        assert len(await gateway.accounts.users()) == 1


async def test_our_own_names_are_ours(tmp_path: Path, provider: Provider) -> None:
    """A provider that calls somebody so does not make it so; and it is said why."""
    async with gateway_of(tmp_path, provider) as gateway:
        await gateway.accounts.create_user("alice", administrator=True)
        with pytest.raises(IdentityRefused, match="the gateway's own"):
            await come(gateway, provider.token())
        for name in ("..", "a/b", "a\nb", "manager", "", "x" * 300, " "):
            with pytest.raises(IdentityRefused):
                await come(gateway, provider.token(name))


# --- what makes a token worthless ---


def forged(provider: Provider) -> Iterator[str]:
    """Tokens of whoever has seen a good one, and the public keys."""
    good = provider.token()
    head, body, signature = good.split(".")
    public = provider.keys["first"][0].public_key()
    claims = provider.claims()

    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        yield f"{part({'alg': algorithm, 'kid': 'first'})}.{body}."
        yield f"{part({'alg': algorithm})}.{body}.{signature}"
    for form in (Encoding.PEM, Encoding.DER):
        secret = public.public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
        for algorithm in ("HS256", "HS512"):
            signer = jwt.get_algorithm_by_name(algorithm)
            signed = f"{part({'alg': algorithm, 'kid': 'first'})}.{part(claims)}"
            mac = signer.sign(signed.encode(), secret)
            yield f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    stranger = new_key("ES256")
    yield jwt.encode(claims, stranger, "ES256", headers={"kid": "first"})
    yield jwt.encode(claims, stranger, "ES256", headers={"jwk": as_jwk(stranger, "ES256", None)})
    yield jwt.encode(claims, stranger, "ES256", headers={"jku": "http://127.0.0.1:1/", "kid": "first"})
    yield jwt.encode(
        claims, provider.keys["first"][0], "ES256", headers={"kid": "first", "crit": ["b64"], "b64": False}
    )
    yield f"{head}.{part(claims | {'preferred_username': 'bob'})}.{signature}"
    yield f"{head}.{body}.{signature[:-4]}AAAA"
    yield f"{head}.{body}."
    yield f"{part({'alg': 'ES256', 'kid': ['first']})}.{body}.{signature}"
    yield f"{part({'alg': ['ES256'], 'kid': 'first'})}.{body}.{signature}"
    yield f"{part({'alg': 'RS256', 'kid': 'first'})}.{body}.{signature}"


async def test_forged_tokens(tmp_path: Path, provider: Provider) -> None:
    """Unsigned, signed with the public key as a secret, with a key that they bring along, or changed."""
    async with gateway_of(tmp_path, provider) as gateway:
        assert (await come(gateway, provider.token())).name == "alice"
        for token in forged(provider):
            await refused(gateway, token)
        assert [user.name for user in await gateway.accounts.users()] == ["alice"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://other.example.org"},
        {"iss": None},
        {"iss": ["https://id.example.org/realms/site"]},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": None},
        {"aud": []},
        {"exp": None},
        {"exp": "never"},
        {"nbf": 4102444800},
        {"iat": 4102444800},
        {"sub": None},
        {"sub": 7},
        {"preferred_username": None},
        {"preferred_username": {"a": 1}},
    ],
    ids=str,
)
async def test_tokens_of_others_and_for_others(tmp_path: Path, provider: Provider, wrong: dict[str, Any]) -> None:
    """However well they are signed."""
    async with gateway_of(tmp_path, provider) as gateway:
        await refused(gateway, provider.token(**wrong))


async def test_an_expired_token(tmp_path: Path, provider: Provider) -> None:
    """Is told from a wrong one."""
    async with gateway_of(tmp_path, provider) as gateway:
        with pytest.raises(TokenExpired):
            await come(gateway, provider.token(exp=time.time() - 7200))


@pytest.mark.parametrize(
    ("off", "leeway", "good"),
    [(-30, "60s", True), (30, "60s", True), (7200, "60s", False), (-7200, "60s", False), (7200, "3h", True)],
)
async def test_clocks_that_differ(tmp_path: Path, provider: Provider, off: int, leeway: str, good: bool) -> None:
    """By less than the leeway do no harm; by hours, nobody comes in, rather than everybody."""
    now = time.time() + off
    token = provider.token(iat=now, nbf=now, exp=now + 10)
    async with gateway_of(tmp_path, provider, leeway=leeway) as gateway:
        if good:
            assert (await come(gateway, token)).name == "alice"
        else:
            await refused(gateway, token)


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "eyJ.eyJ.x", "eyJhbGciOiJFUzI1NiJ9.e30.", "é.é.é", "\0.\0.\0", "x" * 100_000, "." * 5000],
)
async def test_what_is_no_token(tmp_path: Path, provider: Provider, token: str) -> None:
    """Is nobody's affair, and the provider is not asked about it."""
    async with gateway_of(tmp_path, provider) as gateway:
        await refused(gateway, token)
        assert provider.looks == 0


async def test_keys_of_ours_still_open(tmp_path: Path, provider: Provider) -> None:
    """For those who came by token, too, until too long after the last one."""
    async with gateway_of(tmp_path, provider, grace="1h") as gateway:
        alice = await come(gateway, provider.token())
        assert alice.user_id is not None
        key = (await gateway.accounts.add_key(alice.user_id, "api_key")).secret or ""
        assert await come(gateway, key) == alice
        await gateway.provisioning.forget(names=["alice"])
        await refused(gateway, key)
        assert (await come(gateway, provider.token())).user_id == alice.user_id
        assert (await come(gateway, key)).user_id == alice.user_id


# --- as a password ---


async def test_a_token_as_password(tmp_path: Path, provider: Provider) -> None:
    """Only where that is wanted, and only with the name that is in it."""
    async with gateway_of(tmp_path, provider, as_password=True) as gateway:
        token = provider.token().encode()
        assert (await gateway.authenticate(UsernamePassword(b"alice", token))).name == "alice"
        for name, password in ((b"bob", token), (b"", token), (b"alice", b"a.b.c"), (b"alice", b"")):
            with pytest.raises(AuthenticationFailed):
                await gateway.authenticate(UsernamePassword(name, password))
    async with gateway_of(tmp_path / "other", provider) as gateway:
        with pytest.raises(AuthenticationFailed):
            await gateway.authenticate(UsernamePassword(b"alice", token))


# --- keys ---


async def test_keys_rotate(tmp_path: Path, provider: Provider, impatient: None) -> None:
    """A key that is not known yet is looked for; one that was taken back opens nothing once that was seen."""
    async with gateway_of(tmp_path, provider) as gateway:
        old = provider.token()
        await come(gateway, old)
        provider.add("second")
        assert (await come(gateway, provider.token())).name == "alice"
        assert (await come(gateway, old)).name == "alice"
        del provider.keys["first"]
        provider.add("third")
        assert (await come(gateway, provider.token())).name == "alice"
        await refused(gateway, old)


async def test_unknown_keys_do_not_make_us_ask_and_ask(tmp_path: Path, provider: Provider) -> None:
    """A thousand forged tokens are one question."""
    async with gateway_of(tmp_path, provider) as gateway:
        await come(gateway, provider.token())
        looks = provider.looks
        for number in range(1000):
            await refused(gateway, provider.token(headers={"kid": f"unknown {number}"}))
        assert provider.looks <= looks + 1


async def test_keys_are_kept_while_the_provider_is_down(tmp_path: Path, provider: Provider, impatient: None) -> None:
    """Whoever has a token comes in; the doctor knows better; when it is back, all is well."""
    async with gateway_of(tmp_path, provider, keys_life="0.001s") as gateway:
        await come(gateway, provider.token())
        provider.stop()
        for _ in range(3):
            assert (await come(gateway, provider.token())).name == "alice"
        assert (await authenticator(gateway).health()).state is HealthState.DEGRADED
        provider.start()
        assert (await authenticator(gateway).health()).state is HealthState.HEALTHY


BROKEN = [
    Reply(500),
    Reply(404, {}),
    Reply(302, headers={"location": "/elsewhere"}),
    Reply(200, raw=b"<html>"),
    Reply(200, raw=b"[" * 100_000),
    Reply(200, raw=b""),
    Reply(200, {"keys": []}),
    Reply(200, {"keys": "none"}),
    Reply(200, []),
    Reply(200, {"keys": [None, 7, {}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}]}),
    Reply(200, {"keys": [{"kty": "oct", "k": "AAAA", "kid": "first"}]}),
    Reply(200, raw=b" " * (2 << 20)),
]


@pytest.mark.parametrize("reply", BROKEN, ids=lambda reply: f"{reply.status} {reply.raw or reply.body}"[:40])
async def test_a_provider_without_keys(tmp_path: Path, provider: Provider, reply: Reply, impatient: None) -> None:
    """Is not there yet: whoever comes is told to try later, for nobody can know; others are not held up."""
    provider.reply = reply
    async with gateway_of(tmp_path, provider) as gateway:
        with pytest.raises(AuthenticatorUnavailable):
            await come(gateway, provider.token())
        health = await authenticator(gateway).health()
        assert health.state is HealthState.UNAVAILABLE
        assert health.info
        ours = await gateway.accounts.create_user("ours")
        key = (await gateway.accounts.add_key(ours.id, "api_key")).secret or ""
        assert (await come(gateway, key)).name == "ours"
        provider.reply = None
        assert (await come(gateway, provider.token())).name == "alice"


async def test_only_usable_keys_of_a_set_are_used(tmp_path: Path, provider: Provider) -> None:
    """One for encryption signs nothing, and one for another algorithm signs nothing with this one."""
    signing, encrypting = new_key("RS256"), new_key("RS256")
    provider.extra = [
        {"kty": "unheard of"},
        as_jwk(encrypting, "RS256", "enc", use="enc"),
        as_jwk(signing, "RS256", "rs", alg="RS512"),
    ]
    async with gateway_of(tmp_path, provider) as gateway:
        assert (
            await come(gateway, jwt.encode(provider.claims(), signing, "RS512", headers={"kid": "rs"}))
        ).name == "alice"
        await refused(gateway, jwt.encode(provider.claims(), signing, "RS256", headers={"kid": "rs"}))
        await refused(gateway, jwt.encode(provider.claims(), encrypting, "RS256", headers={"kid": "enc"}))
        assert (
            await come(gateway, provider.token(headers={}))
        ).name == "alice"  # without a kid, each that fits is tried


async def test_keys_from_a_file(tmp_path: Path, provider: Provider, impatient: None) -> None:
    """For a provider that this machine does not reach; read again when it changes."""
    file = tmp_path / "keys.json"
    async with gateway_of(tmp_path, provider, jwks_url=None, jwks_file=str(file)) as gateway:
        with pytest.raises(AuthenticatorUnavailable):
            await come(gateway, provider.token())
        provider.write(file)
        assert (await come(gateway, provider.token())).name == "alice"
        provider.add("second")
        provider.write(file)
        assert (await come(gateway, provider.token())).name == "alice"
        assert provider.looks == 0


async def test_a_shared_secret(tmp_path: Path, provider: Provider) -> None:
    """Only where it is configured; then no public key counts."""
    secret = "a secret of at least thirty-two bytes"
    async with gateway_of(tmp_path, provider, jwks_url=None, secret=secret) as gateway:
        assert (await come(gateway, jwt.encode(provider.claims(), secret, "HS256"))).name == "alice"
        await refused(gateway, jwt.encode(provider.claims(), secret + "!", "HS256"))
        await refused(gateway, jwt.encode(provider.claims(), secret, "HS512"))
        await refused(gateway, provider.token())


GOOD = {"issuer": "i", "audience": ["a"], "jwks_url": "https://x/keys"}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"issuer": "i", "audience": ["a"]}, "one of jwks_url"),
        (GOOD | {"secret": "s"}, "one of jwks_url"),
        (GOOD | {"audience": []}, "audience"),
        (GOOD | {"issuer": ""}, "issuer"),
        (GOOD | {"jwks_url": "http://id.example.org/keys"}, "could be changed on the way"),
        (GOOD | {"jwks_url": "file:///etc/passwd"}, "https address"),
        (GOOD | {"algorithms": ["none"]}, "should be one of"),
        (GOOD | {"algorithms": ["RS256", "HS256"]}, "does not go with"),
        ({"issuer": "i", "audience": ["a"], "secret": "s", "algorithms": ["RS256"]}, "does not go with"),
        (GOOD | {"groups_claim": "", "required_groups": ["x"]}, "need groups_claim"),
    ],
)
def test_what_cannot_work_is_refused(table: dict[str, Any], told: str) -> None:
    """Before anything starts."""
    with pytest.raises(ValidationError, match=told):
        JwtSettings.model_validate(table)
