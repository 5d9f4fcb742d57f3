"""``vfgateway doctor``: looks at everything that has to be right, and says what to do. Works beside a gateway that does not run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import click

from vfgateway import __version__
from vfgateway.cli import checks, ports, surroundings
from vfgateway.cli.client import Client, path
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.cli.findings import tell
from vfgateway.cli.mistakes import Mistake, wrong
from vfgateway.cli.output import json_option
from vfgateway.findings import Finding

#: Looks at something, when it is called.
type_look = Callable[[], Iterable[Finding]]


@click.command()
@json_option
@click.pass_obj
def doctor(client: Client, as_json: bool) -> None:
    """Look at configuration, ports, database, volumes and logins, and say what to do.

    Ends with 1 if anything is wrong. Works where the gateway does not run, too.
    """
    findings = [*_elsewhere(client)] if client.choice.url else [*_here(client)]
    tell(findings, as_json)


def _elsewhere(client: Client) -> list[Finding]:
    report = client.get(path("doctor"))
    return [_version(report), *_reported(report)]


def _here(client: Client) -> list[Finding]:
    place, findings = surroundings.answering(client.place)
    written = checks.configuration(place)
    first: list[type_look] = [partial(checks.data_dir, place), partial(checks.together, place)]
    findings += [written, *_gathered(written.ok, first)]
    process, running = None, True
    try:
        report = client.get(path("doctor"))
    except CommandFailed as failure:
        findings.append(wrong(Mistake.GATEWAY_DOWN, "gateway", failure.message))
        running = failure.exit_code != Exit.UNREACHABLE
    else:
        findings += [_version(report), *_same_configuration(client, report), *_reported(report), *_people(client)]
        process = report["process"]
    looks: list[type_look] = [partial(ports.front_ends, place, running), *surroundings.looks(place, process)]
    if not running:
        looks += [partial(checks.database, place), partial(checks.volumes, place)]
    return [*findings, *_gathered(written.ok, [*looks, partial(checks.logins, place)])]


def _gathered(sound: bool, looks: Iterable[type_look]) -> Iterator[Finding]:
    """What is found by all. Where a configuration that is not ``sound`` says what nobody can look at, that has been told already."""
    for look in looks:
        try:
            yield from look()
        except (TypeError, ValueError, AttributeError):
            if sound:
                raise


def _version(report: dict[str, Any]) -> Finding:
    detail = f"version {report['version']}, process {report['process']}, for {_span(report['uptime'])}"
    if report["version"] != __version__:
        detail += f"; this command is of version {__version__}: restart the gateway after an upgrade"
        return wrong(Mistake.OTHER_VERSION, "gateway", detail)
    return Finding("gateway", True, detail)


def _same_configuration(client: Client, report: dict[str, Any]) -> list[Finding]:
    ours = str(client.place.source) if client.place.source else None
    if ours == report["configuration"]:
        return []
    theirs = report["configuration"] or "the embedded default"
    detail = f"it runs with {theirs}, not with {ours}: name the one that counts by --config, or restart it"
    return [wrong(Mistake.OTHER_CONFIGURATION, "gateway", detail)]


def _reported(report: dict[str, Any]) -> list[Finding]:
    """What the gateway found itself: database, volumes, authenticators, descriptors."""
    return [
        Finding(one["what"].replace("database database", "database"), True, one["detail"]) if one["ok"] else _amiss(one)
        for one in report["findings"]
    ]


def _amiss(found: dict[str, Any]) -> Finding:
    what, detail = found["what"], found["detail"]
    match what.partition(" ")[0]:
        case "authenticator":
            remedy = "its people cannot log in, or not all; it is asked again by itself"
            return wrong(Mistake.AUTHENTICATOR_UNAVAILABLE, what, f"{detail}; {remedy}")
        case "descriptors":
            return wrong(Mistake.DESCRIPTORS, what, f"{detail}; raise LimitNOFILE, or ulimit -n")
        case "database":
            return wrong(Mistake.DATABASE_UNUSABLE, "database", f"{detail}; see the gateway's log")
        case _:
            remedy = "mount or repair it, it is tried again by itself"
            return wrong(Mistake.VOLUME_UNAVAILABLE, what, f"{detail}; {remedy}")


def _people(client: Client) -> list[Finding]:
    """Whether the accounts can be asked for."""
    try:
        people = client.get(path("users"))["users"]
    except CommandFailed as failure:
        return [wrong(Mistake.DATABASE_UNUSABLE, "accounts", failure.message)]
    if not people:
        return [Finding("accounts", True, "no users yet: vfgateway user add NAME")]
    chief = sum(one["administrator"] for one in people)
    return [Finding("accounts", True, f"{len(people)} users, {chief} of them administrators")]


def _span(seconds: float) -> str:
    minutes = int(seconds) // 60
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
