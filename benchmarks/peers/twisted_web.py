"""Twisted itself, with nothing on it: what any gateway on it can at best be."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.daemon import Daemon


class BareTwisted(Daemon):
    """One resource that answers a few bytes at once."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True)
        script = Path(__file__).with_name("bare_twisted.py")
        super().__init__(folder, port, [sys.executable, "-P", str(script), str(port)])
        self.title = f"bare Twisted {version('twisted')}"
