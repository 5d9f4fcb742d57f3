"""``vfgateway second-factor``."""

from __future__ import annotations

import click

from vfgateway.cli import asking, output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, flag, json_option
from vfgateway.cli.parameters import USER

SHOW = [
    Column("Asked for", "enabled", flag),
    Column("Waits for its first code", "begun", flag),
    Column("Recovery codes left", "recovery_codes"),
]


@click.group("second-factor")
def second_factor() -> None:
    """Codes of an authenticator app, asked for with passwords."""


@second_factor.command("show")
@click.argument("user", type=USER)
@json_option
@click.pass_obj
def show(client: Client, user: str, as_json: bool) -> None:
    """Show how a user stands."""
    output.write_one(client.get(path("users", user, "second-factor")), SHOW, as_json)


@second_factor.command("begin")
@click.argument("user", type=USER)
@json_option
@click.pass_obj
def begin(client: Client, user: str, as_json: bool) -> None:
    """Print what the user's app is told, as a link (otpauth:), this once. It counts after confirm."""
    new = client.post(path("users", user, "second-factor"))
    if as_json:
        output.write_json(new)
        return
    click.echo(new["uri"])
    output.say(f"enter it into the app, then: vfgateway second-factor confirm {user} CODE")


@second_factor.command("confirm")
@click.argument("user", type=USER)
@click.argument("code")
@json_option
@click.pass_obj
def confirm(client: Client, user: str, code: str, as_json: bool) -> None:
    """Take the CODE that the app shows, and ask for codes from now on. Prints recovery codes, this once."""
    answer = client.post(path("users", user, "second-factor", "confirm"), {"code": code})
    _write_codes(user, answer, as_json)


@second_factor.command("codes")
@click.argument("user", type=USER)
@json_option
@click.pass_obj
def codes(client: Client, user: str, as_json: bool) -> None:
    """Print other recovery codes, this once, in place of those from before."""
    _write_codes(user, client.post(path("users", user, "second-factor", "recovery-codes")), as_json)


@second_factor.command("remove")
@click.argument("user", type=USER)
@asking.yes_option
@click.pass_obj
def remove(client: Client, user: str, yes: bool) -> None:
    """Ask a user for codes no more."""
    asking.confirm(f"Let {user} in by password alone?", yes)
    client.delete(path("users", user, "second-factor"))
    output.done(f"user {user} has no second factor")


def _write_codes(user: str, answer: dict[str, list[str]], as_json: bool) -> None:
    if as_json:
        output.write_json(answer)
        return
    for code in answer["recovery_codes"]:
        click.echo(code)
    output.say(f"recovery codes of {user}, each good once; they cannot be shown again")
