"""A foreign server as a child process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.meter import Meter

#: Seconds to wait for a server to accept connections, or to end.
PATIENCE = 30.0


class Daemon:
    """A process that listens on ``port``; stops with the ``with`` block.

    :ivar title: name and version, for the report
    """

    title = ""

    def __init__(
        self, folder: Path, port: int, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.port = port
        self._command = command
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def meter(self) -> Meter:
        """What it costs."""
        assert self._process is not None
        return Meter(self._process.pid)

    def __enter__(self) -> Daemon:
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self._command[0]} does not start:\n{(self.folder / 'output').read_text()[-2000:]}"
                )
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def program(name: str, first: Path | None = None) -> str:
    """The full path of a command, if it can be from the directory ``first``. Raises ``RuntimeError``: ``make bench`` installs what is needed."""
    places = [*([str(first)] if first else []), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    found = shutil.which(name, path=":".join(places))
    if found is None:
        raise RuntimeError(f"{name} is missing; `make bench` installs it")
    return found
