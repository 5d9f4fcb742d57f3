"""The database's check finds what is wrong, mends what can be mended, and the upgrade tells its steps before it takes them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from click.testing import CliRunner
from sqlalchemy import create_engine

from tests.support.databases import lay_database
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from tests.upkeep.test_backup import done, refused, site
from vfgateway.cli.main import cli
from vfgateway.paths import parse_text
from vfgateway.services import migrations


def looked(config: Path, *options: str) -> Mapping[str, tuple[bool, str]]:
    """What the check says, by subject."""
    result = CliRunner().invoke(cli, ["--config", str(config), "db", "check", "--json", *options])
    findings = json.loads(result.stdout)
    assert result.exit_code == any(not one["ok"] for one in findings)
    return {one["what"]: (one["ok"], one["detail"]) for one in findings}


def wrong(config: Path, *options: str) -> set[str]:
    """The subjects that need attention."""
    return {what for what, (ok, _) in looked(config, *options).items() if not ok}


def change(config: Path, statement: str) -> None:
    """Change the database behind everybody's back."""
    with closing(sqlite3.connect(config.parent / "var/vfgateway.db")) as database, database:
        database.execute(statement)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A gateway's configuration, with an empty database."""
    lay_database(tmp_path / "var/vfgateway.db")
    return site(tmp_path)


async def test_a_database_in_use_is_found_right(tmp_path: Path) -> None:
    """Also while a gateway runs, after it was worked with."""
    config = site(tmp_path)
    async with running_gateway(tmp_path) as gateway:
        folder = await orchestrator_in(gateway, await new_vfolder(gateway, limit_bytes=1 << 20))
        await folder.make_dir(parse_text("a"))
        await gateway.quota.flush()
        assert wrong(config) == set()
    assert wrong(config) == set()


async def test_sums_that_disagree_are_found_and_set_right(tmp_path: Path) -> None:
    """Of owners, scopes and volumes; what belongs to nothing goes. Not under a gateway that runs."""
    config = site(tmp_path)
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway)
        await (await orchestrator_in(gateway, vfolder)).make_dir(parse_text("a"))
    change(config, "UPDATE usage SET bytes = bytes + 5 WHERE subject LIKE 'user:%'")
    change(config, "INSERT INTO usage VALUES ('vfolder:999', 7, 1)")
    assert wrong(config) == {"sums"}
    assert f"user:{vfolder.owner}" in looked(config)["sums"][1]
    assert wrong(config, "--fix") == set()
    assert wrong(config) == set()
    async with running_gateway(tmp_path) as gateway:
        assert (await gateway.quota.usage(vfolder)).files == 1
        assert (await gateway.quota.owner_usage(vfolder)).bytes == 0


def test_rows_that_belong_to_nothing_are_found(config: Path) -> None:
    """What another program did with foreign keys off."""
    change(config, "INSERT INTO members VALUES ('g', 'u', 0)")
    assert "members without" in looked(config)["references"][1]


def test_a_damaged_file_is_found(config: Path) -> None:
    """A page of zeros in the middle: a disk did that."""
    file = config.parent / "var/vfgateway.db"
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    content[5 * size : 6 * size] = bytes(size)
    file.write_bytes(content)
    result = CliRunner().invoke(cli, ["--config", str(config), "db", "check"])
    assert result.exit_code == 1
    assert "damaged" in result.output or "malformed" in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_newer_schema_is_told_and_refused(config: Path) -> None:
    """By check and upgrade alike."""
    change(config, "UPDATE alembic_version SET version_num = '9999'")
    assert "newer version" in looked(config)["schema"][1]
    assert "newer version" in refused(config, "upgrade")


def _old(config: Path) -> None:
    """The database as the first version made it."""
    file = config.parent / "var/vfgateway.db"
    file.unlink()
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        settings = migrations._config(Path(migrations.__file__).parent)
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
    engine.dispose()


def test_the_steps_of_an_upgrade_are_told_before_they_are_taken(config: Path) -> None:
    """In their order, with what they are for; and nothing is changed by asking."""
    _old(config)
    before = (config.parent / "var/vfgateway.db").read_bytes()
    told = json.loads(done(config, "upgrade", "--dry-run", "--json"))
    assert (config.parent / "var/vfgateway.db").read_bytes()[100:] == before[100:]
    assert len(told) > 5
    assert told[0]["number"] == "0002"
    assert all(step["title"] for step in told)
    assert wrong(config) == {"schema"}
    assert json.loads(done(config, "upgrade", "--json")) == told
    assert wrong(config) == set()
    assert json.loads(done(config, "upgrade", "--json")) == []


def test_a_backup_of_an_earlier_version_is_brought_up(config: Path, tmp_path: Path) -> None:
    """So that the restore, not the next start, is what fails if it cannot be."""
    _old(config)
    done(config, "backup", str(tmp_path / "saved"))
    shutil.rmtree(tmp_path / "var")
    done(config, "restore", "--yes", str(tmp_path / "saved"))
    assert wrong(config) == set()


@pytest.mark.parametrize("verb", ["check", "upgrade"])
def test_where_there_is_no_database_that_is_said(tmp_path: Path, verb: str) -> None:
    """And none is made."""
    assert "no database" in refused(site(tmp_path), verb)
    assert not (tmp_path / "var").exists()
