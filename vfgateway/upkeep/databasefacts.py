"""What a database tells of itself to somebody who changes nothing in it, whether a gateway runs or not."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import attrs
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from vfgateway.errors import StorageFailure
from vfgateway.services import migrations
from vfgateway.services.database import driven

_REVISIONS = "SELECT version_num FROM alembic_version"


@attrs.frozen
class DatabaseFacts:
    """What it told.

    :ivar place: its file, or its URL without the password
    :ivar revisions: of its schema; none where it has not been used yet
    :ivar ahead: seconds by which its clock is before ours; 0 for a file, which has none
    """

    place: str
    revisions: Sequence[str]
    ahead: float = 0.0

    @property
    def unknown(self) -> Sequence[str]:
        """Revisions of newer versions, or of another program."""
        known = migrations.revisions()
        return [each for each in self.revisions if each not in known]


def of_file(file: Path, patience: float) -> DatabaseFacts:
    """Of SQLite's, which is there. ``StorageFailure``."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=patience)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            found = connection.execute(_REVISIONS).fetchall() if "alembic_version" in tables else []
    except sqlite3.Error as error:
        raise StorageFailure(str(error)) from error
    return DatabaseFacts(str(file), [row[0] for row in found])


def of_server(url: str, patience: float) -> DatabaseFacts:
    """Of PostgreSQL's. ``StorageFailure``."""
    try:
        found = driven(url)
        engine = create_engine(found, connect_args={"connect_timeout": max(2, round(patience))})
        try:
            with engine.connect() as connection:
                now = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
                ahead = now - time.time()
                used = inspect(connection).has_table("alembic_version")
                revisions = connection.execute(text(_REVISIONS)).scalars().all() if used else []
        finally:
            engine.dispose()
    except (ArgumentError, SQLAlchemyError, ImportError) as error:
        cause = getattr(error, "orig", None) or error
        raise StorageFailure((str(cause).strip().splitlines() or ["no reason given"])[0]) from error
    return DatabaseFacts(found.render_as_string(hide_password=True), revisions, ahead)
