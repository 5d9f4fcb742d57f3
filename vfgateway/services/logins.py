"""Judges who logs in with a password or an API key, without repeating costly work and without telling names from passwords."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from typing import Any
from uuid import UUID

import attrs
from argon2 import PasswordHasher
from sqlalchemy import Connection, Row, or_, select, update
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vfgateway.blocking import Pool
from vfgateway.errors import AuthenticationFailed, NotMine, UnknownAccount
from vfgateway.model import Principal
from vfgateway.services import people, publickeys
from vfgateway.services.caches import GenerationCache
from vfgateway.services.database import Database
from vfgateway.services.passwords import KEY_PREFIX, api_key_digest, fits, impossible_hash
from vfgateway.services.people import Person
from vfgateway.services.schema import credentials, users
from vfgateway.services.sharing import Shared

#: The number that counts up whenever an account changes.
GENERATION = "accounts"
#: Seconds for which a verified password is remembered.
REMEMBERED = 300.0
#: Seconds between two updates of a credential's ``last_used``.
TOUCH_EVERY = 60.0


@attrs.frozen
class _Key:
    id: str
    user_id: UUID
    expires: float | None


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

    async def principal_of(self, user_id: UUID) -> Principal:
        """The principal of a user whose identity is established. ``AuthenticationFailed`` if there is none that may log in."""
        return (await self.person(user_id)).principal(self._clock.seconds())

    async def by_password(self, name: str, password: str) -> Principal:
        """The principal behind a name and password, or a name and API key. ``AuthenticationFailed``."""
        if password.startswith(KEY_PREFIX):  # no password does
            principal = await self.by_api_key(password)
            if principal.name != name:
                raise AuthenticationFailed
            return principal
        ticket = self._remembered.ticket(name, password)
        person = await self._recall(ticket, name) or await self._verify(ticket, name, password)
        principal = person.principal(self._clock.seconds())
        if person.password_id is not None:
            await self._touch(person.password_id)
        return principal

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
        good = await self._runs.run(
            ticket + stored.encode(), lambda: self._pool.run(fits, self._hasher, stored, password)
        )
        if person is None or person.user.source is not None:
            raise NotMine
        if not good or person.password is None:
            raise AuthenticationFailed
        self._remembered.add(ticket, person.user.id, stored)
        return person

    async def by_api_key(self, key: str) -> Principal:
        """The principal behind an API key. ``AuthenticationFailed``; ``NotMine`` for what is none."""
        if not key.startswith(KEY_PREFIX):
            raise NotMine
        digest = api_key_digest(key)
        query = select(credentials).where(credentials.c.kind == "api_key", credentials.c.data == digest)

        def read(connection: Connection) -> _Key:
            row = connection.execute(query).first()
            if row is None:
                raise AuthenticationFailed
            return _Key(row.id, UUID(row.user_id), row.expires)

        found = await self._keys.get(digest, lambda: self._database.read(read))
        if found.expires is not None and self._clock.seconds() >= found.expires:
            raise AuthenticationFailed
        principal = await self.principal_of(found.user_id)
        await self._touch(found.id)
        return principal

    async def by_public_key(self, name: str, blob: bytes, address: str, proved: bool) -> Principal:
        """The principal behind a name and one of its public keys. ``AuthenticationFailed``.

        :param proved: the client has proved that it has the private key; else only the answer to that question is wanted
        """
        query = (
            select(credentials)
            .join(users, users.c.id == credentials.c.user_id)
            .where(users.c.name == name, credentials.c.kind == "public_key")
        )

        def read(connection: Connection) -> Row[Any] | None:
            if not people.can_be_stored(name):
                return None
            rows = connection.execute(query)
            return next((row for row in rows if publickeys.is_key(row.data, blob)), None)

        row = await self._database.read(read)
        now = self._clock.seconds()
        if row is None or (row.expires is not None and now >= row.expires):
            raise AuthenticationFailed
        if not publickeys.is_good_from(row.data, address):
            raise AuthenticationFailed
        principal = await self.principal_of(UUID(row.user_id))
        if proved:
            await self._touch(row.id)
        return principal

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
