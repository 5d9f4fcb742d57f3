"""``vfgateway mount``: for the hosts of agents, where no gateway need be."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfgateway.cli import output
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.cli.output import Column, json_option
from vfgateway.mounting import errors

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from vfgateway.mounting.mounts import Mounts

COLUMNS = [
    Column("Volume", "name"),
    Column("At", lambda row: row["at"] or "not configured"),
    Column("Mounted", lambda row: output.flag(row["mounted"])),
    Column("Path", "path"),
    Column("Users", lambda row: output.words(row["users"])),
]
_CODES = {
    errors.UnknownMount: Exit.NOT_FOUND,
    errors.Refused: Exit.REFUSED,
    errors.SourceUnavailable: Exit.UNREACHABLE,
}


@click.group()
@click.option(
    "--mounts",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="VFGATEWAY_MOUNTS",
    default="/etc/vfgateway/mounts.toml",
    show_default=True,
    help="What is to be mounted.",
)
@click.pass_context
def mount(context: click.Context, file: Path) -> None:
    """Volumes mounted on this host for as long as somebody uses them. Needs root, and no gateway."""
    context.obj = file


def _run(make: Callable[[Any], Awaitable[Any]]) -> Any:
    """What a coroutine returns, under a reactor of its own."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    ended: list[Any] = []

    async def kept(reactor: Any) -> None:
        try:
            ended.append(await make(reactor))
        except errors.MountError as error:
            ended.append(error)

    def begin(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(kept(reactor))

    try:
        react(begin, ())
    except SystemExit:
        if not ended:  # by a signal, or for a reason that was printed
            raise
    if isinstance(ended[0], errors.MountError):
        raise CommandFailed(str(ended[0]), _CODES.get(type(ended[0]), Exit.FAILURE))
    return ended[0]


def _do(file: Path, work: Callable[[Mounts], Any]) -> Any:
    from vfgateway.mounting.mounts import Mounts
    from vfgateway.mounting.supervisor import read

    async def done(reactor: Any) -> Any:
        settings, volumes = await read(reactor, file)
        return work(Mounts(settings, volumes))

    return _run(done)


@mount.command("take")
@click.argument("volume")
@click.option("--for", "user", required=True, help="Who uses it: the name of a container, say.")
@click.pass_obj
def take(file: Path, volume: str, user: str) -> None:
    """Mount VOLUME if nobody has it mounted yet, note who uses it, and print where it is."""
    click.echo(str(_do(file, lambda mounts: mounts.take(volume, user))))


@mount.command("give-back")
@click.argument("volume")
@click.option("--for", "user", required=True, help="Who has used it.")
@click.pass_obj
def give_back(file: Path, volume: str, user: str) -> None:
    """Note that somebody has done with VOLUME; after the last one it is unmounted, unless it is mounted at startup."""
    gone = _do(file, lambda mounts: mounts.give_back(volume, user))
    output.say(f"{volume} is {'not mounted any more' if gone else 'still mounted'}")


@mount.command("list")
@json_option
@click.pass_obj
def list_(file: Path, as_json: bool) -> None:
    """Show what is configured, what is mounted, and who uses it."""
    states = _do(file, lambda mounts: mounts.states())
    rows = [
        {"name": state.name, "at": state.at, "mounted": state.mounted, "path": str(state.path), "users": state.users}
        for state in states
    ]
    output.write_list(rows, COLUMNS, as_json, "no volumes are configured")


@mount.command("supervise")
@click.pass_obj
def supervise(file: Path) -> None:
    """Mount what is to be mounted at startup, and put right every few seconds what has died half-way. Runs until it is ended; then what is mounted
    stays, and the next one goes on."""
    from twisted.logger import globalLogBeginner, textFileLogObserver

    from vfgateway.mounting.supervisor import Supervisor

    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    _run(lambda reactor: Supervisor(reactor, file).run())
