"""``vfgateway token``: URLs for people without an account, or without patience."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath
from typing import Any

import click

from vfgateway.cli import output
from vfgateway.cli.client import Client, path
from vfgateway.cli.output import json_option
from vfgateway.cli.parameters import NULL, SIZE, VFOLDER, WHEN, given


@click.group()
def token() -> None:
    """URLs that open one thing for a short time to whoever has them."""


@token.command("download")
@click.argument("vfolder", type=VFOLDER)
@click.argument("file", metavar="PATH")
@json_option
@click.pass_obj
def download(client: Client, vfolder: str, file: str, as_json: bool) -> None:
    """Mint a URL to fetch a file."""
    made = client.post(path("tokens", "download"), {"vfolder": vfolder, "path": file})
    _tell(made, ["curl", "-f", "-o", PurePosixPath(file).name or "file", made["url"]], as_json)


@token.command("archive")
@click.argument("vfolder", type=VFOLDER)
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--name", help="Name of the archive.")
@json_option
@click.pass_obj
def archive(client: Client, vfolder: str, paths: tuple[str, ...], name: str | None, as_json: bool) -> None:
    """Mint a URL to fetch files and directories as one zip; without PATH, the whole vfolder."""
    body: dict[str, Any] = {"vfolder": vfolder, "paths": list(paths) or ["."]}
    name = name or f"{PurePosixPath(paths[0] if len(paths) == 1 else vfolder).name or 'archive'}.zip"
    made = client.post(path("tokens", "archive"), body | {"filename": name})
    _tell(made, ["curl", "-f", "-o", name, made["url"]], as_json)


@token.command("upload")
@click.argument("vfolder", type=VFOLDER)
@click.argument("target", metavar="PATH")
@click.option("--size", type=SIZE, help="Bytes to come.")
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take the size from this file."
)
@json_option
@click.pass_obj
def upload(client: Client, vfolder: str, target: str, size: Any, file: Path | None, as_json: bool) -> None:
    """Begin an upload and mint a URL for it, for curl or any tus client. Quota and locks are settled here."""
    if (size is None) == (file is None) or size is NULL:
        raise click.UsageError("say either --size or --file")
    count = file.stat().st_size if file is not None else size
    made = client.post(path("tokens", "upload"), {"vfolder": vfolder, "path": target, "size": count})
    source = str(file) if file is not None else PurePosixPath(target).name
    headers = ("Tus-Resumable: 1.0.0", "Upload-Offset: 0", "Content-Type: application/offset+octet-stream")
    quoted = [part for header in headers for part in ("-H", header)]
    # -T streams the file; --data-binary would read it into memory first.
    _tell(made, ["curl", "-f", "-X", "PATCH", *quoted, "-T", source, made["url"]], as_json)


@token.command("storage")
@click.argument("vfolder", type=VFOLDER)
@click.option(
    "--write", is_flag=True, help="Also to write and delete, past limits and locks; refused where a limit applies."
)
@click.option("--expires", type=WHEN, help="When it ends: 30m, 12h, 7d, 2030-12-31; in an hour by default.")
@click.option("--address", help="The only IPv4 address, or range of them, that it is good for.")
@json_option
@click.pass_obj
def storage(client: Client, vfolder: str, write: bool, expires: Any, address: str | None, as_json: bool) -> None:
    """Mint a token for a vfolder at the storage itself, where that has such (Azure: a SAS); to read and list."""
    body = {"vfolder": vfolder, "write": write} | given(expires=expires, address=address)
    made = client.post(path("tokens", "storage"), body)
    if as_json:
        output.write_json(made)
        return
    click.echo(f"{made['url']}?{made['token']}")
    output.say(f"until {output.when(made['expires'])}; it cannot be taken back")


def _tell(made: dict[str, Any], curl: list[str], as_json: bool) -> None:
    """The URL is the output; the command line is a note, so that ``$(vfgateway token ...)`` is the URL."""
    line = shlex.join(curl)
    if as_json:
        output.write_json({**made, "curl": line})
        return
    click.echo(made["url"])
    if made["url"].startswith("/"):
        output.say("the gateway does not know its own address: set client_url in [frontends.manager]")
    else:
        output.say(f"until {output.when(made['expires'])}: {line}")
