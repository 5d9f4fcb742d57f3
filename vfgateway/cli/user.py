"""``vfgateway user``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import asking, output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, exact_size, flag, json_option, size, when
from vfgateway.cli.parameters import COUNT, SIZE, TEXT, USER, WHEN, given


def _state(user: Any) -> str:
    if not user["active"]:
        return "disabled"
    return f"unknown to {user['source']}" if user["withdrawn"] else "active"


_STATE = Column("State", _state)
LIST = [
    Column("Name", "name"),
    _STATE,
    Column("Administrator", "administrator", flag),
    Column("E-mail", "email"),
    Column("Limit", "limit_bytes", size, right=True),
    Column("Expires", "expires", when),
    Column("From", "source"),
]
SHOW = [
    Column("Name", "name"),
    Column("Id", "id"),
    _STATE,
    Column("Administrator", "administrator", flag),
    Column("E-mail", "email"),
    Column("Uid", "uid"),
    Column("Gid", "gid"),
    Column("Limit", "limit_bytes", exact_size),
    Column("Limit of files", "limit_files"),
    Column("Created", "created", when),
    Column("Expires", "expires", when),
    Column("From", "source"),
]


@click.group()
def user() -> None:
    """People who log in."""


def _facts(function: Any) -> Any:
    """Options about a user, for a new one or one that changes."""
    for option in (
        click.option("--expires", type=WHEN, help="When the account ends."),
        click.option("--files", type=COUNT, help="Most files and directories, over all vfolders of the user."),
        click.option("--quota", type=SIZE, help="Most bytes, over all vfolders of the user."),
        click.option("--gid", type=COUNT, help="Group that owns the user's files on storage."),
        click.option("--uid", type=COUNT, help="Owner of the user's files on storage."),
        click.option("--admin/--no-admin", default=None, help="Whether the user may administer the gateway."),
        click.option("--email", type=TEXT),
    ):
        function = option(function)
    return function


def _body(options: dict[str, Any]) -> dict[str, Any]:
    renamed = {"admin": "administrator", "quota": "limit_bytes", "files": "limit_files"}
    return given(**{renamed.get(name, name): value for name, value in options.items()})


@user.command("add")
@click.argument("name")
@click.option("--id", "user_id", type=click.UUID, help="UUID, where an orchestrator has one.")
@asking.password_stdin
@click.option("--no-password", is_flag=True, help="Set none: the user logs in by key, or not at all.")
@_facts
@json_option
@click.pass_obj
def add(
    client: Client,
    /,
    name: str,
    user_id: object,
    password_stdin: bool,
    no_password: bool,
    as_json: bool,
    **facts: Any,
) -> None:
    """Add a user. Asks for a password."""
    if password_stdin and no_password:
        raise click.UsageError("either --password-stdin or --no-password")
    body = {"name": name, **{key: value for key, value in _body(facts).items() if value is not None}}
    if user_id is not None:
        body["id"] = str(user_id)
    if not no_password:
        body["password"] = asking.new_password(name, password_stdin)
    made = client.post(path("users"), body)
    output.done(f"user {name} added", made, as_json)


@user.command("list")
@json_option
@click.pass_obj
def list_users(client: Client, as_json: bool) -> None:
    """List all users."""
    output.write_list(client.get(path("users"))["users"], LIST, as_json, "there are no users: vfgateway user add NAME")


@user.command("show")
@click.argument("name", type=USER)
@json_option
@click.pass_obj
def show(client: Client, name: str, as_json: bool) -> None:
    """Show a user."""
    output.write_one(client.get(path("users", name)), SHOW, as_json)


@user.command("edit")
@click.argument("name", type=USER)
@click.option("--name", "new_name", help="Another name.")
@click.option(
    "--source", type=TEXT, help="The authenticator whose user of that name it is from now on; none for our own."
)
@_facts
@json_option
@click.pass_obj
def edit(client: Client, /, name: str, new_name: str | None, source: Any, as_json: bool, **facts: Any) -> None:
    """Change what is given of a user. The word none lifts a limit, an expiry, an address."""
    body = given(name=new_name, source=source) | _body(facts)
    if not body:
        raise click.UsageError("nothing to change: see --help")
    output.done(f"user {name} changed", client.patch(path("users", name), body), as_json)


@user.command("disable")
@click.argument("name", type=USER)
@click.pass_obj
def disable(client: Client, name: str) -> None:
    """Let a user in no more, and keep everything."""
    client.patch(path("users", name), {"active": False})
    output.done(f"user {name} disabled")


@user.command("enable")
@click.argument("name", type=USER)
@click.pass_obj
def enable(client: Client, name: str) -> None:
    """Let a user in again."""
    client.patch(path("users", name), {"active": True})
    output.done(f"user {name} enabled")


@user.command("remove")
@click.argument("name", type=USER)
@click.option("--keep-vfolders", is_flag=True, help="Keep the user's vfolders for an account to come.")
@asking.yes_option
@click.pass_obj
def remove(client: Client, name: str, keep_vfolders: bool, yes: bool) -> None:
    """Remove a user with keys, memberships and grants. One that owns vfolders stays, unless they are to be kept."""
    asking.confirm(f"Remove user {name}?", yes)
    client.delete(path("users", name), keep_vfolders="true" if keep_vfolders else None)
    output.done(f"user {name} removed")


@user.command("passwd")
@click.argument("name", type=USER)
@asking.password_stdin
@click.option("--remove", "take_away", is_flag=True, help="Take the password away.")
@click.pass_obj
def passwd(client: Client, name: str, password_stdin: bool, take_away: bool) -> None:
    """Set a user's password. Asks for it."""
    if password_stdin and take_away:
        raise click.UsageError("either --password-stdin or --remove")
    password = None if take_away else asking.new_password(name, password_stdin)
    client.put(path("users", name, "password"), {"password": password})
    output.done(f"password of {name} {'taken away' if take_away else 'set'}")
