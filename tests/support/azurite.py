"""A real Azurite, Microsoft's own emulator of the blob service, in a folder of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import requests

from tests.support.process import ROOT, eventually, free_port

#: The account that every Azurite has, and its key, which is no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_PROGRAM = ROOT / "tests/integration/node/node_modules/azurite/dist/src/blob/main.js"


class Azurite:
    """The server. Ends with the ``with`` block.

    :param folder: keeps what is stored, so that it outlives the process; without one all is in memory
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the account's containers are."""
        return self.url_at(self.port)

    @staticmethod
    def url_at(port: int) -> str:
        """The same through something that listens on ``port``."""
        return f"http://127.0.0.1:{port}/{ACCOUNT}"

    def start(self) -> None:
        """Start and wait until it answers."""
        kept = ["--inMemoryPersistence"] if self._folder is None else ["--location", str(self._folder)]
        command = ["node", str(_PROGRAM), *kept, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        command += ["--disableTelemetry", "--silent", "--skipApiVersionCheck"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        eventually(lambda: self._ended() or self._answers(), "Azurite gets ready")
        assert not self._ended(), "Azurite ended at once: is it installed? (make peers)"

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _answers(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).status_code < 500
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End it. What it has answered it keeps, which it does not promise for one that is killed: it writes its index every few seconds."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()

    def settings(self, url: str | None = None, **more: Any) -> Mapping[str, Any]:
        """Of a volume on it."""
        return {"account": ACCOUNT, "endpoint": url or self.url, "account_key": KEY, **more}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
