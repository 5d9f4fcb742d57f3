"""``vfgateway key``."""

from __future__ import annotations

from typing import Any

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import Column, json_option, when
from vfgateway.cli.parameters import PERMISSION, PROTOCOL, USER, VFOLDER, WHEN, given

#: Characters of a public key's file, more than any has.
LONGEST = 16384

_SHOWN = {"api_key": "API key", "app_password": "app password", "public_key": "public key"}


def _limits(row: Any) -> str:
    """What a key permits, in words; nothing for all."""
    parts = [row["permission"]] if row["permission"] != "rwd" else []
    parts += row["protocols"] or []
    if row["vfolders"] is not None:
        parts.append(f"{len(row['vfolders'])} vfolder{'' if len(row['vfolders']) == 1 else 's'}")
    return ", ".join(parts)


LIST = [
    Column("Id", "id"),
    Column("Kind", "kind", lambda kind: _SHOWN.get(kind, kind)),
    Column("Label", "label"),
    Column("Only", _limits),
    Column("Created", "created", when),
    Column("Last used", "last_used", when),
    Column("Expires", "expires", when),
]


@click.group()
def key() -> None:
    """What users log in with beside passwords."""


@key.command("add")
@click.argument("user", type=USER)
@click.argument("public_key", metavar="[FILE]", type=click.File("r"), required=False)
@click.option("--label", default="", help="What it is for. A public key brings its own.")
@click.option("--expires", type=WHEN, help="When it ends.")
@click.option("--app", is_flag=True, help="Make an app password: taken in the place of a password, and nowhere else.")
@click.option("--protocol", "protocols", type=PROTOCOL, multiple=True, help="Good for this one only; may be repeated.")
@click.option("--vfolder", "vfolders", type=VFOLDER, multiple=True, help="Good in this one only; may be repeated.")
@click.option("--permission", type=PERMISSION, help="The most that it permits.")
@json_option
@click.pass_obj
def add(
    client: Client,
    /,
    user: str,
    public_key: Any,
    label: str,
    app: bool,
    as_json: bool,
    expires: Any,
    protocols: tuple[str, ...],
    vfolders: tuple[str, ...],
    permission: str | None,
) -> None:
    """Make an API key or app password, or take in the OpenSSH public key in FILE (- is standard input).

    The secret is printed this once; only a digest of it is kept.
    """
    if public_key is None:
        body: dict[str, Any] = {"kind": "app_password" if app else "api_key", "label": label}
    elif app:
        raise click.UsageError("either --app or a public key")
    else:
        text = _read(public_key)
        body = {"kind": "public_key", "public_key": text, "label": label or text.partition(" ")[2].partition(" ")[2]}
    body |= given(
        expires=expires, protocols=list(protocols) or None, vfolders=list(vfolders) or None, permission=permission
    )
    made = client.post(path("users", user, "keys"), body)
    if as_json:
        output.write_json(made)
    elif made["secret"] is None:
        output.done(f"public key {made['id']} added to user {user}")
    else:
        click.echo(made["secret"])
        output.say(f"{_SHOWN[made['kind']]} {made['id']} of user {user}; it cannot be shown again")


def _read(file: Any) -> str:
    try:
        text = str(file.read(LONGEST + 1)).strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > LONGEST or "\n" in text:
        raise click.UsageError(f"{file.name} should hold one OpenSSH public key, as id_ed25519.pub does")
    if "PRIVATE KEY" in text:
        raise click.UsageError(f"{file.name} holds a private key; the file with .pub is wanted")
    return text


@key.command("list")
@click.argument("user", type=USER)
@json_option
@click.pass_obj
def list_keys(client: Client, user: str, as_json: bool) -> None:
    """List a user's keys."""
    output.write_list(client.get(path("users", user, "keys"))["keys"], LIST, as_json, f"user {user} has no keys")


@key.command("remove")
@click.argument("user", type=USER)
@click.argument("key_id", metavar="ID")
@click.pass_obj
def remove(client: Client, user: str, key_id: str) -> None:
    """Remove a key; it opens nothing from now on."""
    client.delete(path("users", user, "keys", key_id))
    output.done(f"key {key_id} of user {user} removed")
