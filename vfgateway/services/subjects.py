"""Who carries limits: vfolders, quota scopes of a volume, volumes, and owners over all volumes. Each function runs within one read or
write of the database.

A *hard* limit is never passed. A *soft* one may be, for its time of grace, which begins when it is noticed that more is used; when that time is
over it acts as a hard one, until no more is used than it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from vfgateway.model import Limits, QuotaScopeId, ScopeKind, Usage
from vfgateway.services import slabs
from vfgateway.services.schema import crossings, groups, scopes, soft_limits, users, vfolders, volume_limits

#: What a crossing of a soft limit is called in the table: its time is when the grace began.
SOFT = "soft"
#: Seconds of grace, unless something else is said.
GRACE = 7 * 24 * 3600.0


@attrs.frozen
class SoftLimits:
    """What may be passed for ``grace`` seconds.

    :ivar bytes_since: when more bytes than that were first seen (epoch seconds), ``None`` while that is not so
    :ivar files_since: the same of files
    """

    bytes: int | None = None
    files: int | None = None
    grace: float = GRACE
    bytes_since: float | None = None
    files_since: float | None = None

    def ends(self, resource: str) -> float | None:
        """When the soft limit of ``resource`` begins to act as a hard one; ``None`` if it is not passed."""
        since: float | None = getattr(self, f"{resource}_since")
        return None if since is None or getattr(self, resource) is None else since + self.grace


#: No soft limits.
NO_SOFT = SoftLimits()


@attrs.frozen
class Subject:
    """Who carries a limit.

    :ivar key: as in the tables: ``vfolder:KEY``, ``scope:VOLUME/SCOPE``, ``volume:NAME``, ``user:UUID`` or ``group:UUID``
    :ivar words: as told to people
    :ivar hard: what is never passed
    :ivar limits: what may not be passed now
    :ivar until: when ``limits`` become tighter by themselves, in epoch seconds
    """

    key: str
    words: str
    hard: Limits
    soft: SoftLimits = NO_SOFT
    limits: Limits = attrs.field(init=False)
    until: float | None = attrs.field(init=False)
    now: float = attrs.field(default=0.0, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        acting, later = {}, []
        for resource in ("bytes", "files"):
            limit, ends = getattr(self.hard, resource), self.soft.ends(resource)
            if ends is not None and ends <= self.now:
                soft = getattr(self.soft, resource)
                limit = soft if limit is None else min(limit, soft)
            elif ends is not None:
                later.append(ends)
            acting[resource] = limit
        object.__setattr__(self, "limits", Limits(**acting))
        object.__setattr__(self, "until", min(later, default=None))

    @property
    def is_limited(self) -> bool:
        """Whether room has to be reserved."""
        return slabs.is_limited(self.limits)

    @property
    def has_limits(self) -> bool:
        """Whether there is any limit, a soft one that does not act yet included."""
        return slabs.is_limited(self.hard) or (self.soft.bytes, self.soft.files) != (None, None)


def needs_of(limited: Iterable[Subject], wanted: Usage) -> Mapping[str, Usage]:
    """What has to be had of each limit, by its subject."""
    needs = {}
    for subject in limited:
        limits = subject.limits
        both = limits.bytes is not None and limits.files is not None
        needs[subject.key] = wanted if both else slabs.limited_part(wanted, limits)
    return needs


# --- keys ---


def vfolder_subject(vfolder: int) -> str:
    """The key of a vfolder's own limit."""
    return f"vfolder:{vfolder}"


def scope_subject(volume: str, scope: object) -> str:
    """The key of a quota scope's limit."""
    return f"scope:{volume}/{scope}"


def volume_subject(volume: str) -> str:
    """The key of a volume's limit."""
    return f"volume:{volume}"


def owner_subject(owner: object, kind: ScopeKind) -> str:
    """The key of an owner's limit over all volumes."""
    return f"{'user' if kind is ScopeKind.USER else 'group'}:{owner}"


# Statements of the hot path are built once: building costs SQLAlchemy more than SQLite takes to answer.
_CHARGED = select(vfolders.c.volume, vfolders.c.scope, vfolders.c.owner, vfolders.c.kind).where(
    vfolders.c.key == bindparam("vfolder")
)


def keys_of(connection: Connection, vfolder: int) -> Sequence[str]:
    """The keys of the subjects that carry a vfolder's usage; the vfolder's own first. Empty if it is gone."""
    row = connection.execute(_CHARGED, {"vfolder": vfolder}).first()
    if row is None:
        return ()
    keys = [vfolder_subject(vfolder), volume_subject(row.volume)]
    if row.scope is not None:
        keys.append(scope_subject(row.volume, row.scope))
    if row.owner is not None:
        keys.append(owner_subject(row.owner, ScopeKind(row.kind)))
    return keys


# --- subjects ---


def subjects_of(connection: Connection, vfolder: int, now: float) -> Sequence[Subject]:
    """The subjects of a vfolder with their limits, as :func:`keys_of`."""
    return subjects(connection, keys_of(connection, vfolder), now)


def subjects(connection: Connection, keys: Sequence[str], now: float) -> Sequence[Subject]:
    """The subjects of these keys, in their order. One without limits may be anything; a vfolder that is gone is left out."""
    soft = _soft_of(connection, keys)
    found = []
    for key in keys:
        row, words = _row_of(connection, key)
        if row is not None or not key.startswith("vfolder:"):
            hard = Limits() if row is None else Limits(row.limit_bytes, row.limit_files)
            found.append(Subject(key, words, hard, soft.get(key, NO_SOFT), now=now))
    return found


_BY_KEY = {
    "vfolder": select(vfolders).where(vfolders.c.key == bindparam("name")),
    "volume": select(volume_limits).where(volume_limits.c.volume == bindparam("name")),
    "scope": select(scopes).where(scopes.c.volume == bindparam("volume"), scopes.c.scope == bindparam("name")),
    "user": select(users).where(users.c.id == bindparam("name")),
    "group": select(groups).where(groups.c.id == bindparam("name")),
}


def _row_of(connection: Connection, key: str) -> tuple[Row[Any] | None, str]:
    """The row that has the hard limits of a subject, and what people call it."""
    kind, _, name = key.partition(":")
    if kind == "vfolder":
        row = connection.execute(_BY_KEY[kind], {"name": int(name)}).first()
        return row, "" if row is None else f"vfolder {row.name or row.folder}"
    if kind == "scope":
        volume, _, scope = name.partition("/")
        return connection.execute(_BY_KEY[kind], {"volume": volume, "name": scope}).first(), f"quota scope {scope}"
    row = connection.execute(_BY_KEY[kind], {"name": name}).first()
    return row, f"{kind} {row.name if row is not None and kind != 'volume' else name}"


_SOFT_OF = (
    select(soft_limits, crossings.c.resource, crossings.c.since)
    .outerjoin(crossings, (crossings.c.subject == soft_limits.c.subject) & (crossings.c.level == SOFT))
    .where(soft_limits.c.subject.in_(bindparam("keys", expanding=True)))
)


def _soft_of(connection: Connection, keys: Sequence[str]) -> Mapping[str, SoftLimits]:
    found: dict[str, SoftLimits] = {}
    for row in connection.execute(_SOFT_OF, {"keys": list(keys)}):
        soft = found.get(row.subject) or SoftLimits(row.bytes, row.files, row.grace)
        if row.resource is not None:
            soft = attrs.evolve(soft, **{f"{row.resource}_since": row.since})
        found[row.subject] = soft
    return found


def limited_keys(connection: Connection) -> Sequence[str]:
    """The keys of all subjects that have limits, soft ones too."""
    keys = set(connection.execute(select(soft_limits.c.subject)).scalars())
    for kind, table, columns in (
        ("vfolder", vfolders, (vfolders.c.key,)),
        ("volume", volume_limits, (volume_limits.c.volume,)),
        ("scope", scopes, (scopes.c.volume, scopes.c.scope)),
        ("user", users, (users.c.id,)),
        ("group", groups, (groups.c.id,)),
    ):
        limited = table.c.limit_bytes.is_not(None) | table.c.limit_files.is_not(None)
        for row in connection.execute(select(*columns).where(limited)):
            keys.add(f"{kind}:{'/'.join(map(str, row))}")
    return sorted(keys)


# --- changing ---


def set_hard(connection: Connection, key: str, limits: Limits, now: float) -> bool:
    """Set or lift the hard limits of a subject; whether there is such a subject."""
    values = {"limit_bytes": limits.bytes, "limit_files": limits.files}
    kind, _, name = key.partition(":")
    if kind == "volume":
        connection.execute(delete(volume_limits).where(volume_limits.c.volume == name))
        connection.execute(insert(volume_limits).values(volume=name, **values))
        return True
    if kind == "scope":
        volume, _, scope = name.partition("/")
        at = (scopes.c.volume == volume) & (scopes.c.scope == scope)
        if not connection.execute(update(scopes).where(at).values(values)).rowcount:
            new = {"volume": volume, "scope": str(QuotaScopeId.parse(scope)), "created": now}
            connection.execute(insert(scopes).values(new | values))
        return True
    if kind == "vfolder":
        change = update(vfolders).where(vfolders.c.key == int(name))
    else:
        table = users if kind == "user" else groups
        change = update(table).where(table.c.id == name)
    return connection.execute(change.values(values)).rowcount > 0


def set_soft(connection: Connection, key: str, soft: SoftLimits) -> None:
    """Set or lift the soft limits of a subject. A grace that has begun goes on."""
    connection.execute(delete(soft_limits).where(soft_limits.c.subject == key))
    if (soft.bytes, soft.files) != (None, None):
        row = {"subject": key, "bytes": soft.bytes, "files": soft.files, "grace": soft.grace}
        connection.execute(insert(soft_limits).values(row))


def forget_subject(connection: Connection, key: str) -> None:
    """Strike what hangs on a subject that is gone."""
    connection.execute(delete(soft_limits).where(soft_limits.c.subject == key))
    connection.execute(delete(crossings).where(crossings.c.subject == key))
