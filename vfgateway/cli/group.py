"""``vfgateway group``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import asking, output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, exact_size, json_option, size, when, words
from vfgateway.cli.parameters import COUNT, GROUP, SIZE, USER, given

LIST = [
    Column("Name", "name"),
    Column("Limit", "limit_bytes", size, right=True),
    Column("Limit of files", "limit_files", right=True),
    Column("Created", "created", when),
]


def _members(row: Any) -> str:
    return words(f"{one['name']} (administrator)" if one["administrator"] else one["name"] for one in row["members"])


SHOW = [
    Column("Name", "name"),
    Column("Id", "id"),
    Column("Members", _members),
    Column("Limit", "limit_bytes", exact_size),
    Column("Limit of files", "limit_files"),
    Column("Created", "created", when),
]
_quota = click.option("--quota", type=SIZE, help="Most bytes, over all vfolders of the group.")
_files = click.option("--files", type=COUNT, help="Most files and directories, over all vfolders of the group.")


@click.group()
def group() -> None:
    """Groups of users, who share vfolders."""


@group.command("add")
@click.argument("name")
@click.option("--id", "group_id", type=click.UUID, help="UUID of the project, where an orchestrator has one.")
@_quota
@_files
@json_option
@click.pass_obj
def add(client: Client, name: str, group_id: object, quota: Any, files: Any, as_json: bool) -> None:
    """Add a group."""
    body = {"name": name} | given(limit_bytes=quota, limit_files=files)
    if group_id is not None:
        body["id"] = str(group_id)
    output.done(f"group {name} added", client.post(path("groups"), body), as_json)


@group.command("list")
@json_option
@click.pass_obj
def list_groups(client: Client, as_json: bool) -> None:
    """List all groups."""
    output.write_list(
        client.get(path("groups"))["groups"], LIST, as_json, "there are no groups: vfgateway group add NAME"
    )


@group.command("show")
@click.argument("name", type=GROUP)
@json_option
@click.pass_obj
def show(client: Client, name: str, as_json: bool) -> None:
    """Show a group with its members."""
    output.write_one(client.get(path("groups", name)), SHOW, as_json)


@group.command("edit")
@click.argument("name", type=GROUP)
@click.option("--name", "new_name", help="Another name.")
@_quota
@_files
@json_option
@click.pass_obj
def edit(client: Client, name: str, new_name: str | None, quota: Any, files: Any, as_json: bool) -> None:
    """Change what is given of a group. The word none lifts a limit."""
    body = given(name=new_name, limit_bytes=quota, limit_files=files)
    if not body:
        raise click.UsageError("nothing to change: see --help")
    output.done(f"group {name} changed", client.patch(path("groups", name), body), as_json)


@group.command("remove")
@click.argument("name", type=GROUP)
@click.option("--keep-vfolders", is_flag=True, help="Keep the group's vfolders for an account to come.")
@asking.yes_option
@click.pass_obj
def remove(client: Client, name: str, keep_vfolders: bool, yes: bool) -> None:
    """Remove a group with memberships and grants. One that owns vfolders stays, unless they are to be kept."""
    asking.confirm(f"Remove group {name}?", yes)
    client.delete(path("groups", name), keep_vfolders="true" if keep_vfolders else None)
    output.done(f"group {name} removed")


@group.group("member")
def member() -> None:
    """Who belongs to a group."""


@member.command("add")
@click.argument("name", metavar="GROUP", type=GROUP)
@click.argument("user", type=USER)
@click.option("--admin/--no-admin", default=False, help="Whether the member may administer the group's vfolders.")
@click.pass_obj
def member_add(client: Client, name: str, user: str, admin: bool) -> None:
    """Take a user into a group, or change what the member may do."""
    client.put(path("groups", name, "members", user), {"administrator": admin})
    output.done(f"user {user} is {'an administrator' if admin else 'a member'} of group {name}")


@member.command("remove")
@click.argument("name", metavar="GROUP", type=GROUP)
@click.argument("user", type=USER)
@click.pass_obj
def member_remove(client: Client, name: str, user: str) -> None:
    """Take a user out of a group."""
    client.delete(path("groups", name, "members", user))
    output.done(f"user {user} is no member of group {name} any more")
