"""``vfgateway explain``."""

from __future__ import annotations

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import json_option, printable


@click.command()
@click.argument("decision", metavar="ID")
@json_option
@click.pass_obj
def explain(client: Client, decision: str, as_json: bool) -> None:
    """Tell why somebody was refused: which grant, limit, lock or backend said no, and what would make it pass.

    ID is what came with the refusal: "decision" in JSON, in brackets elsewhere.
    """
    found = client.get(path("decisions", decision.strip("[] ")))
    if as_json:
        output.write_json(found)
        return
    entry = found["entry"]
    times = f", and {entry['count'] - 1} times more" if entry["count"] > 1 else ""
    where = f" from {entry['address']}" if entry["address"] else ""
    click.echo(
        printable(f"{output.when(entry['at'])}: {entry['user'] or 'somebody'}{where} by {entry['protocol']}{times}")
    )
    if entry["vfid"] or entry["target"]:
        click.echo(printable(f"on {entry['target'] or 'the vfolder'} in {entry['vfid'] or 'no vfolder'}"))
    for title, lines in (("because", found["because"]), ("now", found["now"]), ("to make it pass", found["remedy"])):
        for line in lines:
            click.echo(f"{title}: {printable(line)}")
