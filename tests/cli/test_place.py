"""The command finds the gateway where the daemon would put it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import run
from vfgateway.cli.failures import CommandFailed
from vfgateway.cli.place import find


def configuration(folder: Path, text: str) -> Path:
    """A configuration in a file."""
    file = folder / "vfgateway.toml"
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without anything, and no variable that tells of another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VFGATEWAY_CONFIG", raising=False)


def test_without_configuration_it_is_the_embedded_gateway(tmp_path: Path) -> None:
    """What ``make run`` started in this folder."""
    assert find(None).socket == tmp_path / "var/manager.sock"


def test_data_dir_counts_from_the_file(tmp_path: Path) -> None:
    """As for the daemon, wherever the command is called."""
    (tmp_path / "etc").mkdir()
    file = configuration(tmp_path / "etc", '[gateway]\ndata_dir = "../state"\n[frontends.manager]\n')
    socket = find(file).socket
    assert socket is not None
    assert socket.resolve() == (tmp_path / "state/manager.sock").resolve()


def test_a_socket_elsewhere_is_found(tmp_path: Path) -> None:
    """``socket`` in the front end's table."""
    file = configuration(tmp_path, '[frontends.manager]\nsocket = "run/cli.sock"\n')
    assert find(file).socket == tmp_path / "run/cli.sock"


@pytest.mark.parametrize("text", ["[frontends.manager]\nsocket = false\n", "[frontends.client]\n"])
def test_without_a_socket_the_way_out_is_told(tmp_path: Path, text: str) -> None:
    """The network is the other way in."""
    result = run("--config", str(configuration(tmp_path, text)), "user", "list")
    assert result.exit_code == 1
    assert "--url" in result.stderr


def test_sockets_of_systemd_do_not_matter(tmp_path: Path) -> None:
    """The daemon refuses to start without them; the command has nothing to do with them."""
    text = '[frontends.manager]\nendpoint = "systemd:domain=INET:name=manager"\n'
    assert find(configuration(tmp_path, text)).socket == tmp_path / "var/manager.sock"


@pytest.mark.parametrize("content", [b"[gateway", b"\xff"])
def test_what_is_no_configuration_is_told(tmp_path: Path, content: bytes) -> None:
    """With the file's name."""
    file = tmp_path / "vfgateway.toml"
    file.write_bytes(content)
    with pytest.raises(CommandFailed, match=r"vfgateway\.toml(:1)?: it is not TOML"):
        find(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(CommandFailed, match="cannot read"):
        find(tmp_path / "nothing.toml")


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    """The gateway could not listen there either."""
    file = configuration(tmp_path, f'[gateway]\ndata_dir = "{"d" * 120}"\n[frontends.manager]\n')
    result = run("--config", str(file), "user", "list")
    assert result.exit_code == 1
    assert "too long" in result.stderr
