"""Looks whether the database is whole, of this version's schema, and agrees with itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, inspect, select, update

from vfgateway.config import Settings
from vfgateway.datadir import alone
from vfgateway.errors import ConfigurationError
from vfgateway.findings import Finding
from vfgateway.model import ScopeKind, Usage
from vfgateway.services.migrations import newest, pending
from vfgateway.services.schema import metadata, usage, vfolders
from vfgateway.services.subjects import owner_subject, scope_subject, vfolder_subject, volume_subject
from vfgateway.services.usage_tables import folder_usage
from vfgateway.upkeep.store import opened

#: The most that is told of one kind of fault.
MOST = 20


def check(settings: Settings, fix: bool = False) -> list[Finding]:
    """Look at the configured database, which a gateway may use meanwhile. Raises as :func:`vfgateway.upkeep.store.opened`.

    :param fix: set right the sums that disagree first; ``Conflict`` while a gateway runs
    """
    with opened(settings) as engine:
        if fix:
            with alone(settings.gateway.data_dir), engine.begin() as connection:
                _correct(connection)
        return list(_findings(engine))


def _findings(engine: Engine) -> Iterator[Finding]:
    with engine.connect().execution_options(vfgateway_read=True) as connection:
        if connection.dialect.name == "sqlite":
            yield from sqlite(connection)
        schema = _schema(connection)
        yield schema
        if schema.ok:
            yield _tables(connection)
            yield _sums(connection)
            yield _shares(connection)


def sqlite(connection: Connection) -> Iterator[Finding]:
    """Whether the file is whole, and every reference leads somewhere."""
    said = list(connection.exec_driver_sql(f"PRAGMA integrity_check({MOST})").scalars())
    whole = said == ["ok"]
    yield Finding("file", whole, "whole" if whole else f"damaged: {'; '.join(said)}; restore a backup")
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(MOST)
    names = ", ".join(sorted({f"{row[0]} without {row[2]}" for row in broken}))
    yield Finding("references", not broken, f"rows that belong to nothing: {names}" if broken else "all lead somewhere")


def _schema(connection: Connection) -> Finding:
    try:
        steps = pending(connection)
    except ConfigurationError as error:
        return Finding("schema", False, error.message)
    if steps:
        return Finding("schema", False, f"{len(steps)} revisions behind: `vfgateway db upgrade`, or start the gateway")
    return Finding("schema", True, newest())


def _tables(connection: Connection) -> Finding:
    missing = sorted(set(metadata.tables) - set(inspect(connection).get_table_names()))
    return Finding(
        "tables", not missing, f"missing: {', '.join(missing)}; restore a backup" if missing else "all there"
    )


def _sums(connection: Connection) -> Finding:
    wrong = _wrong_sums(connection)
    if not wrong:
        return Finding("sums", True, "usage of scopes, volumes and owners is that of their vfolders")
    told = [
        f"{key}: {have.bytes} bytes, {have.files} files instead of {right.bytes}, {right.files}"
        for key, (have, right) in wrong.items()
    ]
    return Finding("sums", False, f"{'; '.join(told[:MOST])}; stop the gateway and run `vfgateway db check --fix`")


def _wrong_sums(connection: Connection) -> Mapping[str, tuple[Usage, Usage]]:
    """Sums that are not those of their vfolders: what is there, and what is right. Figures of nothing are wrong, too, unless they are zero."""
    have = {row.subject: Usage(row.bytes, row.files) for row in connection.execute(select(usage))}
    right: dict[str, Usage] = defaultdict(Usage)
    for row in connection.execute(select(vfolders)):
        figure = have.get(vfolder_subject(row.key), Usage())
        for key in _carriers(row):
            right[key] += figure
        right[vfolder_subject(row.key)] = figure
    subjects = sorted(have.keys() | right.keys())
    pairs = {key: (have.get(key, Usage()), right.get(key, Usage())) for key in subjects}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _carriers(row: Any) -> Iterator[str]:
    yield volume_subject(row.volume)
    if row.scope is not None:
        yield scope_subject(row.volume, row.scope)
    if row.owner is not None:
        yield owner_subject(row.owner, ScopeKind(row.kind))


def _correct(connection: Connection) -> None:
    for key, (_, right) in _wrong_sums(connection).items():
        connection.execute(delete(usage).where(usage.c.subject == key))
        if right != Usage():
            connection.execute(insert(usage).values(subject=key, bytes=right.bytes, files=right.files))
    for vfolder, _ in _wrong_shares(connection):
        connection.execute(update(folder_usage).where(folder_usage.c.vfolder == vfolder).values(stale=0.0))


def _shares(connection: Connection) -> Finding:
    wrong = [name for _, name in _wrong_shares(connection)]
    if not wrong:
        return Finding("shares", True, "usage of vfolders is that of their directories")
    detail = f"directories do not add up in {', '.join(wrong[:MOST])}: `vfgateway vfolder recount` counts one anew"
    return Finding("shares", False, detail)


def _wrong_shares(connection: Connection) -> list[tuple[int, str]]:
    """Vfolders whose directories have other figures than they themselves, unless that is known."""
    sums = select(
        folder_usage.c.vfolder,
        func.sum(folder_usage.c.bytes).label("bytes"),
        func.sum(folder_usage.c.files).label("files"),
        func.max(folder_usage.c.stale).label("stale"),
    ).group_by(folder_usage.c.vfolder)
    rows = {row.vfolder: row for row in connection.execute(sums)}
    have = {row.subject: Usage(row.bytes, row.files) for row in connection.execute(select(usage))}
    wrong = []
    for row in connection.execute(select(vfolders.c.key, vfolders.c.vfid)):
        shares = rows.get(row.key)
        counted = Usage() if shares is None else Usage(int(shares.bytes), int(shares.files))
        is_stale = shares is not None and shares.stale is not None
        if counted != have.get(vfolder_subject(row.key), Usage()) and shares is not None and not is_stale:
            wrong.append((row.key, row.vfid))
    return wrong
