"""A gateway in a process of its own: a site with its configuration, the real ``twistd``, and what a client needs to talk to it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import requests

from tests.support import vm

ROOT = Path(__file__).parents[2]
TWISTD = Path(sys.executable).parent / "twistd"
#: Seconds after which a gateway that neither gets ready nor ends counts as broken, on the busiest machine.
PATIENCE = 600.0 if vm.is_inside() else 60.0
#: Seconds between two looks; they cost time themselves.
PAUSE = 1.0 if vm.is_inside() else 0.02
#: The orchestrator's secret.
SECRET = "the-orchestrator-of-the-tests"
#: What signs tokens.
TOKEN_SECRET = "thirty-two-bytes-or-more-for-hs256"
#: Whom :meth:`Site.populate` makes.
ALICE = ("alice", "correct horse battery staple")


def free_port() -> int:
    """A port that nobody uses, below those that the kernel gives to outgoing connections: one of those may be taken again before the
    server has it."""
    while True:
        port = random.randint(20000, 29999)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def eventually(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for what another process does in its own time; fails with ``what`` if it does not."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"within {patience:.0f} seconds: {what}"
        time.sleep(PAUSE)


class Site:
    """A configuration in a folder, and a client of whatever gateway runs with it.

    :param folder: is made; holds the configuration and, unless ``data_dir`` says otherwise, everything else
    :param volumes: options of each volume by name, which is a ``vfs`` one unless they say otherwise; by default one called ``local``
    :param workers: processes
    """

    def __init__(
        self,
        folder: Path,
        volumes: Mapping[str, Mapping[str, object]] | None = None,
        data_dir: Path | None = None,
        workers: int = 1,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data_dir = data_dir or folder / "var"
        self.workers = workers
        self.client_port, self.manager_port = free_port(), free_port()
        self.client_url = f"http://127.0.0.1:{self.client_port}"
        self.manager_url = f"http://127.0.0.1:{self.manager_port}"
        self.http = requests.Session()
        self.http.trust_env = False
        self.config = folder / "vfgateway.toml"
        self.config.write_text(self._configuration(volumes or {"local": {"path": str(folder / "volume")}}))

    def _configuration(self, volumes: Mapping[str, Mapping[str, object]]) -> str:
        lines = [
            "[gateway]",
            f'data_dir = "{self.data_dir}"',
            f"workers = {self.workers}",
            "[frontends.client]",
            f'endpoint = "tcp:{self.client_port}:interface=127.0.0.1"',
            f'token_secret = "{TOKEN_SECRET}"',
            "[frontends.manager]",
            f'endpoint = "tcp:{self.manager_port}:interface=127.0.0.1"',
            f'secret = "{SECRET}"',
            "[authenticators.accounts]",
        ]
        for name, options in volumes.items():
            options = {"backend": "vfs", **options}
            lines += [f"[volumes.{name}]", *(f'{key} = "{value}"' for key, value in options.items())]
        return "\n".join([*lines, ""])

    @property
    def database(self) -> Path:
        """The gateway's SQLite file."""
        return self.data_dir / "vfgateway.db"

    # --- as the orchestrator ---

    def manager(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the manager API; what it answers. Fails if that is not a success."""
        answer = self.call_manager(method, path, body)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def call_manager(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        """Call the manager API; whatever the answer is."""
        headers = {"X-BackendAI-Storage-Auth-Token": SECRET}
        return self.http.request(method, self.manager_url + path, json=body, headers=headers, timeout=PATIENCE)

    def ready(self) -> bool:
        """Whether a gateway is there and answers."""
        try:
            return self.http.get(f"{self.manager_url}/readyz", timeout=PATIENCE).ok
        except requests.RequestException:
            return False

    def populate(self, volume: str = "local", name: str = "data") -> VFolderOfAlice:
        """Make Alice, unless she is there, and a vfolder of hers."""
        if not any(user["name"] == ALICE[0] for user in self.manager("GET", "/vfgateway/v1/users")["users"]):
            self.manager("POST", "/vfgateway/v1/users", {"name": ALICE[0], "password": ALICE[1]})
        body = {"owner": ALICE[0], "name": name, "volume": volume}
        made = self.manager("POST", "/vfgateway/v1/vfolders", body)
        return VFolderOfAlice(self, volume, made["id"], name, self.place_of(volume, made["id"]))

    def place_of(self, volume: str, vfid: str) -> Path:
        """Where a vfolder lies on disk."""
        return Path(self.manager("GET", "/folder/mount", {"volume": volume, "vfid": vfid})["path"])


class VFolderOfAlice:
    """A vfolder as its owner and the orchestrator see it.

    :ivar root: where it lies on disk
    """

    def __init__(self, site: Site, volume: str, vfid: str, name: str, root: Path) -> None:
        self.site = site
        self.volume = volume
        self.vfid = vfid
        self.name = name
        self.root = root

    def url(self, path: str) -> str:
        """Where a file is, for those who log in."""
        return f"{self.site.client_url}/vfgateway/v1/files/{quote(self.name)}/{quote(path)}"

    def get(self, path: str) -> bytes | None:
        """A file's content; ``None`` if there is none. By a token: a login costs a new gateway more than all else that it is asked."""
        answer = self.site.http.get(self.download_url(path), timeout=PATIENCE)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return answer.content

    def put(self, path: str, content: Any) -> requests.Response:
        """Replace or create a file; whatever the answer is."""
        return self.site.http.put(self.url(path), data=content, auth=ALICE, timeout=PATIENCE)

    def upload_url(self, path: str, size: int) -> str:
        """Where the bytes of a new upload go: minted for the orchestrator, taken by tus."""
        token = self._mint("/folder/file/upload", relpath=path, size=size)
        return f"{self.site.client_url}/upload?token={token}"

    def download_url(self, path: str, archive: bool = False) -> str:
        """Where a file (or a directory as a zip) can be had by whoever knows the URL."""
        token = self._mint("/folder/file/download", relpath=path, archive=archive)
        return f"{self.site.client_url}/download?token={token}" + ("&archive=true" if archive else "")

    def _mint(self, path: str, **about: Any) -> str:
        return str(self.site.manager("POST", path, {"volume": self.volume, "vfid": self.vfid, **about})["token"])

    def rename(self, path: str, new_name: str) -> None:
        """Rename a file, as the orchestrator does."""
        body = {"volume": self.volume, "vfid": self.vfid, "relpath": path, "new_name": new_name}
        self.site.manager("POST", "/folder/file/rename", body)

    @property
    def charged(self) -> tuple[int, int]:
        """Bytes and files as the ledger has them."""
        listed = self.site.manager("GET", "/vfgateway/v1/vfolders")["vfolders"]
        mine = next(vfolder for vfolder in listed if vfolder["id"] == self.vfid)
        return mine["used_bytes"], mine["used_files"]

    @property
    def stages(self) -> Sequence[Path]:
        """What lies aside, not published yet."""
        return sorted((self.root / ".upload").glob("*"))

    def published(self) -> Mapping[str, bytes]:
        """Everything that readers see, from disk."""
        files = (path for path in self.root.rglob("*") if path.is_file() and ".upload" not in path.parts)
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}


#: Seconds within which all workers of a gateway are there.
ALL_WORKERS = 180.0
#: Characters of what a gateway said that are shown where a test failed.
TOLD = 16_000


class GatewayProcess:
    """``twistd vfgateway`` with the configuration of a site. Ends with the ``with`` block, by SIGTERM.

    :param options: of ``twistd``
    :param twistd: what to run in its place
    """

    def __init__(self, site: Site, options: Sequence[str] = (), twistd: Sequence[str] = (str(TWISTD),)) -> None:
        self.site = site
        self._options = options
        self._twistd = twistd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """What it printed and logged."""
        return (self.site.folder / "output").read_text(errors="replace")

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [*self._twistd, "--nodaemon", "--pidfile=", *self._options]
        command += ["vfgateway", "--config", str(self.site.config)]
        with (self.site.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.site.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        eventually(lambda: self._ended() or self.site.ready(), "the gateway gets ready")
        assert not self._ended(), self.output[-4000:]

    def all_there(self) -> None:
        """Wait until all workers have said that they are; at once where there is but one process."""
        said = f"ready: {self.site.workers} workers"
        eventually(lambda: self.site.workers == 1 or said in self.output, "all workers are there", ALL_WORKERS)

    def _ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def kill(self) -> None:
        """As a power button would, as far as the process is concerned."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        self.site.http.close()
        if process.poll() is None:
            os.kill(process.pid, how)
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the gateway does not stop: {self.output[-4000:]}") from None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is not None:
            print(self.output[-TOLD:])  # pytest shows it
        self.stop()
