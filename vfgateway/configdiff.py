"""What is different between two configurations, key by key. Secrets are compared, and not shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from vfgateway.errors import ConfigurationError
from vfgateway.section import is_sensitive
from vfgateway.tomlfile import NotToml, read

_HIDDEN = "(not shown)"


@attrs.frozen
class Difference:
    """One key. ``running`` and ``written`` are ``None`` where it is not there."""

    key: str
    running: str | None
    written: str | None


def differences(running: str, written: str) -> Sequence[Difference]:
    """What ``written`` would change, by key. ``ConfigurationError`` for what is not TOML."""
    try:
        before, after = (dict(_flat(read(text), "")) for text in (running, written))
    except NotToml as error:
        raise ConfigurationError("", f"the configuration is not TOML: {error}") from None
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [Difference(key, _shown(key, before), _shown(key, after)) for key in changed]


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}{key}" if "." not in key else f'{prefix}"{key}"'
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _shown(key: str, values: Mapping[str, Any]) -> str | None:
    if key not in values:
        return None
    last = key.rpartition(".")[2]
    return _HIDDEN if is_sensitive(last) and not last.endswith("_file") else repr(values[key])
