"""``vfgateway vfolder``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import asking, output, watching
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, exact_size, json_option, size, when
from vfgateway.cli.parameters import (
    COUNT,
    KIND,
    SIZE,
    TEXT,
    VFOLDER,
    VOLUME,
    WHEN,
    full_name,
    given,
    owner_and_name,
)

LIST = [
    Column("Vfolder", full_name),
    Column("Volume", "volume"),
    Column("Used", "used_bytes", size, right=True),
    Column("Limit", "limit_bytes", size, right=True),
    Column("Files", "used_files", right=True),
    Column("Status", "status"),
    Column("Expires", "expires", when),
]
SHOW = [
    Column("Name", "name"),
    Column("Owner", lambda row: row["owner"] or row["owner_id"]),
    Column("Kind", "kind"),
    Column("Id", "id"),
    Column("Volume", "volume"),
    Column("Status", "status"),
    Column("Permission", "permission"),
    Column("Read-only", lambda row: "yes" if row["read_only"] else "no"),
    Column("Used", "used_bytes", exact_size),
    Column("Limit", "limit_bytes", exact_size),
    Column("Files", "used_files"),
    Column("Limit of files", "limit_files"),
    Column("Created", "created", when),
    Column("Expires", "expires", when),
]
USAGE = [
    Column("Directory", "name"),
    Column("Used", "used_bytes", exact_size, right=True),
    Column("Files", "used_files", right=True),
    Column("Being counted since", "stale_since", when),
]
_kind = click.option("--kind", type=KIND, help="What the owner is, where a user and a group have one name.")
_quota = click.option("--quota", type=SIZE, help="Most bytes: 10GiB, 10GB, a number; or none.")
_files = click.option("--files", type=COUNT, help="Most files and directories, or none.")
_expires = click.option("--expires", type=WHEN, help="When it is removed: 2030-12-31, 7d; or none.")


@click.group()
def vfolder() -> None:
    """Virtual folders. One is named OWNER/NAME, by NAME alone where that is unambiguous, or by its identifier."""


@vfolder.command("create")
@click.argument("name", metavar="OWNER/NAME")
@click.option("--volume", type=VOLUME, help="Where it lies. Not needed where there is one volume only.")
@_kind
@click.option("--id", "folder_id", type=click.UUID, help="UUID, where an orchestrator has one.")
@_quota
@_files
@_expires
@json_option
@click.pass_obj
def create(
    client: Client,
    name: str,
    volume: str | None,
    kind: str | None,
    folder_id: object,
    quota: Any,
    files: Any,
    expires: Any,
    as_json: bool,
) -> None:
    """Create a vfolder of a user or group."""
    owner, short = owner_and_name(name)
    body = {"owner": owner, "name": short} | given(
        volume=volume, kind=kind, limit_bytes=quota, limit_files=files, expires=expires
    )
    if folder_id is not None:
        body["id"] = str(folder_id)
    made = client.post(path("vfolders"), body)
    output.done(f"vfolder {full_name(made)} created on volume {made['volume']}", made, as_json)


@vfolder.command("adopt")
@click.argument("name", metavar="OWNER/NAME")
@click.argument("place", metavar="PLACE")
@click.option("--volume", type=VOLUME, required=True, help="Whose configuration allows it.")
@_kind
@click.option("--writable", is_flag=True, help="Let people write to it; by default nobody does.")
@json_option
@click.pass_obj
def adopt(client: Client, name: str, place: str, volume: str, kind: str | None, writable: bool, as_json: bool) -> None:
    """Make a vfolder of a directory (or a container) that is there already, without moving it; deleting the vfolder leaves the content.

    PLACE is in the words of the storage: an absolute path, a path on the share, the name of a container.
    """
    owner, short = owner_and_name(name)
    body = {"owner": owner, "name": short, "place": place, "volume": volume, "read_only": not writable}
    made = client.post(path("vfolders", "adopt"), body | given(kind=kind))
    output.done(f"{place} is now vfolder {full_name(made)}", made, as_json)


@vfolder.command("list")
@click.option("--owner", help="Those of a user or group.")
@click.option("--volume", type=VOLUME, help="Those on a volume.")
@json_option
@click.pass_obj
def list_vfolders(client: Client, owner: str | None, volume: str | None, as_json: bool) -> None:
    """List vfolders."""
    found = client.get(path("vfolders"), owner=owner, volume=volume)["vfolders"]
    output.write_list(found, LIST, as_json, "there are no vfolders: vfgateway vfolder create OWNER/NAME")


@vfolder.command("show")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@json_option
@click.pass_obj
def show(client: Client, name: str, as_json: bool) -> None:
    """Show a vfolder: whose it is, where it lies, what is used."""
    output.write_one(client.resolve(name), SHOW, as_json)


@vfolder.command("edit")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.option("--name", "new_name", type=TEXT, help="Another name.")
@click.option("--owner", type=TEXT, help="Another owner, by name or UUID.")
@_kind
@_quota
@_files
@_expires
@click.option("--read-only/--writable", default=None, help="Whether nobody writes to it, whatever their rights.")
@json_option
@click.pass_obj
def edit(
    client: Client,
    name: str,
    new_name: Any,
    owner: Any,
    kind: str | None,
    quota: Any,
    files: Any,
    expires: Any,
    read_only: bool | None,
    as_json: bool,
) -> None:
    """Change what is given of a vfolder; so one that an orchestrator made gets a name and an owner.

    The word none lifts a limit or an expiry.
    """
    body = given(name=new_name, owner=owner, kind=kind, limit_bytes=quota, limit_files=files, expires=expires)
    body |= given(read_only=read_only)
    if not body:
        raise click.UsageError("nothing to change: see --help")
    changed = client.patch(path("vfolders", client.resolve(name)["folder"]), body)
    output.done(f"vfolder {full_name(changed)} changed", changed, as_json)


@vfolder.command("delete")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.option("--purge", is_flag=True, help="For ever, instead of into the trash.")
@asking.yes_option
@watching.wait_option
@click.pass_obj
def delete(client: Client, name: str, purge: bool, yes: bool, wait: bool) -> None:
    """Delete a vfolder with everything in it. It can be restored from the trash for a while."""
    found = client.resolve(name)
    used = f"{output.size(found['used_bytes'])} in {found['used_files']} files"
    asking.confirm(f"Delete {output.printable(full_name(found))} with {used}{' for ever' if purge else ''}?", yes)
    options = {"volume": found["volume"], "purge": "true" if purge else "false"}
    answer = client.delete(path("vfolders", found["folder"]), **options)
    if "task" not in answer:
        until = f"until {when(answer['purge_at'])}: vfgateway trash restore {answer['folder']}"
        output.done(f"vfolder {full_name(found)} deleted; it can be restored {until}")
        return
    task = answer["task"]
    if not wait:
        output.done(f"vfolder {full_name(found)} is being deleted: vfgateway task watch {task}")
        return
    watching.follow(client, task)
    output.done(f"vfolder {full_name(found)} deleted")


@vfolder.command("clone")
@click.argument("source", metavar="VFOLDER", type=VFOLDER)
@click.argument("target", metavar="OWNER/NAME")
@click.option("--volume", type=VOLUME, help="Where the copy lies; beside its source by default.")
@_kind
@watching.wait_option
@click.pass_obj
def clone(client: Client, source: str, target: str, volume: str | None, kind: str | None, wait: bool) -> None:
    """Copy a vfolder to a new one."""
    found = client.resolve(source)
    owner, short = owner_and_name(target)
    body = {"owner": owner, "name": short} | given(volume=volume, kind=kind)
    task = client.post(path("vfolders", found["folder"], "clone"), body)["task"]
    if not wait:
        output.done(f"vfolder {full_name(found)} is being copied to {target}: vfgateway task watch {task}")
        return
    watching.follow(client, task)
    output.done(f"vfolder {full_name(found)} copied to {target}")


@vfolder.command("move")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.option("--to", "volume", type=VOLUME, required=True, help="The volume to which it goes.")
@click.option("--cancel-uploads", is_flag=True, help="Cancel what is being uploaded, instead of waiting for it.")
@click.option("--drop-snapshots", is_flag=True, help="Lose its snapshots, which stay behind.")
@watching.wait_option
@json_option
@click.pass_obj
def move(
    client: Client, name: str, volume: str, cancel_uploads: bool, drop_snapshots: bool, wait: bool, as_json: bool
) -> None:
    """Move a vfolder to other storage while it is in use. Names, rights and links stay; writers wait for some seconds at the end."""
    found = client.resolve(name)
    body = {"volume": volume, "cancel_uploads": cancel_uploads, "drop_snapshots": drop_snapshots}
    task = client.post(path("vfolders", found["folder"], "move"), body)
    if not wait:
        words = f"vfolder {full_name(found)} is being moved to {volume}: vfgateway task watch {task['task']}"
        output.done(words, task, as_json)
        return
    ended = watching.follow(client, task["task"])
    output.done(f"vfolder {full_name(found)} moved to {volume}", ended, as_json)


@vfolder.command("usage")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@json_option
@click.pass_obj
def usage(client: Client, name: str, as_json: bool) -> None:
    """Show where a vfolder's files lie: by directory at its top, the largest first."""
    found = client.resolve(name)
    told = client.get(path("vfolders", found["folder"], "usage"), volume=found["volume"])
    if as_json:
        output.write_json(told)
        return
    rows = [{**share, "name": f"{share['name']}/"} for share in told["folders"]]
    for words, key in (("(at the top)", "loose"), ("(other directories)", "others"), ("(trash)", "trash")):
        if told[key]["used_files"] or told[key]["stale_since"]:
            rows.append({**told[key], "name": words})
    output.write_list(rows, USAGE, False, f"vfolder {full_name(found)} is empty")


@vfolder.command("recount")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@json_option
@click.pass_obj
def recount(client: Client, name: str, as_json: bool) -> None:
    """Count what a vfolder holds and correct the figures. Writers wait meanwhile."""
    found = client.resolve(name)
    counted = client.call("POST", path("vfolders", found["folder"], "recount"), timeout=None)
    used = f"{exact_size(counted['used_bytes'])} in {counted['used_files']} files"
    output.done(f"vfolder {full_name(found)} holds {used}", counted, as_json)
