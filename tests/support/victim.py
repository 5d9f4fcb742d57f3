"""Gateways that are killed in the middle of things, from the side of the test."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Self

from tests.support.process import PATIENCE, ROOT, Site, eventually


class Victim:
    """The gateway of a site, in a process that can be told at which step to die. One at a time; many after each other, quickly.

    Use as a context manager; nothing runs before :meth:`start`.
    """

    def __init__(self) -> None:
        self._site: Site | None = None
        self._told: dict[str, Any] | None = {}  # how it ended; None while it runs
        self._pid = 0

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        self._control = ours
        ours.settimeout(PATIENCE)
        self._lines = ours.makefile("rw")
        command = [sys.executable, "-m", "tests.support.crashing_gateway", str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._control.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def start(self, site: Site, boot_id: str | None = None, later: float = 0.0) -> None:
        """Start and wait until it answers.

        :param boot_id: what it shall take for the machine's boot
        :param later: seconds by which its clock is fast; it then also sweeps at once
        """
        self._site = site
        command = {
            "config": str(site.config),
            "folder": str(site.folder),
            "output": str(site.folder / "output"),
            "boot_id": boot_id,
            "later": later,
        }
        self._pid = self._ask(command)["pid"]
        self._told = None
        eventually(lambda: self._has_spoken() or site.ready(), "the gateway gets ready")
        assert not self._has_spoken(), f"{self._hear()}: {self._output()}"

    def _has_spoken(self) -> bool:
        """Whether a message waits, which before any question can only be that it has ended."""
        return bool(select.select([self._control], [], [], 0)[0])

    def arm(self, fatal: int) -> None:
        """Let it die at its nth change to the disk from now on; 0 is never."""
        self._ask({"arm": fatal})

    def steps(self) -> Sequence[str]:
        """What it has done to the disk since it was armed; it lives."""
        return list(self._ask({})["steps"])

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(command), file=self._lines, flush=True)
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        line = self._lines.readline()
        assert line, "the process that runs gateways has ended"
        told: dict[str, Any] = json.loads(line)
        return told

    def died(self) -> bool:
        """Whether it has killed itself; waits for the end of one that is about to."""
        if self._told is None:
            told = self._ask({})
            if "ended" not in told:
                return False
            assert told["ended"] == -signal.SIGKILL, f"ended by {told['ended']}: {self._output()}"
            self._told = told
        return True

    def kill(self) -> None:
        """End it the hard way, wherever it is."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._told is None:
            os.kill(self._pid, how)
            told = self._hear()
            assert told == {"ended": -how if how == signal.SIGKILL else 0}, f"{told}: {self._output()}"
        self._told = {}

    def _output(self) -> str:
        assert self._site is not None
        return (self._site.folder / "output").read_text(errors="replace")[-4000:]
