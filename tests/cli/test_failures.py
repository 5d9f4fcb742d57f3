"""A command that cannot do what it should says why in one line, and scripts can tell what kind of why it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import SECRET, administered, run, with_alice


def secret_in(folder: Path, secret: str, mode: int = 0o600) -> str:
    """A file with a secret."""
    file = folder / "secret"
    file.write_text(f"{secret}\n")
    file.chmod(mode)
    return str(file)


def test_a_gateway_that_does_not_run_is_told_with_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The likeliest of all mistakes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VFGATEWAY_CONFIG", raising=False)
    result = run("user", "list")
    assert result.exit_code == 5
    (line,) = result.stderr.splitlines()
    assert "make run" in line
    assert "systemctl start vfgateway" in line


def test_a_gateway_elsewhere_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """With its address."""
    result = run("--url", "http://127.0.0.1:9", "--secret-file", secret_in(tmp_path, "s"), "user", "list")
    assert result.exit_code == 5
    assert "http://127.0.0.1:9" in result.stderr


async def test_what_there_is_not_ends_with_three(tmp_path: Path) -> None:
    """Users, vfolders, volumes, keys, tasks, uploads alike."""
    async with administered(tmp_path) as vfgateway:
        for arguments in (
            ("user", "show", "nobody"),
            ("group", "show", "nobody"),
            ("vfolder", "show", "nobody/nothing"),
            ("volume", "show", "nowhere"),
            ("task", "show", "none"),
            ("task", "watch", "none"),
            ("upload", "cancel", "none"),
            ("key", "remove", "nobody", "none"),
        ):
            result = await vfgateway.run(*arguments)
            assert result.exit_code == 3, (arguments, result.output)
            assert len(result.stderr.splitlines()) == 1


async def test_what_was_typed_wrongly_ends_with_two(tmp_path: Path) -> None:
    """Whether the command or the gateway noticed."""
    async with administered(tmp_path) as vfgateway:
        for arguments in (
            ("user", "add", "a:b", "--no-password"),
            ("user", "edit", "alice"),
            ("vfolder", "create", "alice"),
            ("vfolder", "edit", "data", "--quota", "much"),
            ("grant", "add", "data", "--user", "bob", "--permission", "all"),
            ("nonsense",),
        ):
            assert (await vfgateway.run(*arguments)).exit_code == 2, arguments


async def test_what_clashes_ends_with_one(tmp_path: Path) -> None:
    """A name that is taken; a short name that may be two vfolders, which are both told."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        assert (await vfgateway.run("user", "add", "alice", "--no-password")).exit_code == 1
        await vfgateway("vfolder", "create", "bob/data")
        result = await vfgateway.run("vfolder", "show", "data")
        assert result.exit_code == 1
        assert "alice/data" in result.stderr
        assert "bob/data" in result.stderr


async def test_secret_and_key_open_over_the_network(tmp_path: Path) -> None:
    """The orchestrator's secret, or a key of an administrator; nobody else's."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        secret = secret_in(tmp_path, SECRET)
        assert (await vfgateway.over_the_network("--secret-file", secret, "user", "list")).exit_code == 0
        key = secret_in(tmp_path, await vfgateway("key", "add", "alice"))
        refused = await vfgateway.over_the_network("--key-file", key, "user", "list")
        assert refused.exit_code == 4
        assert "administrator" in refused.stderr
        await vfgateway("user", "edit", "alice", "--admin")
        assert (await vfgateway.over_the_network("--key-file", key, "user", "list")).exit_code == 0
        wrong = secret_in(tmp_path, "wrong")
        assert (await vfgateway.over_the_network("--secret-file", wrong, "user", "list")).exit_code == 4


async def test_over_the_network_something_must_show_who_calls(tmp_path: Path) -> None:
    """And a secret that everybody can read is none."""
    async with administered(tmp_path) as vfgateway:
        assert (await vfgateway.over_the_network("user", "list")).exit_code == 2
        readable = await vfgateway.over_the_network("--secret-file", secret_in(tmp_path, SECRET, 0o644), "user", "list")
        assert readable.exit_code == 1
        assert "everybody can read" in readable.stderr


async def test_a_limit_that_refuses_ends_with_four(tmp_path: Path) -> None:
    """The gateway could, and may not."""
    async with administered(tmp_path) as vfgateway:
        await with_alice(vfgateway)
        result = await vfgateway.run("token", "upload", "data", "big", "--size", "1GiB")
        assert result.exit_code == 4
