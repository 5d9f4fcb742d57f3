"""How findings are told: a line each, and by the exit code whether anything is wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs
import click
from rich.console import Console
from rich.text import Text

from vfgateway.cli import output
from vfgateway.cli.failures import CommandFailed, Exit
from vfgateway.findings import Finding


def tell(findings: Sequence[Finding], as_json: bool) -> None:
    """Print them. Ends the command with 1 if anything is wrong."""
    if as_json:
        output.write_json([attrs.asdict(finding, filter=_is_told) for finding in findings])
    else:
        _write(findings)
    if wrong := sum(not finding.ok for finding in findings):
        raise CommandFailed(f"{wrong} of {len(findings)} things need attention", Exit.FAILURE)


def _is_told(attribute: attrs.Attribute[object], value: object) -> bool:
    """Whether it is there at all: only what is wrong and listed in the manual has a ``mistake``."""
    return attribute.name != "mistake" or bool(value)


def _write(findings: Sequence[Finding]) -> None:
    if not sys.stdout.isatty():
        for one in findings:
            click.echo(f"{'ok' if one.ok else 'WRONG'}\t{one.what}\t{output.printable(one.detail)}")
        return
    console = Console(highlight=False)
    for one in findings:
        mark = Text("  ok   ", "green") if one.ok else Text(" WRONG ", "bold red")
        console.print(mark + Text(f" {one.what}: ", "bold") + Text(output.printable(one.detail)))
