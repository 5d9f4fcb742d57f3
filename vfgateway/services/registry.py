"""The registry's questions to the database: functions that run in a thread, over a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import attrs
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, false, func, insert, or_, select, update

from vfgateway.errors import Conflict, InvalidArgument, VFolderNotFound
from vfgateway.model import Limits, Permission, QuotaScopeId, ScopeKind, VFolder, VFolderId, VFolderStatus
from vfgateway.principals import Principal, PrincipalKind
from vfgateway.services.permissions import Grant, decide, type_subject
from vfgateway.services.schema import grants, groups, scopes, shown_names, users, vfolders
from vfgateway.services.shown_names import Candidate, ShownName, assign, current_names

#: Vfolders with the grants that decide about them.
type_visible = Sequence[tuple[VFolder, Sequence[Grant]]]


@attrs.frozen
class View:
    """What one principal may be shown.

    :ivar entries: by the shown name, sorted: the vfolder and the grants that decide about it
    :ivar aliases: old names that lead to one of them
    """

    entries: Mapping[str, tuple[VFolder, Sequence[Grant]]]
    aliases: Mapping[str, str]


# --- rows ---


def limits_of(row: Row[Any]) -> Limits:
    return Limits(row.limit_bytes, row.limit_files)


def vfolder_of(row: Row[Any]) -> VFolder:
    return VFolder(
        key=row.key,
        id=VFolderId.parse(row.vfid),
        volume=row.volume,
        name=row.name,
        owner=None if row.owner is None else UUID(row.owner),
        kind=ScopeKind(row.kind),
        status=VFolderStatus(row.status),
        limits=limits_of(row),
        created=row.created,
        expires=row.expires,
        read_only=row.read_only,
    )


def grant_of(row: Row[Any]) -> Grant:
    return Grant(
        id=row.id,
        vfolder_key=row.vfolder,
        subject_kind=cast(type_subject, row.subject_kind),
        subject=UUID(row.subject),
        permission=Permission.parse(row.permission),
        expires=row.expires,
        created=row.created,
    )


# --- vfolders ---


def some(connection: Connection, query: Select[Any]) -> list[VFolder]:
    return [vfolder_of(row) for row in connection.execute(query)]


def by_key(connection: Connection, key: int) -> VFolder:
    row = connection.execute(select(vfolders).where(vfolders.c.key == key)).one_or_none()
    if row is None:
        raise VFolderNotFound(key)
    return vfolder_of(row)


def count_of(connection: Connection, owner: UUID | None, kind: ScopeKind) -> int:
    """How many vfolders an owner has, those in the trash included."""
    mine = (vfolders.c.owner == str(owner)) & (vfolders.c.kind == kind.value)
    count: int = connection.execute(select(func.count()).select_from(vfolders).where(mine)).scalar_one()
    return count


def has_id(connection: Connection, volume: str, vfid: VFolderId) -> bool:
    query = select(vfolders.c.key).where(vfolders.c.volume == volume, vfolders.c.vfid == str(vfid))
    return connection.execute(query).first() is not None


def by_id(connection: Connection, vfid: VFolderId, volume: str | None) -> VFolder:
    query = select(vfolders).where(vfolders.c.vfid == str(vfid))
    if volume is not None:
        query = query.where(vfolders.c.volume == volume)
    return _only(connection, some(connection, query), vfid)


def resolve(connection: Connection, text: str) -> VFolder:
    """See :meth:`vfgateway.services.vfolders.VFolders.resolve`."""
    try:
        vfid = VFolderId.parse(text)
    except InvalidArgument:
        pass
    else:
        same = vfolders.c.vfid == str(vfid) if vfid.scope else vfolders.c.folder == vfid.folder.hex
        if found := some(connection, select(vfolders).where(same)):
            return _only(connection, found, text)
    owner, slash, name = text.rpartition("/")
    # A vfolder without a name is known by its digits, as people see it.
    called = or_(vfolders.c.name == name, and_(vfolders.c.name.is_(None), vfolders.c.folder == name))
    query = select(vfolders).where(called).order_by(vfolders.c.key)
    if slash:
        query = query.where(vfolders.c.owner.in_(_accounts(connection, owner)))
    return _only(connection, some(connection, query), text)


def _only(connection: Connection, found: Sequence[VFolder], wanted: object) -> VFolder:
    if not found:
        raise VFolderNotFound(wanted)
    if len(found) > 1:
        raise Conflict(f"{wanted} may be any of: {', '.join(_full_names(connection, found))}")
    return found[0]


def _full_names(connection: Connection, several: Sequence[VFolder]) -> list[str]:
    """How to tell vfolders apart: by owner where that does it, else by volume and identifier."""
    owners = _owner_names(connection, several)
    names = [f"{owners.get(vfolder.key) or vfolder.owner or '-'}/{vfolder.display_name}" for vfolder in several]
    if len(set(names)) == len(names):
        return names
    return [f"{vfolder.id} on {vfolder.volume}" for vfolder in several]


def _accounts(connection: Connection, owner: str) -> list[str]:
    """UUIDs of the user and the group of that name; or the UUID itself."""
    try:
        return [str(UUID(owner))]
    except ValueError:
        return [
            account
            for table in (users, groups)
            for account in connection.execute(select(table.c.id).where(table.c.name == owner)).scalars()
        ]


def _owner_names(connection: Connection, several: Iterable[VFolder]) -> dict[int, str]:
    """The names of owners that have an account, by the vfolder's key."""
    several = list(several)
    names: dict[tuple[ScopeKind, str], str] = {}
    for kind, table in ((ScopeKind.USER, users), (ScopeKind.PROJECT, groups)):
        wanted = {str(vfolder.owner) for vfolder in several if vfolder.owner and vfolder.kind is kind}
        for row in connection.execute(select(table.c.id, table.c.name).where(table.c.id.in_(wanted))):
            names[kind, row.id] = row.name
    keyed = {vfolder.key: names.get((vfolder.kind, str(vfolder.owner))) for vfolder in several}
    return {key: name for key, name in keyed.items() if name is not None}


# --- grants ---


def grants_of(connection: Connection, key: int) -> list[Grant]:
    query = select(grants).where(grants.c.vfolder == key).order_by(grants.c.created, grants.c.id)
    return [grant_of(row) for row in connection.execute(query)]


# --- what a principal sees ---


def view(connection: Connection, principal: Principal, now: float) -> tuple[View, bool]:
    """What ``principal`` may see at ``now``, and whether every vfolder in it has a name already."""
    visible = _accessible(connection, principal, now)
    shown = _shown(connection, principal)
    if principal.user_id is None:  # nobody whose names are to be kept
        return _view(visible, assign(_candidates(connection, principal, visible), ())), True
    names = current_names(shown)
    return _view(visible, shown), all(vfolder.key in names for vfolder, _ in visible)


def name_all(connection: Connection, principal: Principal, now: float) -> View:
    """As :func:`view`, after giving names to the vfolders of a user that had none. Runs within a write, so that two processes
    agree."""
    visible = _accessible(connection, principal, now)
    shown = _shown(connection, principal)
    fresh = assign(_candidates(connection, principal, visible), shown)
    _keep(connection, str(principal.user_id), fresh)
    lost = {entry.name for entry in fresh}
    return _view(visible, [*(entry for entry in shown if entry.name not in lost), *fresh])


def _candidates(connection: Connection, principal: Principal, visible: type_visible) -> list[Candidate]:
    """In the order in which they choose their names: the user's own first, then the oldest."""
    owners = _owner_names(connection, (vfolder for vfolder, _ in visible))
    candidates = [Candidate(vfolder, owners.get(vfolder.key)) for vfolder, _ in visible]
    return sorted(
        candidates, key=lambda one: (one.vfolder.owner != principal.user_id, one.vfolder.created, one.vfolder.key)
    )


def _keep(connection: Connection, user: str, fresh: Sequence[ShownName]) -> None:
    for entry in fresh:
        connection.execute(delete(shown_names).where(shown_names.c.user_id == user, shown_names.c.name == entry.name))
        connection.execute(
            insert(shown_names).values(user_id=user, name=entry.name, vfolder=entry.vfolder_key, base=entry.base)
        )


def _view(visible: type_visible, shown: Sequence[ShownName]) -> View:
    names = current_names(shown)
    entries = {names[vfolder.key]: (vfolder, granted) for vfolder, granted in visible if vfolder.key in names}
    aliases = {entry.name: names[entry.vfolder_key] for entry in shown if entry.vfolder_key in names}
    return View(dict(sorted(entries.items())), aliases)


def _accessible(connection: Connection, principal: Principal, now: float) -> type_visible:
    """The vfolders of :meth:`vfgateway.services.vfolders.VFolders.visible`, each with its grants."""
    mine = _mine(principal)
    there = vfolders.c.status.not_in([VFolderStatus.TRASHED.value, VFolderStatus.DELETING.value])
    query = select(vfolders).where(mine, there)
    found = some(connection, query)
    granted: dict[int, list[Grant]] = {vfolder.key: [] for vfolder in found}
    if principal.kind is PrincipalKind.USER:
        keys = select(vfolders.c.key).where(mine)
        for row in connection.execute(select(grants).where(grants.c.vfolder.in_(keys))):
            if row.vfolder in granted:
                granted[row.vfolder].append(grant_of(row))
    pairs = [(vfolder, tuple(granted[vfolder.key])) for vfolder in found]
    # An administrator's own rights would show whatever was ever opened to it; only live grants do.
    person = attrs.evolve(principal, administrator=False)
    return [pair for pair in pairs if decide(person, *pair, now).permission is not Permission.NONE]


def _mine(principal: Principal) -> ColumnElement[bool]:
    if principal.kind is PrincipalKind.ORCHESTRATOR:
        return vfolders.c.key.is_not(None)
    if principal.kind is PrincipalKind.TOKEN:
        if principal.token is None:
            return false()
        return and_(vfolders.c.vfid == str(principal.token.vfid), vfolders.c.volume == principal.token.volume)
    user = str(principal.user_id)
    teams = [str(group) for group in principal.groups | principal.administered_groups]
    opened = select(grants.c.vfolder).where(
        or_(
            and_(grants.c.subject_kind == "user", grants.c.subject == user),
            and_(grants.c.subject_kind == "group", grants.c.subject.in_(teams)),
        )
    )
    return or_(
        and_(vfolders.c.kind == ScopeKind.USER.value, vfolders.c.owner == user),
        and_(vfolders.c.kind == ScopeKind.PROJECT.value, vfolders.c.owner.in_(teams)),
        vfolders.c.key.in_(opened),
    )


def _shown(connection: Connection, principal: Principal) -> list[ShownName]:
    """All names that the user was ever shown, as far as their vfolders exist."""
    if principal.user_id is None:
        return []
    query = (
        select(shown_names.c.name, shown_names.c.vfolder, shown_names.c.base, vfolders)
        .join(vfolders, vfolders.c.key == shown_names.c.vfolder)
        .where(shown_names.c.user_id == str(principal.user_id))
    )
    shown = []
    for row in connection.execute(query):
        called = row[3 + vfolders.c.keys().index("name")] or row.folder
        owner = None if row.owner is None else UUID(row.owner)
        shown.append(ShownName(row[0], row.vfolder, row.base, called == row.base, owner))
    return shown


# --- scopes ---


def scope_limits(connection: Connection, volume: str, scope: QuotaScopeId) -> Limits | None:
    query = select(scopes).where(scopes.c.volume == volume, scopes.c.scope == str(scope))
    row = connection.execute(query).one_or_none()
    return None if row is None else limits_of(row)


def set_scope_limits(connection: Connection, volume: str, scope: QuotaScopeId, limits: Limits, now: float) -> None:
    values = {"limit_bytes": limits.bytes, "limit_files": limits.files}
    here = (scopes.c.volume == volume) & (scopes.c.scope == str(scope))
    if not connection.execute(update(scopes).where(here).values(values)).rowcount:
        connection.execute(insert(scopes).values(volume=volume, scope=str(scope), created=now, **values))
