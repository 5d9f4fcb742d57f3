"""The ``vfgateway`` command: its options, its groups of verbs, and how it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from vfgateway import __version__
from vfgateway.cli import (
    audit,
    authenticator,
    config,
    db,
    doctor,
    explain,
    grant,
    group,
    key,
    link,
    lock,
    lockout,
    log,
    mount,
    scan,
    second_factor,
    snapshot,
    task,
    token,
    trash,
    upload,
    user,
    vfolder,
    volume,
)
from vfgateway.cli.client import Choice, Client
from vfgateway.cli.failures import Exit

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="vfgateway", message="%(prog)s %(version)s")
@click.option(
    "--config",
    "-c",
    type=_FILE,
    help="The gateway's configuration, which tells where its socket is. By default $VFGATEWAY_CONFIG, ./vfgateway.toml, "
    "/etc/vfgateway/vfgateway.toml, or the gateway that runs under ./var.",
)
@click.option("--url", envvar="VFGATEWAY_URL", help="A manager front end, instead of the socket: https://gateway:6022.")
@click.option(
    "--secret-file", type=_FILE, envvar="VFGATEWAY_SECRET_FILE", help="With --url: holds the orchestrator's secret."
)
@click.option(
    "--key-file", type=_FILE, envvar="VFGATEWAY_KEY_FILE", help="With --url: holds an administrator's API key."
)
@click.option(
    "--ca-file",
    type=_FILE,
    envvar="VFGATEWAY_CA_FILE",
    help="With --url: certificates to trust instead of the system's.",
)
@click.option(
    "--certificate-file",
    type=_FILE,
    envvar="VFGATEWAY_CERTIFICATE_FILE",
    help="With --url: a certificate and its key, where the front end asks for one.",
)
@click.pass_context
def cli(
    context: click.Context,
    config: Path | None,
    url: str | None,
    secret_file: Path | None,
    key_file: Path | None,
    ca_file: Path | None,
    certificate_file: Path | None,
) -> None:
    """Administers a running vfgateway."""
    client = Client(Choice(config, url, secret_file, key_file, ca_file, certificate_file))
    context.call_on_close(client.close)
    context.obj = client


for _module in (
    user,
    group,
    key,
    vfolder,
    trash,
    snapshot,
    grant,
    link,
    second_factor,
    lockout,
    authenticator,
    token,
    upload,
    task,
    scan,
    volume,
    mount,
    lock,
    audit,
    explain,
    log,
    config,
    db,
    doctor,
):
    cli.add_command(getattr(_module, _module.__name__.rpartition(".")[2]))


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete this command: eval "$(vfgateway completion bash)"."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "vfgateway", "_VFGATEWAY_COMPLETE").source())


def main() -> None:
    """Run the command and end the process. What goes wrong is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(prog_name="vfgateway", standalone_mode=False) or Exit.OK
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("", err=True)
        status = Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read has seen enough; flushing at exit must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = Exit.FAILURE
    sys.exit(int(status))
