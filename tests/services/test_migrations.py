"""The database reaches this version's schema from whatever it was, or is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from setuptools import find_namespace_packages
from sqlalchemy import Connection, text

from tests.support.databases import open_database
from vfgateway.errors import ConfigurationError
from vfgateway.services.database import Database
from vfgateway.services.schema import metadata

START = """
import sys
from sqlalchemy import event
from vfgateway.services.database import Database
from vfgateway.services.migrations import upgrade
from twisted.internet import reactor
from twisted.internet.defer import Deferred
database = Database(sys.argv[1], reactor)
async def main():
    try:
        await database.start(upgrade)
        await database.stop()
        print("ready")
    finally:
        reactor.stop()
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addErrback(lambda failure: print(failure)))
reactor.run()
"""


async def test_empty_database_becomes_the_schema(database: Database) -> None:
    """What the migrations make of nothing is exactly what the services expect."""

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    assert await database.read(differences) == []


async def test_upgrading_twice_keeps_what_is_there(tmp_path: Path) -> None:
    """A restart finds the data of the last run."""
    async with open_database(tmp_path / "x.db") as database:
        await database.write(
            lambda connection: connection.execute(text("INSERT INTO counters VALUES ('n', 7)")).rowcount
        )
    async with open_database(tmp_path / "x.db") as database:
        query = text("SELECT value FROM counters WHERE name = 'n'")
        assert await database.read(lambda connection: connection.execute(query).scalar()) == 7


async def test_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    """An old version says plainly that it cannot use a newer version's database, and does not touch it."""
    async with open_database(tmp_path / "x.db") as database:
        await database.write(
            lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")).rowcount
        )
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(ConfigurationError, match=r"gateway\.database: was written by a newer version.*9999"):
        async with open_database(tmp_path / "x.db"):
            pass
    assert (tmp_path / "x.db").read_bytes() == before


async def test_somebody_elses_tables_are_refused(tmp_path: Path) -> None:
    """A database of another program is not taken over."""
    async with open_database(tmp_path / "x.db") as database:
        await database.write(lambda connection: connection.execute(text("DROP TABLE alembic_version")).rowcount)
    with pytest.raises(ConfigurationError, match="give vfgateway a database of its own"):
        async with open_database(tmp_path / "x.db"):
            pass


async def test_foreign_keys_are_enforced_after_the_upgrade(database: Database) -> None:
    """The upgrade switches them off for itself only."""
    for _ in range(8):  # whichever connection of the pool answers
        pragma = await database.read(lambda connection: connection.execute(text("PRAGMA foreign_keys")).scalar())
        assert pragma == 1
    assert await database.write(lambda connection: connection.execute(text("PRAGMA foreign_keys")).scalar()) == 1


def test_processes_may_start_at_once(tmp_path: Path) -> None:
    """Of several processes that meet an empty database, one makes the tables and all start."""
    command = [sys.executable, "-c", START, f"sqlite:///{tmp_path / 'x.db'}"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=60)[0].strip() for process in started] == ["ready"] * 4


def test_revisions_are_packaged() -> None:
    """An installed wheel can upgrade: the folder of revisions counts as a package."""
    assert "vfgateway.services.migrations.versions" in find_namespace_packages(include=["vfgateway.*"])
