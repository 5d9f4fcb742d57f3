"""``vfgateway lockout``."""

from __future__ import annotations

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, json_option, when
from vfgateway.cli.parameters import USER, given

_SHOWN = {"login": "name from address", "name": "name", "address": "address"}
LIST = [
    Column("What", "kind", lambda kind: _SHOWN.get(kind, kind)),
    Column("Name", "name"),
    Column("Address", "address"),
    Column("Failures", "failures", right=True),
    Column("Last", "last", when),
    Column("Until", "until", when),
]


@click.group()
def lockout() -> None:
    """Who has to wait after wrong logins."""


@lockout.command("list")
@json_option
@click.pass_obj
def list_lockouts(client: Client, as_json: bool) -> None:
    """List who has to wait now."""
    output.write_list(client.get(path("lockouts"))["lockouts"], LIST, as_json, "nobody has to wait")


@lockout.command("lift")
@click.option("--user", type=USER, help="Of logins under this name.")
@click.option("--address", help="Of logins from this address.")
@click.option("--all", "everybody", is_flag=True, help="Of all.")
@click.pass_obj
def lift(client: Client, user: str | None, address: str | None, everybody: bool) -> None:
    """Judge logins again, and forget the wrong ones. --user and --address together: of that name from there."""
    if everybody == bool(user or address):
        raise click.UsageError("either --all, or --user and --address or one of them")
    lifted = client.post(path("lockouts", "lift"), given(name=user, address=address))["lifted"]
    output.done(f"{lifted} lifted" if lifted else "there was nothing to lift")
