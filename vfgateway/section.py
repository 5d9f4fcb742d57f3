"""How a table of the configuration is read: typed, with paths and secrets that know where they come from, and mistakes
answered by what was probably meant. Plugins describe their own tables with it too.

A plugin writes::

    class LocalSettings(Section):
        path: ConfigPath
        token: Secret = Secret()

    LocalSettings.model_validate(settings)

and gets relative paths counted from the configuration's folder, ``token_file`` beside ``token``, and an unknown key refused by name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import attrs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from vfgateway import secretfile
from vfgateway.errors import ConfigurationError

_SENSITIVE = re.compile(r"secret|password|token|credential|url|database|key", re.IGNORECASE)


def is_sensitive(key: str) -> bool:
    """Whether the value of a key of that name is better not shown."""
    return _SENSITIVE.search(key) is not None


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

#: Pydantic's kinds of fault in the words of somebody who edits a TOML file.
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such key",
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "string_type": "should be a text",
    "int_type": "should be a whole number",
    "bool_type": "should be true or false",
}


class Located(str):
    """A text of the configuration that remembers the folder from which relative paths in it count."""

    folder: Path

    def __new__(cls, text: str, folder: Path) -> Self:
        self = super().__new__(cls, text)
        self.folder = folder
        return self


def locate(value: Any, folder: Path) -> Any:
    """The same value with every text in it, at any depth, made :class:`Located`."""
    if isinstance(value, str):
        return Located(value, folder)
    if isinstance(value, Mapping):
        return {key: locate(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [locate(item, folder) for item in value]
    return value


def _absolute(value: Any) -> Any:
    if isinstance(value, str):
        if "\0" in value:
            raise PydanticCustomError("configuration", "should be a path, which has no NUL in it")
        try:
            path = Path(value).expanduser()
        except RuntimeError:  # ~somebody
            raise PydanticCustomError(
                "configuration", "should be a path; there is no such user's home directory"
            ) from None
        return value.folder / path if isinstance(value, Located) else path
    if not isinstance(value, Path):
        raise PydanticCustomError("configuration", "should be a path")
    return value


#: A path in the configuration: relative ones count from the folder of the file they are written in.
ConfigPath = Annotated[Path, BeforeValidator(_absolute)]


def _seconds(value: Any) -> Any:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        return float(match[1]) * _UNITS[match[2] or "s"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError('should be a time such as "6h", "30m" or a number of seconds')
    return value


#: A time in seconds; written as a number, or as ``"90s"``, ``"30m"``, ``"6h"``, ``"1d"``.
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
#: The same, or none at all.
SecondsOrNone = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]


def _public(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^/\s]+/?", value):
        raise ValueError("should be scheme://host[:port]")
    return value


#: What a front end over HTTP is called from outside: ``scheme://host[:port]``, or nothing.
PublicUrl = Annotated[str, AfterValidator(_public)]


@attrs.frozen
class Secret:
    """A secret as configured: one or several values written down, or a file with one value a line.

    The first value is the current one; the others are still accepted, so that a secret can be rotated. The file is read
    by :meth:`load`, at start, when privileges have been dropped; never while the configuration is being read.
    """

    values: tuple[str, ...] = attrs.field(default=(), repr=False)
    path: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.values) or self.path is not None

    def load(self, generate: bool = False) -> tuple[str, ...]:
        """The values, current first. Touches the disk. Where ``generate`` and the file is missing it is made with a random
        value, readable by the owner alone. Raises :class:`vfgateway.errors.ConfigurationError` if there is nothing to read."""
        if self.path is None:
            return self.values
        text = secretfile.load_or_create(self.path) if generate else secretfile.load(self.path)
        return tuple(line.strip() for line in text.splitlines() if line.strip())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate)

    @classmethod
    def _validate(cls, value: Any) -> Secret:
        if isinstance(value, Secret):
            return value
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not values or not all(isinstance(v, str) and v for v in values):
            raise PydanticCustomError("secret", "should be a text, or a list of texts (the current one first)")
        return cls(tuple(str(v) for v in values))


class Section(BaseModel):
    """A table of the configuration: unknown keys are refused, and every :class:`Secret` ``x`` may be given as ``x_file``."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_table(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        table = dict(data)
        known = {field.alias or name: field for name, field in cls.model_fields.items()}
        kept_in_files = {f"{name}_file": name for name, field in known.items() if _is_secret(field)}
        for file_key, key in kept_in_files.items():
            if file_key in table:
                table[key] = cls._secret_file(file_key, key, table)
        if cls.model_config.get("extra") == "forbid":
            unknown = [key for key in table if key not in known]
            if unknown:
                raise _unknown_keys(cls.__name__, table, unknown, [*known, *kept_in_files])
        return table

    @classmethod
    def _secret_file(cls, file_key: str, key: str, table: dict[str, Any]) -> Secret:
        value = table.pop(file_key)
        if key in table:
            raise _wrong(cls.__name__, file_key, f"give either {key} or {file_key}, not both", value)
        if not isinstance(value, str | Path) or not str(value):
            raise _wrong(cls.__name__, file_key, "should be the path of a file", value)
        return Secret(path=_absolute(value))


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is Secret or Secret in getattr(field.annotation, "__args__", ())


def _wrong(title: str, key: str, message: str, value: Any) -> ValidationError:
    kind = PydanticCustomError("configuration", "{message}", {"message": message})
    return ValidationError.from_exception_data(title, [InitErrorDetails(type=kind, loc=(key,), input=value)])


def _unknown_keys(
    title: str, table: Mapping[str, Any], unknown: Iterable[str], known: Sequence[str]
) -> ValidationError:
    lines = []
    for key in unknown:
        context = {"hint": what_was_meant(key, known)}
        kind = PydanticCustomError("unknown_key", "there is no such key; {hint}", context)
        lines.append(InitErrorDetails(type=kind, loc=(key,), input=table[key]))
    return ValidationError.from_exception_data(title, lines)


def what_was_meant(word: str, known: Sequence[str]) -> str:
    """``did you mean x?`` where one of the known words is near, otherwise all of them."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known are {', '.join(sorted(known))}" if known else "nothing is expected here"


def mistake(error: ValidationError, prefix: str, table: Any) -> ConfigurationError:
    """What pydantic found, as one sentence about one key.

    :param prefix: the dotted key of the table that was validated (``volumes.local``)
    :param table: that table as written; tells apart what is a key in pydantic's location and what a tag of its own
    """
    faults = error.errors(include_url=False)
    first = faults[0]
    key = _dotted(prefix, first, table)
    same = dict.fromkeys(_sentence(fault) for fault in faults if _dotted(prefix, fault, table) == key)
    shown = _shown(key, first)
    others = {_dotted(prefix, fault, table) for fault in faults} - {key}
    more = f" (also wrong: {', '.join(sorted(others))})" if others else ""
    return ConfigurationError(key, f"{', or '.join(same)}{shown}{more}")


def _dotted(prefix: str, fault: Mapping[str, Any], table: Any) -> str:
    parts = [prefix] if prefix else []
    here = table
    for part in fault["loc"]:
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list | tuple) and isinstance(part, int):
            here = here[part] if part < len(here) else None
        elif fault["type"] == "missing" and isinstance(here, Mapping):
            here = None
        else:
            continue
        parts.append(str(part))
    return ".".join(parts)


def _sentence(fault: Mapping[str, Any]) -> str:
    if fault["type"] in _WORDS:
        return _WORDS[fault["type"]]
    text = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return re.sub(r"^Input should ", "should ", text)


def _shown(key: str, fault: Mapping[str, Any]) -> str:
    """The value, unless it is a secret or might be one that was misspelt."""
    words = (key.rpartition(".")[2], str(fault.get("ctx", {}).get("hint", "")))
    if fault["type"] in ("missing", "secret") or any(map(_SENSITIVE.search, words)):
        return ""
    return f", got {fault['input']!r}"
