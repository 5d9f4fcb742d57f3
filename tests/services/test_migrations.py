"""The database reaches this version's schema from whatever it was, or is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from setuptools import find_namespace_packages
from sqlalchemy import Connection, text
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.support.databases import open_database
from vfgateway.blocking import InlinePool
from vfgateway.errors import ConfigurationError
from vfgateway.services import migrations
from vfgateway.services.accounts import Accounts
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

LATER = """
import sqlalchemy as sa
from alembic import op
revision = "9000"
down_revision = "{head}"
def upgrade():
    with op.batch_alter_table("users", recreate="always") as batch:
        batch.add_column(sa.Column("phone", sa.String(20)))
"""


def later(failing: str = "") -> str:
    """A revision after the newest one."""
    folder = ScriptDirectory(str(Path(migrations.__file__).parent))
    return LATER.format(head=folder.get_current_head()) + failing


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


async def test_rebuilding_a_table_keeps_what_refers_to_it(tmp_path: Path) -> None:
    """A later revision that changes a table, which SQLite does by dropping the old one, takes no other rows along."""
    scripts = tmp_path / "100% migrations"
    shutil.copytree(Path(migrations.__file__).parent, scripts)
    (scripts / "versions" / "v9000_later.py").write_text(later())
    async with open_database(tmp_path / "x.db") as database:
        accounts = Accounts(database, Clock(), InlinePool(reactor))
        user, group = await accounts.create_user("alice"), await accounts.create_group("team")
        await accounts.set_member(group.id, user.id)
        await accounts.add_key(user.id, "api_key")
    upgraded = Database(f"sqlite:///{tmp_path / 'x.db'}", reactor)
    await upgraded.start(partial(migrations.upgrade, scripts=scripts))
    for table in ("users", "members", "credentials"):
        count = text(f"SELECT count(*) FROM {table}")
        assert await upgraded.read(lambda connection, count=count: connection.execute(count).scalar()) == 1, table  # type: ignore[misc]
    await upgraded.stop()


async def test_failed_upgrade_changes_nothing(tmp_path: Path) -> None:
    """A revision that fails half-way leaves the database as the version before can use it."""
    scripts = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, scripts)
    (scripts / "versions" / "v9000_later.py").write_text(later("    raise RuntimeError('the disk is on fire')\n"))
    async with open_database(tmp_path / "x.db") as database:
        await Accounts(database, Clock(), InlinePool(reactor)).create_user("alice")
    upgraded = Database(f"sqlite:///{tmp_path / 'x.db'}", reactor)
    with pytest.raises(RuntimeError, match="on fire"):
        await upgraded.start(partial(migrations.upgrade, scripts=scripts))
    await upgraded.stop()
    async with open_database(tmp_path / "x.db") as database:
        assert (await Accounts(database, Clock(), InlinePool(reactor)).user("alice")).name == "alice"


def test_processes_may_start_at_once(tmp_path: Path) -> None:
    """Of several processes that meet an empty database, one makes the tables and all start."""
    command = [sys.executable, "-c", START, f"sqlite:///{tmp_path / 'x.db'}"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=60)[0].strip() for process in started] == ["ready"] * 4


def test_revisions_are_packaged() -> None:
    """An installed wheel can upgrade: the folder of revisions counts as a package."""
    assert "vfgateway.services.migrations.versions" in find_namespace_packages(include=["vfgateway.*"])
