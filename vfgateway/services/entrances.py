"""Whoever entered a vfolder a moment ago enters it again without being asked anew.

For many small requests who asks and what he may do costs more than what is asked for. What was found out is good for as long as
the generations of accounts, vfolders and lockouts stay what they were, and for :data:`vfgateway.services.database.FRESH` seconds at most: no
longer than any other cache of permissions.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred

from vfgateway import requestcontext
from vfgateway.errors import GatewayError
from vfgateway.principals import Origin, Principal
from vfgateway.services import lockouts, logins, vfolders
from vfgateway.services.database import FRESH
from vfgateway.services.session import FolderSession, Session
from vfgateway.services.sharing import Shared

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Entries that are kept.
MOST: Final = 4096
#: Seconds for which nothing is tried again that took time.
LATER: Final = 0.01

_GENERATIONS: Final = (logins.GENERATION, vfolders.GENERATION, lockouts.GENERATION)


@attrs.define(eq=False)
class Login:
    """Somebody who has just logged in.

    :ivar until: epoch seconds
    :ivar folders: what he has entered since, by the names that he sees
    :ivar before: what he had entered with the login before this one
    """

    principal: Principal
    stamp: tuple[int, ...]
    until: float
    before: dict[str, FolderSession] = attrs.Factory(dict)
    folders: dict[str, FolderSession] = attrs.Factory(dict)
    looks: int = -1
    stands_until: float = 0.0  # without a look at the stamp, as long as nobody looks anew


class Entrances:
    """See the module. Safe against whoever reads memory: of a login only a keyed hash is kept.

    One for each front end, since what a login is good for may depend on it.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._database = gateway.database
        self._clock = gateway.reactor
        self._keyed = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._known: dict[tuple[bytes, str], Login] = {}
        self._later: dict[tuple[bytes, str, str], float] = {}
        self._entering: Shared[tuple[bytes, str, str], FolderSession | None] = Shared()

    def ticket(self, text: bytes) -> bytes:
        """A keyed hash that stands for ``text``, which holds a login."""
        hashed = self._keyed.copy()
        hashed.update(text)
        return hashed.digest()

    def known(self, ticket: bytes, address: str) -> Login | None:
        """Who logged in with that from there, if that still stands. Not a coroutine."""
        login = self._known.get((ticket, address))
        if login is None:
            return None
        now = self._clock.seconds()
        if now < login.stands_until and login.looks == self._database.looks:
            return login
        return login if self.stands(login) else None

    def stands(self, login: Login) -> bool:
        """Whether nothing has changed since. Not a coroutine."""
        now = self._clock.seconds()
        if now >= login.until:
            return False
        database = self._database
        if login.looks != database.looks or now >= login.stands_until:
            if login.stamp != database.at_hand(*_GENERATIONS):
                return False
            login.looks, login.stands_until = database.looks, min(login.until, database.good_until(*_GENERATIONS))
        return True

    async def log_in(self, ticket: bytes, credentials: Callable[[], Any], origin: Origin) -> Login:
        """As ``Gateway.authenticate``, which is not asked again about who is :meth:`known`.

        :param ticket: of ``credentials``
        """
        login = self.known(ticket, origin.address)
        if login is not None:
            self._gateway.authentication.again(credentials(), origin)
            return login
        stamp, until = self._database.at_hand(*_GENERATIONS), self._clock.seconds() + FRESH
        principal = await self._gateway.authenticate(credentials(), origin)
        last = self._known.get((ticket, origin.address))
        login = Login(principal, stamp or (), until, {} if last is None else last.folders)
        if stamp is not None:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[ticket, origin.address] = login
        return login

    def session(self, login: Login, origin: Origin) -> Session:
        """The hands of who has logged in."""
        return _Again(self, self._gateway, login, origin)

    def enter(self, ticket: bytes, name: str, credentials: Callable[[], Any], origin: Origin) -> FolderSession | None:
        """Log in, and enter the vfolder of that ``name``. ``None`` where that would take time, and for whoever may not enter: it is not for us to
        say why. Not a coroutine."""
        place = (ticket, origin.address, name)
        if self._clock.seconds() < self._later.get(place, 0.0):
            return None

        outcome: list[FolderSession | None] = []
        self._entering.run(place, lambda: self._enter(ticket, name, credentials, origin)).addCallback(outcome.append)
        if outcome:
            return outcome[0]
        if len(self._later) >= MOST:
            self._later.clear()
        self._later[place] = self._clock.seconds() + LATER
        return None

    def enter_again(
        self, ticket: bytes, name: str, credentials: Callable[[], Any], origin: Origin
    ) -> Deferred[FolderSession | None] | None:
        """As :meth:`enter`, for who has logged in before, and for whom it was refused just now: however long it takes. Who has not is
        judged once, the ordinary way. Not a coroutine."""
        if (ticket, origin.address) not in self._known:
            return None
        place = (ticket, origin.address, name)
        return self._entering.run(place, lambda: self._enter(ticket, name, credentials, origin))

    async def _enter(
        self, ticket: bytes, name: str, credentials: Callable[[], Any], origin: Origin
    ) -> FolderSession | None:
        try:
            login = await self.log_in(ticket, credentials, origin)
            return await self.session(login, origin).folder_named(name)
        except GatewayError:
            return None


class _Again(Session):
    """The hands of somebody who may have been here a moment ago."""

    def __init__(self, entrances: Entrances, gateway: Gateway, login: Login, origin: Origin) -> None:
        super().__init__(gateway, login.principal, origin)
        self._entrances = entrances
        self._login = login
        self._known_at = login.until - FRESH

    async def folder_named(self, name: str) -> FolderSession:
        """See :class:`vfgateway.services.session.Session`."""
        login = self._login
        entered = login.folders.get(name)
        if entered is None or not self._entrances.stands(login):
            entered = await super().folder_named(name)
            if self.principal is login.principal and len(login.folders) < MOST:
                before = login.before.pop(name, entered)
                login.folders[name] = before if before.context.means_the_same(entered.context) else entered
            return entered
        requestcontext.enter(entered.vfolder)
        return FolderSession(attrs.evolve(entered.context, origin=self.origin))
