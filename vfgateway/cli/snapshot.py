"""``vfgateway snapshot``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import asking, output, watching
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, json_option, when
from vfgateway.cli.parameters import VFOLDER, full_name

LIST = [
    Column("Label", "label"),
    Column("Taken", "created", when),
    Column("Why", "reason"),
    Column("By", "made_by"),
]
#: Periods of which so many snapshots are kept.
PERIODS = ("hourly", "daily", "weekly", "monthly")
SCHEDULE = [*(Column(period.capitalize(), period) for period in PERIODS), Column("Next", "due", when)]


@click.group()
def snapshot() -> None:
    """What vfolders held at earlier times, where the storage keeps that."""


@snapshot.command("create")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.argument("label", required=False)
@json_option
@click.pass_obj
def create(client: Client, name: str, label: str | None, as_json: bool) -> None:
    """Take a snapshot, called LABEL or by the time."""
    found = client.resolve(name)
    made = client.post(path("vfolders", found["folder"], "snapshots"), {} if label is None else {"label": label})
    output.done(f"snapshot {made['label']} of {full_name(found)} taken", made, as_json)


@snapshot.command("list")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@json_option
@click.pass_obj
def list_snapshots(client: Client, name: str, as_json: bool) -> None:
    """List the snapshots of a vfolder, the oldest first."""
    found = client.get(path("vfolders", client.resolve(name)["folder"], "snapshots"))["snapshots"]
    output.write_list(found, LIST, as_json, "there are no snapshots: vfgateway snapshot create")


@snapshot.command("delete")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.argument("label")
@asking.yes_option
@click.pass_obj
def delete(client: Client, name: str, label: str, yes: bool) -> None:
    """Remove a snapshot. Nothing brings it back."""
    found = client.resolve(name)
    asking.confirm(f"Remove snapshot {output.printable(label)} of {output.printable(full_name(found))}?", yes)
    client.delete(path("vfolders", found["folder"], "snapshots", label))
    output.done(f"snapshot {label} of {full_name(found)} removed")


@snapshot.command("restore")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.argument("label")
@click.argument("place", metavar="[PATH]", required=False)
@click.option("--to", "target", help="Put it there instead of where it was.")
@click.option("--replace", is_flag=True, help="Over what is there; a directory becomes all of what it was.")
@click.option("--all", "whole", is_flag=True, help="The whole vfolder, instead of a PATH.")
@asking.yes_option
@watching.wait_option
@json_option
@click.pass_obj
def restore(
    client: Client,
    name: str,
    label: str,
    place: str | None,
    target: str | None,
    replace: bool,
    whole: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Put the file or directory at PATH back as it was; or with --all the whole vfolder, of which a snapshot is taken before."""
    if (place is None) != whole:
        raise click.UsageError("say either a PATH or --all")
    if whole and (target is not None or replace):
        raise click.UsageError("--to and --replace go with a PATH")
    found = client.resolve(name)
    where = path("vfolders", found["folder"], "snapshots", label, "restore")
    if not whole:
        body: dict[str, Any] = {"path": place, "replace": replace} | ({} if target is None else {"target": target})
        put = client.post(where, body)
        output.done(f"{place} of snapshot {label} is {put['name']} now", put, as_json)
        return
    asking.confirm(f"Put back all that {output.printable(full_name(found))} held then?", yes)
    task = client.post(where, {})
    if wait:
        output.done(f"{full_name(found)} is what it was", watching.follow(client, task["task"]), as_json)
    else:
        output.done(f"{full_name(found)} is put back: vfgateway task watch {task['task']}", task, as_json)


@snapshot.command("schedule")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.option("--hourly", type=click.IntRange(0, 1000), help="How many to keep of the latest hours.")
@click.option("--daily", type=click.IntRange(0, 1000), help="Of the latest days.")
@click.option("--weekly", type=click.IntRange(0, 1000), help="Of the latest weeks.")
@click.option("--monthly", type=click.IntRange(0, 1000), help="Of the latest months.")
@click.option("--none", "ends", is_flag=True, help="Take no more by themselves; those that were taken stay.")
@json_option
@click.pass_obj
def schedule(client: Client, /, name: str, ends: bool, as_json: bool, **counts: int | None) -> None:
    """Show or set when snapshots are taken by themselves, and how many are kept of each period."""
    where = path("vfolders", client.resolve(name)["folder"], "snapshot-schedule")
    given = {period: count for period, count in counts.items() if count}
    if ends and given:
        raise click.UsageError("either --none or periods")
    if ends:
        client.delete(where)
    elif given:
        client.put(where, given)
    output.write_one(client.get(where), SCHEDULE, as_json)
