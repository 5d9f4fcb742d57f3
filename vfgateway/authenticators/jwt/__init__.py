"""Bearer tokens of an identity provider (JWT, RFC 7519): Keycloak, Authentik, Entra ID, Dex and the like."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jwt
from twisted.cred.credentials import IUsernamePassword
from zope.interface import implementer

from vfgateway.authenticators.asking import Asking
from vfgateway.authenticators.jwt.claims import identity_of
from vfgateway.authenticators.jwt.keys import Keys
from vfgateway.authenticators.jwt.settings import JwtSettings
from vfgateway.credentials import IBearer, text_of
from vfgateway.errors import AuthenticationFailed, InvalidToken, NotMine, TokenExpired
from vfgateway.interfaces import IAsksAllFactors, IAuthenticator, IAuthenticatorFactory, ICheckable, IRunning
from vfgateway.model import Health, HealthState
from vfgateway.principals import Principal
from vfgateway.services.provisioning import Source

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

__all__ = ["JwtAuthenticator", "JwtFactory", "JwtSettings"]

#: Characters of the longest token.
LONGEST = 16384


@implementer(IAuthenticatorFactory)
class JwtFactory:
    """The plugin."""

    name = "jwt"
    summary = "bearer tokens of an identity provider (OpenID Connect)"

    def configure(self, name: str, settings: Mapping[str, Any], gateway: Gateway) -> JwtAuthenticator:
        """See ``IAuthenticatorFactory.configure``."""
        return JwtAuthenticator(name, JwtSettings.model_validate(settings), gateway)


@implementer(IAuthenticator, IRunning, ICheckable, IAsksAllFactors)
class JwtAuthenticator:
    """Takes tokens that one issuer has signed, for us, and that are good now."""

    def __init__(self, name: str, settings: JwtSettings, gateway: Gateway) -> None:
        self.name = name
        self._settings = settings
        self._gateway = gateway
        self._asking = Asking(name, gateway, settings.timeout, settings.ca_file)
        self.keys = Keys(name, settings, self._asking, gateway.reactor)
        self.credential_interfaces = (IBearer, IUsernamePassword) if settings.as_password else (IBearer,)
        # There is nobody to ask: what a token has said holds for the grace.
        gateway.provisioning.register(Source(name, 0.0, settings.grace))

    async def start(self) -> None:
        """See ``IRunning``. Keys are fetched when the first token comes."""

    async def stop(self) -> None:
        """See ``IRunning``."""
        await self._asking.stop()

    async def authenticate(self, credentials: Any) -> Principal:
        """See ``IAuthenticator``."""
        bearer = IBearer.providedBy(credentials)
        token = credentials.token if bearer else text_of(credentials.password)
        identity = identity_of(self.name, self._settings, await self._claims(token))
        if not bearer and _form(identity.name) != _form(text_of(credentials.username)):
            raise AuthenticationFailed
        return await self._gateway.provisioning.admit(identity)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        """What the token says, once it is certain who says it. ``NotMine`` for tokens of others."""
        header = self._header(token)
        if header.get("alg") not in self._settings.accepted or "crit" in header:
            raise InvalidToken
        for key in await self.keys.for_token(header):
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[header["alg"]],
                    audience=list(self._settings.audience),
                    issuer=self._settings.issuer,
                    leeway=self._settings.leeway,
                    options={"require": ["exp", "iss", "aud"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise TokenExpired("the token has expired") from None
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
                raise InvalidToken from None
        raise InvalidToken

    def _header(self, token: str) -> Mapping[str, Any]:
        """Of a token that says it is our issuer's."""
        if len(token) > LONGEST or token.count(".") != 2:
            raise NotMine
        try:
            header: Mapping[str, Any] = jwt.get_unverified_header(token)
            said = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise NotMine from None
        if said.get("iss") != self._settings.issuer:
            raise NotMine
        return header

    async def health(self) -> Health:
        """See ``ICheckable``."""
        if self.keys.stale or self.keys.problem:
            await self.keys.look()
        if self.keys.problem is None:
            return Health(HealthState.HEALTHY)
        if not self.keys.count:
            return Health(HealthState.UNAVAILABLE, f"{self.keys.problem}; no token can be judged")
        return Health(HealthState.DEGRADED, f"{self.keys.problem}; those keys that were fetched before are used on")


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name)
