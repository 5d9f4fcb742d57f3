"""asyncssh, an SSH server in Python as this one is, with the SFTP server that it brings along."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.daemon import Daemon


class AsyncSsh(Daemon):
    """asyncssh.

    :param key: whoever has it may log in, under any name
    """

    def __init__(self, folder: Path, port: int, key: Path) -> None:
        folder.mkdir(parents=True)
        host = folder / "host"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host], check=True)
        script = Path(__file__).with_name("asyncssh_server.py")
        super().__init__(folder, port, [sys.executable, "-P", str(script), str(port), str(host), f"{key}.pub"])
        self.title = f"asyncssh {version('asyncssh')}"
