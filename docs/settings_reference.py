"""Makes the reference of all settings out of the classes that read them: names, kinds and defaults from the fields, meanings from the
docstrings. Used by ``conf.py``, and by a test that wants each setting explained."""

import importlib
import json
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ByteSize

from vfgateway import plugins
from vfgateway.config import Settings
from vfgateway.section import Seconds, SecondsOrNone, Secret, Section

HEAD = """# All settings

Made from the code by `make docs`. The [administrator's manual](administrator.md) explains how they work together;
[etc/vfgateway.toml](../etc/vfgateway.toml) is a configuration to begin with. What stands below `mounts.toml` is for hosts of agents ([mounting](mounting.md)).
"""
#: Parts whose tables are no plugins'.
ALSO = ("vfgateway.mounting.settings",)
_IVAR = re.compile(r"^ *:ivar (\w+): ?(.*?)(?=^ *:|^\s*$|\Z)", re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r":\w+:`(?:[\w.]+\.)?(\w+)`")


def tables() -> dict[str, type[Section]]:
    """Every table that the built-in parts read, by its heading."""
    for module in (*ALSO, *(each.module for interface in plugins.KINDS for each in plugins.installed(interface))):
        importlib.import_module(module)
    ours = [each for each in _below(Section) if each.__module__.startswith("vfgateway.") and each is not Settings]
    within = {inner for each in ours for field in each.model_fields.values() for inner in _sections(field.annotation)}
    found = {heading(each): each for each in ours if not _is_base(each) or each in within}
    order = ["gateway", "frontends", "volumes", "authenticators"]
    return dict(sorted(found.items(), key=lambda item: (_place(item[0], order), item[0].replace("]", "\0"))))


def _is_base(section: type[Section]) -> bool:
    """Whether it is only read as a part of others."""
    return bool(section.__subclasses__()) and "backends" not in vars(section)


def _place(heading: str, order: list[str]) -> int:
    if not heading.startswith("["):
        return len(order) + 1  # of another file
    first = re.split(r"[\].]", heading[1:])[0]
    return order.index(first) if first in order else len(order)


def _below(parent: type[Section]) -> list[type[Section]]:
    return [each for child in parent.__subclasses__() for each in (child, *_below(child))]


def heading(section: type[Section]) -> str:
    """Where it is written: as its docstring says, or by the package that it belongs to."""
    match = re.match(r"``(\[[^`]+\])``", section.__doc__ or "")
    written = match[1] if match else ""
    _, kind, name = f"{section.__module__}..".split(".")[:3]
    if kind == "mounting":
        return f"mounts.toml {written}".strip()
    if kind == "backends" and written in ("", "[volumes.NAME]"):
        backends = " or ".join(f'"{each}"' for each in vars(section).get("backends", (name,)))
        return f"[volumes.NAME] with backend = {backends}"
    return written or f"[{'frontends' if kind == 'protocols' else kind}.{name}]"


def meanings(section: type[Section]) -> dict[str, str]:
    """What the docstrings say of each field."""
    found: dict[str, str] = {}
    for each in reversed(section.__mro__):
        for name, text in _IVAR.findall(each.__doc__ or ""):
            text = _ROLE.sub(r"`\1`", " ".join(text.split())).replace("``", "`").replace("|", "\\|")
            found[name] = text[:1].upper() + text[1:].rstrip(".") + "." if text else ""
    return found


def _sections(annotation: Any) -> list[type[Section]]:
    """The tables that a field holds."""
    parts = (annotation, *get_args(annotation))
    return [each for each in parts if isinstance(each, type) and issubclass(each, Section)]


def kind(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """What may be written, in a few words."""
    for named, words in ((Seconds, "time"), (SecondsOrNone, "time")):
        if metadata and any(piece in metadata for piece in get_args(named)[1:2]):
            return words
    origin, inner = get_origin(annotation), [each for each in get_args(annotation) if each is not NoneType]
    if origin is Annotated:
        return kind(inner[0], tuple(inner[1:]))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind(each) for each in inner))
    if origin is Literal:
        return ", ".join(f"`{json.dumps(each)}`" for each in inner)
    if origin in (tuple, list, frozenset, set):
        words = kind(inner[0])
        return f"list of {words}" if words.startswith("`") else f"list of {words}s"
    if origin is dict:
        return "table"
    words = {
        str: "text",
        int: "number",
        float: "number",
        bool: "true or false",
        Path: "path",
        Secret: "secret",
        ByteSize: "size",
    }
    return words.get(annotation, getattr(annotation, "__name__", "text"))


def default(section: type[Section], name: str) -> str:
    """What counts where nothing is written; nothing for what is empty or depends."""
    field = section.model_fields[name]
    if field.is_required():
        return "**must be given**"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, Secret | Section) or value == () or value == "":
        return ""
    if kind(field.annotation, tuple(field.metadata)) == "time":
        return f"`{json.dumps(duration(value))}`"
    if isinstance(value, ByteSize):
        return f'`"{value.human_readable().replace(".0", "")}"`'
    if name.endswith("_mode"):
        return f'`"{value:04o}"`'
    shown = str(value) if isinstance(value, Path) else value
    return f"`{json.dumps(shown)}`".replace("|", "\\|")


def duration(seconds: float) -> str:
    """As it would be written."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def page() -> str:
    """The whole page, as Markdown."""
    lines = [HEAD]
    for title, section in tables().items():
        known = meanings(section)
        fields = {name: field for name, field in section.model_fields.items() if not _sections(field.annotation)}
        if not fields:
            continue
        lines += [f"## `{title}`", "", "| Key | Kind | Default | |", "| --- | --- | --- | --- |"]
        for name, field in fields.items():
            key = field.alias or name
            words = kind(field.annotation, tuple(field.metadata))
            keys = f"`{key}`, `{key}_file`" if words == "secret" else f"`{key}`"
            lines.append(f"| {keys} | {words} | {default(section, name)} | {known.get(name, '')} |")
        lines.append("")
    return "\n".join(lines)
