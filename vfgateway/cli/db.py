"""``vfgateway db``: the gateway's own data. Works on the files of this machine, by the configuration, whether a gateway runs or not; but for
``rebuild``, which needs the volumes, and so a gateway that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from vfgateway.cli import output
from vfgateway.cli.asking import confirm, yes_option
from vfgateway.cli.client import Client, path
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.cli.findings import tell
from vfgateway.cli.output import Column, flag, json_option, size
from vfgateway.errors import GatewayError, NotFound

if TYPE_CHECKING:  # what is imported in the functions below takes longer than most commands
    from vfgateway.config import Settings

_FILE = click.Path(dir_okay=False, path_type=Path)
ORPHANS = [
    Column("Volume", "volume"),
    Column("Vfolder", "vfid"),
    Column("Owner", "owner"),
    Column("Name", "name"),
    Column("Entered", "entered", flag),
    Column("Problem", "problem"),
]
IMPORTED = [Column("What", "what"), Column("Outcome", "outcome"), Column("Detail", "detail")]
REVISIONS = [Column("Revision", "number"), Column("What for", "title")]


@click.group()
def db() -> None:
    """The gateway's own data: backup, restore, upgrade, check, on this machine's files; and the registry, made again by the gateway."""


@contextmanager
def _data(client: Client) -> Iterator[Settings]:
    """The configuration; errors of the work as the command tells them."""
    from vfgateway.upkeep import store

    if client.choice.url is not None:
        raise click.UsageError("`vfgateway db` works on the gateway's machine: --url is not for it")
    try:
        yield store.settings(client.choice.config)
    except GatewayError as error:
        code = Exit.NOT_FOUND if isinstance(error, NotFound) else Exit.FAILURE
        raise CommandFailed(str(error), code) from None


@db.command("backup")
@click.argument("file", type=_FILE)
@click.pass_obj
def backup(client: Client, file: Path) -> None:
    """Save the database, with secrets and host keys, to a new FILE; the gateway may go on. Keep it as safe as a password."""
    from vfgateway.upkeep import backup

    with _data(client) as settings:
        manifest = backup.save(settings, file.absolute())
    output.done(f"{file}: {len(manifest.files)} files, {size(file.stat().st_size)}, schema {manifest.schema}")


@db.command("restore")
@click.argument("file", type=_FILE)
@yes_option
@click.pass_obj
def restore(client: Client, file: Path, yes: bool) -> None:
    """Put a backup in the place of the database, the secrets and the host keys. The gateway must not run."""
    from vfgateway.upkeep import restore

    with _data(client) as settings:
        confirm(f"Replace the data in {settings.gateway.data_dir} by {file}?", yes)
        done = restore.restore(settings, file.absolute())
    if done.kept is not None:
        output.say(f"what was there is in {done.kept}")
    output.done(
        f"restored the state of {done.manifest.created}; the gateway counts its {done.vfolders} vfolders anew when it starts"
    )


@db.command("upgrade")
@click.option("--dry-run", is_flag=True, help="Only tell the steps.")
@json_option
@click.pass_obj
def upgrade(client: Client, dry_run: bool, as_json: bool) -> None:
    """Bring the database to this version's schema, all or nothing, as every start does. There is no way back but a backup."""
    from vfgateway.upkeep import upgrading

    with _data(client) as settings:
        steps = (upgrading.pending if dry_run else upgrading.upgrade)(settings)
    output.write_list([attrs.asdict(step) for step in steps], REVISIONS, as_json, "the schema is this version's")


@db.command("check")
@click.option("--fix", is_flag=True, help="Set right the sums that disagree; the gateway must not run.")
@json_option
@click.pass_obj
def check(client: Client, fix: bool, as_json: bool) -> None:
    """Look whether the database is whole, of this version's schema, and agrees with itself. Ends with 1 if anything is wrong."""
    from vfgateway.upkeep import checking

    with _data(client) as settings:
        findings = checking.check(settings, fix)
    tell(findings, as_json)


@db.command("rebuild")
@click.option("--dry-run", is_flag=True, help="Only tell what would be registered.")
@click.option("--accounts", is_flag=True, help="Make the accounts that are named and not there, without passwords.")
@yes_option
@json_option
@click.pass_obj
def rebuild(client: Client, dry_run: bool, accounts: bool, yes: bool, as_json: bool) -> None:
    """Register the vfolders that lie on the volumes and are not known, as each is described there. The gateway has to run."""
    if dry_run:
        found = client.call("GET", path("registry", "orphans"), timeout=None)["folders"]
    else:
        confirm("Register every vfolder that lies on the volumes?", yes)
        found = client.call("POST", path("registry", "rebuild"), timeout=None, json={"accounts": accounts})["folders"]
    output.write_list(found, ORPHANS, as_json, "every vfolder on the volumes is registered")
    if failed := [one for one in found if not one["entered"]]:
        output.say(f"{len(failed)} are not registered")
        if not dry_run:
            raise click.exceptions.Exit(Exit.FAILURE)


@db.command("export")
@click.argument("file", type=_FILE)
@click.option("--password-hashes", is_flag=True, help="Write the hashes of passwords, too: guard the file.")
@click.pass_obj
def export(client: Client, file: Path, password_hashes: bool) -> None:
    """Write accounts, groups, public keys and grants as JSON to a new FILE. API keys and second factors are left out."""
    from vfgateway.upkeep import exporting

    with _data(client) as settings:
        found = exporting.export(settings, password_hashes)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.write(found.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise CommandFailed(f"cannot write {file}: {error.strerror}") from None
    output.done(f"{file}: {len(found.users)} users, {len(found.groups)} groups, {len(found.grants)} grants")


@db.command("import")
@click.argument("file", type=_FILE)
@click.option("--from", "form", type=click.Choice(["vfgateway", "sftpgo", "htpasswd", "authorized-keys"]))
@click.option("--user", help="With --from authorized-keys: whose they are.")
@click.option("--dry-run", is_flag=True, help="Only tell what would become of it.")
@json_option
@click.pass_obj
def import_file(client: Client, file: Path, form: str | None, user: str | None, dry_run: bool, as_json: bool) -> None:
    """Take in accounts from a FILE that db export wrote, or another program. What is there already stays as it is."""
    from vfgateway.upkeep import accounts_file, foreign, importing

    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}", Exit.NOT_FOUND) from None
    with _data(client) as settings:
        reader = foreign.READERS.get(form or "")
        read = reader(data, user) if reader is not None else foreign.Read(accounts_file.parse(data), [])
        lines = importing.take_in(settings, read.file, dry_run)
    output.write_list([attrs.asdict(line) for line in lines], IMPORTED, as_json, "there is nothing in it")
    for note in read.notes:
        output.say(note)
    added = sum(line.outcome == "added" for line in lines)
    output.say(f"{added} of {len(lines)} {'would be ' if dry_run else ''}added")
