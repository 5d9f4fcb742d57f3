"""What people type: sizes, points in time, names of things; each with what it may be in the message when it is wrong."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import click
from click.shell_completion import CompletionItem

from vfgateway.cli.client import Choice, Client, path
from vfgateway.cli.failures import CommandFailed

#: Bytes in each unit. A bare letter is binary, as in coreutils.
UNITS: Mapping[str, int] = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtpe", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtpe", 1)},
    **{letter: 1024**power for power, letter in enumerate("kmgtpe", 1)},
}
_SPANS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]+)?)\s*([a-z]*)", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]{1,6})([mhdw])")


class Null(enum.Enum):
    """Lifts a limit, an expiry, an owner: ``null`` in JSON, where ``None`` says that an option was not given."""

    NULL = enum.auto()


NULL = Null.NULL


def given(**options: Any) -> dict[str, Any]:
    """A body of those options that were given."""
    return {name: None if value is NULL else value for name, value in options.items() if value is not None}


class _OrNone(click.ParamType):  # type: ignore[type-arg]  # generic in stubs of late releases only
    """A parameter that the word ``none`` lifts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Called by click."""
        if not isinstance(value, str):
            return value
        return NULL if value.lower() == "none" else self.read(value, param, ctx)

    def read(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        raise NotImplementedError


class Size(_OrNone):
    """Bytes: ``10GiB``, ``10GB``, ``1.5T``, or a number."""

    name = "size"

    def read(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _SIZE.fullmatch(text.strip())
        unit = UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            self.fail(f"{text!r} is no size: write 10GiB, 10GB, a number of bytes, or none", param, ctx)
        return int(Decimal(match[1]) * unit)


class Count(_OrNone):
    """A whole number that is not negative."""

    name = "number"

    def read(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not re.fullmatch("[0-9]{1,19}", text):
            self.fail(f"{text!r} is no whole number: write one, or none", param, ctx)
        return int(text)


class When(_OrNone):
    """A point in time: ISO 8601, local where no zone is said; or how long from now: ``30m``, ``12h``, ``7d``, ``4w``."""

    name = "when"

    def read(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        now = datetime.now(UTC)
        try:
            if span := _SPAN.fullmatch(text):
                return (now + int(span[1]) * _SPANS[span[2]]).timestamp()
            moment = datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time: write 2030-12-31, 2030-12-31T18:00+01:00, 7d, 12h, or none", param, ctx)
        if moment < now:
            self.fail(f"{text!r} has passed", param, ctx)
        return moment.timestamp()


class Ago(click.ParamType):  # type: ignore[type-arg]
    """A point in the past: ISO 8601, local where no zone is said; or how long ago: ``30m``, ``12h``, ``7d``, ``4w``."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Called by click."""
        if isinstance(value, float):
            return value
        try:
            if span := _SPAN.fullmatch(value):
                return (datetime.now(UTC) - int(span[1]) * _SPANS[span[2]]).timestamp()
            return max(0.0, datetime.fromisoformat(value).astimezone().timestamp())
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: write 2026-12-31, 2026-12-31T18:00+01:00, 7d or 12h", param, ctx)


class Text(_OrNone):
    """Any text; ``none`` takes away what is there."""

    name = "text"

    def read(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return text


SIZE, COUNT, WHEN, AGO, TEXT = Size(), Count(), When(), Ago(), Text()
PERMISSION = click.Choice(["ro", "rw", "rwd"])
KIND = click.Choice(["user", "group"])
PROTOCOL = click.Choice(["client", "webdav", "sftp"])


class Known(click.ParamType):  # type: ignore[type-arg]
    """The name of something that the gateway knows, and can so complete.

    :param name: of what
    :param list_names: asks for all of them
    """

    def __init__(self, name: str, list_names: Callable[[Client], list[str]]) -> None:
        self.name = name
        self._list_names = list_names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Called by click while somebody is typing; there is nobody to tell about failures."""
        options = ctx.find_root().params
        client = Client(Choice(**{key: options.get(key) for key in ("config", "url", "secret_file", "key_file")}))
        try:
            names = self._list_names(client)
        except (CommandFailed, click.UsageError):
            return []
        finally:
            client.close()
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def full_name(vfolder: Mapping[str, Any]) -> str:
    """What people call a vfolder: ``OWNER/NAME``."""
    return f"{vfolder['owner'] or vfolder['owner_id'] or '-'}/{vfolder['name']}"


def _names(*route: str) -> Callable[[Client], list[str]]:
    return lambda client: [one["name"] for one in client.get(path(*route))[route[-1]]]


USER = Known("user", _names("users"))
GROUP = Known("group", _names("groups"))
VOLUME = Known("volume", _names("volumes"))
VFOLDER = Known("vfolder", lambda client: [full_name(one) for one in client.get(path("vfolders"))["vfolders"]])


def owner_and_name(text: str) -> tuple[str, str]:
    """``OWNER/NAME`` taken apart. Raises ``UsageError``."""
    owner, slash, name = text.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise click.UsageError(f"{text!r} should be OWNER/NAME, such as alice/data")
    return owner, name
