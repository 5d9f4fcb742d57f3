"""``vfgateway log``."""

from __future__ import annotations

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, json_option

LEVELS = [
    Column("Namespace", lambda row: row["namespace"] or "everything"),
    Column("Configured", "configured"),
    Column("Changed", "changed"),
]


@click.group()
def log() -> None:
    """What the gateway's log tells."""


@log.command("level")
@click.argument("namespace", required=False)
@click.argument("level", required=False, type=click.Choice(["debug", "info", "warn", "error", "critical", "default"]))
@json_option
@click.pass_obj
def level(client: Client, namespace: str | None, level: str | None, as_json: bool) -> None:
    """Show from which level on the log tells what, or change it while the gateway runs.

    NAMESPACE is a name such as vfgateway.sftp, which counts for all below it, or "all". A change counts in all processes within
    seconds, also after a restart, until LEVEL is "default": then what is configured counts again.
    """
    if namespace is not None and level is None:
        raise click.UsageError("which level? debug, info, warn, error, critical, or default")
    if namespace is None:
        found = client.get(path("log", "levels"))
    else:
        body = {"namespace": "" if namespace == "all" else namespace, "level": None if level == "default" else level}
        found = client.patch(path("log", "levels"), body)
    output.write_list(found["levels"], LEVELS, as_json, "everything is told")
