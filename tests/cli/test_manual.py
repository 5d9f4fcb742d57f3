"""The manual of the command has every verb, option and exit code; shells can complete them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from twisted.internet.threads import deferToThread

from tests.cli.command import administered, run, with_alice
from vfgateway.cli.failures import Exit
from vfgateway.cli.main import cli

MANUAL = (Path(__file__).parents[2] / "docs/cli.md").read_text()


def verbs(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with what is typed for it."""
    if isinstance(command, click.Group):
        for word, inner in command.commands.items():
            yield from verbs(inner, f"{name} {word}".strip())
    else:
        yield name, command


ALL = dict(verbs(cli))


@pytest.mark.parametrize("name", ALL)
def test_every_verb_is_in_the_manual_and_helps(name: str) -> None:
    """What it does, in a sentence, in both places."""
    assert f"`{name}" in MANUAL
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert ALL[name].help


def test_every_option_that_not_all_have_is_in_the_manual() -> None:
    """What cannot be read about is not used."""
    options = {
        option
        for command in [cli, *ALL.values()]
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    assert not {option for option in options if option not in MANUAL}


@pytest.mark.parametrize("code", Exit)
def test_every_exit_code_is_in_the_manual(code: Exit) -> None:
    """Scripts rely on them."""
    assert f"| {code.value} |" in MANUAL


def test_lists_and_shows_speak_json() -> None:
    """All of them."""
    looking = {
        name: command for name, command in ALL.items() if name.split()[-1] in ("list", "show", "backends", "doctor")
    }
    assert len(looking) > 10
    assert not [name for name, command in looking.items() if not any(p.name == "as_json" for p in command.params)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_served(shell: str) -> None:
    """The script asks the command itself."""
    assert "_VFGATEWAY_COMPLETE" in run("completion", shell).stdout


async def test_names_are_completed(tmp_path: Path) -> None:
    """Those that the gateway knows; without a gateway, none, and no noise."""

    def offered(*words: str) -> list[str]:
        complete = ShellComplete(cli, {}, "vfgateway", "_VFGATEWAY_COMPLETE")
        return [
            item.value
            for item in complete.get_completions(["--config", str(tmp_path / "vfgateway.toml"), *words], "al")
        ]

    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        assert await deferToThread(offered, "vfolder", "show") == ["alice/data"]
        assert await deferToThread(offered, "user", "show") == ["alice"]
    assert offered("user", "show") == []


def test_the_version_is_told() -> None:
    """As of every command."""
    assert run("--version").stdout.startswith("vfgateway ")
