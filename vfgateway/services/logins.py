"""Judges who logs in with a password or an API key, without repeating costly work and without telling names from passwords."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from uuid import UUID

import attrs
from argon2 import PasswordHasher
from sqlalchemy import Connection, or_, select, update
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vfgateway.blocking import Pool
from vfgateway.errors import AuthenticationFailed, AuthenticatorUnavailable, NotMine, UnknownAccount
from vfgateway.principals import CredentialKind, KeyScope, Principal, ShownCredential
from vfgateway.services import keyscopes, people, publickeys
from vfgateway.services.caches import GenerationCache
from vfgateway.services.database import Database
from vfgateway.services.passwords import KEY_PREFIX, api_key_digest, fits, impossible_hash, is_outdated
from vfgateway.services.people import Person
from vfgateway.services.schema import credentials, users
from vfgateway.services.sharing import Shared

#: The number that counts up whenever an account changes.
GENERATION = "accounts"
#: Seconds for which a verified password is remembered.
REMEMBERED = 300.0
#: Seconds between two updates of a credential's ``last_used``.
TOUCH_EVERY = 60.0


#: Passwords that wait to be hashed, at most: more are told to come later.
MOST_WAITING = 64


@attrs.frozen
class _Key:
    id: str
    user_id: UUID
    expires: float | None
    scope: KeyScope | None
    only_as_password: bool = False

    def narrow(self, principal: Principal) -> Principal:
        """What the key permits of what its user may do, for as long as there is the key."""
        shown = ShownCredential(CredentialKind.KEY, self.id, self.expires)
        if self.scope is None:
            return attrs.evolve(principal, credential=shown)
        return attrs.evolve(principal, key_scope=self.scope, administrator=False, credential=shown)


class Logins:
    """What :class:`vfgateway.services.accounts.Accounts` knows of logging in; see there."""

    log = Logger()

    def __init__(self, database: Database, clock: IReactorTime, pool: Pool, hasher: PasswordHasher) -> None:
        self._database = database
        self._clock = clock
        self._pool = pool
        self._hasher = hasher
        self._nobody = impossible_hash(hasher)
        self._people: GenerationCache[UUID, Person] = GenerationCache(database, GENERATION)
        self._keys: GenerationCache[str, _Key] = GenerationCache(database, GENERATION)
        self._remembered = RememberedLogins(clock)
        self._runs: Shared[bytes, bool] = Shared()
        self._touched: dict[str, float] = {}
        self._waiting = 0

    async def principal_of(self, user_id: UUID) -> Principal:
        """The principal of a user whose identity is established. ``AuthenticationFailed`` if there is none that may log in."""
        return (await self.person(user_id)).principal(self._clock.seconds())

    async def by_password(self, name: str, password: str) -> Principal:
        """The principal behind a name and password, or a name and API key. ``AuthenticationFailed``."""
        if password.startswith(KEY_PREFIX):  # no password does
            principal = await self.by_api_key(password, as_password=True)
            if principal.name != name:
                raise AuthenticationFailed
            return principal
        ticket = self._remembered.ticket(name, password)
        person = await self._recall(ticket, name) or await self._verify(ticket, name, password)
        principal = person.principal(self._clock.seconds())
        if person.password_id is None:
            return principal
        await self._touch(person.password_id)
        return attrs.evolve(principal, credential=ShownCredential(CredentialKind.PASSWORD, person.password_id))

    async def _recall(self, ticket: bytes, name: str) -> Person | None:
        """Who logged in so lately, unless name or password changed meanwhile."""
        known = self._remembered.look_up(ticket)
        if known is None:
            return None
        user_id, stored = known
        try:
            person = await self.person(user_id)
        except AuthenticationFailed:
            person = None
        if person is not None and (person.password, person.user.name) == (stored, name):
            return person
        self._remembered.drop(ticket)
        return None

    async def _verify(self, ticket: bytes, name: str, password: str) -> Person:
        """Who it is, by the full work: the same read and the same hash for whatever name."""

        def read(connection: Connection) -> Person | None:
            try:
                return people.person(connection, name)
            except UnknownAccount:
                return None

        person = await self._database.read(read)
        stored = (person and person.password) or self._nobody
        if person is not None and self._remembered.look_up(ticket) == (person.user.id, stored):
            return person  # another request has proved it meanwhile
        good = await self._runs.run(ticket + stored.encode(), lambda: self._compare(stored, password))
        if person is None or person.user.source is not None:
            raise NotMine
        if not good or person.password is None:
            raise AuthenticationFailed
        stored = await self._improve(person, password)
        self._remembered.add(ticket, person.user.id, stored)
        return person

    async def _compare(self, stored: str, password: str) -> bool:
        """Whether the password is the one behind the hash. ``AuthenticatorUnavailable`` if too many ask that at once."""
        if self._waiting >= MOST_WAITING:
            raise AuthenticatorUnavailable("accounts", "too many passwords wait to be compared")
        self._waiting += 1
        try:
            return await self._pool.run(fits, self._hasher, stored, password)
        finally:
            self._waiting -= 1

    async def _improve(self, person: Person, password: str) -> str:
        """The stored hash of a password that was right, made anew if it was weaker than those that are made now."""
        stored = person.password or ""
        if not is_outdated(self._hasher, stored):
            return stored
        fresh = await self._pool.run(self._hasher.hash, password)
        same = (credentials.c.id == person.password_id) & (credentials.c.data == stored)
        change = update(credentials).where(same).values(data=fresh)
        await self._database.change(GENERATION, lambda connection: connection.execute(change).rowcount)
        return fresh

    async def by_api_key(self, key: str, as_password: bool = False) -> Principal:
        """The principal behind an API key. ``AuthenticationFailed``; ``NotMine`` for what is none.

        :param as_password: it was given in the place of a password, and so may be an app password
        """
        if not key.startswith(KEY_PREFIX):
            raise NotMine
        digest = api_key_digest(key)
        kinds = ("api_key", "app_password")
        query = select(credentials).where(credentials.c.kind.in_(kinds), credentials.c.data == digest)

        def read(connection: Connection) -> _Key:
            row = connection.execute(query).first()
            if row is None:
                raise AuthenticationFailed
            scope = keyscopes.of_key(connection, row.id)
            return _Key(row.id, UUID(row.user_id), row.expires, scope, row.kind == "app_password")

        found = await self._keys.get(digest, lambda: self._database.read(read))
        if found.expires is not None and self._clock.seconds() >= found.expires:
            raise AuthenticationFailed
        if found.only_as_password and not as_password:
            raise AuthenticationFailed
        principal = await self.principal_of(found.user_id)
        await self._touch(found.id)
        return found.narrow(principal)

    async def by_public_key(self, name: str, blob: bytes, address: str, proved: bool) -> Principal:
        """The principal behind a name and one of its public keys. ``AuthenticationFailed``.

        :param proved: the client has proved that it has the private key; else only the answer to that question is wanted
        """
        query = (
            select(credentials)
            .join(users, users.c.id == credentials.c.user_id)
            .where(users.c.name == name, credentials.c.kind == "public_key")
        )

        def read(connection: Connection) -> tuple[str, _Key] | None:
            if not people.can_be_stored(name):
                return None
            rows = connection.execute(query)
            row = next((row for row in rows if publickeys.is_key(row.data, blob)), None)
            if row is None:
                return None
            return row.data, _Key(row.id, UUID(row.user_id), row.expires, keyscopes.of_key(connection, row.id))

        found = await self._database.read(read)
        if found is None:
            raise AuthenticationFailed
        line, key = found
        if key.expires is not None and self._clock.seconds() >= key.expires:
            raise AuthenticationFailed
        if not publickeys.is_good_from(line, address):
            raise AuthenticationFailed
        principal = await self.principal_of(key.user_id)
        if proved:
            await self._touch(key.id)
        return key.narrow(principal)

    async def person(self, user_id: UUID) -> Person:
        """A user with all that a login has to know. ``AuthenticationFailed`` if there is none."""

        async def load() -> Person:
            return await self._database.read(lambda connection: people.person(connection, user_id))

        try:
            return await self._people.get(user_id, load)
        except UnknownAccount:
            raise AuthenticationFailed from None

    async def _touch(self, credential: str) -> None:
        """Note that a credential was used, at most once in :data:`TOUCH_EVERY` seconds. A database that cannot be written keeps
        nobody from logging in."""
        now = self._clock.seconds()
        if now - self._touched.get(credential, -TOUCH_EVERY) < TOUCH_EVERY:
            return
        if len(self._touched) >= 10_000:
            self._touched.clear()
        self._touched[credential] = now
        old = or_(credentials.c.last_used.is_(None), credentials.c.last_used <= now - TOUCH_EVERY)
        change = update(credentials).where(credentials.c.id == credential, old).values(last_used=now)
        try:
            await self._database.write(lambda connection: connection.execute(change).rowcount, durable=False)
        except Exception:
            self.log.failure("could not note the use of credential {credential}", credential=credential)


class RememberedLogins:
    """Which passwords were verified lately, under a keyed hash that means nothing outside this process.

    An entry is good for one stored password hash: when that changes, it is worth nothing.
    """

    def __init__(self, clock: IReactorTime, size: int = 10_000) -> None:
        self._clock = clock
        self._size = size
        self._key = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, tuple[float, UUID, str]] = OrderedDict()

    def ticket(self, name: str, password: str) -> bytes:
        """The keyed hash of a login."""
        text = f"{len(name)}:{name}{password}"
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")

    def look_up(self, ticket: bytes) -> tuple[UUID, str] | None:
        """The user and the stored hash that this login was verified against, if that is not too long ago."""
        entry = self._entries.get(ticket)
        if entry is None:
            return None
        until, user, stored = entry
        if self._clock.seconds() >= until:
            del self._entries[ticket]
            return None
        return user, stored

    def add(self, ticket: bytes, user: UUID, stored: str) -> None:
        """Remember a login that was verified just now."""
        self._entries[ticket] = (self._clock.seconds() + REMEMBERED, user, stored)
        self._entries.move_to_end(ticket)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, ticket: bytes) -> None:
        """Forget a login."""
        self._entries.pop(ticket, None)
