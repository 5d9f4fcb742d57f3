"""A vfolder moves to another volume under the hands of its users, and under ``kill -9``.

It is killed at a few steps, which takes seconds. At every step, which takes minutes::

    VFGATEWAY_KILLS=1000 pytest tests/integration/test_moving.py
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, Site, VFolderOfAlice, eventually
from tests.support.sftp import SftpSite
from tests.support.victim import Victim

MIB = 1 << 20
#: At how many steps it is killed.
KILLS = int(os.environ.get("VFGATEWAY_KILLS", "3"))
ENDED = ("done", "failed", "cancelled")


class MovingSite(DavSite, SftpSite):
    """Speaks all that writes here."""


def volumes(folder: Path) -> dict[str, dict[str, object]]:
    return {name: {"path": str(folder / name)} for name in ("local", "other")}


def begin(site: Site, vfolder: VFolderOfAlice, volume: str) -> str:
    folder = vfolder.vfid.rpartition("/")[2]
    answer = site.manager("POST", f"/vfgateway/v1/vfolders/{folder}/move", {"volume": volume})
    return str(answer["task"])


def task(site: Site, identifier: str) -> dict[str, str]:
    found: dict[str, str] = site.manager("GET", f"/vfgateway/v1/tasks/{identifier}")
    return found


def place(site: Site, vfolder: VFolderOfAlice) -> str:
    """On which volume it lies."""
    listed = site.manager("GET", "/vfgateway/v1/vfolders")["vfolders"]
    return next(str(one["volume"]) for one in listed if one["id"] == vfolder.vfid)


class Writer(threading.Thread):
    """Writes files by HTTP until it is told to stop; what was acknowledged is known."""

    def __init__(self, site: MovingSite, name: str) -> None:
        super().__init__(name=name)
        self._site = site
        self._over = threading.Event()
        self.acknowledged: dict[str, bytes] = {}
        self.statuses: list[int] = []

    def run(self) -> None:
        with requests.Session() as http:
            http.trust_env = False
            count = 0
            while not self._over.wait(0.05):
                name, content = f"{self.name}{count % 7}", f"{self.name} {count}".encode()
                url = f"{self._site.dav_url}/data/{name}"
                answer = http.put(url, data=content, auth=ALICE, timeout=PATIENCE)
                self.statuses.append(answer.status_code)
                if answer.ok:
                    self.acknowledged[name] = content
                    count += 1
                    assert http.get(url, auth=ALICE, timeout=PATIENCE).content == content  # by whichever process

    def stop(self) -> None:
        self._over.set()
        self.join(PATIENCE)


def test_moved_under_the_hands_of_http_and_sftp(tmp_path: Path) -> None:
    """Two processes, two writers, and an upload by OpenSSH that lasts longer than the move: nothing is lost, nobody is refused for good."""
    site = MovingSite(tmp_path / "site", volumes(tmp_path / "site"), workers=2)
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 4096 * 6)
    with GatewayProcess(site):
        vfolder = site.populate()
        site.admit_key()
        for number in range(10):
            (vfolder.root / f"old{number}").write_bytes(b"%d" % number)
        writers = [Writer(site, name) for name in ("a", "b")]
        for writer in writers:
            writer.start()
        slow = threading.Thread(target=lambda: site.sftp(f"put {big} /data/big", "-l", "16000"))
        slow.start()
        eventually(lambda: (vfolder.root / "big").exists(), "the upload begins")
        identifier = begin(site, vfolder, "other")
        eventually(lambda: task(site, identifier)["state"] in ENDED, "the move ends")
        assert task(site, identifier)["state"] == "done", task(site, identifier)
        slow.join(PATIENCE)
        for writer in writers:
            writer.stop()
        assert place(site, vfolder) == "other"
        for writer in writers:
            assert set(writer.statuses) <= {200, 201, 204}, set(writer.statuses)
            for name, content in writer.acknowledged.items():
                assert vfolder.get(name) == content
        assert vfolder.get("big") == big.read_bytes()
        assert all(vfolder.get(f"old{number}") == b"%d" % number for number in range(10))


@pytest.fixture
def victim() -> Iterator[Victim]:
    """A gateway that can be told where to die."""
    with Victim() as victim:
        yield victim


def content_of(vfolder: VFolderOfAlice, wanted: Mapping[str, bytes]) -> dict[str, bytes | None]:
    return {name: vfolder.get(name) for name in wanted}


def test_killed_on_the_way(tmp_path: Path, victim: Victim) -> None:
    """Wherever it dies, the next process comes to the end; the vfolder is whole before and after, and what was left there is known."""
    site = Site(tmp_path / "site", volumes(tmp_path / "site"))
    victim.start(site)
    vfolder = site.populate()
    wanted = {f"d/{number}": b"%d" % number * 1000 for number in range(3)} | {"top": b"top"}
    (vfolder.root / "d").mkdir()
    for name, content in wanted.items():
        assert vfolder.put(name, content).ok
    victim.arm(0)
    to, there = "other", "local"
    identifier = begin(site, vfolder, to)
    eventually(lambda: task(site, identifier)["state"] in ENDED, "the move ends")
    count = len(victim.steps())
    assert count > 20
    for fatal in range(count // 6, count, max(1, count // KILLS)):
        to, there = there, to
        victim.arm(fatal)
        identifier = begin(site, vfolder, to)
        eventually(victim.died, "it dies")
        site.http.close()
        victim.start(site)
        assert content_of(vfolder, wanted) == wanted, f"killed at step {fatal}"
        assert vfolder.put("top", b"again").ok
        wanted["top"] = b"again"
        eventually(lambda: task(site, identifier)["state"] in ENDED, "the move ends")  # noqa: B023
        assert task(site, identifier)["state"] == "done", (fatal, task(site, identifier))
        assert place(site, vfolder) == to
        assert content_of(vfolder, wanted) == wanted, f"killed at step {fatal}"
        assert vfolder.charged == (sum(map(len, wanted.values())), 5)
    victim.kill()
