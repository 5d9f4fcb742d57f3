"""``vfgateway audit``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, json_option, when
from vfgateway.cli.parameters import AGO, VFOLDER


def _what(row: Any) -> str:
    facts = {
        name: value for name, value in row["facts"].items() if name not in ("error", "said", "operation", "vfolder_key")
    }
    told = row["facts"].get("said") or " ".join(f"{name}={value}" for name, value in facts.items())
    times = f" (and {row['count'] - 1} alike)" if row["count"] > 1 else ""
    return f"{told}{times}".strip()


LIST = [
    Column("When", "at", when),
    Column("Event", "event"),
    Column("Outcome", "outcome"),
    Column("User", "user"),
    Column("From", "address"),
    Column("By", "protocol"),
    Column("Vfolder", "vfid"),
    Column("What", "target"),
    Column("Detail", _what),
    Column("Decision", "decision"),
]


@click.command()
@click.option("--user", help="What this user did, or was refused.")
@click.option("--vfolder", type=VFOLDER, help="What concerns one vfolder.")
@click.option("--address", help="What came from there.")
@click.option("--protocol", help="What came by client, manager, webdav or sftp.")
@click.option("--event", help="One kind: login, refusal, files_removed, grant_added, vfolder_deleted and so on.")
@click.option("--refused", is_flag=True, help="Refusals alone.")
@click.option("--since", type=AGO, help="Not what is older: a time, or 30m, 12h, 7d ago.")
@click.option("--until", type=AGO, help="Not what is newer.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The latest so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@json_option
@click.pass_obj
def audit(
    client: Client,
    user: str | None,
    vfolder: str | None,
    address: str | None,
    protocol: str | None,
    event: str | None,
    refused: bool,
    since: float | None,
    until: float | None,
    limit: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Who did what, from where, by which protocol, on what; and who was refused."""
    times = {"since": None if since is None else repr(since), "until": None if until is None else repr(until)}
    about = {"user": user, "vfolder": vfolder, "address": address, "protocol": protocol, "event": event, **times}
    query = {**about, "outcome": "refused" if refused else None, "limit": str(limit)}
    if not follow:
        output.write_list(
            client.get(path("audit"), **query)["entries"], LIST, as_json, "nothing of that kind is on record"
        )
        return
    for entry in client.events(path("audit", "events"), **query):
        output.write_line(entry, LIST, as_json)
