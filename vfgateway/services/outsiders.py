"""What has to be written so that an account is as its source tells: worked out over a connection, before anything is written."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import Connection, Executable, Row, Table, delete, select, update

from vfgateway.errors import IdentityRefused
from vfgateway.identity import Identity, OutsideGroup
from vfgateway.model import Permission
from vfgateway.services.schema import grants, groups, members, users

#: What a source opens: by the number of the vfolder, the permission and when it ends.
type_granted = Mapping[int, tuple[Permission, float | None]]


@attrs.define
class Plan:
    """The statements that bring the account up to date; none if it is.

    :ivar user_id: whose account it is or will be
    :ivar skipped: names of groups that belong to others here
    :ivar grants: whether grants change
    :ivar changes: what changes, in words
    """

    user_id: str
    statements: list[Executable] = attrs.Factory(list)
    skipped: list[str] = attrs.Factory(list)
    grants: bool = False
    changes: list[str] = attrs.Factory(list)

    def change(self, words: str, *statements: Executable) -> None:
        """One thing more to do."""
        self.statements.extend(statements)
        self.changes.append(words)

    def carry_out(self, connection: Connection) -> None:
        """Write it."""
        for statement in self.statements:
            connection.execute(statement)


def plan(connection: Connection, identity: Identity, granted: type_granted | None, now: float) -> Plan:
    """What to do about ``identity``. ``IdentityRefused`` if its name or identifier belongs to somebody else.

    :param granted: vfolders that the source opens; ``None`` if it does not tell
    """
    row = _own_row(connection, users, identity.source, identity.subject, identity.name)
    if row is None or row.name != identity.name:
        _check_name(connection, identity)
    made = Plan(row.id if row else str(identity.id or uuid.uuid4()))
    _check_id(connection, identity, made.user_id, row)
    values = _values(identity)
    if row is None:
        values |= {"id": made.user_id, "created": now, "active": True, "administrator": bool(identity.administrator)}
        made.change("account made", users.insert().values(values))
    elif changes := {name: value for name, value in values.items() if getattr(row, name) != value}:
        made.change(" and ".join(sorted(changes)), update(users).where(users.c.id == row.id).values(changes))
    if identity.groups is not None:
        _plan_groups(connection, made, identity.source, identity.groups, now)
    if granted is not None:
        _plan_grants(connection, made, identity.source, granted, now)
    return made


def _own_row(connection: Connection, table: Table, source: str, subject: str, name: str) -> Row[Any] | None:
    """The account that came from there before, or waits for it under its name."""
    from_there = select(table).where(table.c.source == source)
    found = connection.execute(from_there.where(table.c.subject == subject)).one_or_none()
    if found is None:
        found = connection.execute(from_there.where(table.c.subject.is_(None), table.c.name == name)).one_or_none()
    return found


def _check_name(connection: Connection, identity: Identity) -> None:
    taken = connection.execute(select(users.c.source).where(users.c.name == identity.name)).first()
    if taken is None:
        return
    if taken.source is None:
        whose = f"an account of the gateway's own, not to {identity.source}"
    elif taken.source == identity.source:
        whose = f"somebody else whom {identity.source} knew by it before"
    else:
        whose = f"{taken.source}, not to {identity.source}"
    raise IdentityRefused(f"the name {identity.name} belongs to {whose}; ask an administrator")


def _check_id(connection: Connection, identity: Identity, user_id: str, row: Row[Any] | None) -> None:
    if identity.id is None or (row is not None and row.id == str(identity.id)):
        return
    taken = connection.execute(select(users.c.name).where(users.c.id == str(identity.id))).first()
    if row is not None or taken is not None:
        raise IdentityRefused(f"the account of {identity.name} here has another identifier than at {identity.source}")


def _values(identity: Identity) -> dict[str, Any]:
    """The columns of the account that the source decides."""
    values: dict[str, Any] = {"name": identity.name, "source": identity.source, "subject": identity.subject}
    values["withdrawn"] = False
    if identity.email is not None:
        values["email"] = identity.email
    if identity.actor is not None:
        values |= {"uid": identity.actor.uid, "gid": identity.actor.gid}
    if identity.administrator is not None:
        values["administrator"] = identity.administrator
    return values


# --- groups ---


def _plan_groups(connection: Connection, made: Plan, source: str, told: frozenset[OutsideGroup], now: float) -> None:
    wanted = dict(_group_ids(connection, made, source, told, now))
    present = {
        row.group_id: row.administrator
        for row in connection.execute(
            select(members)
            .join(groups, groups.c.id == members.c.group_id)
            .where(members.c.user_id == made.user_id, groups.c.source == source)
        )
    }
    mine = members.c.user_id == made.user_id
    for group_id in sorted(set(present) - set(wanted)):
        made.change(f"left group {group_id}", delete(members).where(mine, members.c.group_id == group_id))
    for group_id, administrator in wanted.items():
        here = mine & (members.c.group_id == group_id)
        if group_id not in present:
            row = {"group_id": group_id, "user_id": made.user_id, "administrator": bool(administrator)}
            made.change(f"joined group {group_id}", members.insert().values(row))
        elif administrator is not None and administrator != present[group_id]:
            words = f"{'leads' if administrator else 'does not lead'} group {group_id}"
            made.change(words, update(members).where(here).values(administrator=administrator))


def _group_ids(
    connection: Connection, made: Plan, source: str, told: frozenset[OutsideGroup], now: float
) -> Iterator[tuple[str, bool | None]]:
    """Each group's identifier here, with whether the person administers it; those that are not here yet are made."""
    new: set[str] = set()
    for group in sorted(told, key=lambda group: (group.name, group.subject)):
        row = _own_row(connection, groups, source, group.subject, group.name)
        taken = group.name in new or _holder(connection, group.name) not in (None, row and row.id)
        if row is not None:
            changes = {} if row.subject else {"subject": group.subject}
            if row.name != group.name and not taken:
                changes["name"] = group.name
            if changes:
                words = f"group {row.name} is now {group.name}"
                made.change(words, update(groups).where(groups.c.id == row.id).values(changes))
            yield row.id, group.administrator
        elif taken or (group.id and _is_there(connection, group.id)):
            made.skipped.append(group.name)
        else:
            new.add(group.name)
            group_id = str(group.id or uuid.uuid4())
            values = {"id": group_id, "name": group.name, "created": now, "source": source, "subject": group.subject}
            made.change(f"group {group.name} made", groups.insert().values(values))
            yield group_id, group.administrator


def _holder(connection: Connection, name: str) -> str | None:
    return connection.execute(select(groups.c.id).where(groups.c.name == name)).scalar()


def _is_there(connection: Connection, group_id: UUID) -> bool:
    return connection.execute(select(groups.c.id).where(groups.c.id == str(group_id))).first() is not None


# --- grants ---


def _plan_grants(connection: Connection, made: Plan, source: str, granted: type_granted, now: float) -> None:
    """What the source opens is its own to give and take; what people here have granted stays as it is."""
    mine = (grants.c.subject_kind == "user") & (grants.c.subject == made.user_id)
    present = {row.vfolder: row for row in connection.execute(select(grants).where(mine))}
    before = len(made.statements)
    for vfolder, row in present.items():
        if row.source == source and vfolder not in granted:
            made.change(f"lost vfolder {vfolder}", delete(grants).where(grants.c.id == row.id))
    for vfolder, (permission, expires) in granted.items():
        values: dict[str, Any] = {"permission": str(permission), "expires": expires}
        there = present.get(vfolder)
        if there is None:
            values |= {"id": uuid.uuid4().hex, "vfolder": vfolder, "subject_kind": "user", "subject": made.user_id}
            opened = grants.insert().values(values | {"created": now, "source": source})
            made.change(f"{permission} in vfolder {vfolder}", opened)
        elif there.source == source and (there.permission, there.expires) != (str(permission), expires):
            changed = update(grants).where(grants.c.id == there.id).values(values)
            made.change(f"{permission} in vfolder {vfolder}", changed)
    made.grants = len(made.statements) > before


# --- the other way round ---


def withdraw(connection: Connection, user_id: UUID) -> None:
    """The source knows the account no more."""
    connection.execute(update(users).where(users.c.id == str(user_id)).values(withdrawn=True))


def forget(connection: Connection, source: str | None, names: Sequence[str] | None) -> int:
    """Make all answers of ``source`` (``None``: of any) about these people (``None``: about everybody) worth nothing; how many people that
    were."""
    about = users.c.source.is_not(None) if source is None else users.c.source == source
    if names is not None:
        about &= users.c.name.in_(names) | users.c.subject.in_(names) | users.c.id.in_(names)
    values = {"revision": users.c.revision + 1, "vouched": None}
    return connection.execute(update(users).where(about).values(values)).rowcount
