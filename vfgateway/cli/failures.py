"""How a command fails: one plain line on the terminal's side, and an exit code that scripts can tell apart."""

from __future__ import annotations

import enum
from typing import IO, Any

import click


class Exit(enum.IntEnum):
    """Exit codes; part of the command's contract (``docs/cli.md``)."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class CommandFailed(click.ClickException):
    """Ends the command with a sentence that says what to do, where anything can be done."""

    def __init__(self, message: str, code: Exit = Exit.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # each says its own, whatever the class says

    def show(self, file: IO[Any] | None = None) -> None:
        """Called by click."""
        click.echo(f"vfgateway: {self.format_message()}", file=file, err=file is None)
