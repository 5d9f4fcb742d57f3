"""Brings a database to the schema of this version: Alembic, driven over a connection of ours, without a file of settings.

A developer makes a new revision with ``alembic revision --autogenerate`` (``docs/decisions/database.md``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from vfgateway.errors import ConfigurationError

# So that the metadata has them.
from vfgateway.services import (  # noqa: F401
    audit_tables,
    description_tables,
    login_tables,
    relocation_tables,
    sharing_tables,
    snapshot_tables,
    usage_tables,
)
from vfgateway.services.schema import metadata

#: Key of the advisory lock that keeps a second process waiting on PostgreSQL (the ASCII of ``vfgatewa``).
_LOCK = 0x7666676174657761

#: Alembic hands the context to its scripts through a global of its own.
_one_at_a_time = threading.Lock()


def upgrade(engine: Engine, scripts: Path = Path(__file__).parent) -> None:
    """Bring the database up to this version's schema, whole or not at all. Blocks; processes that start at once wait for the
    first.

    :param scripts: the folder with Alembic's ``env.py`` and ``versions``
    :raises ConfigurationError: the database was written by a newer version, or belongs to something else
    """
    with _one_at_a_time, _exclusively(engine) as connection:
        config = _config(scripts)
        script = ScriptDirectory.from_config(config)
        present = MigrationContext.configure(connection).get_current_heads()
        _check(connection, present, script)
        if set(present) == set(script.get_heads()):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@attrs.frozen
class Revision:
    """A step from one schema to the next.

    :ivar number: as the database notes it
    :ivar title: what it is for
    """

    number: str
    title: str


def pending(connection: Connection, scripts: Path = Path(__file__).parent) -> Sequence[Revision]:
    """What :func:`upgrade` would do, in order; nothing if the schema is this version's. Changes nothing. Raises as :func:`upgrade`."""
    script = ScriptDirectory.from_config(_config(scripts))
    present = MigrationContext.configure(connection).get_current_heads()
    _check(connection, present, script)
    steps = (
        [] if set(present) == set(script.get_heads()) else list(script.iterate_revisions("heads", present or "base"))
    )
    return [Revision(each.revision, (each.doc or "").rstrip(".")) for each in reversed(steps)]


def revisions(scripts: Path = Path(__file__).parent) -> frozenset[str]:
    """Every schema that this version knows, by number."""
    return frozenset(each.revision for each in ScriptDirectory.from_config(_config(scripts)).walk_revisions())


def newest(scripts: Path = Path(__file__).parent) -> str:
    """The schema of this version."""
    return ", ".join(ScriptDirectory.from_config(_config(scripts)).get_heads())


def _config(scripts: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _check(connection: Connection, present: tuple[str, ...], script: ScriptDirectory) -> None:
    """Refuse what this version cannot carry forward."""
    known = {revision.revision for revision in script.walk_revisions()}
    unknown = [revision for revision in present if revision not in known]
    if unknown:
        raise ConfigurationError(
            "gateway.database",
            f"was written by a newer version of vfgateway (schema {', '.join(unknown)}, this version knows up to "
            f"{', '.join(script.get_heads())}): start that version, or restore a backup made before the upgrade",
        )
    if not present and (strange := set(inspect(connection).get_table_names()) & set(metadata.tables)):
        raise ConfigurationError(
            "gateway.database",
            f"holds tables that are not ours (among them {min(strange)!r}): give vfgateway a database of its own",
        )


@contextmanager
def _exclusively(engine: Engine) -> Iterator[Connection]:
    """One transaction that no second upgrade can overlap."""
    with engine.connect() as connection:
        if connection.dialect.name != "sqlite":
            with connection.begin():
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                yield connection
            return
        # A revision that rebuilds a table drops the old one, and with foreign keys on that would take all rows that
        # refer to it along. The switch has no effect inside a transaction.
        _pragma(connection, "foreign_keys=OFF")
        try:
            with connection.begin():  # BEGIN IMMEDIATE: see Database
                yield connection
                if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise RuntimeError(f"the migration left a row of {broken[0]} without its {broken[2]}")
        finally:
            _pragma(connection, "foreign_keys=ON")


def _pragma(connection: Connection, pragma: str) -> None:
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
