"""Follows a background task to its end, with a bar where a person looks on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from vfgateway.cli.client import Client, path
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.cli.output import printable, say

wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end of the work.")
_ACTIVE = ("queued", "running")


def follow(client: Client, task_id: str) -> dict[str, Any]:
    """The task at its end. Raises ``CommandFailed`` if it did not do what it was for."""
    try:
        task = _last(client, task_id)
    except KeyboardInterrupt:
        say(f"\nthe work goes on: vfgateway task watch {task_id}, or task cancel {task_id}")
        raise
    if task["state"] in _ACTIVE:
        raise CommandFailed(
            f"the gateway stopped; the work goes on when it runs again: vfgateway task watch {task_id}",
            Exit.UNREACHABLE,
        )
    if task["state"] != "done":
        raise CommandFailed(f"{task['name']} {task['state']}" + (f": {task['message']}" if task["message"] else ""))
    return task


def _last(client: Client, task_id: str) -> dict[str, Any]:
    seen = client.events(path("tasks", task_id, "events"))
    tasks = list(_with_bar(seen) if sys.stderr.isatty() else seen)
    if not tasks:
        raise CommandFailed(f"the gateway told nothing of task {task_id}", Exit.UNREACHABLE)
    return tasks[-1]


def _with_bar(tasks: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[message]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None, message="")
        for task in tasks:
            progress.update(
                bar,
                description=printable(task["name"].replace("_", " ")),
                completed=task["done"],
                total=task["total"] or None,
                message=printable(task["message"]),
            )
            yield task
