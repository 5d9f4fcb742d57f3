"""``vfgateway trash``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import asking, output, watching
from vfgateway.cli.client import Client, path
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.cli.output import Column, json_option, size, when
from vfgateway.cli.parameters import full_name

LIST = [
    Column("Vfolder", full_name),
    Column("Volume", "volume"),
    Column("Used", "used_bytes", size, right=True),
    Column("Deleted", "deleted", when),
    Column("By", "deleted_by"),
    Column("Gone for good", "purge_at", when),
    Column("Id", "folder"),
]


@click.group()
def trash() -> None:
    """Deleted vfolders, which can be restored for a while."""


@trash.command("list")
@json_option
@click.pass_obj
def list_trash(client: Client, as_json: bool) -> None:
    """List the vfolders in the trash, what was deleted last first."""
    output.write_list(_all(client), LIST, as_json, "the trash is empty")


@trash.command("restore")
@click.argument("name", metavar="VFOLDER")
@click.option("--name", "new_name", help="Under another name.")
@json_option
@click.pass_obj
def restore(client: Client, name: str, new_name: str | None, as_json: bool) -> None:
    """Take a vfolder out of the trash, with everything in it and with its grants."""
    body = {} if new_name is None else {"name": new_name}
    restored = client.post(path("trash", _find(client, name)["folder"], "restore"), body)
    output.done(f"vfolder {full_name(restored)} restored", restored, as_json)


@trash.command("purge")
@click.argument("name", metavar="VFOLDER")
@asking.yes_option
@watching.wait_option
@click.pass_obj
def purge(client: Client, name: str, yes: bool, wait: bool) -> None:
    """Remove a vfolder in the trash for good. Nothing brings it back."""
    found = _find(client, name)
    asking.confirm(f"Remove {output.printable(full_name(found))} for ever?", yes)
    task = client.delete(path("trash", found["folder"]))["task"]
    if not wait:
        output.done(f"vfolder {full_name(found)} is being removed: vfgateway task watch {task}")
        return
    watching.follow(client, task)
    output.done(f"vfolder {full_name(found)} removed")


def _all(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(path("trash"))["vfolders"]
    return found


def _find(client: Client, name: str) -> dict[str, Any]:
    """By what it was called (``OWNER/NAME``, or ``NAME``) or by its digits; of several, the one deleted last."""
    for one in _all(client):
        if name in (full_name(one), one["name"], one["folder"], one["id"]):
            return one
    raise CommandFailed(f"there is no {name} in the trash", Exit.NOT_FOUND)
