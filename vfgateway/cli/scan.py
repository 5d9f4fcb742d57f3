"""``vfgateway scan``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import asking, output, watching
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, flag, json_option, size, when
from vfgateway.cli.parameters import VFOLDER, VOLUME, given

LIST = [
    Column("Id", "id"),
    Column("Volume", lambda row: row["volume"] or "all"),
    Column("Vfolder", lambda row: row["vfid"] or "all"),
    Column("Repairs", "fix", flag),
    Column("Vfolders", "checked_vfolders", right=True),
    Column("Entries", "checked_files", right=True),
    Column("Bytes", "checked_bytes", size, right=True),
    Column("Found", "found", right=True),
    Column("Begun", "created", when),
    Column("Finished", "finished", when),
]
FINDINGS = [
    Column("What", "kind"),
    Column("Volume", "volume"),
    Column("Vfolder", lambda row: row["vfid"] or output.NONE),
    Column("Detail", "detail"),
    Column("Fixed", "fixed", flag),
]


@click.group()
def scan() -> None:
    """What the storage holds, beside what is on record."""


@scan.command("run")
@click.argument("vfolder", type=VFOLDER, required=False)
@click.option("--volume", type=VOLUME, help="All of one volume, instead of everything.")
@click.option("--fix", is_flag=True, help="Show what is wrong, then put right what can be.")
@asking.yes_option
@watching.wait_option
@json_option
@click.pass_obj
def run(
    client: Client, vfolder: str | None, volume: str | None, fix: bool, yes: bool, wait: bool, as_json: bool
) -> None:
    """Count a vfolder, a volume or everything, and report what is not as it should be.

    With --fix it is reported first, and put right once that was confirmed: figures are corrected, folders that nobody registered are
    adopted, stages that belong to no upload are removed. A vfolder whose folder is missing is only reported.
    """
    if vfolder and volume:
        raise click.UsageError("either a vfolder or --volume")
    body = given(vfolder=vfolder, volume=volume)
    if not wait:
        asking.confirm("Put right whatever is found, without showing it first?", yes or not fix)
        task = client.post(path("scans"), {**body, "fix": fix})["task"]
        output.done(f"the scan has begun: vfgateway task watch {task}", {"task": task}, as_json)
        return
    report = _to_the_end(client, body, fix=False)
    if fix and report["findings"]:
        if not as_json:
            _write(report)
        asking.confirm(f"Put right what can be of {report['found']} findings?", yes)
        report = _to_the_end(client, body, fix=True)
    output.write_json(report) if as_json else _write(report)


def _to_the_end(client: Client, body: dict[str, Any], fix: bool) -> Any:
    task = client.post(path("scans"), {**body, "fix": fix})["task"]
    watching.follow(client, task)
    return client.get(path("scans", task))


def _write(report: Any) -> None:
    output.write_list(report["findings"], FINDINGS, False, "everything is as it should be")
    output.say(
        f"{report['checked_vfolders']} vfolders, {report['checked_files']} entries, "
        f"{size(report['checked_bytes'])}; {report['found']} findings"
    )


@scan.command("list")
@json_option
@click.pass_obj
def list_scans(client: Client, as_json: bool) -> None:
    """List scans, the newest first."""
    output.write_list(client.get(path("scans"))["scans"], LIST, as_json, "nothing was scanned yet: vfgateway scan run")


@scan.command("show")
@click.argument("scan_id", metavar="ID")
@json_option
@click.pass_obj
def show(client: Client, scan_id: str, as_json: bool) -> None:
    """Show what a scan found."""
    report = client.get(path("scans", scan_id))
    output.write_json(report) if as_json else _write(report)
