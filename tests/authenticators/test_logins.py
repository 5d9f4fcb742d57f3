"""Logging in to a whole gateway: keys that permit less, the second factor, and what guessing costs."""

from __future__ import annotations

import gc
import time
import tracemalloc
from pathlib import Path
from uuid import uuid4

import pyotp
import pytest
from argon2 import PasswordHasher
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from tests.support.gateway import lockouts_clock, running_gateway
from vfgateway.credentials import Bearer, PasswordAndCode
from vfgateway.errors import (
    AuthenticationFailed,
    AuthenticatorUnavailable,
    InvalidArgument,
    PermissionDenied,
    SecondFactorRequired,
    TooManyAttempts,
    VFolderNotFound,
)
from vfgateway.model import Permission, QuotaScopeId, ScopeKind, VFolder, VFolderId
from vfgateway.paths import parse_text
from vfgateway.principals import KeyScope, Origin, Principal
from vfgateway.services import logins, passwords
from vfgateway.services.gateway import Gateway
from vfgateway.services.people import User

SFTP, WEBDAV = Origin("sftp", "192.0.2.1"), Origin("webdav", "192.0.2.1")
PASSWORD = "correct horse"


async def new_user(gateway: Gateway, name: str = "alice", **more: bool) -> User:
    user = await gateway.accounts.create_user(name, **more)  # type: ignore[arg-type]
    await gateway.accounts.set_password(user.id, PASSWORD)
    return user


async def own_vfolder(gateway: Gateway, user: User, name: str) -> VFolder:
    vfid = VFolderId(QuotaScopeId(ScopeKind.USER, user.id), uuid4())
    return await gateway.lifecycle.create("mem", vfid, name=name)


def basic(name: str, password: str) -> UsernamePassword:
    return UsernamePassword(name.encode("utf-8", "surrogatepass"), password.encode())


async def log_in(gateway: Gateway, password: str, origin: Origin = WEBDAV, name: str = "alice") -> Principal:
    return await gateway.authenticate(basic(name, password), origin)


async def refused(gateway: Gateway, password: str, origin: Origin = WEBDAV, name: str = "alice") -> None:
    with pytest.raises(AuthenticationFailed):
        await log_in(gateway, password, origin, name)


# --- keys ---


async def test_an_app_password_is_narrow(tmp_path: Path) -> None:
    """One protocol, one vfolder, one permission; whoever has it administers nothing, even if its user does."""
    async with running_gateway(tmp_path) as gateway:
        alice = await new_user(gateway, administrator=True)
        photos, letters = [await own_vfolder(gateway, alice, name) for name in ("photos", "letters")]
        scope = KeyScope(frozenset({"webdav"}), frozenset({photos.key}), Permission.RO)
        secret = (await gateway.accounts.add_key(alice.id, "app_password", label="phone", scope=scope)).secret or ""
        phone = await log_in(gateway, secret)
        assert (phone.administrator, phone.key_scope) == (False, scope)
        await refused(gateway, secret, SFTP)
        await refused(gateway, secret, name="bob")
        with pytest.raises(AuthenticationFailed):
            await gateway.authenticate(Bearer(secret), WEBDAV)
        session = gateway.session(phone, WEBDAV)
        assert [(each.name, each.access.administer) for each in await session.vfolders()] == [("photos", False)]
        folder = await session.folder_named("photos")
        await folder.list(parse_text(""))
        with pytest.raises(PermissionDenied):
            await folder.make_dir(parse_text("new"))
        for hidden in (session.folder_named("letters"), session.folder(letters.id)):
            with pytest.raises(VFolderNotFound):
                await hidden
        whole = await log_in(gateway, PASSWORD)
        assert {each.name for each in await gateway.session(whole, WEBDAV).vfolders()} == {"photos", "letters"}
        assert await gateway.provisioning.confirm(phone) == phone


async def test_keys_of_every_kind_can_be_narrowed(tmp_path: Path) -> None:
    """An API key too, as a bearer and in the place of a password; one that is not may do all."""
    async with running_gateway(tmp_path) as gateway:
        alice = await new_user(gateway)
        scope = KeyScope(permission=Permission.RW)
        narrow = (await gateway.accounts.add_key(alice.id, "api_key", scope=scope)).secret or ""
        for principal in (await gateway.authenticate(Bearer(narrow), WEBDAV), await log_in(gateway, narrow, SFTP)):
            assert principal.key_scope == scope
        whole = (await gateway.accounts.add_key(alice.id, "app_password", scope=KeyScope())).secret or ""
        assert (await log_in(gateway, whole)).key_scope is None
        kept = [(each.kind, each.scope) for each in await gateway.accounts.keys(alice.id)]
        assert sorted(kept, key=str) == [("api_key", scope), ("app_password", None)]


@pytest.mark.parametrize(
    "scope",
    [
        KeyScope(protocols=frozenset()),
        KeyScope(protocols=frozenset({"manager"})),
        KeyScope(vfolders=frozenset()),
        KeyScope(permission=Permission.NONE),
    ],
)
async def test_scopes_that_are_none(tmp_path: Path, scope: KeyScope) -> None:
    """A key for nothing is a mistake, and the manager's door is not opened by halves."""
    async with running_gateway(tmp_path) as gateway:
        alice = await gateway.accounts.create_user("alice")
        with pytest.raises(InvalidArgument):
            await gateway.accounts.add_key(alice.id, "api_key", scope=scope)
        assert await gateway.accounts.keys(alice.id) == []


async def test_a_revoked_key_is_not_taken_again(tmp_path: Path) -> None:
    """However lately it was."""
    async with running_gateway(tmp_path) as gateway:
        alice = await new_user(gateway)
        new = await gateway.accounts.add_key(alice.id, "app_password")
        for _ in range(2):
            await log_in(gateway, new.secret or "")
        await gateway.accounts.delete_key(alice.id, new.credential.id)
        await refused(gateway, new.secret or "")


# --- the second factor ---


async def test_a_password_alone_is_not_enough(tmp_path: Path) -> None:
    """For whoever has a second factor: with a code it is, once; keys need none. A wrong password is told nothing of it."""
    async with running_gateway(tmp_path) as gateway:
        alice = await new_user(gateway)
        key = (await gateway.accounts.add_key(alice.id, "app_password")).secret or ""
        app = pyotp.TOTP((await gateway.second_factors.begin(alice.id)).secret)
        await log_in(gateway, PASSWORD)
        codes = await gateway.second_factors.confirm(alice.id, app.now())
        for origin in (WEBDAV, SFTP):
            with pytest.raises(SecondFactorRequired, match="app password"):
                await log_in(gateway, PASSWORD, origin)
            with pytest.raises(AuthenticationFailed, match=r"^login failed$"):
                await log_in(gateway, "wrong", origin)
        assert (await log_in(gateway, key)).user_id == alice.id
        assert (
            await gateway.authenticate(Bearer((await gateway.accounts.add_key(alice.id, "api_key")).secret or ""))
        ).name
        good = PasswordAndCode(b"alice", PASSWORD.encode(), app.at(time.time() + 30))
        assert "correct" not in repr(good)
        assert (await gateway.authenticate(good, SFTP)).user_id == alice.id
        for code in (good.code, "123456", ""):
            with pytest.raises(AuthenticationFailed):
                await gateway.authenticate(PasswordAndCode(b"alice", PASSWORD.encode(), code), SFTP)
        with pytest.raises(AuthenticationFailed):
            await gateway.authenticate(PasswordAndCode(b"alice", b"wrong", codes[0]), SFTP)
        assert (
            await gateway.authenticate(PasswordAndCode(b"alice", PASSWORD.encode(), codes[0]), SFTP)
        ).name == "alice"


async def test_codes_cannot_be_guessed(tmp_path: Path) -> None:
    """A wrong one counts as a wrong login."""
    async with running_gateway(tmp_path) as gateway:
        alice = await new_user(gateway)
        app = pyotp.TOTP((await gateway.second_factors.begin(alice.id)).secret)
        await gateway.second_factors.confirm(alice.id, app.now())
        outcomes = set()
        for number in range(20):
            with pytest.raises(AuthenticationFailed) as caught:
                await gateway.authenticate(PasswordAndCode(b"alice", PASSWORD.encode(), f"{number:06}x"), SFTP)
            outcomes.add(type(caught.value))
        assert TooManyAttempts in outcomes


# --- guessing ---


async def test_ten_thousand_wrong_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost a few comparisons and little memory; the right one is not looked at either, until an administrator says so. Others log in."""
    compared: list[str] = []

    def counting(hasher: PasswordHasher, stored: str, password: str) -> bool:
        compared.append(password)
        return passwords.fits(hasher, stored, password)

    monkeypatch.setattr(logins, "fits", counting)
    async with running_gateway(tmp_path) as gateway:
        clock = lockouts_clock(gateway, monkeypatch)
        await new_user(gateway)
        await new_user(gateway, "bob")
        other = Origin("webdav", "198.51.100.7")
        for number in range(20):
            await refused(gateway, f"early {number}")
        gc.collect()
        tracemalloc.start()
        for number in range(10_000):
            clock.advance(0.01)
            await refused(gateway, f"wrong {number}", (WEBDAV, SFTP)[number % 2])
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        # Five are free; then one each after 0, 1, 3, 7, 15, 31 and 63 of the 100 seconds.
        assert len(compared) == 12
        assert grown < 4 << 20
        with pytest.raises(TooManyAttempts, match="try again in"):
            await log_in(gateway, PASSWORD)
        assert (await log_in(gateway, PASSWORD, name="bob")).name == "bob"
        assert (await log_in(gateway, PASSWORD, other)).name == "alice"
        assert [(each.kind, each.name) for each in await gateway.lockouts.list()] == [("login", "alice")]
        assert await gateway.lockouts.lift("alice") > 0
        assert (await log_in(gateway, PASSWORD)).name == "alice"


async def test_who_does_not_exist_is_locked_out_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it does not tell names."""
    async with running_gateway(tmp_path) as gateway:
        lockouts_clock(gateway, monkeypatch)
        await new_user(gateway)
        told: dict[str, list[str]] = {"alice": [], "nobody": []}
        for name, answers in told.items():
            for number in range(12):
                with pytest.raises(AuthenticationFailed) as caught:
                    await log_in(gateway, f"wrong {number}", Origin("sftp", f"192.0.2.{len(name)}"), name)
                answers.append(type(caught.value).__name__)
        assert told["alice"] == told["nobody"] == ["AuthenticationFailed"] * 6 + ["TooManyAttempts"] * 6


async def test_many_guesses_at_once_wait_in_a_short_line(tmp_path: Path) -> None:
    """From everywhere, under all names: what the processors cannot bear is told to come later, and the gateway goes on."""
    async with running_gateway(tmp_path) as gateway:
        await new_user(gateway)
        guesses = [
            Deferred.fromCoroutine(
                log_in(gateway, "wrong", Origin("webdav", f"10.0.{n // 256}.{n % 256}"), f"name {n}")
            )
            for n in range(300)
        ]
        outcomes = await DeferredList(guesses, consumeErrors=True)
        kinds = {type(outcome.value) for _, outcome in outcomes if isinstance(outcome, Failure)}
        assert kinds == {AuthenticatorUnavailable, AuthenticationFailed}
        late = sum(
            isinstance(outcome, Failure) and isinstance(outcome.value, AuthenticatorUnavailable)
            for _, outcome in outcomes
        )
        assert late >= 200
        assert (await log_in(gateway, PASSWORD)).name == "alice"
