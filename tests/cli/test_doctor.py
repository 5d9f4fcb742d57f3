"""The doctor asks the daemon what it thinks of its configuration, makes nothing, and works whether the gateway runs or not. What it finds is in
``test_mistakes``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import SECRET, administered, run
from tests.support.process import free_port
from vfgateway.cli import place
from vfgateway.cli.place import Place

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


def configured(folder: Path, text: str = WORKING) -> Path:
    """A file of it, with ports of its own."""
    file = folder / "vfgateway.toml"
    file.write_text(text.replace("{client}", str(free_port())).replace("{manager}", str(free_port())))
    file.chmod(0o600)
    return file


def placed(folder: Path, text: str) -> Place:
    """A configuration as the command reads it."""
    return place.find(configured(folder, text))


def examined(folder: Path, text: str = WORKING) -> dict[str, tuple[bool, str]]:
    """What the doctor says of a configuration, by subject."""
    result = run("--config", str(configured(folder, text)), "doctor", "--json")
    findings: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == any(not one["ok"] for one in findings)
    assert all(one["ok"] != ("mistake" in one) for one in findings)
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
