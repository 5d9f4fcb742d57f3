"""copyparty, a file server in Python as this one is: the peer for zip archives, which neither nginx nor tus servers make."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.daemon import Daemon


class Copyparty(Daemon):
    """copyparty; ``/files/?zip`` is all of ``files`` as a zip of stored members."""

    def __init__(self, folder: Path, port: int, files: Path) -> None:
        folder.mkdir(parents=True)
        command = [
            sys.executable,
            "-m",
            "copyparty",
            "-q",
            "-i",
            "127.0.0.1",
            "-p",
            str(port),
            "-v",
            f"{files}:files:r",
        ]
        # Without thumbnails and index: only what a download needs. XDG_CONFIG_HOME: where it keeps certificates and sessions.
        super().__init__(folder, port, [*command, "--no-thumb"], {"XDG_CONFIG_HOME": str(folder)})
        self.title = f"copyparty {version('copyparty')}"
