"""``vfgateway config``."""

from __future__ import annotations

import click

from vfgateway.cli import checks, output
from vfgateway.cli.client import Client, path
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.cli.output import Column, json_option

DIFFERENCES = [Column("Key", "key"), Column("Running", "running"), Column("Written", "written")]


@click.group()
def config() -> None:
    """The configuration: whether it can be used, and what it would change."""


@config.command("check")
@click.pass_obj
def check(client: Client) -> None:
    """Check the configuration as a start would. Works without the gateway; fails if it cannot be used, and says which key is wrong."""
    found = checks.configuration(client.place)
    if not found.ok:
        raise CommandFailed(found.detail)
    output.done(f"{found.detail} can be used")


@config.command("diff")
@click.option("--exit-code", is_flag=True, help="End with 1 if there is a difference.")
@json_option
@click.pass_obj
def diff(client: Client, exit_code: bool, as_json: bool) -> None:
    """Show what the file says otherwise than what is in force. Values of secrets are not shown."""
    found = client.get(path("config", "differences"))
    rows = found["differences"]
    output.write_list(rows, DIFFERENCES, as_json, "what is written is in force")
    if rows:
        output.say(
            "SIGHUP (systemctl reload vfgateway) puts it in force"
            if found["reloads"]
            else "a restart puts it in force: with one process that is not supervised, there is nobody to take over"
        )
    if rows and exit_code:
        raise click.exceptions.Exit(Exit.FAILURE)
