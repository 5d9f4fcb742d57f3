"""wsgidav, a WebDAV server in Python as this one is, with the server that its manual recommends."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.daemon import Daemon, program


class WsgiDav(Daemon):
    """wsgidav on cheroot, open to everybody.

    :param files: what it serves at ``/``
    """

    def __init__(self, folder: Path, port: int, files: Path) -> None:
        folder.mkdir(parents=True)
        options = ["--host", "127.0.0.1", "--port", str(port), "--root", str(files), "--no-config", "-q"]
        command = program("wsgidav", Path(sys.executable).parent)
        super().__init__(folder, port, [command, *options, "--server", "cheroot", "--auth", "anonymous"])
        self.title = f"wsgidav {version('wsgidav')} (cheroot {version('cheroot')})"
