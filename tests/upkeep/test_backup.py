"""What was saved comes back: while the gateway runs, on an empty machine, over what is there; and nothing is touched by what cannot be used."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.cli.command import administered, run
from tests.conformance.harness import make_runtime
from tests.support.databases import lay_database
from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.datadir import alone
from vfgateway.errors import ConfigurationError
from vfgateway.paths import parse_text
from vfgateway.services.processes import wait

CONFIGURATION = "[authenticators.accounts]\n"


def site(folder: Path) -> Path:
    """The configuration of a gateway with its data below ``folder``."""
    folder.mkdir(exist_ok=True)
    file = folder / "vfgateway.toml"
    file.write_text(CONFIGURATION)
    return file


def vfs_volume(folder: Path) -> VfsVolume:
    """One on disk."""
    return VfsVolume("disk", VfsSettings(path=folder / "volume", durability="none"), make_runtime(folder))


def done(config: Path, *arguments: str) -> str:
    """What ``vfgateway db`` prints; it has to succeed."""
    result = run("--config", str(config), "db", *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refused(config: Path, *arguments: str) -> str:
    """What it says; it must not succeed."""
    result = run("--config", str(config), "db", *arguments)
    assert result.exit_code in (1, 2, 3), (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stderr


async def saved(folder: Path, target: Path) -> Path:
    """A backup of a gateway that runs, with Alice and a vfolder of hers."""
    folder.mkdir()
    async with administered(folder) as vfgateway:
        await vfgateway("user", "add", "alice", "--password-stdin", stdin="correct horse")
        await vfgateway("vfolder", "create", "alice/data", "--quota", "10MiB")
        secret = folder / "var/token.secret"
        secret.write_text("thirty-two bytes of something secret")
        secret.chmod(0o600)
        keys = folder / "var/hostkeys"
        keys.mkdir(mode=0o700)
        (keys / "ssh_host_ed25519_key").write_text("a host key")
        await deferToThread(done, vfgateway.config, "backup", str(target))
    return target


async def test_a_backup_of_a_running_gateway_comes_back_on_an_empty_machine(tmp_path: Path) -> None:
    """Accounts, vfolders and limits, and the secrets, so that tokens and host keys stay what they were."""
    backup = await saved(tmp_path / "old", tmp_path / "saved")
    assert backup.stat().st_mode & 0o777 == 0o600
    config = site(tmp_path / "new")
    done(config, "restore", "--yes", str(backup))
    var = tmp_path / "new/var"
    assert (var / "token.secret").read_text() == "thirty-two bytes of something secret"
    assert (var / "hostkeys/ssh_host_ed25519_key").read_text() == "a host key"
    assert not [path for path in [var, *var.rglob("*")] if path.stat().st_mode & 0o077]
    assert not list(var.glob(".restore-*"))
    async with running_gateway(tmp_path / "new") as gateway:
        assert (await gateway.authenticate(UsernamePassword(b"alice", b"correct horse"))).name == "alice"
        assert (await gateway.vfolders.resolve("alice/data")).limits.bytes == 10 << 20


def test_a_backup_is_of_one_moment_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    """A writer that is in the middle of a transaction is neither held up nor half in it."""
    config = site(tmp_path)
    lay_database(tmp_path / "var/vfgateway.db")
    with closing(sqlite3.connect(tmp_path / "var/vfgateway.db", isolation_level=None)) as writer:
        writer.execute("INSERT INTO counters VALUES ('before', 1)")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO counters VALUES ('during', 1)")
        done(config, "backup", str(tmp_path / "saved"))
        writer.execute("COMMIT")
    with tarfile.open(tmp_path / "saved") as archive:
        member = archive.extractfile("vfgateway.db")
        assert member is not None
        (tmp_path / "copy.db").write_bytes(member.read())
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        names = {row[0] for row in copy.execute("SELECT name FROM counters")}
    assert "before" in names
    assert "during" not in names


async def test_what_was_there_is_kept_and_figures_are_counted_anew(tmp_path: Path) -> None:
    """Files that came since the backup are on the volume: the gateway counts them in when it starts."""
    config = site(tmp_path)
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        folder = await new_vfolder(gateway, "disk")
        await deferToThread(done, config, "backup", str(tmp_path / "saved"))
        await (await orchestrator_in(gateway, folder)).make_dir(parse_text("later"))
        assert (await gateway.quota.usage(folder)).files == 1
    told = done(config, "restore", "--yes", str(tmp_path / "saved"))
    kept = next((tmp_path / "var").glob("before-restore-*"))
    assert str(kept) in told
    with closing(sqlite3.connect(kept / "vfgateway.db")) as old:
        assert old.execute("SELECT files FROM usage WHERE subject LIKE 'vfolder:%'").fetchone() == (1,)
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        present = await gateway.vfolders.get(folder.id)
        while (await gateway.quota.usage(present)).files != 1:
            await wait(reactor, 0.02)


def test_work_that_was_under_way_is_not_done_a_second_time(tmp_path: Path) -> None:
    """What a task was to delete may have been made anew since the backup."""
    config = site(tmp_path)
    lay_database(tmp_path / "var/vfgateway.db")
    row = ("t", "delete_files", "{}", "queued", 0, "", 0, 0, 0, 0.0)
    names = "id, name, arguments, state, cancelling, message, done, total, attempt, created"
    with closing(sqlite3.connect(tmp_path / "var/vfgateway.db")) as database, database:
        database.execute(f"INSERT INTO tasks ({names}) VALUES ({', '.join('?' * len(row))})", row)
    done(config, "backup", str(tmp_path / "saved"))
    done(config, "restore", "--yes", str(tmp_path / "saved"))
    with closing(sqlite3.connect(tmp_path / "var/vfgateway.db")) as database:
        assert database.execute("SELECT state FROM tasks").fetchall() == [("cancelled",)]


async def test_nothing_is_restored_under_a_gateway_that_runs(tmp_path: Path) -> None:
    """And no gateway starts while data is put in place."""
    backup = await saved(tmp_path / "old", tmp_path / "saved")
    config = site(tmp_path / "new")
    async with running_gateway(tmp_path / "new") as gateway:
        told = await deferToThread(refused, config, "restore", "--yes", str(backup))
        assert "stop it first" in told
        await gateway.accounts.create_user("bob")
    with alone(tmp_path / "new/var"), pytest.raises(ConfigurationError, match="vfgateway db"):
        async with running_gateway(tmp_path / "new"):
            raise AssertionError("it started")
    async with running_gateway(tmp_path / "new") as gateway:
        assert (await gateway.accounts.user("bob")).name == "bob"
    assert not list((tmp_path / "new/var").glob("before-restore-*"))


def _newer(backup: Path, config: Path) -> None:
    database = config.parent / "var/vfgateway.db"
    with closing(sqlite3.connect(database)) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    backup.unlink()
    done(config, "backup", str(backup))
    with closing(sqlite3.connect(database)) as older, older:
        older.execute("UPDATE alembic_version SET version_num = '0001'")


def _cut(backup: Path, config: Path) -> None:
    backup.write_bytes(backup.read_bytes()[:-200])


def _something_else(backup: Path, config: Path) -> None:
    backup.write_bytes(b"something else" * 1000)


def _changed(backup: Path, config: Path) -> None:
    with tarfile.open(backup) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    with tarfile.open(backup, "w:gz") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content.replace(b"counters", b"COUNTERS")))


def _leads_elsewhere(backup: Path, config: Path) -> None:
    with tarfile.open(backup) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    with tarfile.open(backup, "w:gz") as archive:
        for member, content in members:
            content = (
                content.replace(b'"vfgateway.db"', b'"../../evil.db"') if member.name == "manifest.json" else content
            )
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_newer, "newer version"),
        (_cut, "damaged"),
        (_something_else, "not a backup"),
        (_changed, "damaged"),
        (_leads_elsewhere, "not a backup"),
    ],
)
def test_a_backup_that_cannot_be_used_changes_nothing(
    tmp_path: Path, spoil: Callable[[Path, Path], None], told: str
) -> None:
    """Newer than this version, cut, changed, or no backup at all."""
    config = site(tmp_path)
    lay_database(tmp_path / "var/vfgateway.db")
    done(config, "backup", str(tmp_path / "saved"))
    spoil(tmp_path / "saved", config)
    before = (tmp_path / "var/vfgateway.db").read_bytes()
    assert told in refused(config, "restore", "--yes", str(tmp_path / "saved"))
    assert (tmp_path / "var/vfgateway.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["saved", "var", "vfgateway.db", "vfgateway.toml"]


def test_a_backup_replaces_no_file(tmp_path: Path) -> None:
    """Yesterday's stays."""
    config = site(tmp_path)
    lay_database(tmp_path / "var/vfgateway.db")
    (tmp_path / "saved").write_text("yesterday's")
    assert "already" in refused(config, "backup", str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_text() == "yesterday's"


def test_postgresql_is_saved_by_its_own_tools(tmp_path: Path) -> None:
    """Said plainly, without the password."""
    config = site(tmp_path)
    config.write_text('[gateway]\ndatabase = "postgresql://me:secret@db.example/gateway"\n')
    for verb in ("backup", "restore"):
        told = refused(config, verb, *(["--yes"] if verb == "restore" else []), str(tmp_path / "saved"))
        assert "pg_dump" in told
        assert "secret@" not in told


def test_sockets_of_systemd_are_none_of_its_business(tmp_path: Path) -> None:
    """Whoever saves the data does not run within the unit."""
    config = site(tmp_path)
    config.write_text('[frontends.client]\nendpoint = "systemd:domain=INET:name=client"\n')
    lay_database(tmp_path / "var/vfgateway.db")
    done(config, "backup", str(tmp_path / "saved"))
