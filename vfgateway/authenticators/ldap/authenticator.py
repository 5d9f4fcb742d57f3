"""Judges logins by asking the directory, a bounded number at once, each for a bounded time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.cred.credentials import IUsernamePassword
from twisted.logger import Logger
from zope.interface import implementer

from vfgateway.authenticators.ldap.entries import Found, People, Verdict
from vfgateway.authenticators.ldap.link import Link, Unanswered
from vfgateway.authenticators.ldap.servers import Job, Servers
from vfgateway.authenticators.ldap.settings import LdapSettings
from vfgateway.authenticators.outside import outside_name, outside_password
from vfgateway.authenticators.remembered import Remembered
from vfgateway.blocking import Pool
from vfgateway.credentials import IProvenKey
from vfgateway.errors import (
    AuthenticationFailed,
    AuthenticatorUnavailable,
    IdentityRefused,
    InvalidArgument,
    NotMine,
)
from vfgateway.identity import Identity
from vfgateway.interfaces import IAuthenticator, ICheckable, IRunning
from vfgateway.model import Health, HealthState
from vfgateway.principals import Principal, PrincipalKind
from vfgateway.services import publickeys
from vfgateway.services.provisioning import Source
from vfgateway.services.sharing import Shared

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

T = TypeVar("T")

#: Questions that wait for a connection, for each that there may be; more are refused at once.
MOST_WAITING = 50
#: Seconds for which an entry with its keys is kept.
KEPT = 10.0


@implementer(IAuthenticator, IRunning, ICheckable)
class LdapAuthenticator:
    """Takes names and passwords, and public keys that the directory holds."""

    log = Logger()

    def __init__(self, name: str, settings: LdapSettings, gateway: Gateway) -> None:
        self.name = name
        self._settings = settings
        self._gateway = gateway
        self._pool = Pool(gateway.reactor, settings.connections, f"ldap {name}")
        self._servers = Servers(settings, gateway.reactor.seconds)
        self._people = People(name, settings, self._servers)
        self._remembered = Remembered(gateway, settings.cache_life)
        self._logins: Shared[bytes, Found] = Shared()
        self._finds: Shared[str, Found | Verdict] = Shared()
        self._checks: Shared[str, Health] = Shared()
        self._waiting = 0
        self._entries: dict[str, tuple[float, Found | Verdict]] = {}
        self.credential_interfaces = (IUsernamePassword, IProvenKey) if settings.key_attribute else (IUsernamePassword,)
        look_up = self._look_up if settings.can_search else None
        gateway.provisioning.register(Source(name, settings.cache_life, settings.grace, look_up))

    async def start(self) -> None:
        """See ``IRunning``."""
        self._pool.start()

    async def stop(self) -> None:
        """See ``IRunning``."""
        await self._pool.stop()
        self._servers.close()

    # --- logging in ---

    async def authenticate(self, credentials: Any) -> Principal:
        """See ``IAuthenticator``."""
        name = outside_name(credentials)
        if IProvenKey.providedBy(credentials):
            return await self._by_key(name, credentials)
        password = outside_password(credentials)
        ticket = self._remembered.ticket(name, password)
        if (known := await self._remembered.recall(ticket)) is not None:
            return known
        mark = await self._remembered.mark()
        try:
            found = await self._logins.run(ticket, lambda: self._log_in(name, password))
        except AuthenticationFailed:
            self._remembered.refuse(ticket)
            raise
        principal = await self._admit(found)
        await self._remembered.keep(ticket, principal, mark)
        return principal

    async def _log_in(self, name: str, password: str) -> Found:
        raw = password.encode("utf-8", "surrogatepass")
        answer = await self._ask(lambda link: self._people.log_in(link, name, raw))
        if answer is Verdict.UNKNOWN:
            raise NotMine
        if not isinstance(answer, Found):
            raise AuthenticationFailed
        return answer

    async def _by_key(self, name: str, proof: Any) -> Principal:
        found = await self._find(name)
        if not isinstance(found, Found) or not self._fits(found, proof.blob, proof.address):
            raise NotMine
        if not proof.proved:
            return Principal(PrincipalKind.USER, found.identity.name)
        return await self._admit(found)

    def _fits(self, found: Found, blob: bytes, address: str) -> bool:
        now = self._gateway.reactor.seconds()
        for text in found.keys:
            try:
                line = publickeys.parse(text)
            except InvalidArgument as error:
                self.log.debug("a key of {name} cannot be used: {error}", name=found.identity.name, error=error)
                continue
            if publickeys.is_key(line.data, blob) and publickeys.is_good_from(line.data, address):
                return line.expires is None or now < line.expires
        return False

    async def _admit(self, found: Found) -> Principal:
        if not found.welcome:
            raise IdentityRefused(
                f"{found.identity.name} is in none of the groups that may log in; ask an administrator"
            )
        return await self._gateway.provisioning.admit(found.identity)

    # --- asking without a password ---

    async def _look_up(self, subject: str, name: str) -> Identity | None:
        found = await self._finds.run(name, lambda: self._ask(lambda link: self._people.find(link, name)))
        return found.identity if isinstance(found, Found) and found.welcome else None

    async def _find(self, name: str) -> Found | Verdict:
        """Who has this name, or had it some seconds ago: clients offer one key after the other."""
        since, found = self._entries.get(name, (float("-inf"), Verdict.UNKNOWN))
        if not 0 <= self._gateway.reactor.seconds() - since < KEPT:
            found = await self._finds.run(name, lambda: self._ask(lambda link: self._people.find(link, name)))
            if len(self._entries) >= 10_000:
                self._entries.clear()
            self._entries[name] = (self._gateway.reactor.seconds(), found)
        return found

    # --- threads ---

    async def _ask(self, work: Callable[[Link], T]) -> T:
        """What ``work`` makes of a connection, in a thread. ``AuthenticatorUnavailable``."""
        if self._waiting >= MOST_WAITING * self._settings.connections:
            raise AuthenticatorUnavailable(self.name, "too many logins wait for the directory")
        self._waiting += 1
        try:
            return await self._in_time(lambda job: self._servers.call(job, work))
        except Unanswered as error:
            raise AuthenticatorUnavailable(self.name, str(error)) from None
        finally:
            self._waiting -= 1

    async def _in_time(self, function: Callable[[Job], T]) -> T:
        """Call in a thread; what it waits for is cut when its time is over."""
        reactor, patience = self._gateway.reactor, self._settings.patience
        job = Job(reactor.seconds())

        def call() -> T:
            if job.late:
                raise Unanswered(f"no connection became free within {patience:g} seconds")
            return function(job)

        alarm = reactor.callLater(patience, job.cut)
        try:
            return await self._pool.run(call)
        finally:
            if alarm.active():
                alarm.cancel()

    # --- health ---

    async def health(self) -> Health:
        """See ``ICheckable``."""
        return await self._checks.run("", self._check)

    async def _check(self) -> Health:
        try:
            found = await self._in_time(lambda job: self._servers.check(job, self._people.check))
        except Unanswered as error:
            return Health(HealthState.UNAVAILABLE, str(error))
        wrong = [f"{url}: {reason}" for url, reason in found if reason is not None]
        if not wrong:
            return Health(HealthState.HEALTHY)
        return Health(HealthState.UNAVAILABLE if len(wrong) == len(found) else HealthState.DEGRADED, "; ".join(wrong))
