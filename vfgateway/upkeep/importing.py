"""Takes accounts in, all in one transaction. What is there already stays as it is; what is missing is added."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any, Literal

import attrs
from sqlalchemy import Connection, Table, insert, select

from vfgateway.config import Settings
from vfgateway.errors import InvalidArgument
from vfgateway.model import VFolderId
from vfgateway.services import audit_records, publickeys
from vfgateway.services.database import bump
from vfgateway.services.logins import GENERATION as ACCOUNTS
from vfgateway.services.names import checked_account_name
from vfgateway.services.passwords import unusable
from vfgateway.services.schema import credentials, grants, groups, members, users, vfolders
from vfgateway.services.vfolders import GENERATION as VFOLDERS
from vfgateway.upkeep.accounts_file import AccountsFile, GrantEntry, GroupEntry, PublicKey, UserEntry
from vfgateway.upkeep.store import opened

type_outcome = Literal["added", "there", "left out"]


@attrs.frozen
class Line:
    """What became of one thing."""

    what: str
    outcome: type_outcome
    detail: str = ""


class _DryRun(Exception):
    pass


def take_in(settings: Settings, file: AccountsFile, dry_run: bool) -> list[Line]:
    """Add what is missing, while a gateway runs or not: all or, with ``dry_run``, nothing. Raises as :func:`vfgateway.upkeep.store.opened`."""
    lines: list[Line] = []
    with opened(settings) as engine:
        try:
            with engine.begin() as connection:
                lines = list(_Import(connection).run(file))
                added = sum(line.outcome == "added" for line in lines)
                entry = audit_records.entry_now(
                    "accounts_imported", time.time(), who="vfgateway db import", facts={"added": added}
                )
                audit_records.add(connection, [entry])
                bump(connection, ACCOUNTS)
                bump(connection, VFOLDERS)
                if dry_run:
                    raise _DryRun
        except _DryRun:
            pass
    return lines


class _Import:
    """One import.

    :ivar ids: of accounts by kind and name, those in the file under which they are in the database
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._now = time.time()
        self._ids: dict[tuple[str, str], str] = {}

    def run(self, file: AccountsFile) -> Iterator[Line]:
        for user in file.users:
            yield from self._user(user)
        for group in file.groups:
            yield from self._group(group)
        for grant in file.grants:
            yield self._grant(grant)

    # --- accounts ---

    def _account(self, kind: str, table: Table, entry: UserEntry | GroupEntry, values: dict[str, Any]) -> Line:
        """Find it, by identifier or name, or make it."""
        what = f"{kind} {entry.name}"
        try:
            checked_account_name("name", entry.name)
        except InvalidArgument as error:
            return Line(what, "left out", str(error))
        same = table.c.name == entry.name
        if entry.id is not None:
            same |= table.c.id == str(entry.id)
        present = self._connection.execute(select(table).where(same)).all()
        if len(present) > 1:
            return Line(
                what, "left out", f"its identifier belongs to {present[0].name}, and its name to {present[1].name}"
            )
        if present:
            self._ids[kind, entry.name] = present[0].id
            return Line(what, "there", "" if present[0].name == entry.name else f"as {present[0].name}")
        if entry.subject is not None:
            taken = (table.c.source == entry.source) & (table.c.subject == entry.subject)
            if (other := self._connection.execute(select(table).where(taken)).first()) is not None:
                return Line(what, "left out", f"{other.name} is that account of {entry.source}")
        identity = str(entry.id or uuid.uuid4())
        self._connection.execute(insert(table).values(id=identity, created=self._now, **values))
        self._ids[kind, entry.name] = identity
        return Line(what, "added")

    def _user(self, entry: UserEntry) -> Iterator[Line]:
        values = entry.model_dump(exclude={"id", "keys", "password"})
        made = self._account("user", users, entry, values)
        if made.outcome == "added" and entry.password is not None:
            problem = unusable(entry.password)
            if problem:
                made = attrs.evolve(made, detail=f"without its password: {problem}; vfgateway user passwd {entry.name}")
            else:
                self._credential(made, entry.name, "password", entry.password, "", None)
        yield made
        if made.outcome != "left out":
            for key in entry.keys:
                yield self._key(made, entry.name, key)

    def _key(self, owner: Line, name: str, key: PublicKey) -> Line:
        what = f"key of {name} {key.label}".rstrip()
        try:
            line = publickeys.parse(key.line)
        except InvalidArgument as error:
            return Line(what, "left out", str(error))
        user = self._ids["user", name]
        same = (
            (credentials.c.user_id == user) & (credentials.c.kind == "public_key") & (credentials.c.data == line.data)
        )
        if self._connection.execute(select(credentials.c.id).where(same)).first() is not None:
            return Line(what, "there")
        expires = key.expires if key.expires is not None else line.expires
        self._credential(owner, name, "public_key", line.data, key.label or line.comment, expires)
        return Line(what, "added")

    def _credential(self, owner: Line, name: str, kind: str, data: str, label: str, expires: float | None) -> None:
        row = {"id": uuid.uuid4().hex, "user_id": self._ids["user", name], "kind": kind, "data": data}
        more = {"label": label[:255], "created": self._now, "expires": expires}
        self._connection.execute(insert(credentials).values(row | more))

    def _group(self, entry: GroupEntry) -> Iterator[Line]:
        made = self._account("group", groups, entry, entry.model_dump(exclude={"id", "members"}))
        yield made
        if made.outcome == "left out":
            return
        group = self._ids["group", entry.name]
        for member in entry.members:
            what = f"member {member.user} of {entry.name}"
            user = self._find("user", member.user)
            if user is None:
                yield Line(what, "left out", "there is no such user")
                continue
            here = (members.c.group_id == group) & (members.c.user_id == user)
            if self._connection.execute(select(members).where(here)).first() is not None:
                yield Line(what, "there")
                continue
            row = {"group_id": group, "user_id": user, "administrator": member.administrator}
            self._connection.execute(insert(members).values(row))
            yield Line(what, "added")

    def _find(self, kind: str, name: str) -> str | None:
        if (kind, name) not in self._ids:
            table = users if kind == "user" else groups
            found = self._connection.execute(select(table.c.id).where(table.c.name == name)).scalar()
            if found is None:
                return None
            self._ids[kind, name] = found
        return self._ids[kind, name]

    # --- grants ---

    def _grant(self, entry: GrantEntry) -> Line:
        what = f"grant of {entry.vfolder or entry.vfid} to {entry.kind} {entry.account}"
        account = self._find(entry.kind, entry.account)
        if account is None:
            return Line(what, "left out", f"there is no such {entry.kind}")
        try:
            vfid = VFolderId.parse(entry.vfid)
        except InvalidArgument as error:
            return Line(what, "left out", str(error))
        there = (vfolders.c.volume == entry.volume) & (vfolders.c.vfid == str(vfid))
        key = self._connection.execute(select(vfolders.c.key).where(there)).scalar()
        if key is None:
            return Line(what, "left out", f"there is no such vfolder on volume {entry.volume}")
        same = (grants.c.vfolder == key) & (grants.c.subject_kind == entry.kind) & (grants.c.subject == account)
        if self._connection.execute(select(grants.c.id).where(same)).first() is not None:
            return Line(what, "there")
        row = {"id": uuid.uuid4().hex, "vfolder": key, "subject_kind": entry.kind, "subject": account}
        more = {"permission": entry.permission, "expires": entry.expires, "created": self._now}
        self._connection.execute(insert(grants).values(row | more))
        return Line(what, "added")
