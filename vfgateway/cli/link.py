"""``vfgateway link``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import asking, output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, json_option, when
from vfgateway.cli.parameters import VFOLDER, WHEN, full_name, given

LIST = [
    Column("Path", "path"),
    Column("For", "kind"),
    Column("Label", "label"),
    Column("Password", lambda row: "yes" if row["has_password"] else "no"),
    Column("Used", "uses", right=True),
    Column("Of", "most_uses", right=True),
    Column("Expires", "expires", when),
    Column("Id", "id"),
]


@click.group()
def link() -> None:
    """Share links: URLs for people without an account."""


@link.command("create")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@click.argument("where", metavar="[PATH]", default=".")
@click.option("--drop", is_flag=True, help="A drop box: whoever has the URL sends files, and sees none.")
@asking.password_stdin
@click.option("--label", default="", help="What the page says of it.")
@click.option("--expires", type=WHEN, help="When it ends: 2030-12-31, 7d.")
@click.option("--uses", type=click.IntRange(1), help="How often it can be used.")
@json_option
@click.pass_obj
def create(
    client: Client,
    name: str,
    where: str,
    drop: bool,
    password_stdin: bool,
    label: str,
    expires: Any,
    uses: int | None,
    as_json: bool,
) -> None:
    """Make a URL for a file or a directory; without PATH, for the whole vfolder. It is shown this once."""
    found = client.resolve(name)
    body = {"path": where, "kind": "upload" if drop else "download", "label": label}
    body |= given(expires=expires, most_uses=uses)
    if password_stdin:
        body["password"] = asking.new_password("the link", True)
    made = client.post(path("vfolders", found["folder"], "links"), body)
    if as_json:
        output.write_json(made)
    else:
        click.echo(made["url"])


@link.command("list")
@click.argument("name", metavar="VFOLDER", type=VFOLDER)
@json_option
@click.pass_obj
def list_links(client: Client, name: str, as_json: bool) -> None:
    """List the share links of a vfolder, oldest first."""
    found = client.resolve(name)
    links = client.get(path("vfolders", found["folder"], "links"))["links"]
    output.write_list(links, LIST, as_json, f"{full_name(found)} has no links")


@link.command("remove")
@click.argument("link_id", metavar="ID")
@click.pass_obj
def remove(client: Client, link_id: str) -> None:
    """End a share link at once."""
    client.delete(path("links", link_id))
    output.done("the link opens nothing any more")
