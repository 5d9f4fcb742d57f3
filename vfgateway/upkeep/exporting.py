"""Writes accounts, groups and grants to a file that another gateway, or a program, can read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from vfgateway.config import Settings
from vfgateway.services.login_tables import key_scopes
from vfgateway.services.schema import credentials, grants, groups, members, users, vfolders
from vfgateway.upkeep.accounts_file import AccountsFile, GrantEntry, GroupEntry, MemberEntry, PublicKey, UserEntry
from vfgateway.upkeep.store import opened


def export(settings: Settings, password_hashes: bool) -> AccountsFile:
    """All of them, as they are at one moment, while a gateway runs or not. Left out are API keys and app passwords, second factors, and public keys that were
    narrowed, which would come back as good for everything. Raises as :func:`vfgateway.upkeep.store.opened`.

    :param password_hashes: write them, too
    """
    with opened(settings) as engine, engine.connect().execution_options(vfgateway_read=True) as connection:
        names = {row.id: row.name for table in (users, groups) for row in connection.execute(select(table))}
        return AccountsFile(
            exported=datetime.now(UTC).isoformat(timespec="seconds"),
            users=tuple(_users(connection, password_hashes)),
            groups=tuple(_groups(connection, names)),
            grants=tuple(_grants(connection, names)),
        )


def _users(connection: Connection, password_hashes: bool) -> Iterator[UserEntry]:
    keys: dict[str, list[PublicKey]] = defaultdict(list)
    passwords: dict[str, str] = {}
    narrowed = select(key_scopes.c.credential)
    query = select(credentials).where(credentials.c.id.not_in(narrowed)).order_by(credentials.c.created)
    for row in connection.execute(query):
        if row.kind == "public_key":
            keys[row.user_id].append(PublicKey(line=row.data, label=row.label, expires=row.expires))
        elif row.kind == "password" and password_hashes:
            passwords[row.user_id] = row.data
    facts = UserEntry.model_fields.keys() - {"keys", "password"}
    for row in connection.execute(select(users).order_by(users.c.name)):
        values = {name: getattr(row, name) for name in facts}
        yield UserEntry(**values, password=passwords.get(row.id), keys=tuple(keys[row.id]))


def _groups(connection: Connection, names: Mapping[str, str]) -> Iterator[GroupEntry]:
    inside: dict[str, list[MemberEntry]] = defaultdict(list)
    for row in connection.execute(select(members)):
        inside[row.group_id].append(MemberEntry(user=names[row.user_id], administrator=row.administrator))
    facts = GroupEntry.model_fields.keys() - {"members"}
    for row in connection.execute(select(groups).order_by(groups.c.name)):
        values = {name: getattr(row, name) for name in facts}
        yield GroupEntry(**values, members=tuple(sorted(inside[row.id], key=lambda each: each.user)))


def _grants(connection: Connection, names: Mapping[str, str]) -> Iterator[GrantEntry]:
    query = select(
        grants, vfolders.c.volume, vfolders.c.vfid, vfolders.c.name.label("called"), vfolders.c.owner.label("owner")
    ).join(vfolders, vfolders.c.key == grants.c.vfolder)
    # Grants of an authenticator are its own to give again.
    for row in connection.execute(query.where(grants.c.source.is_(None)).order_by(vfolders.c.key, grants.c.created)):
        if row.subject not in names:
            continue
        called: Sequence[str] = [names.get(row.owner, row.owner or "-"), row.called or row.vfid]
        yield GrantEntry(
            volume=row.volume,
            vfid=row.vfid,
            vfolder="/".join(called),
            kind=row.subject_kind,
            account=names[row.subject],
            permission=row.permission,
            expires=row.expires,
        )
