"""What a command prints: tables for people, plain columns for pipes, JSON for programs. Nothing that comes from a file name or a
label reaches the terminal as a control sequence."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Members that hold epoch seconds.
TIMES = frozenset(
    {"at", "last", "not_before", "created", "expires", "started", "finished", "last_used", "until", "due"}
)
#: Shown where there is nothing.
NONE = "-"

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, with sizes in bytes and times in ISO 8601."
)


@attrs.frozen
class Column:
    """One column of a list.

    :ivar value: a member's name, or a function of the whole row
    :ivar show: how the value is written for people
    """

    title: str
    value: str | Callable[[Mapping[str, Any]], Any]
    show: Callable[[Any], str] = str
    right: bool = False

    def cell(self, row: Mapping[str, Any]) -> str:
        value = self.value(row) if callable(self.value) else row[self.value]
        return NONE if value is None or value == "" else printable(self.show(value))


# --- writing ---


def write_list(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], as_json: bool, empty: str) -> None:
    """A list: as JSON whole, otherwise the columns.

    :param empty: told to people where there are no rows
    """
    if as_json:
        write_json(list(rows))
    elif not sys.stdout.isatty():
        lines = [[column.title.upper() for column in columns], *([c.cell(row) for c in columns] for row in rows)]
        for line in lines:
            click.echo("\t".join(line))
    elif not rows:
        click.echo(empty, err=True)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(column.cell(row)) for column in columns))
        Console().print(table)


def write_line(row: Mapping[str, Any], columns: Sequence[Column], as_json: bool) -> None:
    """One more row of a list without end: JSON on a line of its own, otherwise the columns."""
    if as_json:
        click.echo(_escaped(json.dumps(with_times(row), ensure_ascii=False)))
    else:
        click.echo("\t".join(column.cell(row) for column in columns))


def write_one(row: Mapping[str, Any], columns: Sequence[Column], as_json: bool) -> None:
    """One thing: as JSON whole, otherwise a line for each column."""
    if as_json:
        write_json(row)
        return
    lines = [(column.title, column.cell(row)) for column in columns]
    if not sys.stdout.isatty():
        for title, cell in lines:
            click.echo(f"{title}\t{cell}")
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, cell in lines:
        table.add_row(title, Text(cell))
    Console().print(table)


def write_json(value: Any) -> None:
    """Anything, times in ISO 8601."""
    text = json.dumps(with_times(value), indent=2, ensure_ascii=False)
    click.echo(_escaped(text, keep="\n"))


def say(message: str) -> None:
    """A note to people, which is no part of the output."""
    click.echo(printable(message), err=True)


def done(message: str, row: Mapping[str, Any] | None = None, as_json: bool = False) -> None:
    """What was done, for people; the thing itself where JSON is wanted."""
    if as_json and row is not None:
        write_json(row)
    else:
        click.echo(printable(message))


# --- wording ---


def with_times(value: Any) -> Any:
    """The same with every member of :data:`TIMES` in ISO 8601, UTC."""
    if isinstance(value, Mapping):
        return {
            key: iso(member) if key in TIMES and isinstance(member, int | float) else with_times(member)
            for key, member in value.items()
        }
    return [with_times(item) for item in value] if isinstance(value, list) else value


def iso(seconds: float) -> str:
    """Epoch seconds in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(seconds: float) -> str:
    """Epoch seconds for people: local time, to the minute."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def size(count: int) -> str:
    """Bytes for people: three digits and a binary unit, exact where that is exact."""
    if count < 0:
        return NONE
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = next(units)
    while value >= 1024 and (larger := next(units, None)):
        value, unit = value / 1024, larger
    digits = f"{value:.0f}" if value.is_integer() else f"{value:.3g}" if value < 999.5 else f"{value:.0f}"
    return f"{digits}{unit}"


def exact_size(count: int) -> str:
    """Bytes for people who may want to know exactly."""
    short = size(count)
    return short if count < 1024 else f"{short} ({count} bytes)"


def flag(value: bool) -> str:
    """Yes or no."""
    return "yes" if value else "no"


def words(values: Iterable[Any]) -> str:
    """Several in one cell."""
    return ", ".join(map(str, values)) or NONE


def printable(text: str) -> str:
    """Fit for a terminal and for one line: control characters, invisible ones and line ends as escapes."""
    return _escaped(text)


def _escaped(text: str, keep: str = "") -> str:
    def escape(match: re.Match[str]) -> str:
        character = match[0]
        if character.isprintable() or character in keep:
            return character
        return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]

    return re.sub(r"[^ -~]", escape, text)
