"""Users, groups and credentials as values, and the questions about them that run in a thread, over a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast
from uuid import UUID

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from sqlalchemy import Connection, Row, Table, delete, func, select, update

from vfgateway.errors import (
    AccountExists,
    AccountWithdrawn,
    AuthenticationFailed,
    Conflict,
    InvalidArgument,
    UnknownAccount,
)
from vfgateway.model import Actor, Limits, ScopeKind
from vfgateway.principals import KeyScope, Principal, PrincipalKind
from vfgateway.services.schema import credentials, grants, groups, members, shown_names, users, vfolders

#: What people can log in with besides a password.
type_key = Literal["api_key", "app_password", "public_key"]

#: Bits of the shortest RSA key that is taken (NIST SP 800-131A).
_SHORTEST_RSA = 2048
_KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-", "ssh-rsa", "sk-ssh-ed25519@", "sk-ecdsa-sha2-")


@attrs.frozen
class Outside:
    """How an account stands with the authenticator that it came from.

    :ivar subject: what that calls it; ``None`` until somebody comes from there under its name
    :ivar revision: answers of the source that were remembered under another number are worth nothing
    :ivar vouched: epoch seconds at which the source was last heard to know it, as far as was written down
    :ivar withdrawn: the source knows it no more: every login fails
    """

    source: str
    subject: str | None
    revision: int = 0
    vouched: float | None = None
    withdrawn: bool = False


@attrs.frozen
class User:
    """A person. ``expires`` in epoch seconds; after it, or while not ``active``, every login fails.

    :ivar limits: of the sum of its vfolders over all volumes
    :ivar actor: whom the storage is told
    :ivar outside: where it came from, if it is not an account of our own
    """

    id: UUID
    name: str
    email: str | None
    administrator: bool
    active: bool
    actor: Actor
    limits: Limits
    created: float
    expires: float | None = None
    outside: Outside | None = None

    @property
    def source(self) -> str | None:
        """The authenticator that it came from; ``None`` for an account of our own."""
        return None if self.outside is None else self.outside.source


@attrs.frozen
class Group:
    """People who own vfolders together (``project`` in the orchestrator's words). ``source`` as of :class:`User`."""

    id: UUID
    name: str
    limits: Limits
    created: float
    source: str | None = None


@attrs.frozen
class Member:
    """A user in a group."""

    user: User
    administrator: bool


@attrs.frozen
class Credential:
    """A key of a user, without what is secret about it. ``public_key`` is an OpenSSH line; times in epoch seconds. An app password is an API
    key that is only taken in the place of a password.

    :ivar scope: what it permits at most; ``None`` for all that the user may do
    """

    id: str
    user_id: UUID
    kind: type_key
    label: str
    public_key: str | None
    created: float
    expires: float | None
    last_used: float | None
    scope: KeyScope | None = None


@attrs.frozen
class NewKey:
    """A key just made. ``secret`` is the API key or app password, which nobody can ask for again; ``None`` for a public key."""

    credential: Credential
    secret: str | None = attrs.field(repr=False)


@attrs.frozen
class Person:
    """A user with all that a login has to know."""

    user: User
    groups: frozenset[UUID]
    administered_groups: frozenset[UUID]
    password_id: str | None
    password: str | None = attrs.field(repr=False)

    def principal(self, now: float) -> Principal:
        """Who is asking, if this user may log in at ``now``; ``AuthenticationFailed`` if not, and ``AccountWithdrawn`` if that is up to
        the source of the account."""
        user = self.user
        if not user.active or (user.expires is not None and now >= user.expires):
            raise AuthenticationFailed
        if user.outside is not None and user.outside.withdrawn:
            raise AccountWithdrawn(user.id)
        return Principal(
            PrincipalKind.USER,
            user.name,
            user.id,
            self.groups,
            self.administered_groups,
            user.administrator,
            attrs.evolve(user.actor, credential=user.name),
            source=user.source,
        )


# --- rows ---


def user_of(row: Row[Any]) -> User:
    return User(
        id=UUID(row.id),
        name=row.name,
        email=row.email,
        administrator=row.administrator,
        active=row.active,
        actor=Actor(row.uid, row.gid),
        limits=Limits(row.limit_bytes, row.limit_files),
        created=row.created,
        expires=row.expires,
        outside=Outside(row.source, row.subject, row.revision, row.vouched, row.withdrawn) if row.source else None,
    )


def group_of(row: Row[Any]) -> Group:
    return Group(UUID(row.id), row.name, Limits(row.limit_bytes, row.limit_files), row.created, row.source)


def credential_of(row: Row[Any], scope: KeyScope | None = None) -> Credential:
    return Credential(
        id=row.id,
        user_id=UUID(row.user_id),
        kind=cast(type_key, row.kind),
        label=row.label,
        public_key=row.data if row.kind == "public_key" else None,
        created=row.created,
        expires=row.expires,
        last_used=row.last_used,
        scope=scope,
    )


# --- questions ---


def account_row(connection: Connection, table: Table, kind: str, wanted: UUID | str) -> Row[Any]:
    """The row of a user or group by UUID or name. ``UnknownAccount``."""
    column = table.c.id if isinstance(wanted, UUID) else table.c.name
    row = None
    if isinstance(wanted, UUID) or can_be_stored(wanted):
        row = connection.execute(select(table).where(column == str(wanted))).one_or_none()
    if row is None:
        raise UnknownAccount(kind, wanted)
    return row


def user(connection: Connection, wanted: UUID | str) -> User:
    return user_of(account_row(connection, users, "user", wanted))


def group(connection: Connection, wanted: UUID | str) -> Group:
    return group_of(account_row(connection, groups, "group", wanted))


def person(connection: Connection, wanted: UUID | str) -> Person:
    """A user with groups and password. ``UnknownAccount``."""
    try:
        found = user(connection, wanted)
    except UnknownAccount:
        _memberships_and_password(connection, "")  # so that it takes as long to find nobody
        raise
    rows, password = _memberships_and_password(connection, str(found.id))
    return Person(
        found,
        frozenset(UUID(row.group_id) for row in rows),
        frozenset(UUID(row.group_id) for row in rows if row.administrator),
        *(password or (None, None)),
    )


def _memberships_and_password(connection: Connection, user_id: str) -> tuple[Sequence[Any], Any]:
    rows = connection.execute(select(members).where(members.c.user_id == user_id)).all()
    password = select(credentials.c.id, credentials.c.data).where(
        credentials.c.user_id == user_id, credentials.c.kind == "password"
    )
    return rows, connection.execute(password).first()


def team(connection: Connection, wanted: UUID) -> list[Member]:
    """The members of a group, by name. ``UnknownAccount``."""
    group(connection, wanted)
    query = (
        select(users, members.c.administrator.label("leads"))
        .join(members, members.c.user_id == users.c.id)
        .where(members.c.group_id == str(wanted))
        .order_by(users.c.name)
    )
    return [Member(user_of(row), row.leads) for row in connection.execute(query)]


def can_be_stored(name: str) -> bool:
    """Whether a name from outside is text that a database takes as a parameter."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in name


# --- changes ---


def check_free(connection: Connection, table: Table, kind: str, values: Mapping[str, Any], own: str = "") -> None:
    """Raise ``AccountExists`` if another account than ``own`` has the identifier or name."""
    for column in ("id", "name"):
        if column in values:
            query = select(table.c.id).where(table.c[column] == values[column], table.c.id != own)
            if connection.execute(query).first() is not None:
                raise AccountExists(kind, values[column])


def hand_over(connection: Connection, user_id: UUID, source: str | None) -> None:
    """Make the account one of ``source``'s, for whoever is known there by its name, or (``None``) our own."""
    mine = users.c.id == str(user_id)
    fresh = {"source": source, "subject": None, "vouched": None, "withdrawn": False, "revision": users.c.revision + 1}
    connection.execute(update(users).where(mine).values(fresh))
    if source is not None:
        password = (credentials.c.user_id == str(user_id)) & (credentials.c.kind == "password")
        connection.execute(delete(credentials).where(password))


def delete_account(connection: Connection, kind: ScopeKind, account: UUID, keep_vfolders: bool) -> None:
    """Strike a user or group with its grants and shown names. ``UnknownAccount``; ``Conflict`` while it owns vfolders, unless
    ``keep_vfolders``."""
    table, word = (users, "user") if kind is ScopeKind.USER else (groups, "group")
    row = account_row(connection, table, word, account)
    owned = (vfolders.c.owner == row.id) & (vfolders.c.kind == kind.value)
    count = connection.execute(select(func.count()).select_from(vfolders).where(owned)).scalar_one()
    if count and not keep_vfolders:
        whats = f"{count} vfolder{'s' if count > 1 else ''}"
        raise Conflict(f"{word} {row.name} still owns {whats}: hand over, delete or keep them (keep_vfolders)")
    connection.execute(delete(grants).where(grants.c.subject_kind == word, grants.c.subject == row.id))
    connection.execute(delete(shown_names).where(shown_names.c.user_id == row.id))
    connection.execute(delete(table).where(table.c.id == row.id))


def checked_public_key(line: str) -> tuple[str, str]:
    """A public key as ``(normal OpenSSH line without comment, comment)``. Raises :class:`InvalidArgument`, which does not
    repeat it: people paste private keys by mistake."""
    if "PRIVATE KEY" in line:
        raise InvalidArgument("public_key", "this is a private key: keep it, and give the one that ends in .pub")
    words = line.strip().split(None, 2)
    if not words or not words[0].startswith(_KEY_TYPES):
        raise InvalidArgument("public_key", f"expected an OpenSSH line that begins with {' or '.join(_KEY_TYPES)}")
    try:
        key = load_ssh_public_key(" ".join(words[:2]).encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidArgument("public_key", "cannot be decoded; is the line complete?") from None
    if isinstance(key, RSAPublicKey) and key.key_size < _SHORTEST_RSA:
        raise InvalidArgument("public_key", f"RSA keys need at least {_SHORTEST_RSA} bits")
    comment = "".join(words[2:])
    if words[0].startswith("sk-"):  # which the library makes a plain key of, without what it is for
        return " ".join(words[:2]), comment
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii"), comment
