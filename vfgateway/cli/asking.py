"""Questions to whoever sits at the terminal: passwords, and whether it is really meant. Passwords are never taken from arguments,
where every user of the machine could read them."""

from __future__ import annotations

import sys

import click

password_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def new_password(name: str, from_stdin: bool) -> str:
    """A password for ``name``: asked for twice, or what stands on standard input without its line end."""
    if from_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
        if not password:
            raise click.UsageError("there is no password on standard input")
        if "\n" in password or "\r" in password:
            raise click.UsageError("the password on standard input must be one line")
        return password
    _need_terminal("a password can be asked for", "--password-stdin")
    answer: str = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def confirm(question: str, yes: bool) -> None:
    """Go on only if it is meant; ends the command otherwise."""
    if not yes:
        _need_terminal("it can be confirmed", "--yes")
        click.confirm(question, abort=True, err=True)


def _need_terminal(what: str, instead: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no terminal on which {what}: use {instead}")
