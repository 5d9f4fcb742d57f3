"""The doctor finds what is wrong, says what to do, and is quiet about the rest; whether the gateway runs or not."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import SECRET, administered, run
from tests.support.process import free_port

WORKING = """
[frontends.client]
endpoint = "tcp:{client}:interface=127.0.0.1"
[frontends.manager]
endpoint = "tcp:{manager}:interface=127.0.0.1"
[volumes.local]
backend = "vfs"
path = "vfolders"
[authenticators.accounts]
"""


def examined(folder: Path, text: str = WORKING) -> dict[str, tuple[bool, str]]:
    """What the doctor says of a configuration, by subject."""
    file = folder / "vfgateway.toml"
    file.write_text(text.replace("{client}", str(free_port())).replace("{manager}", str(free_port())))
    result = run("--config", str(file), "doctor", "--json")
    findings: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == any(not one["ok"] for one in findings)
    return {one["what"]: (one["ok"], one["detail"]) for one in findings}


def wrong(findings: dict[str, tuple[bool, str]]) -> set[str]:
    """The subjects that need attention."""
    return {what for what, (ok, _) in findings.items() if not ok}


def test_before_the_first_start_only_the_gateway_is_missing(tmp_path: Path) -> None:
    """Nothing that it makes by itself is a fault; and looking makes nothing."""
    findings = examined(tmp_path)
    assert wrong(findings) == {"gateway"}
    assert "make run" in findings["gateway"][1]
    assert {"configuration", "data_dir", "database", "volume local", "front end client", "authenticators"} <= set(
        findings
    )
    assert [path.name for path in tmp_path.iterdir()] == ["vfgateway.toml"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('backend = "vfs"', 'backend = "vsf"', "vfs"),
        ('path = "vfolders"', 'path = "vfolders"\nfile_mod = "0640"', "file_mode"),
        ("[authenticators.accounts]", "[authenticators.account]", "accounts"),
        ("[frontends.client]", "[frontends.client]\nsecret = 1", "frontends.client"),
    ],
)
def test_a_configuration_that_the_daemon_would_refuse_is_told_in_its_words(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    """Plugins' tables, too: they are the daemon's to judge."""
    findings = examined(tmp_path, WORKING.replace(old, new))
    assert not findings["configuration"][0]
    assert told in findings["configuration"][1]


def test_sockets_that_systemd_will_pass_are_no_fault(tmp_path: Path) -> None:
    """The doctor runs outside of the unit."""
    text = WORKING.replace('"tcp:{client}:interface=127.0.0.1"', '"systemd:domain=INET:name=client"')
    assert wrong(examined(tmp_path, text)) == {"gateway"}


def test_a_data_dir_that_others_may_enter_is_told(tmp_path: Path) -> None:
    """With the command that mends it."""
    (tmp_path / "var").mkdir(mode=0o755)
    findings = examined(tmp_path)
    assert "data_dir" in wrong(findings)
    assert f"chmod 0700 {tmp_path}/var" in findings["data_dir"][1]


def test_a_database_that_is_none_is_told(tmp_path: Path) -> None:
    """Before the daemon stumbles over it."""
    (tmp_path / "var").mkdir(mode=0o700)
    (tmp_path / "var/vfgateway.db").write_bytes(b"something else, and long enough to be looked at" * 100)
    assert "database" in wrong(examined(tmp_path))


def test_a_volume_that_is_a_file_is_told(tmp_path: Path) -> None:
    """Whatever its backend would say."""
    (tmp_path / "vfolders").write_bytes(b"")
    assert "volume local" in wrong(examined(tmp_path))


def test_a_port_that_another_program_has_is_told(tmp_path: Path) -> None:
    """The gateway could not start."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        text = WORKING.replace("{client}", str(other.getsockname()[1]))
        findings = examined(tmp_path, text)
    assert "front end client" in wrong(findings)
    assert "another program" in findings["front end client"][1]


def test_a_gateway_into_which_nobody_can_log_is_told(tmp_path: Path) -> None:
    """An empty list of authenticators is legal, and hardly meant."""
    findings = examined(tmp_path, WORKING.replace("[authenticators.accounts]", ""))
    assert "[authenticators.accounts]" in findings["authenticators"][1]


async def test_a_gateway_that_runs_tells_what_it_found(tmp_path: Path) -> None:
    """Over the network, too, where nothing of this machine counts."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    async with administered(tmp_path) as vfgateway:
        result = await vfgateway.over_the_network("--secret-file", str(secret), "doctor")
        assert result.exit_code == 0
        lines = [line.split("\t")[:2] for line in result.stdout.splitlines()]
        assert {"volume mem", "database", "descriptors", "gateway"} <= {what for _, what in lines}
        assert {mark for mark, _ in lines} == {"ok"}
        here = await vfgateway.run("doctor")
        assert "ok\tvolume mem" in here.stdout
