"""The reference of all settings, which ``make docs`` makes from the code: it has every key of every table, and says what each means."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from twisted.plugins import vfgateway_dropin

from vfgateway.config import Settings
from vfgateway.interfaces import IAuthenticatorFactory, IFrontEnd, IVolumeFactory
from vfgateway.plugins import LazyPlugin
from vfgateway.section import Secret, Section

SOURCE = Path(__file__).parents[1] / "docs/settings_reference.py"


@pytest.fixture(scope="module")
def page() -> str:
    """What people read."""
    spec = importlib.util.spec_from_file_location("settings_reference", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.page())


def rows(page: str) -> dict[str, dict[str, list[str]]]:
    """The cells of each line, by heading and key."""
    found: dict[str, dict[str, list[str]]] = {}
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in part.splitlines() if line.startswith("| `")]
        cells = [[cell.strip() for cell in line] for line in lines]
        found[part.splitlines()[0].strip("`")] = {
            key: line for line in cells for key in re.findall(r"`(\w+)`", line[0])
        }
    return found


def below(section: type[Section]) -> Iterator[type[Section]]:
    """All that derive from it, of ours."""
    for child in section.__subclasses__():
        if child.__module__.startswith("vfgateway."):
            yield child
            yield from below(child)


def keys(section: type[Section]) -> set[str]:
    """What may be written in a table, but for tables within it."""
    found = set()
    for name, field in section.model_fields.items():
        parts: tuple[Any, ...] = (field.annotation, *get_args(field.annotation))
        if not any(isinstance(part, type) and issubclass(part, Section) for part in parts):
            found |= {name, f"{name}_file"} if field.annotation is Secret else {name}
    return found


def test_every_setting_has_a_kind_and_a_meaning(page: str) -> None:
    """In a sentence, not just its name again."""
    silent = [
        (heading, key)
        for heading, table in rows(page).items()
        for key, (_, kind, _, meaning) in table.items()
        if not kind or len(meaning) < len("At once.") or not meaning.endswith(".")
    ]
    assert silent == []


def test_every_table_of_the_code_is_there(page: str) -> None:
    """With all its keys together, and no others."""
    tables = [set(table) for table in rows(page).values()]
    sections = [each for each in below(Section) if keys(each) and each is not Settings]  # whose keys are the headings
    assert len(sections) > 20
    left_out = [each for each in sections if keys(each) not in tables]
    assert [
        each.__name__
        for each in left_out
        if not any(issubclass(other, each) for other in sections if other is not each)
    ] == []


def test_every_plugin_of_ours_has_its_part(page: str) -> None:
    """Whether or not it has keys that nobody else has."""
    headings = "\n".join(rows(page))
    patterns = {
        IFrontEnd: r"^\[frontends\.{}\]$",
        IAuthenticatorFactory: r"^\[authenticators\.{}\]$",
        IVolumeFactory: r'^\[volumes\.NAME\] with backend = .*"{}"',
    }
    plugins = [each for each in vars(vfgateway_dropin).values() if isinstance(each, LazyPlugin)]
    for interface, pattern in patterns.items():
        ours = [each.name for each in plugins if interface.providedBy(each)]
        assert ours
        assert [name for name in ours if not re.search(pattern.format(name), headings, re.MULTILINE)] == []


def test_defaults_are_those_that_count(page: str) -> None:
    """As they would be written."""
    tables = rows(page)
    assert tables["[gateway]"]["trash_retention"][2] == '`"7d"`'
    assert tables["[frontends.client]"]["max_upload_size"][2] == '`"100GiB"`'
    assert tables['[volumes.NAME] with backend = "vfs" or "nfs"']["file_mode"][2] == '`"0640"`'
    assert tables['[volumes.NAME] with backend = "vfs" or "nfs"']["path"][2] == "**must be given**"
    assert tables["[volumes.NAME]"]["backend"][2] == "**must be given**"
