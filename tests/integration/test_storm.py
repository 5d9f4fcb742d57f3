"""A storm: real clients of all protocols against four processes at a limit, which are killed at random.

Nothing that was acknowledged is lost, no limit is passed by a byte, and in the end usage is what lies on disk, to the byte, with no reservation
left. The test takes seconds. For a storm of a gibibyte, which takes minutes::

    VFGATEWAY_STORM=1024 pytest tests/integration/test_storm.py

(mebibytes). The seed of a storm is printed; ``VFGATEWAY_STORM_SEED`` chooses it, though processes never run the same way twice.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.sftp import SftpSite, run

MIB = 1 << 20
LIMIT = int(os.environ.get("VFGATEWAY_STORM", "64")) * MIB
SEED = int(os.environ.get("VFGATEWAY_STORM_SEED", random.SystemRandom().getrandbits(32)))
WORKERS = 4
#: Rounds after which all is compared, and what each client does in one.
ROUNDS, STEPS = 2, max(6, LIMIT // MIB // 64)
#: Seconds from one kill to the next, at least and at most; the first comes soon, since a quick machine is soon through.
KILLS = (0.3, 3.0)
LOGIN = ":".join(ALICE)


class StormSite(DavSite, SftpSite):
    """Speaks everything."""


class Client(threading.Thread):
    """Puts, replaces and removes files of its own, by one protocol. Its files are called after it.

    :ivar acknowledged: by name, what it was told is stored; ``None`` for a name of which it cannot know
    """

    def __init__(self, name: str, folder: VFolderOfAlice, scratch: Path, put: type_put, remove: type_remove) -> None:
        super().__init__(name=name)
        self.folder = folder
        self.acknowledged: dict[str, bytes | None] = {}
        self.refused = self.broken = self.stored = 0
        self._random = random.Random(f"{SEED} {name}")
        self._scratch = scratch / name
        self._put, self._remove = put, remove
        self.errors: list[BaseException] = []

    def run(self) -> None:
        try:
            for _ in range(STEPS):
                self._step()
        except BaseException as error:
            self.errors.append(error)

    def _step(self) -> None:
        name = f"{self.name}-{self._random.randrange(4)}"
        known = self.acknowledged.pop(name, None) is not None
        if known and self._random.random() < 0.35:
            self.acknowledged[name] = None
            if self._remove(self.folder, name):
                del self.acknowledged[name]
            return
        self.acknowledged[name] = None  # until it is told
        content = self._random.randbytes(int(LIMIT / 5 * self._random.random() ** 2))
        self._scratch.write_bytes(content)
        status = self._put(self.folder, name, self._scratch)
        if status is None:
            self.broken += 1
        elif status:
            self.stored += 1
            self.acknowledged[name] = content
        else:
            self.refused += 1


#: Store a file: whether it was taken or refused, ``None`` if that is not known; and remove one: whether it is certainly gone.
type_put = Callable[[VFolderOfAlice, str, Path], bool | None]
type_remove = Callable[[VFolderOfAlice, str], bool]


# --- the clients ---


def _curl(*arguments: str) -> int:
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60", "-u", LOGIN, *arguments]
    said = run(command, check=False, patience=90.0).stdout
    return int(said) if said.isdigit() else 0


def _outcome(status: int) -> bool | None:
    if status in (200, 201, 204):
        return True
    return False if status in (413, 507) else None


def _dav(folder: VFolderOfAlice, name: str) -> str:
    assert isinstance(folder.site, StormSite)
    return f"{folder.site.dav_url}/{folder.name}/{name}"


def put_by_webdav(folder: VFolderOfAlice, name: str, local: Path) -> bool | None:
    return _outcome(_curl("-T", str(local), _dav(folder, name)))


def copy_by_webdav(folder: VFolderOfAlice, name: str, local: Path) -> bool | None:
    """Put aside, then copied over the target and removed."""
    first = put_by_webdav(folder, f"{name}.first", local)
    if not first:
        return first
    copied = _curl("-X", "COPY", "-H", f"Destination: {_dav(folder, name)}", _dav(folder, f"{name}.first"))
    _curl("-X", "DELETE", _dav(folder, f"{name}.first"))
    return _outcome(copied)


def remove_by_webdav(folder: VFolderOfAlice, name: str) -> bool:
    return _curl("-X", "DELETE", _dav(folder, name)) in (204, 404)


def put_by_http(folder: VFolderOfAlice, name: str, local: Path) -> bool | None:
    return _outcome(_curl("-T", str(local), folder.url(name)))


def remove_by_http(folder: VFolderOfAlice, name: str) -> bool:
    return _curl("-X", "DELETE", folder.url(name)) in (204, 404)


def put_by_tus(folder: VFolderOfAlice, name: str, local: Path) -> bool | None:
    """In chunks, going on after each cut as often as it takes."""
    if not local.stat().st_size:
        return put_by_http(folder, name, local)
    client = TusClient(f"{folder.site.client_url}/vfgateway/v1/uploads")
    client.set_headers({"Authorization": requests.auth._basic_auth_str(*ALICE)})
    try:
        uploader = client.uploader(
            str(local), chunk_size=1 << 18, metadata={"vfolder": folder.name, "path": name}, retries=20, retry_delay=1
        )
        uploader.upload()
    except TusCommunicationError as error:
        return False if error.status_code in (413, 507) else None
    except requests.RequestException:
        return None
    return True


def put_by_sftp(folder: VFolderOfAlice, name: str, local: Path) -> bool | None:
    assert isinstance(folder.site, StormSite)
    done = folder.site.sftp(f"put {local} {folder.name}/{name}\n", check=False)
    if done.returncode == 0:
        return True
    full = any(words in done.stderr for words in ("quota", "No space", "limit"))
    return False if full else None


def remove_by_sftp(folder: VFolderOfAlice, name: str) -> bool:
    assert isinstance(folder.site, StormSite)
    return folder.site.sftp(f"rm {folder.name}/{name}\n", check=False).returncode == 0


KINDS: Mapping[str, tuple[type_put, type_remove]] = {
    "webdav": (put_by_webdav, remove_by_webdav),
    "copy": (copy_by_webdav, remove_by_webdav),
    "http": (put_by_http, remove_by_http),
    "tus": (put_by_tus, remove_by_http),
    "sftp": (put_by_sftp, remove_by_sftp),
    "tus-2": (put_by_tus, remove_by_webdav),
    "sftp-2": (put_by_sftp, remove_by_webdav),
}

# --- the storm ---


@contextmanager
def killing(gateway: GatewayProcess) -> Iterator[list[int]]:
    """Kill a worker or two now and then, once all serve that have to: one that had not come to serve could not be counted. Who was
    killed."""
    over, chance = threading.Event(), random.Random(SEED)
    killed: list[int] = []
    before = serving(gateway)

    def kill() -> None:
        pause = KILLS[0]
        while not over.wait(pause):
            pause = chance.uniform(*KILLS)
            children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
            if serving(gateway) - before == len(killed) and len(children) == WORKERS:
                for victim in map(int, chance.sample(children, chance.choice((1, 2)))):
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def on_disk(root: Path) -> int:
    """What ``du`` says of the files."""
    names = subprocess.run(["find", str(root), "-type", "f", "-print0"], capture_output=True, check=True).stdout
    if not names:
        return 0
    command = ["du", "--apparent-size", "-bc", "--files0-from=-"]
    said = subprocess.run(command, input=names, capture_output=True, check=True).stdout
    return int(said.splitlines()[-1].split()[0])


def serving(gateway: GatewayProcess) -> int:
    """How many workers have come to serve since the start."""
    return gateway.output.count('"message": "ready: client, manager')


@pytest.mark.timeout(300 + LIMIT // MIB * 4)
def test_a_storm(tmp_path: Path) -> None:
    """Rounds of it; after each, the ledger is held against the disk."""
    print(f"VFGATEWAY_STORM_SEED={SEED}")
    site = StormSite(tmp_path / "site", workers=WORKERS)
    with GatewayProcess(site) as gateway:
        gateway.all_there()
        folders = [site.populate(name="data"), site.populate(name="more")]
        site.admit_key()
        users = site.manager("GET", "/vfgateway/v1/users")["users"]
        alice = next(user["id"] for user in users if user["name"] == ALICE[0])
        site.manager("PATCH", f"/vfgateway/v1/users/{alice}", {"limit_bytes": LIMIT})
        known: dict[str, tuple[VFolderOfAlice, bytes | None]] = {}
        clients: list[Client] = []
        total = 0
        for round_ in range(ROUNDS):
            clients = [
                Client(f"{kind}-{round_}", folders[number % 2], tmp_path, *how)
                for number, (kind, how) in enumerate(KINDS.items())
            ]
            with killing(gateway) as killed:
                for client in clients:
                    client.start()
                for client in clients:
                    client.join()
            total += len(killed)
            eventually(lambda: serving(gateway) == WORKERS + total, "all workers are back", 180.0)  # noqa: B023
            errors = [error for client in clients for error in client.errors]
            assert not errors, errors
            for client in clients:
                known |= {name: (client.folder, content) for name, content in client.acknowledged.items()}
            print({client.name: (client.stored, client.refused, client.broken) for client in clients}, len(killed))
            compare(site, folders)
            for name, (folder, content) in known.items():
                if content is not None:
                    assert (folder.root / name).read_bytes() == content, f"{name} was acknowledged"
        assert total
        assert any(client.refused for client in clients), "it is at its limit"
        fill_to_the_byte(folders)
        gateway.stop()
    with contextlib.closing(sqlite3.connect(site.database)) as ledger:
        assert ledger.execute("SELECT * FROM holds").fetchall() == []
        assert ledger.execute("SELECT * FROM dirty").fetchall() == []
        query = "SELECT bytes FROM usage WHERE subject LIKE 'user:%'"
        assert ledger.execute(query).fetchall() == [(sum(on_disk(folder.root) for folder in folders),)]


def compare(site: StormSite, folders: list[VFolderOfAlice]) -> None:
    """End what clients left half-way, and hold the ledger against the disk."""
    for upload in site.manager("GET", "/vfgateway/v1/uploads")["uploads"]:
        site.manager("DELETE", f"/vfgateway/v1/uploads/{upload['id']}")
    for folder in folders:
        eventually(lambda one=folder: not one.stages, "what the killed left aside is removed")  # type: ignore[misc]
        eventually(lambda one=folder: one.charged[0] == on_disk(one.root), "the ledger agrees")  # type: ignore[misc]
    assert sum(on_disk(folder.root) for folder in folders) <= LIMIT


def fill_to_the_byte(folders: list[VFolderOfAlice]) -> None:
    """What is left can be used to the last byte, and not one more."""
    left = LIMIT - sum(folder.charged[0] for folder in folders)
    assert left >= 0
    if left:
        assert folders[0].put("the-rest", b"x" * left).status_code == 201
    assert folders[0].put("one-more", b"x").status_code == 507
    eventually(lambda: sum(folder.charged[0] for folder in folders) == LIMIT, "the limit is reached")
