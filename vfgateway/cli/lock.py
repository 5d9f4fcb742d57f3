"""``vfgateway lock``."""

from __future__ import annotations

import click

from vfgateway.cli import asking, output
from vfgateway.cli.client import Client, path
from vfgateway.cli.naming import Names
from vfgateway.cli.output import Column, json_option, when
from vfgateway.cli.parameters import VFOLDER


@click.group()
def lock() -> None:
    """Locks that clients hold on files."""


@lock.command("list")
@click.argument("vfolder", type=VFOLDER, required=False)
@json_option
@click.pass_obj
def list_locks(client: Client, vfolder: str | None, as_json: bool) -> None:
    """List locks: all, or those in a vfolder."""
    found = client.get(path("locks"), vfolder=vfolder)["locks"]
    columns = [
        Column("Vfolder", Names(client).vfolder),
        Column("Path", lambda row: row["path"] or "."),
        Column("Kind", lambda row: "exclusive" if row["exclusive"] else "shared"),
        Column("Below", lambda row: "all" if row["infinite"] else None),
        Column("Owner", "owner"),
        Column("Created", "created", when),
        Column("Expires", "expires", when),
        Column("Token", "token"),
    ]
    output.write_list(found, columns, as_json, "nothing is locked")


@lock.command("break")
@click.argument("token")
@asking.yes_option
@click.pass_obj
def break_lock(client: Client, token: str, yes: bool) -> None:
    """Break a lock. Its holder can publish nothing any more that was begun under it."""
    asking.confirm("Break the lock?", yes)
    client.delete(path("locks", token))
    output.done("lock broken")
