"""The daemon as its administrator meets it: started, refused and stopped through ``twistd`` itself."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import eventually

TWISTD = str(Path(sys.executable).parent / "twistd")
#: Seconds after which a daemon that neither starts nor ends is killed.
PATIENCE = 60

WORKING = """
[frontends.client]
endpoint = "tcp:{port}:interface=127.0.0.1"
[frontends.manager]
endpoint = "tcp:0:interface=127.0.0.1"
[volumes.local]
backend = "vfs"
path = "var/vfolders"
[authenticators.accounts]
"""


def site(folder: Path, text: str = WORKING, port: int = 0) -> Path:
    """A folder with a configuration."""
    folder.mkdir()
    (folder / "vfgateway.toml").write_text(text.replace("{port}", str(port)))
    return folder


def to_the_end(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``twistd`` in ``folder`` until the command returns."""
    command = [TWISTD, *options, "vfgateway"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway in the foreground, and what it printed until it was ready."""
    command = [TWISTD, "--nodaemon", "--pidfile=", "vfgateway"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        printed = ""
        while not re.search(r"Stop it with Ctrl-C\.\n\n.*\n\n", printed, re.DOTALL):
            line = process.stdout.readline()
            assert line, f"the gateway ended: {printed}"
            printed += line
        yield process, printed
    finally:
        process.kill()
        process.communicate()
        watchdog.cancel()


def test_a_start_shows_where_everything_is_and_what_to_try(tmp_path: Path) -> None:
    """Each front end with an URL that answers and a command to paste."""
    with running(site(tmp_path / "site")) as (_, printed):
        for name in ("client", "manager"):
            found = re.search(rf"^  {name} +(http://127\.0\.0\.1:\d+)\n    \S", printed, re.MULTILINE)
            assert found, printed
            with urllib.request.urlopen(found[1] + "/", timeout=PATIENCE) as answer:
                assert answer.status == 200


def test_data_is_for_the_gateways_eyes_alone(tmp_path: Path) -> None:
    """The folder of keys and secrets, whatever the umask."""
    folder = site(tmp_path / "site")
    with running(folder):
        assert stat.S_IMODE((folder / "var").stat().st_mode) == 0o700


def test_it_can_be_stopped_and_started_again(tmp_path: Path) -> None:
    """What the first run left does not stand in the way of the second."""
    folder = site(tmp_path / "site")
    for _ in range(2):
        with running(folder) as (process, _):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("options", [["--nodaemon"], []], ids=["foreground", "daemon"])
def test_a_mistake_in_the_configuration_stops_it_on_the_terminal(tmp_path: Path, options: list[str]) -> None:
    """One line, status 1, nothing started and nothing left behind."""
    folder = site(tmp_path / "site", '[volumes.local]\nbackend = "vfs"\npth = "x"\n')
    ended = to_the_end(folder, *options)
    assert ended.returncode == 1
    told = "volumes.local.pth: there is no such key; did you mean path?, got 'x'"
    assert ended.stderr.strip() == f"vfgateway: {folder / 'vfgateway.toml'}:3: {told}"
    assert not ended.stdout
    assert [each.name for each in folder.iterdir()] == ["vfgateway.toml"]


@pytest.mark.parametrize("options", [["--nodaemon"], []], ids=["foreground", "daemon"])
def test_a_port_that_is_taken_stops_it_plainly(tmp_path: Path, options: list[str]) -> None:
    """Whoever typed the command is told whose port it is, also when the daemon had detached by then."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = to_the_end(site(tmp_path / "site", port=taken.getsockname()[1]), *options)
    assert ended.returncode == 1
    told = ended.stdout + ended.stderr
    assert "frontends.client.endpoint: cannot listen on" in told
    assert "Traceback" not in told
    # The daemon tells whoever started it, who ends then, before it ends itself.
    eventually(lambda: not (tmp_path / "site/twistd.pid").exists(), "nothing is left behind")


def test_a_failure_once_the_reactor_runs_has_an_exit_status_too(tmp_path: Path) -> None:
    """A service manager must see that there is no gateway."""
    text = '[gateway]\ndatabase = "sqlite:////proc/no/such/folder.db"\n' + WORKING
    ended = to_the_end(site(tmp_path / "site", text), "--nodaemon", "--pidfile=")
    assert ended.returncode == 1
    assert "vfgateway: cannot start" in ended.stderr


def test_listing_the_options_of_twistd_shows_the_gateway() -> None:
    """The plugin is offered in the environment that runs the tests."""
    listed = subprocess.run([TWISTD, "--help"], capture_output=True, text=True, timeout=PATIENCE)
    assert re.search(r"^ +vfgateway +A storage gateway", listed.stdout, re.MULTILINE)
