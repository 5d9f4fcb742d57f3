"""``vfgateway volume``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, exact_size, json_option, size, words
from vfgateway.cli.parameters import VOLUME


def _metadata(row: Any) -> str:
    return words(f"{name}={value}" for name, value in sorted(row["metadata"].items()))


LIST = [
    Column("Name", "name"),
    Column("Backend", "backend"),
    Column("State", "state"),
    Column("Used", "used_bytes", size, right=True),
    Column("Free", "available_bytes", size, right=True),
    Column("Vfolders", "vfolders", right=True),
    Column("Info", "info"),
]
SHOW = [
    Column("Name", "name"),
    Column("Backend", "backend"),
    Column("Path", "path"),
    Column("State", "state"),
    Column("Info", "info"),
    Column("Capacity", "capacity_bytes", exact_size),
    Column("Used", "used_bytes", exact_size),
    Column("Free", "available_bytes", exact_size),
    Column("Vfolders", "vfolders"),
    Column("Capabilities", "capabilities", words),
    Column("Facts", _metadata),
]


@click.group()
def volume() -> None:
    """Storage systems. They are set up in the configuration."""


@volume.command("list")
@json_option
@click.pass_obj
def list_volumes(client: Client, as_json: bool) -> None:
    """List the volumes and how they are."""
    output.write_list(client.get(path("volumes"))["volumes"], LIST, as_json, "no volumes are configured")


@volume.command("show")
@click.argument("name", type=VOLUME)
@json_option
@click.pass_obj
def show(client: Client, name: str, as_json: bool) -> None:
    """Show a volume and how it is."""
    output.write_one(client.get(path("volumes", name)), SHOW, as_json)


@volume.command("backends")
@json_option
@click.pass_obj
def backends(client: Client, as_json: bool) -> None:
    """List the kinds of storage that can be configured."""
    columns = [Column("Name", "name"), Column("Summary", "summary")]
    output.write_list(client.get(path("backends"))["backends"], columns, as_json, "no backend is installed")
