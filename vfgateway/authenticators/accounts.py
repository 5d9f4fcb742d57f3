"""People of the gateway's own database: by name and password, or by an API key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from twisted.cred.credentials import IUsernamePassword
from zope.interface import implementer

from vfgateway.credentials import IBearer, IProvenKey, text_of
from vfgateway.errors import AuthenticationFailed
from vfgateway.interfaces import IAuthenticator, IAuthenticatorFactory
from vfgateway.principals import Principal
from vfgateway.section import Section
from vfgateway.services.passwords import PasswordPolicy

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway


class AccountsSettings(Section):
    """``[authenticators.accounts]``.

    :ivar min_password_length: characters of a new password, at least
    """

    min_password_length: Annotated[int, Field(ge=1, le=128)] = 8


@implementer(IAuthenticatorFactory)
class AccountsFactory:
    """The plugin."""

    name = "accounts"
    summary = "people and keys in the gateway's own database"

    def configure(self, name: str, settings: Mapping[str, Any], gateway: Gateway) -> AccountsAuthenticator:
        """See ``IAuthenticatorFactory.configure``."""
        chosen = AccountsSettings.model_validate(settings)
        gateway.accounts.password_policy = PasswordPolicy(chosen.min_password_length)
        return AccountsAuthenticator(name, gateway)


@implementer(IAuthenticator)
class AccountsAuthenticator:
    """Judges passwords, API keys and public keys. An API key is taken in the place of a password too, for clients that know nothing else."""

    credential_interfaces = (IUsernamePassword, IBearer, IProvenKey)

    def __init__(self, name: str, gateway: Gateway) -> None:
        self.name = name
        self._gateway = gateway

    async def authenticate(self, credentials: Any) -> Principal:
        """See ``IAuthenticator.authenticate``."""
        accounts = self._gateway.accounts
        if IBearer.providedBy(credentials):
            return await accounts.authenticate_api_key(credentials.token)
        if IProvenKey.providedBy(credentials):
            name, blob, address = credentials.username, credentials.blob, credentials.address
            return await accounts.authenticate_public_key(name, blob, address, credentials.proved)
        if IUsernamePassword.providedBy(credentials):
            name, password = text_of(credentials.username), text_of(credentials.password)
            return await accounts.authenticate_password(name, password)
        raise AuthenticationFailed
