"""The Backend.AI Storage Proxy, whose manager API and tokens the gateway understands: in a virtualenv of its own, with etcd and Redis."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from benchmarks.peers.daemon import Daemon
from benchmarks.peers.redis import Redis
from tests.support.etcd import Etcd
from tests.support.process import free_port

#: ``make bench`` installs it there.
INSTALLED = Path(sys.prefix) / "peers/storage-proxy/bin"
_SECRET = "the-orchestrator-of-the-benchmarks"
_VFID = f"user:{uuid.UUID(int=1)}/{uuid.UUID(int=2).hex}"

#: As its sample has it, with one process as everybody here, and the faster of its two event loops.
_CONFIGURATION = """
[storage-proxy]
node-id = "benchmark"
num-proc = 1
event-loop = "uvloop"
secret = "thirty-two-bytes-or-more-for-hs256"
session-expire = "1d"
ipc-base-path = "{folder}/ipc"
user = 0
group = 0
aiomonitor-termui-port = {termui}
aiomonitor-webui-port = {webui}
[api.client]
service-addr = {{ host = "127.0.0.1", port = {port} }}
ssl-enabled = false
[api.manager]
service-addr = {{ host = "127.0.0.1", port = {manager} }}
ssl-enabled = false
secret = "{secret}"
[volume.local]
backend = "vfs"
path = "{folder}/volume"
[etcd]
namespace = "benchmark"
addr = {{ host = "{etcd_host}", port = {etcd_port} }}
user = ""
password = ""
[logging]
level = "WARNING"
drivers = ["console"]
[debug]
enabled = false
"""


class StorageProxy(Daemon):
    """The Storage Proxy 23.09.

    :ivar root: where its one vfolder lies on disk
    """

    def __init__(self, folder: Path, port: int) -> None:
        for needed in ("ipc", "volume", "etcd"):
            (folder / needed).mkdir(parents=True)
        (folder / "volume/version.txt").write_text("3\n")
        command = INSTALLED / "python"
        if not command.exists():
            raise RuntimeError(f"{command} is missing; `make bench` installs it")
        self._manager = f"http://127.0.0.1:{free_port()}"
        self._running = ExitStack()
        super().__init__(
            folder,
            port,
            [str(command), "-m", "ai.backend.storage.server", "-f", str(folder / "storage-proxy.toml")],
        )
        version = subprocess.run(
            [command, "-c", "from importlib.metadata import version; print(version('backend.ai-storage-proxy'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        self.title = f"Backend.AI Storage Proxy {version}"
        self.root = folder

    def __enter__(self) -> StorageProxy:
        redis = Redis(self.folder / "redis", free_port())
        self._running.enter_context(redis)
        etcd = self._running.enter_context(Etcd(self.folder / "etcd"))
        etcd.put({"/sorna/benchmark/config/redis/addr": f"127.0.0.1:{redis.port}"})
        host, _, number = etcd.url.removeprefix("http://").rpartition(":")
        (self.folder / "storage-proxy.toml").write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                port=self.port,
                manager=self._manager.rpartition(":")[2],
                secret=_SECRET,
                etcd_host=host,
                etcd_port=number,
                termui=free_port(),
                webui=free_port(),
            )
        )
        try:
            super().__enter__()
            self._call("POST", "/folder/create")
            self.root = Path(self._call("GET", "/folder/mount", subpath=".")["path"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._running.close()

    def download_path(self, name: str) -> str:
        """Path of a file in an URL."""
        return f"/download?token={self._call('POST', '/folder/file/download', relpath=name)['token']}"

    def upload_path(self, name: str, size: int) -> str:
        """Path of a new resumable upload."""
        return f"/upload?token={self._call('POST', '/folder/file/upload', relpath=name, size=size)['token']}"

    def _call(self, method: str, path: str, **about: Any) -> Mapping[str, Any]:
        headers = {"X-BackendAI-Storage-Auth-Token": _SECRET}
        body = {"volume": "local", "vfid": _VFID, **about}
        with requests.Session() as http:
            http.trust_env = False
            answer = http.request(method, self._manager + path, json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        return dict(answer.json()) if answer.content else {}
