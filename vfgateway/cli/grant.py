"""``vfgateway grant``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.cli.output import Column, json_option, when
from vfgateway.cli.parameters import GROUP, PERMISSION, USER, VFOLDER, WHEN, full_name, given

LIST = [
    Column("To", lambda row: f"{row['kind']} {row['subject'] or row['subject_id']}"),
    Column("Permission", "permission"),
    Column("Created", "created", when),
    Column("Expires", "expires", when),
    Column("Id", "id"),
]
WAITING = [
    Column("To", lambda row: row["user"] or row["user_id"]),
    Column("Offered", "role"),
    Column("Message", "message"),
    Column("Made", "created", when),
    Column("Waits until", "expires", when),
    Column("Id", "id"),
]
_user = click.option("--user", type=USER, help="To a user, by name or UUID.")
_group = click.option("--group", type=GROUP, help="To a group, by name or UUID.")


@click.group()
def grant() -> None:
    """To whom vfolders are opened."""


def _subject(user: str | None, group: str | None) -> tuple[str, str]:
    if (user is None) == (group is None):
        raise click.UsageError("say either --user or --group")
    return ("user", user) if user is not None else ("group", str(group))


@grant.command("add")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@_user
@_group
@click.option(
    "--permission",
    type=PERMISSION,
    required=True,
    help="ro reads; rw also writes; rwd also deletes and moves away.",
)
@click.option("--expires", type=WHEN, help="When it ends: 2030-12-31, 7d.")
@json_option
@click.pass_obj
def add(
    client: Client, name: str, user: str | None, group: str | None, permission: str, expires: Any, as_json: bool
) -> None:
    """Open a vfolder to a user or group, in place of an earlier grant to the same."""
    kind, subject = _subject(user, group)
    found = client.resolve(name)
    body = {"kind": kind, "subject": subject, "permission": permission} | given(expires=expires)
    made = client.post(path("vfolders", found["folder"], "grants"), body)
    output.done(f"{kind} {subject} has {permission} in {full_name(found)}", made, as_json)


@grant.command("list")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@json_option
@click.pass_obj
def list_grants(client: Client, name: str, as_json: bool) -> None:
    """List to whom a vfolder is opened."""
    found = client.resolve(name)
    output.write_list(_grants(client, found), LIST, as_json, f"{full_name(found)} is opened to nobody")


@grant.command("remove")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@_user
@_group
@click.pass_obj
def remove(client: Client, name: str, user: str | None, group: str | None) -> None:
    """Take a grant back."""
    kind, subject = _subject(user, group)
    found = client.resolve(name)
    for one in _grants(client, found):
        if one["kind"] == kind and subject in (one["subject"], one["subject_id"]):
            client.delete(path("grants", one["id"]))
            output.done(f"{kind} {subject} has nothing in {full_name(found)} any more")
            return
    raise CommandFailed(f"{full_name(found)} is not opened to {kind} {subject}", Exit.NOT_FOUND)


@grant.command("invite")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.argument("user", type=USER)
@click.option("--permission", type=click.Choice(["ro", "rw", "rwd", "owner"]), required=True, help="What is offered.")
@click.option("--message", default="", help="What the user is told.")
@click.option("--expires", type=WHEN, help="When the grant would end: 2030-12-31, 7d.")
@json_option
@click.pass_obj
def invite(client: Client, name: str, user: str, permission: str, message: str, expires: Any, as_json: bool) -> None:
    """Offer a vfolder, or its ownership, to a user, who can accept or decline."""
    found = client.resolve(name)
    body = {"user": user, "role": permission, "message": message} | given(grant_expires=expires)
    made = client.post(path("vfolders", found["folder"], "invitations"), body)
    output.done(f"{full_name(found)} is offered to {user}", made, as_json)


@grant.command("invitations")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@json_option
@click.pass_obj
def list_invitations(client: Client, name: str, as_json: bool) -> None:
    """List the offers of a vfolder that wait for an answer."""
    found = client.resolve(name)
    waiting = client.get(path("vfolders", found["folder"], "invitations"))["invitations"]
    output.write_list(waiting, WAITING, as_json, f"{full_name(found)} is offered to nobody")


@grant.command("withdraw")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.argument("invitation", metavar="ID")
@click.pass_obj
def withdraw(client: Client, name: str, invitation: str) -> None:
    """Take an offer back."""
    found = client.resolve(name)
    client.delete(path("vfolders", found["folder"], "invitations", invitation))
    output.done(f"the offer of {full_name(found)} is void")


def _grants(client: Client, vfolder: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(path("vfolders", vfolder["folder"], "grants"), volume=vfolder["volume"])[
        "grants"
    ]
    return found
