"""The tus project's own server for Node.js, with files on disk."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.peers.daemon import Daemon, program

_SCRIPT = Path(__file__).with_name("tus_server.js")
_MODULES = Path(__file__).parents[2] / "tests/integration/node/node_modules"


class TusNode(Daemon):
    """``@tus/server``; uploads are created under ``/files`` and lie in :attr:`store` under their identifier."""

    def __init__(self, folder: Path, port: int) -> None:
        self.store = folder / "store"
        self.store.mkdir(parents=True)
        node = program("node")
        super().__init__(folder, port, [node, str(_SCRIPT), str(port), str(self.store)], {"NODE_PATH": str(_MODULES)})
        version = json.loads((_MODULES / "@tus/server/package.json").read_text())["version"]
        runtime = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.title = f"@tus/server {version} (Node.js {runtime.lstrip('v')})"
