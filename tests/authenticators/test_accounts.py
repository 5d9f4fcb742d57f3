"""The authenticator of the gateway's own accounts takes passwords and keys as front ends hand them in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from argon2 import PasswordHasher
from pydantic import ValidationError
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.internet import reactor
from zope.interface.verify import verifyObject

from tests.support.databases import open_database
from vfgateway.authenticators.accounts import AccountsAuthenticator, AccountsFactory
from vfgateway.blocking import InlinePool
from vfgateway.credentials import Bearer, IBearer
from vfgateway.errors import AuthenticationFailed
from vfgateway.interfaces import IAuthenticator, IAuthenticatorFactory
from vfgateway.services.accounts import Accounts


@pytest_twisted.async_yield_fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Any]:
    """As much of a gateway as an authenticator looks at."""
    async with open_database(tmp_path / "x.db") as database:
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        yield SimpleNamespace(accounts=Accounts(database, reactor, InlinePool(reactor), hasher))


def test_plugin_fits_its_interfaces(gateway: Any) -> None:
    """What the configuration names can be loaded and used."""
    factory = AccountsFactory()
    assert verifyObject(IAuthenticatorFactory, factory)
    assert verifyObject(IAuthenticator, factory.configure("accounts", {}, gateway))
    assert verifyObject(IBearer, Bearer("x"))


def test_a_site_says_how_long_passwords_are(gateway: Any) -> None:
    """For all doors at once."""
    AccountsFactory().configure("accounts", {"min_password_length": 15}, gateway)
    assert gateway.accounts.password_policy.shortest == 15


def test_unknown_setting_is_refused(gateway: Any) -> None:
    """What there is not to be set is a mistake."""
    with pytest.raises(ValidationError, match="there is no such key"):
        AccountsFactory().configure("accounts", {"paht": "x"}, gateway)


async def test_credentials_open(gateway: Any) -> None:
    """Password or API key by Basic, as bytes or text, and API key by Bearer all lead to the user."""
    authenticator = AccountsAuthenticator("accounts", gateway)
    user = await gateway.accounts.create_user("älice")
    await gateway.accounts.set_password(user.id, "pässword")
    key = (await gateway.accounts.add_key(user.id, "api_key")).secret
    for credentials in (
        UsernamePassword("älice".encode(), "pässword".encode()),
        UsernamePassword("älice", "pässword"),  # type: ignore[arg-type]  # some front ends hand over text
        UsernamePassword("älice".encode(), key.encode()),
        Bearer(key),
    ):
        assert any(kind.providedBy(credentials) for kind in authenticator.credential_interfaces)
        assert (await authenticator.authenticate(credentials)).user_id == user.id


async def test_other_credentials_do_not(gateway: Any) -> None:
    """What is wrong, undecodable or of another kind fails to log in, and nothing worse."""
    authenticator = AccountsAuthenticator("accounts", gateway)
    for credentials in (
        UsernamePassword(b"alice", b"x"),
        UsernamePassword(b"\xff", b"x"),
        UsernamePassword(b"alice", b"\xff"),
        Bearer("vfg_x"),
        Anonymous(),
    ):
        with pytest.raises(AuthenticationFailed):
            await authenticator.authenticate(credentials)


def test_bearer_hides_its_key() -> None:
    """A key does not get into a log with its credential."""
    assert "vfg_secret" not in repr(Bearer("vfg_secret"))
