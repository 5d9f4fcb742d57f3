"""Run by Alembic: over the connection that :func:`vfgateway.services.migrations.upgrade` passed, or, for a developer who makes
a new revision, over an empty database in memory that all earlier revisions were applied to."""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from vfgateway.services.schema import metadata


def _run(connection: Connection) -> None:
    # SQLite cannot alter a table in place: revisions rebuild it ("batch").
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


def _apply_all(connection: Connection) -> None:
    def steps(revision: Any, _: Any) -> Any:
        return context.script._upgrade_revs("head", revision)

    migration = MigrationContext.configure(connection, opts={"fn": steps})
    with Operations.context(migration):
        migration.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    _run(connection)
else:
    with create_engine("sqlite://").begin() as scratch:
        _apply_all(scratch)
        _run(scratch)
