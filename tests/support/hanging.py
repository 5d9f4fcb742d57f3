"""A mount whose server can stop answering: ``sshfs`` over a pipe, with OpenSSH's ``sftp-server`` at the other end, which can be halted."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Final, Self

from tests.support.process import eventually

_SERVER: Final = "/usr/lib/openssh/sftp-server"
#: Everything is asked of the server, every time.
_OPTIONS: Final = "passive,dir_cache=no,attr_timeout=0,entry_timeout=0,negative_timeout=0,default_permissions"


class HangingMount:
    """What lies at ``source``, mounted at ``place``. Ends with the ``with`` block, halted or not."""

    def __init__(self, source: Path, place: Path) -> None:
        self.source = source
        self.place = place
        self._server: subprocess.Popen[bytes] | None = None
        self._client: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.source.mkdir(exist_ok=True)
        self.place.mkdir(exist_ok=True)
        to_server, from_client = os.pipe()
        to_client, from_server = os.pipe()
        try:
            self._server = subprocess.Popen([_SERVER], stdin=to_server, stdout=from_server)
            self._client = subprocess.Popen(
                ["sshfs", "-f", "-o", _OPTIONS, f":{self.source}", str(self.place)], stdin=to_client, stdout=from_client
            )
        finally:
            for number in (to_server, from_client, to_client, from_server):
                os.close(number)
        eventually(self.place.is_mount, "the directory is mounted")
        return self

    def __exit__(self, *exc_info: object) -> None:
        subprocess.run(["umount", "--lazy", self.place], check=False)
        for process in (self._client, self._server):  # without them, who waits for an answer gets an error
            if process is not None:
                process.kill()
                process.wait()

    def halt(self) -> None:
        """Let nobody get an answer any more."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer all that was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)
