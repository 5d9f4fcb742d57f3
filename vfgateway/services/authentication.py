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
)
from vfgateway.interfaces import IAuthenticator
from vfgateway.model import Principal
from vfgateway.services.provisioning import Provisioning


class Authentication:
    """See the module.

    :ivar authenticators: in the order of the configuration
    """

    log = Logger()

    def __init__(self, provisioning: Provisioning) -> None:
        self._provisioning = provisioning
        self.authenticators: list[IAuthenticator] = []

    async def authenticate(self, credentials: Any) -> Principal:
        """The principal behind ``credentials``. ``AuthenticationFailed``; ``AuthenticatorUnavailable`` where nobody says yes, and who
        would have to know cannot be asked. Whether that is so of a name that has no account yet, nobody can tell: it fails."""
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
    ) -> Principal:
        wrong: AuthenticationFailed | None = None
        silent: AuthenticatorUnavailable | None = None
        for each in asked:
            if wrong is not None and self._provisioning.is_source(each.name):
                spared.append(each)  # somebody knew the name: what was typed is no business of the others
                continue
            try:
                return await self._provisioning.confirm(await self._ask(each, credentials))
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


def _judges(authenticator: IAuthenticator, credentials: Any) -> bool:
    kinds: Sequence[Any] = authenticator.credential_interfaces
    return any(kind.providedBy(credentials) for kind in kinds)
