"""Whether what somebody came with is still good: a password, key, browser session or share link may be taken back, or its time pass, while
what it opened is still open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Column, select
from twisted.internet.interfaces import IReactorTime

from vfgateway.errors import AuthenticationFailed
from vfgateway.principals import CredentialKind, ShownCredential
from vfgateway.services import logins, sharelinks, websessions
from vfgateway.services.caches import GenerationCache
from vfgateway.services.database import Database
from vfgateway.services.schema import credentials
from vfgateway.services.sharing_tables import share_links, web_sessions

#: Where each kind is kept, and the number that counts up when one is struck.
_KEPT: Final[Mapping[CredentialKind, tuple[Column[Any], str]]] = {
    CredentialKind.PASSWORD: (credentials.c.id, logins.GENERATION),
    CredentialKind.KEY: (credentials.c.id, logins.GENERATION),
    CredentialKind.SESSION: (web_sessions.c.id, websessions.GENERATION),
    CredentialKind.LINK: (share_links.c.id, sharelinks.GENERATION),
}
#: The numbers that count up whenever something may have been taken back.
GENERATIONS: Final = tuple(sorted({generation for _, generation in _KEPT.values()}))


class Revocations:
    """See the module.

    :param clock: tells the time in epoch seconds
    """

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._database = database
        self._clock = clock
        self._there: Mapping[str, GenerationCache[ShownCredential, bool]] = {
            generation: GenerationCache(database, generation) for generation in GENERATIONS
        }

    async def check(self, shown: ShownCredential | None) -> None:
        """``AuthenticationFailed`` if it is good no more. ``None`` is what the gateway cannot take back by itself."""
        if shown is None:
            return
        if shown.expires is not None and self._clock.seconds() >= shown.expires:
            raise AuthenticationFailed
        column, generation = _KEPT[shown.kind]
        query = select(column).where(column == shown.id)

        async def load() -> bool:
            return await self._database.read(lambda connection: connection.execute(query).first() is not None)

        if not await self._there[generation].get(shown, load):
            raise AuthenticationFailed
