"""A real etcd in a folder of its own."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import requests

from tests.support.process import PATIENCE, eventually, free_port


class Etcd:
    """One member. Ends with the ``with`` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""

    def __enter__(self) -> Self:
        peer = f"http://127.0.0.1:{free_port()}"
        addresses = {
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"tests={peer}",
            "data-dir": str(self.folder),
            "name": "tests",
            "log-level": "error",
        }
        options = [word for name, value in addresses.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(["etcd", *options, "--unsafe-no-fsync"], stdin=subprocess.DEVNULL)
        eventually(self._answers, "etcd answers")
        return self

    def _answers(self) -> bool:
        try:
            return bool(requests.get(f"{self.url}/health", timeout=PATIENCE).json().get("health") == "true")
        except requests.ConnectionError:
            return False

    def __exit__(self, *exc_info: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def call(self, path: str, **body: Any) -> Any:
        """Call its JSON gateway."""
        headers = {"Authorization": self._token} if self._token else {}
        answer = requests.post(f"{self.url}/v3/{path}", json=body, headers=headers, timeout=PATIENCE)
        assert answer.ok, answer.text
        return answer.json()

    def put(self, pairs: Mapping[str, str]) -> None:
        """Set keys."""
        for key, value in pairs.items():
            self.call("kv/put", key=b64encode(key.encode()).decode(), value=b64encode(value.encode()).decode())

    def demand_login(self, password: str) -> None:
        """From now on only ``root`` may ask."""
        self.call("auth/user/add", name="root", password=password)
        self.call("auth/role/add", name="root")
        self.call("auth/user/grant", user="root", role="root")
        self.call("auth/enable")
        self._token = self.call("auth/authenticate", name="root", password=password)["token"]
