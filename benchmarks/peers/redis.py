"""Redis, which the Storage Proxy needs beside it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.daemon import Daemon, program


class Redis(Daemon):
    """A server that keeps nothing."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True)
        options = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(folder)}
        command = [word for name, value in options.items() for word in (f"--{name}", value)]
        super().__init__(folder, port, [program("redis-server"), *command])
