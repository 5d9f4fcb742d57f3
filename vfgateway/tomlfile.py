"""A TOML file with the places in it: which line is to blame when it cannot be read, and on which line a key stands.

The library tells no lines but in the text of its errors. So a key is looked for by reading more and more of the file until it is there:
slow, exact for every way in which TOML can be written, and only done for somebody who made a mistake. Imports nothing that takes long.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)")
#: Lines of a file in which keys are looked for; no configuration has as many.
MOST_LINES = 5000


class NotToml(ValueError):
    """``str()`` says what is wrong, ``line`` where, from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


def read(text: str) -> dict[str, Any]:
    """The table that is written. Raises :class:`NotToml`, whatever the text is."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        match = _PLACE.search(said)
        line = int(match[1]) if match and match[1] else text.count("\n") + 1
        raise NotToml(_PLACE.sub("", said), line) from None
    except (ValueError, RecursionError) as error:  # int() has something against numbers of thousands of digits
        deep = isinstance(error, RecursionError)
        raise NotToml("it is nested too deeply" if deep else "a number is too long", _unreadable(text)) from None


def _unreadable(text: str) -> int:
    lines = text.splitlines()[:MOST_LINES]
    for end in range(1, len(lines) + 1):
        try:
            tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        except (ValueError, RecursionError):
            return end
    return 1


def line_of(text: str, key: str) -> int | None:
    """The line, from 1, on which the statement begins that makes ``key`` (dotted), or the nearest table around it that is there.
    ``None`` if there is neither."""
    lines = text.splitlines()[:MOST_LINES]
    known: Mapping[str, Any] = {}
    wanted = _written(_table(lines), key)
    if not wanted:
        return None
    begin = 0
    for end in range(1, len(lines) + 1):
        if not lines[end - 1].strip() and begin == end - 1:
            begin = end
            continue
        known = _table(lines[:end])
        if known is _UNFINISHED:
            continue
        if _written(known, wanted) == wanted:
            return begin + 1 + _comments(lines[begin:end])
        begin = end
    return None


_UNFINISHED: Mapping[str, Any] = {}


def _table(lines: list[str]) -> Mapping[str, Any]:
    try:
        return read("\n".join(lines))
    except NotToml:
        return _UNFINISHED


def _comments(lines: list[str]) -> int:
    """How many lines stand before the statement."""
    return next(number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#"))


def _written(table: Mapping[str, Any], key: str) -> str:
    """As much of a dotted key as is there. Names may have dots in them, so the longest one that fits is tried first."""
    here: Any = table
    rest, found = key.split("."), []
    while rest and isinstance(here, Mapping):
        fitting = (size for size in range(len(rest), 0, -1) if ".".join(rest[:size]) in here)
        size = next(fitting, 0)
        if not size:
            break
        here = here[".".join(rest[:size])]
        found += rest[:size]
        rest = rest[size:]
    return ".".join(found)
