"""``vfgateway authenticator``."""

from __future__ import annotations

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, flag, json_option

LIST = [
    Column("Name", "name"),
    Column("Accounts follow it", "source", flag),
    Column("State", "state"),
    Column("Note", "info"),
]


@click.group()
def authenticator() -> None:
    """Who is asked who somebody is."""


@authenticator.command("list")
@json_option
@click.pass_obj
def list_authenticators(client: Client, as_json: bool) -> None:
    """List them in the order in which they are asked, and how they are."""
    found = client.get(path("authenticators"))["authenticators"]
    output.write_list(found, LIST, as_json, "nobody can log in: add [authenticators.accounts] to the configuration")


@authenticator.command("forget")
@click.argument("name")
@click.argument("people", metavar="[USER]...", nargs=-1)
@click.pass_obj
def forget(client: Client, name: str, people: tuple[str, ...]) -> None:
    """Ask NAME anew about these users, or about everybody, at their next request."""
    body = {"people": list(people)} if people else {}
    count = client.post(path("authenticators", name, "invalidate"), body)["accounts"]
    output.done(f"{name} will be asked anew about {count} account{'' if count == 1 else 's'}")
