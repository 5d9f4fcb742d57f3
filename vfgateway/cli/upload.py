"""``vfgateway upload``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.naming import Names
from vfgateway.cli.output import Column, json_option, size, when
from vfgateway.cli.parameters import VFOLDER


@click.group()
def upload() -> None:
    """Uploads under way, whichever protocol they came by."""


def _progress(row: Any) -> str:
    return f"{row['offset'] * 100 // row['size']}%" if row["size"] else output.NONE


@upload.command("list")
@click.argument("vfolder", type=VFOLDER, required=False)
@json_option
@click.pass_obj
def list_uploads(client: Client, vfolder: str | None, as_json: bool) -> None:
    """List uploads under way: all, or those in a vfolder."""
    found = client.get(path("uploads"), vfolder=vfolder)["uploads"]
    names = Names(client)
    columns = [
        Column("Id", "id"),
        Column("Vfolder", names.vfolder),
        Column("Path", "path"),
        Column("By", names.owner),
        Column("Done", "offset", size, right=True),
        Column("Of", "size", size, right=True),
        Column("Progress", _progress, right=True),
        Column("State", "state"),
        Column("Expires", "expires", when),
    ]
    output.write_list(found, columns, as_json, "no uploads are under way")


@upload.command("cancel")
@click.argument("upload_id", metavar="ID")
@click.pass_obj
def cancel(client: Client, upload_id: str) -> None:
    """Cancel an upload; nothing is left of it."""
    client.delete(path("uploads", upload_id))
    output.done(f"upload {upload_id} cancelled")
