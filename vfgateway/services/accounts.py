"""People of the gateway's own database: users, groups, passwords and keys."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from argon2 import PasswordHasher
from sqlalchemy import Connection, delete, select, update
from twisted.internet.interfaces import IReactorTime

from vfgateway.blocking import Pool
from vfgateway.errors import AccountExists, AuthenticationFailed, Conflict, InvalidArgument, UnknownAccount
from vfgateway.model import Actor, Limits, ScopeKind
from vfgateway.principals import KeyScope, Principal
from vfgateway.services import audit_records, keyscopes, people, publickeys, websessions
from vfgateway.services.database import Database, bump
from vfgateway.services.logins import GENERATION, Logins
from vfgateway.services.names import UNSET, Unset, checked_account_name
from vfgateway.services.passwords import PasswordPolicy, api_key_digest, argon2id, new_api_key
from vfgateway.services.people import Credential, Group, Member, NewKey, Person, User, type_key
from vfgateway.services.schema import credentials, groups, members, users

T = TypeVar("T")

_NO_ACTOR = Actor()
_ALL = KeyScope()


class Accounts:
    """The accounts. Changes by another process count after at most :data:`vfgateway.services.database.FRESH` seconds, one's own at
    once.

    :param clock: tells the time in epoch seconds
    :param pool: where passwords are hashed; its size bounds the memory that takes (19 MiB each)
    :param hasher: Argon2id; tests pass a cheaper one
    :ivar password_policy: what new passwords have to be
    """

    def __init__(
        self, database: Database, clock: IReactorTime, pool: Pool, hasher: PasswordHasher | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._pool = pool
        self._hasher = hasher or argon2id()
        self.password_policy = PasswordPolicy()
        self._logins = Logins(database, clock, pool, self._hasher)

    # --- users ---

    async def create_user(
        self,
        name: str,
        *,
        user_id: UUID | None = None,
        email: str | None = None,
        administrator: bool = False,
        active: bool = True,
        actor: Actor = _NO_ACTOR,
        limits: Limits = Limits(),
        expires: float | None = None,
        source: str | None = None,
    ) -> User:
        """Add a user, who cannot log in before it has a password or key. ``AccountExists`` for a name or UUID in use.

        :param user_id: that of the orchestrator, so that its vfolders are this user's; random by default
        :param source: the authenticator whose user of that name it belongs to, from the first login on
        """
        identity = user_id or uuid.uuid4()
        values: dict[str, Any] = {
            "id": str(identity),
            "name": checked_account_name("name", name),
            "email": email,
            "administrator": administrator,
            "active": active,
            "uid": actor.uid,
            "gid": actor.gid,
            **_limits(limits),
            "created": self._clock.seconds(),
            "expires": expires,
            "source": source,
        }

        def write(connection: Connection) -> User:
            people.check_free(connection, users, "user", values)
            connection.execute(users.insert().values(values))
            return people.user(connection, identity)

        return await self._write(write, "user_added", target=name, administrator=administrator)

    async def user(self, wanted: UUID | str) -> User:
        """A user by UUID or name. ``UnknownAccount``."""
        return await self._database.read(lambda connection: people.user(connection, wanted))

    async def users(self) -> Sequence[User]:
        """All users by name."""
        query = select(users).order_by(users.c.name)
        return await self._database.read(lambda connection: [people.user_of(row) for row in connection.execute(query)])

    async def update_user(
        self,
        user_id: UUID,
        *,
        name: str | Unset = UNSET,
        email: str | Unset | None = UNSET,
        administrator: bool | Unset = UNSET,
        active: bool | Unset = UNSET,
        actor: Actor | Unset = UNSET,
        limits: Limits | Unset = UNSET,
        expires: float | Unset | None = UNSET,
        source: str | Unset | None = UNSET,
    ) -> User:
        """Change what is given; the new state. ``UnknownAccount``, ``AccountExists``.

        :param source: hands the account to whoever that authenticator knows by its name, and takes its password away; ``None`` makes it
            one of our own
        """
        changes = _given(email=email, administrator=administrator, active=active, expires=expires)
        if name is not UNSET:
            changes["name"] = checked_account_name("name", name)
        if actor is not UNSET:
            changes |= {"uid": actor.uid, "gid": actor.gid}
        if limits is not UNSET:
            changes |= _limits(limits)

        def write(connection: Connection) -> User:
            people.check_free(connection, users, "user", changes, str(user_id))
            if source is not UNSET:
                people.hand_over(connection, user_id, source)
            if changes:
                connection.execute(update(users).where(users.c.id == str(user_id)).values(changes))
            return people.user(connection, user_id)

        return await self._write(write, "user_changed", told=_named, **changes)

    async def delete_user(self, user_id: UUID, *, keep_vfolders: bool = False) -> None:
        """Remove a user with keys, memberships and grants. ``UnknownAccount``; ``Conflict`` while it owns vfolders, unless
        ``keep_vfolders``: those stay with the UUID, for administrators or a later account."""
        await self._delete(ScopeKind.USER, user_id, keep_vfolders)

    # --- groups ---

    async def create_group(
        self, name: str, *, group_id: UUID | None = None, limits: Limits = Limits(), source: str | None = None
    ) -> Group:
        """Add a group. ``AccountExists`` for a name or UUID in use. ``source`` as of :meth:`create_user`."""
        identity = group_id or uuid.uuid4()
        values: dict[str, Any] = {
            "id": str(identity),
            "name": checked_account_name("name", name),
            **_limits(limits),
            "created": self._clock.seconds(),
            "source": source,
        }

        def write(connection: Connection) -> Group:
            people.check_free(connection, groups, "group", values)
            connection.execute(groups.insert().values(values))
            return people.group(connection, identity)

        return await self._write(write, "group_added", target=name)

    async def group(self, wanted: UUID | str) -> Group:
        """A group by UUID or name. ``UnknownAccount``."""
        return await self._database.read(lambda connection: people.group(connection, wanted))

    async def groups(self) -> Sequence[Group]:
        """All groups by name."""
        query = select(groups).order_by(groups.c.name)
        return await self._database.read(lambda connection: [people.group_of(row) for row in connection.execute(query)])

    async def update_group(self, group_id: UUID, *, name: str | Unset = UNSET, limits: Limits | Unset = UNSET) -> Group:
        """Change what is given; the new state. ``UnknownAccount``, ``AccountExists``."""
        changes: dict[str, Any] = {}
        if name is not UNSET:
            changes["name"] = checked_account_name("name", name)
        if limits is not UNSET:
            changes |= _limits(limits)

        def write(connection: Connection) -> Group:
            people.check_free(connection, groups, "group", changes, str(group_id))
            if changes:
                connection.execute(update(groups).where(groups.c.id == str(group_id)).values(changes))
            return people.group(connection, group_id)

        return await self._write(write, "group_changed", told=_named, **changes)

    async def delete_group(self, group_id: UUID, *, keep_vfolders: bool = False) -> None:
        """Remove a group with memberships and grants; otherwise as :meth:`delete_user`."""
        await self._delete(ScopeKind.PROJECT, group_id, keep_vfolders)

    async def members(self, group_id: UUID) -> Sequence[Member]:
        """The members of a group by name. ``UnknownAccount``."""
        return await self._database.read(lambda connection: people.team(connection, group_id))

    async def set_member(self, group_id: UUID, user_id: UUID, *, administrator: bool = False) -> None:
        """Take a user into a group, or change whether it administers it. ``UnknownAccount``."""
        here = (members.c.group_id == str(group_id)) & (members.c.user_id == str(user_id))

        def write(connection: Connection) -> dict[str, Any]:
            group, user = people.group(connection, group_id), people.user(connection, user_id)
            connection.execute(delete(members).where(here))
            connection.execute(
                members.insert().values(group_id=str(group_id), user_id=str(user_id), administrator=administrator)
            )
            return {"target": group.name, "member": user.name}

        await self._write(write, "member_set", told=lambda about: about, administrator=administrator)

    async def remove_member(self, group_id: UUID, user_id: UUID) -> None:
        """Take a user out of a group. ``UnknownAccount`` if it is not in it."""
        here = (members.c.group_id == str(group_id)) & (members.c.user_id == str(user_id))

        def write(connection: Connection) -> dict[str, Any]:
            if not connection.execute(delete(members).where(here)).rowcount:
                raise UnknownAccount("member", user_id)
            return {"target": people.group(connection, group_id).name, "member": people.user(connection, user_id).name}

        await self._write(write, "member_removed", told=lambda about: about)

    # --- passwords and keys ---

    async def set_password(self, user_id: UUID, password: str | None, keep_session: str | None = None) -> None:
        """Set, replace or (``None``) remove the password. What was opened with the one before ends, and so do the user's browsers, but the
        one with ``keep_session``. ``UnknownAccount``, ``InvalidArgument``; ``Conflict`` for an account whose password is kept where it came
        from."""
        data = None
        if password is not None:
            user = await self.user(user_id)
            checked = self.password_policy.checked(password, user.name, user.email)
            data = await self._pool.run(self._hasher.hash, checked)
        mine = (credentials.c.user_id == str(user_id)) & (credentials.c.kind == "password")

        def write(connection: Connection) -> User:
            user = people.user(connection, user_id)
            connection.execute(delete(credentials).where(mine))
            websessions.end_those_of(connection, user_id, keep_session)
            if data is not None and user.source is not None:
                raise Conflict(f"the password of {user.name} is kept by {user.source}: change it there")
            if data is not None:
                connection.execute(credentials.insert().values(self._credential(user_id, "password", data)))
            return user

        await self._write(write, "password_set" if data is not None else "password_removed", told=_named)

    async def add_key(
        self,
        user_id: UUID,
        kind: type_key,
        *,
        public_key: str | None = None,
        label: str = "",
        expires: float | None = None,
        scope: KeyScope = _ALL,
    ) -> NewKey:
        """Make an API key or app password, or take in a public key (a line of OpenSSH's, whose comment is the label unless one is given, and
        before which ``from="..."`` and ``expiry-time="..."`` may stand).
        ``UnknownAccount``, ``InvalidArgument``, ``AccountExists`` (the user has this public key already).

        :param scope: what it permits at most
        """
        secret, narrowed = None, keyscopes.checked_scope(scope)
        if kind in ("api_key", "app_password"):
            secret = new_api_key()
            data = api_key_digest(secret)
        elif kind == "public_key":
            line = publickeys.parse(public_key or "")
            data, label = line.data, label or line.comment
            expires = line.expires if expires is None else expires
        else:
            raise InvalidArgument("kind", f"expected api_key, app_password or public_key, got {kind!r}")
        values = self._credential(user_id, kind, data) | {"label": label[:255], "expires": expires}
        same = select(credentials.c.id).where(
            credentials.c.user_id == str(user_id), credentials.c.kind == kind, credentials.c.data == data
        )

        def write(connection: Connection) -> tuple[User, Credential]:
            user = people.user(connection, user_id)
            if (present := connection.execute(same).scalar()) is not None:
                raise AccountExists("key", present)
            connection.execute(credentials.insert().values(values))
            if narrowed is not None:
                keyscopes.keep(connection, values["id"], narrowed)
            query = select(credentials).where(credentials.c.id == values["id"])
            return user, people.credential_of(connection.execute(query).one(), narrowed)

        def told(made: tuple[User, Credential]) -> dict[str, Any]:
            return {"target": made[0].name, "kind": kind, "label": label, "key": values["id"]}

        _, credential = await self._write(write, "key_added", told=told, expires=expires)
        return NewKey(credential, secret)

    async def keys(self, user_id: UUID) -> Sequence[Credential]:
        """The keys of a user, oldest first; expired ones too. ``UnknownAccount``."""
        query = (
            select(credentials)
            .where(credentials.c.user_id == str(user_id), credentials.c.kind != "password")
            .order_by(credentials.c.created, credentials.c.id)
        )

        def read(connection: Connection) -> list[Credential]:
            people.user(connection, user_id)
            rows = connection.execute(query).all()
            scopes = keyscopes.of_keys(connection, [row.id for row in rows])
            return [people.credential_of(row, scopes.get(row.id)) for row in rows]

        return await self._database.read(read)

    async def delete_key(self, user_id: UUID, key_id: str) -> None:
        """Remove a key; it opens nothing from now on, and what it opened ends. ``UnknownAccount``."""
        mine = (
            (credentials.c.id == key_id) & (credentials.c.user_id == str(user_id)) & (credentials.c.kind != "password")
        )

        def write(connection: Connection) -> dict[str, Any]:
            gone = connection.execute(delete(credentials).where(mine).returning(credentials)).first()
            if gone is None:
                raise UnknownAccount("key", key_id)
            websessions.end_those_begun_with(connection, key_id)
            return {"target": people.user(connection, user_id).name, "kind": gone.kind, "label": gone.label}

        await self._write(write, "key_removed", told=lambda about: about, key=key_id)

    def _credential(self, user_id: UUID, kind: str, data: str) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "user_id": str(user_id),
            "kind": kind,
            "label": "",
            "data": data,
            "created": self._clock.seconds(),
        }

    # --- logging in ---

    async def person(self, user_id: UUID) -> Person:
        """A user with all that a login has to know, remembered. ``AuthenticationFailed`` if there is none."""
        return await self._logins.person(user_id)

    async def principal_of(self, user_id: UUID) -> Principal:
        """The principal of a user whose identity is established. ``AuthenticationFailed`` if there is none that may log in."""
        return await self._logins.principal_of(user_id)

    async def principal_named(self, name: str) -> Principal:
        """As :meth:`principal_of`, by name."""
        try:
            return await self._logins.principal_of((await self.user(name)).id)
        except UnknownAccount:
            raise AuthenticationFailed from None

    async def authenticate_password(self, name: str, password: str) -> Principal:
        """The principal behind a name and password, or a name and API key. ``AuthenticationFailed``, which costs as much time for a
        wrong name as for a wrong password."""
        return await self._logins.by_password(name, password)

    async def authenticate_api_key(self, key: str) -> Principal:
        """The principal behind an API key. ``AuthenticationFailed``."""
        return await self._logins.by_api_key(key)

    async def authenticate_public_key(self, name: str, blob: bytes, address: str, proved: bool) -> Principal:
        """The principal behind a name and a public key that is good from ``address``. ``AuthenticationFailed``. Whether the client has
        the private key is the front end's to verify; ``proved`` says that it has."""
        return await self._logins.by_public_key(name, blob, address, proved)

    # --- the database ---

    async def _delete(self, kind: ScopeKind, account: UUID, keep_vfolders: bool) -> None:
        def write(connection: Connection) -> User | Group:
            of_user = kind is ScopeKind.USER
            gone = people.user(connection, account) if of_user else people.group(connection, account)
            people.delete_account(connection, kind, account, keep_vfolders)
            bump(connection, "vfolders")  # its grants went along
            return gone

        await self._write(write, "user_removed" if kind is ScopeKind.USER else "group_removed", told=_named)

    async def _write(self, function: Callable[[Connection], T], event: str, **about: Any) -> T:
        now = self._clock.seconds()
        return await audit_records.change(self._database, GENERATION, function, event, now, **about)


def _named(account: User | Group) -> dict[str, Any]:
    return {"target": account.name}


def _limits(limits: Limits) -> dict[str, int | None]:
    return {"limit_bytes": limits.bytes, "limit_files": limits.files}


def _given(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if value is not UNSET}
