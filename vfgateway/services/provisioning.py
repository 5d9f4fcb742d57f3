"""People whom somebody outside knows: accounts are made for them when they first log in, kept as their source tells, and closed when
it knows them no more.

Every account has one source for good, or is our own: neither takes over the other. What a source has said of somebody holds for its
``life``. After that it is asked again, by whatever the person logs in with, and while connections are open; while it cannot be
asked, its last word holds for its ``grace``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import Connection, select, update
from twisted.logger import Logger

from vfgateway.errors import (
    AccountWithdrawn,
    AuthenticationFailed,
    AuthenticatorUnavailable,
    GatewayError,
    IdentityRefused,
    InvalidArgument,
)
from vfgateway.identity import Identity, OutsideGrant, OutsideGroup
from vfgateway.model import Actor, Permission, VFolder, VFolderId
from vfgateway.principals import Principal
from vfgateway.services import audit_records, outsiders
from vfgateway.services.accounts import Accounts
from vfgateway.services.caches import GenerationCache
from vfgateway.services.database import Database, bump
from vfgateway.services.logins import GENERATION
from vfgateway.services.names import checked_account_name
from vfgateway.services.people import Outside, Person, can_be_stored
from vfgateway.services.schema import users
from vfgateway.services.sharing import Shared
from vfgateway.services.vfolders import GENERATION as VFOLDERS

#: The owner of a name that belongs to an account of our own.
OWN = ""
#: Groups, and vfolders, of one person that are taken in.
MOST_GROUPS, MOST_GRANTS = 1000, 1000
#: Longest identifier of a source for somebody, in characters.
LONGEST_SUBJECT = 255
#: Seconds between two notes in the database that somebody was vouched for.
NOTE_EVERY = 60.0
#: The highest number that identifies a user or group on storage (the one above means "nobody").
_HIGHEST = (1 << 32) - 2

type_look_up = Callable[[str, str], Awaitable[Identity | None]]


@attrs.frozen
class Source:
    """An authenticator that knows people of its own.

    :ivar name: as in the configuration
    :ivar life: seconds for which its word about somebody holds
    :ivar grace: seconds for which its last word holds while it cannot be asked, and for connections and keys at all if it can never be
    :ivar look_up: asks for somebody by ``(subject, name)``: the person as it is now, or ``None`` if it may not log in any more.
        ``AuthenticatorUnavailable``
    """

    name: str
    life: float
    grace: float
    look_up: type_look_up | None = None


class Provisioning:
    """See the module.

    :param clock: tells the time in epoch seconds
    :param find_vfolder: of the gateway
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        clock: Any,
        accounts: Accounts,
        find_vfolder: Callable[[VFolderId, str], Awaitable[VFolder]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._find_vfolder = find_vfolder
        self._sources: dict[str, Source] = {}
        self._owners: GenerationCache[str, str | None] = GenerationCache(database, GENERATION)
        self._settled: GenerationCache[Identity, UUID] = GenerationCache(database, GENERATION)
        self._asking: Shared[tuple[UUID, int], None] = Shared()
        self._heard: dict[tuple[UUID, int], float] = {}
        self._noted: dict[UUID, float] = {}

    def register(self, source: Source) -> None:
        """Make an authenticator known as the source of accounts; called when it is configured."""
        self._sources[source.name] = source

    @property
    def has_sources(self) -> bool:
        """Whether anybody may come from outside."""
        return bool(self._sources)

    def is_source(self, name: str) -> bool:
        """Whether an authenticator is the source of accounts."""
        return name in self._sources

    async def owner(self, name: str) -> str | None:
        """To whom the account of that name belongs: its source, :data:`OWN`, or ``None`` if there is none."""
        if not can_be_stored(name):
            return None
        query = select(users.c.source).where(users.c.name == name)

        def read(connection: Connection) -> str | None:
            row = connection.execute(query).first()
            return None if row is None else row.source or OWN

        return await self._owners.get(name, lambda: self._database.read(read))

    # --- coming in ---

    async def admit(self, identity: Identity) -> Principal:
        """The principal of somebody whose identity is established, with an account that is as the source tells. ``IdentityRefused`` if it
        cannot have one; ``AuthenticationFailed`` if it was closed here."""
        identity = checked(identity)
        try:
            if identity.grants is None:
                user_id = await self._settled.get(identity, lambda: self._settle(identity, None))
            else:
                user_id = await self._settle(identity, await self._granted(identity.grants))
        except IdentityRefused as error:
            self.log.warn(
                "{source} knows {subject}, but: {error}", source=identity.source, subject=identity.subject, error=error
            )
            raise
        person = await self._accounts.person(user_id)
        await self._hear(person)
        return person.principal(self._clock.seconds())

    async def _settle(self, identity: Identity, granted: outsiders.type_granted | None) -> UUID:
        now = self._clock.seconds()

        def read(connection: Connection) -> outsiders.Plan:
            return outsiders.plan(connection, identity, granted, now)

        def write(connection: Connection) -> outsiders.Plan:
            plan = outsiders.plan(connection, identity, granted, now)
            plan.carry_out(connection)
            if plan.grants:
                bump(connection, VFOLDERS)
            return plan

        def told(plan: outsiders.Plan) -> dict[str, Any] | None:
            return {"source": identity.source, "changes": ", ".join(plan.changes)} if plan.statements else None

        plan = await self._database.read(read)
        if plan.statements:
            plan = await audit_records.change(
                self._database, GENERATION, write, "user_provisioned", now, target=identity.name, told=told
            )
        if plan.skipped:
            self.log.warn(
                "{name} of {source} is in groups whose names belong to others here, which do not count: {groups}",
                name=identity.name,
                source=identity.source,
                groups=", ".join(plan.skipped),
            )
        return UUID(plan.user_id)

    async def _granted(self, told: frozenset[OutsideGrant]) -> dict[int, tuple[Permission, float | None]]:
        """What a source opens, by the number of the vfolder here; what is not here is left out."""
        found: dict[int, tuple[Permission, float | None]] = {}
        for grant in sorted(told, key=lambda grant: (grant.permission, str(grant.vfid)))[-MOST_GRANTS:]:
            try:
                vfolder = await self._find_vfolder(grant.vfid, grant.volume)
            except GatewayError as error:
                self.log.warn("cannot open {vfid}: {error}", vfid=str(grant.vfid), error=error)
                continue
            found[vfolder.key] = (grant.permission, grant.expires)
        return found

    # --- staying in ---

    async def confirm(self, principal: Principal) -> Principal:
        """The same principal as it is now, as far as its source tells. ``AuthenticationFailed`` if it may not act any more,
        ``AuthenticatorUnavailable`` if its source has not been heard for too long."""
        if principal.source is None or principal.user_id is None:
            return principal
        person = await self._accounts.person(principal.user_id)
        if person.user.outside is not None:
            await self._confirm(person, person.user.outside)
        now = attrs.evolve(await self._accounts.principal_of(principal.user_id), credential=principal.credential)
        scope = principal.key_scope
        return now if scope is None else attrs.evolve(now, key_scope=scope, administrator=False)

    async def reconsider(self, user_id: UUID) -> bool:
        """Whether an account that was withdrawn is known again."""
        person = await self._accounts.person(user_id)
        outside = person.user.outside
        source = self._sources.get(outside.source) if outside is not None else None
        if outside is None or source is None or source.look_up is None:
            return False
        if self._clock.seconds() - self._heard.get((user_id, outside.revision), 0.0) < source.life:
            return False
        try:
            await self._asking.run((user_id, outside.revision), lambda: self._ask(source, person, outside))
        except (AuthenticationFailed, AuthenticatorUnavailable):
            return False
        return True

    async def _confirm(self, person: Person, outside: Outside) -> None:
        source = self._sources.get(outside.source)
        if source is None:
            self.log.warn(
                "{name} came from {source}, which is not configured any more: vfgateway user edit --source",
                name=person.user.name,
                source=outside.source,
            )
            raise AuthenticationFailed
        silent = self._clock.seconds() - self._last_heard(person, outside)
        if 0 <= silent < source.life:
            return
        in_grace = 0 <= silent < source.grace
        if source.look_up is None:
            if not in_grace:
                raise AuthenticationFailed
            return
        try:
            await self._asking.run((person.user.id, outside.revision), lambda: self._ask(source, person, outside))
        except AuthenticatorUnavailable as error:
            if not in_grace:
                raise
            self.log.debug("{name} is believed for a while: {error}", name=person.user.name, error=error.reason)

    async def _ask(self, source: Source, person: Person, outside: Outside) -> None:
        """Have the source look. ``AccountWithdrawn``, ``AuthenticatorUnavailable``, ``IdentityRefused``."""
        assert source.look_up is not None
        found = await source.look_up(outside.subject or "", person.user.name)
        if found is not None and outside.subject in (None, found.subject):
            await self.admit(found)
            return
        self._hear_at(person.user.id, outside.revision)
        if not outside.withdrawn:
            self.log.info("{source} does not know {name} any more", source=source.name, name=person.user.name)
            user_id, now = person.user.id, self._clock.seconds()
            await audit_records.change(
                self._database,
                GENERATION,
                lambda connection: outsiders.withdraw(connection, user_id),
                "user_withdrawn",
                now,
                target=person.user.name,
                source=source.name,
            )
        raise AccountWithdrawn(person.user.id)

    async def forget(self, source: str | None = None, names: Sequence[str] | None = None) -> int:
        """Ask anew about these people (by name, identifier here or there), or about everybody; how many accounts that were. In all
        processes, at the next request."""
        usable = None if names is None else [name for name in names if can_be_stored(name)]
        return await self._database.change(GENERATION, lambda connection: outsiders.forget(connection, source, usable))

    # --- when a source was heard ---

    def _last_heard(self, person: Person, outside: Outside) -> float:
        here = self._heard.get((person.user.id, outside.revision), float("-inf"))
        return max(here, outside.vouched if outside.vouched is not None else float("-inf"))

    def _hear_at(self, user_id: UUID, revision: int) -> float:
        now: float = self._clock.seconds()
        if len(self._heard) >= 100_000:
            self._heard.clear()
            self._noted.clear()
        self._heard[user_id, revision] = now
        return now

    async def _hear(self, person: Person) -> None:
        """Remember that somebody was vouched for; write it down now and then, for after a restart."""
        outside, user_id = person.user.outside, person.user.id
        if outside is None:
            return
        now = self._hear_at(user_id, outside.revision)
        if now - self._noted.get(user_id, float("-inf")) < NOTE_EVERY:
            return
        self._noted[user_id] = now
        note = update(users).where(users.c.id == str(user_id)).values(vouched=now)
        try:
            await self._database.write(lambda connection: connection.execute(note).rowcount, durable=False)
        except Exception:
            self.log.failure("could not note when {name} was last vouched for", name=person.user.name)


# --- what a source may say ---


def checked(identity: Identity) -> Identity:
    """The identity in the form in which it is kept: names normal (NFC, Unicode Annex 15), what cannot be used left out.
    ``IdentityRefused`` where without it there is no account."""
    if not identity.subject or len(identity.subject) > LONGEST_SUBJECT or not can_be_stored(identity.subject):
        raise IdentityRefused(f"{identity.source} does not tell who this is in a way that can be kept")
    try:
        name = _name(identity.name)
    except InvalidArgument as error:
        raise IdentityRefused(f"the name that {identity.source} gives cannot be one here ({error})") from None
    told = identity.groups
    return attrs.evolve(
        identity,
        name=name,
        email=_email(identity.email),
        actor=_actor(identity.actor),
        groups=None if told is None else frozenset(filter(None, map(_group, sorted(told, key=str)[:MOST_GROUPS]))),
    )


def _name(text: str) -> str:
    return checked_account_name("name", unicodedata.normalize("NFC", text))


def _email(text: str | None) -> str | None:
    return text if text and len(text) <= 255 and text.isprintable() else None


def _actor(actor: Actor | None) -> Actor | None:
    """Numbers that storage knows; never root's, whoever may have put it into a directory."""
    if actor is None:
        return None
    uid, gid = (n if n is not None and 0 < n <= _HIGHEST else None for n in (actor.uid, actor.gid))
    return Actor(uid, gid) if (uid, gid) != (None, None) else None


def _group(group: OutsideGroup) -> OutsideGroup | None:
    if not group.subject or len(group.subject) > LONGEST_SUBJECT or not can_be_stored(group.subject):
        return None
    try:
        return attrs.evolve(group, name=_name(group.name))
    except InvalidArgument:
        Provisioning.log.warn("a group cannot be called so here: {name}", name=ascii(group.name)[:80])
        return None
