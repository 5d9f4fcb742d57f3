"""``vfgateway task``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import output, watching
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, json_option, when


def _progress(row: Any) -> str:
    if row["total"]:
        return f"{min(row['done'], row['total']) * 100 // row['total']}%"
    return str(row["done"] or output.NONE)


LIST = [
    Column("Id", "id"),
    Column("Task", "name"),
    Column("State", "state"),
    Column("Progress", _progress, right=True),
    Column("Created", "created", when),
    Column("Message", "message"),
]
SHOW = [
    *LIST[:3],
    Column("Message", "message"),
    Column("Done", "done"),
    Column("Of", lambda row: row["total"] or None),
    Column("Attempt", "attempt"),
    Column("User", "user"),
    Column("Request", "request_id"),
    Column("Created", "created", when),
    Column("Tried again", "not_before", when),
    Column("Started", "started", when),
    Column("Finished", "finished", when),
]


@click.group()
def task() -> None:
    """Work in the background: deletions, clones, scans, cleaning up."""


@task.command("list")
@click.option(
    "--state", type=click.Choice(["queued", "running", "done", "failed", "cancelled"]), help="Those in one state."
)
@click.option("--name", help="Those that do one thing: delete_vfolder, scan and so on.")
@json_option
@click.pass_obj
def list_tasks(client: Client, state: str | None, name: str | None, as_json: bool) -> None:
    """List tasks, the newest first. Those that have ended are listed for a day."""
    output.write_list(client.get(path("tasks"), state=state, name=name)["tasks"], LIST, as_json, "there are no tasks")


@task.command("show")
@click.argument("task_id", metavar="ID")
@json_option
@click.pass_obj
def show(client: Client, task_id: str, as_json: bool) -> None:
    """Show a task."""
    output.write_one(client.get(path("tasks", task_id)), SHOW, as_json)


@task.command("watch")
@click.argument("task_id", metavar="ID")
@json_option
@click.pass_obj
def watch(client: Client, task_id: str, as_json: bool) -> None:
    """Watch a task to its end. Fails if it does."""
    ended = watching.follow(client, task_id)
    output.done(f"{ended['name']} {ended['state']}", ended, as_json)


@task.command("cancel")
@click.argument("task_id", metavar="ID")
@click.pass_obj
def cancel(client: Client, task_id: str) -> None:
    """Cancel a task. One that has ended stays as it is."""
    client.delete(path("tasks", task_id))
    output.done(f"task {task_id} cancelled")
