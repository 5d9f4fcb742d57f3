"""Asks the configured authenticators who somebody is, each with what concerns it.

Where a name is known here, only the authenticator that its account came from is shown the password, and the gateway's own accounts,
which keep keys for everybody. All others are asked in vain when the login fails, about a name that nobody has: so it takes as
long to refuse a name that somebody has as one that nobody has.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.logger import Logger

from vfgateway.credentials import IProvenKey, ProvenKey, text_of
from vfgateway.errors import (
    AccountWithdrawn,
    AuthenticationFailed,
    AuthenticatorUnavailable,
    GatewayError,
    IdentityRefused,
    NotMine,
    SecondFactorRequired,
    TokenExpired,
)
from vfgateway.interfaces import IAsksAllFactors, IAuthenticator
from vfgateway.principals import INTERNAL, Origin, Principal
from vfgateway.services.lockouts import Lockouts
from vfgateway.services.passwords import KEY_PREFIX
from vfgateway.services.provisioning import Provisioning
from vfgateway.services.secondfactor import SecondFactors


class Authentication:
    """See the module.

    :ivar authenticators: in the order of the configuration
    """

    log = Logger()

    def __init__(self, provisioning: Provisioning, second_factors: SecondFactors, lockouts: Lockouts) -> None:
        self._provisioning = provisioning
        self._second_factors = second_factors
        self._lockouts = lockouts
        self.authenticators: list[IAuthenticator] = []

    async def authenticate(self, credentials: Any, origin: Origin = INTERNAL) -> Principal:
        """The principal behind ``credentials``. ``AuthenticationFailed``, as ``TooManyAttempts`` without having looked, and as
        ``SecondFactorRequired`` where a code is missing; ``AuthenticatorUnavailable`` where nobody says yes, and who would have to know
        cannot be asked. Whether that is so of a name that has no account yet, nobody can tell: it fails.

        :param origin: from where and by which protocol; wrong logins by the gateway itself are not counted
        """
        if origin is INTERNAL:
            return await self._judge(credentials, origin)
        name, shown, counts = _shown(credentials)
        await self._lockouts.check(name, origin.address)
        try:
            principal = await self._judge(credentials, origin)
        except (TokenExpired, IdentityRefused, SecondFactorRequired):
            raise  # it was the right one
        except AuthenticationFailed:
            if counts:
                await self._lockouts.failed(name, origin.address, shown)
            raise
        if name is not None and counts:
            self._lockouts.succeeded(name, origin.address)
        return principal

    def again(self, credentials: Any, origin: Origin) -> None:
        """Somebody who was let in a moment ago has come again with the same: that, too, is a login that was not wrong. Not a coroutine."""
        name, _, counts = _shown(credentials)
        if name is not None and counts:
            self._lockouts.succeeded(name, origin.address)

    async def _judge(self, credentials: Any, origin: Origin) -> Principal:
        asked, principal = await self._first_of_all(credentials)
        scope = principal.key_scope
        if scope is not None and scope.protocols is not None and origin.protocol not in scope.protocols:
            raise AuthenticationFailed("this key is not for this protocol")
        if principal.user_id is not None and _is_password(credentials) and not IAsksAllFactors.providedBy(asked):
            await self._second_factors.check(principal.user_id, getattr(credentials, "code", None))
        return principal

    async def _first_of_all(self, credentials: Any) -> tuple[IAuthenticator, Principal]:
        """Who says yes, and to whom."""
        able = [each for each in self.authenticators if _judges(each, credentials)]
        named = IUsernamePassword.providedBy(credentials) or IProvenKey.providedBy(credentials)
        if not named or not self._provisioning.has_sources:
            return await self._first_yes(able, credentials, [])
        owner = await self._provisioning.owner(text_of(credentials.username))
        spared = [each for each in able if owner is not None and self._is_anothers(each, owner)]
        concerned = [each for each in able if each not in spared]
        try:
            return await self._first_yes(concerned, credentials, spared)
        except AuthenticatorUnavailable:
            if owner is None:
                raise AuthenticationFailed from None
            raise
        except AuthenticationFailed:
            for each in spared:
                await self._ask_in_vain(each, credentials)
            raise

    def _is_anothers(self, authenticator: IAuthenticator, owner: str) -> bool:
        return authenticator.name != owner and self._provisioning.is_source(authenticator.name)

    async def _first_yes(
        self, asked: Sequence[IAuthenticator], credentials: Any, spared: list[IAuthenticator]
    ) -> tuple[IAuthenticator, Principal]:
        wrong: AuthenticationFailed | None = None
        silent: AuthenticatorUnavailable | None = None
        for each in asked:
            if wrong is not None and self._provisioning.is_source(each.name):
                spared.append(each)  # somebody knew the name: what was typed is no business of the others
                continue
            try:
                return each, await self._provisioning.confirm(await self._ask(each, credentials))
            except (NotMine, IdentityRefused) as error:
                if isinstance(error, IdentityRefused):
                    raise
            except AuthenticationFailed as error:
                wrong = error
            except AuthenticatorUnavailable as error:
                self.log.warn("{name} cannot judge a login: {reason}", name=each.name, reason=error.reason)
                silent = error
        if silent is not None:
            raise silent
        raise wrong or AuthenticationFailed

    async def _ask(self, authenticator: IAuthenticator, credentials: Any) -> Principal:
        try:
            return await authenticator.authenticate(credentials)
        except AccountWithdrawn as error:
            if not await self._provisioning.reconsider(error.user_id):
                raise
        return await authenticator.authenticate(credentials)

    async def _ask_in_vain(self, authenticator: IAuthenticator, credentials: Any) -> None:
        nobody = secrets.token_hex(8)
        try:
            if IProvenKey.providedBy(credentials):
                await authenticator.authenticate(ProvenKey(nobody, credentials.blob, credentials.address, False))
            else:
                await authenticator.authenticate(UsernamePassword(nobody.encode(), secrets.token_hex(8).encode()))
        except GatewayError:
            pass


def _shown(credentials: Any) -> tuple[str | None, bytes, bool]:
    """The name that somebody comes with, what he shows, and whether it counts if it is wrong. A key that is offered is no attempt yet."""
    if IProvenKey.providedBy(credentials):
        return credentials.username, credentials.blob, credentials.proved
    if IUsernamePassword.providedBy(credentials):
        code = getattr(credentials, "code", "")
        return (
            text_of(credentials.username),
            text_of(credentials.password).encode("utf-8", "replace") + code.encode(),
            True,
        )
    return None, getattr(credentials, "token", "").encode("utf-8", "replace"), True


def _is_password(credentials: Any) -> bool:
    return IUsernamePassword.providedBy(credentials) and not text_of(credentials.password).startswith(KEY_PREFIX)


def _judges(authenticator: IAuthenticator, credentials: Any) -> bool:
    kinds: Sequence[Any] = authenticator.credential_interfaces
    return any(kind.providedBy(credentials) for kind in kinds)
