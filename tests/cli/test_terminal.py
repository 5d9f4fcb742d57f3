"""The command as somebody at a terminal meets it: asked for passwords that nobody sees, shown tables, and let go by Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import PATIENCE, GatewayProcess, Site

COMMAND = str(Path(sys.executable).parent / "vfgateway")


class Terminal:
    """One command on a pseudo-terminal of its own."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        environ: Mapping[str, str] = os.environ | {"TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=cwd,
            env=environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Until ``text`` is on the screen."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert self._read(deadline - time.monotonic()), f"no {text!r} in {self.shown!r}"

    def _read(self, patience: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(patience, 0))
        try:
            more = os.read(self._ours, 65536) if ready else b""
        except OSError:  # Linux says so when the other side is closed
            more = b""
        self.shown += more.decode("utf-8", "replace")
        return bool(more)

    @property
    def echoes(self) -> bool:
        """Whether what is typed can be seen."""
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def type(self, text: str) -> None:
        """A line."""
        os.write(self._ours, f"{text}\n".encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline - time.monotonic()):
            pass
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        """Nothing is left."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@contextmanager
def terminal(cwd: Path, *arguments: str) -> Iterator[Terminal]:
    """The command at work in ``cwd``."""
    made = Terminal(arguments, cwd)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway that runs."""
    site = Site(tmp_path_factory.mktemp("terminal") / "site")
    with GatewayProcess(site):
        yield site


def test_a_password_is_asked_for_twice_and_never_shown(site: Site) -> None:
    """The account can log in with it."""
    with terminal(site.folder, "user", "add", "alice") as screen:
        screen.wait_for("Password for alice:")
        assert not screen.echoes
        screen.type("correct horse battery staple")
        screen.wait_for("epeat for confirmation:")
        screen.type("correct horse battery staple")
        assert screen.end() == 0
        assert "user alice added" in screen.shown
        assert "staple" not in screen.shown
    site.manager("POST", "/vfgateway/v1/vfolders", {"owner": "alice", "name": "asked", "volume": "local"})
    login = ("alice", "correct horse battery staple")
    assert site.http.get(f"{site.client_url}/vfgateway/v1/files/asked/none", auth=login, timeout=60).status_code == 404


def test_ctrl_c_ends_it_without_a_word_too_many(site: Site) -> None:
    """Nothing is done, no traceback is shown."""
    with terminal(site.folder, "user", "add", "mallory") as screen:
        screen.wait_for("Password for mallory:")
        screen.interrupt()
        assert screen.end() == 130
        assert "Traceback" not in screen.shown
        assert len(screen.shown.splitlines()) <= 2
    assert "mallory" not in [user["name"] for user in site.manager("GET", "/vfgateway/v1/users")["users"]]


def test_a_deletion_is_asked_about(site: Site) -> None:
    """With what would be lost; no is the answer of whoever just types Enter."""
    site.manager("POST", "/vfgateway/v1/users", {"name": "dora"})
    site.manager("POST", "/vfgateway/v1/vfolders", {"owner": "dora", "name": "precious", "volume": "local"})
    with terminal(site.folder, "vfolder", "delete", "dora/precious") as screen:
        screen.wait_for("[y/N]")
        assert "dora/precious" in screen.shown
        screen.type("")
        assert screen.end() == 130
    with terminal(site.folder, "vfolder", "delete", "dora/precious") as screen:
        screen.wait_for("[y/N]")
        screen.type("y")
        assert screen.end() == 0
        assert "dora/precious deleted" in screen.shown


def test_a_list_is_a_table(site: Site) -> None:
    """With titles over aligned columns."""
    with terminal(site.folder, "volume", "list") as screen:
        assert screen.end() == 0
    titles, row = (re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in screen.shown.splitlines())
    assert titles.split()[:3] == ["Name", "Backend", "State"]
    assert row.split()[:3] == ["local", "vfs", "healthy"]
    assert titles.index("Backend") == row.index("vfs")


def test_a_pipe_that_closes_early_is_no_trouble(site: Site) -> None:
    """``vfgateway ... | head -1``."""
    command = f"{COMMAND} volume show local --json | true"
    done = subprocess.run(["sh", "-c", command], cwd=site.folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stderr == ""


def test_passwords_are_no_arguments() -> None:
    """There is no option that takes one."""
    done = subprocess.run([COMMAND, "user", "add", "--help"], capture_output=True, text=True, timeout=PATIENCE)
    assert "--password " not in done.stdout
    assert "--password-stdin" in done.stdout
