"""The power is cut: what was not synced is gone. What the gateway had acknowledged by then is there, and nothing that is not whole.

Database and volume lie on two ext4 file systems in image files. A copy of the files at some moment is what the machine
finds when it comes up again, another boot, as the gateway is told (:class:`tests.support.disks.PowerlessDisk`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest

from tests.support.disks import PowerlessDisk
from tests.support.process import PATIENCE, Site, VFolderOfAlice, eventually
from tests.support.victim import Victim

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
PART = 300_000


@attrs.frozen
class Machine:
    """A site whose power can be cut.

    :ivar folder: a vfolder that syncs before it answers
    :ivar hasty: one that does not
    """

    victim: Victim
    site: Site
    disks: tuple[PowerlessDisk, PowerlessDisk]
    folder: VFolderOfAlice
    hasty: VFolderOfAlice

    def cut_power(self, moment: str) -> None:
        """Keep what the disks have now."""
        for disk in self.disks:
            disk.cut_power(moment)

    @contextmanager
    def after(self, moment: str) -> Iterator[None]:
        """The gateway on what was left then, after the next boot."""
        with ExitStack() as up:
            for disk in self.disks:
                up.enter_context(disk.running(moment))
            self.victim.start(self.site, boot_id=f"the boot after {moment}")
            up.callback(self.victim.kill)
            yield


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[Callable[[Machine], None]], Machine]]:
    """Runs a function on a machine that is up; the machine is down afterwards, and can be looked at as of the moments that were kept."""
    data = PowerlessDisk(tmp_path, "data", tmp_path / "data")
    volume = PowerlessDisk(tmp_path, "volume", tmp_path / "volume")
    site = Site(
        tmp_path / "site",
        {
            "careful": {"path": str(tmp_path / "volume/careful"), "durability": "sync"},
            "hasty": {"path": str(tmp_path / "volume/hasty"), "durability": "none"},
        },
        data_dir=tmp_path / "data/var",
    )
    with Victim() as victim:

        def run(work: Callable[[Machine], None]) -> Machine:
            with data.running(), volume.running():
                victim.start(site)
                try:
                    folders = site.populate("careful", "data"), site.populate("hasty", "hasty")
                    machine = Machine(victim, site, (data, volume), *folders)
                    work(machine)
                finally:
                    victim.kill()
            return machine

        yield run


def send(folder: VFolderOfAlice, url: str, offset: int, part: bytes) -> int:
    """One tus request; the offset that it was answered with."""
    answer = folder.site.http.patch(url, data=part, headers={**BYTES, "Upload-Offset": str(offset)})
    assert answer.status_code == 204, answer.text
    return int(answer.headers["Upload-Offset"])


def offset_of(folder: VFolderOfAlice, url: str) -> int:
    """What HEAD says."""
    answer = folder.site.http.head(url, headers=TUS)
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["Upload-Offset"])


def test_a_file_that_was_acknowledged_is_there(run: Callable[[Callable[[Machine], None]], Machine]) -> None:
    """New, replaced and renamed files, as of the moment of each answer; small ones, which are synced in another way, last."""
    first, second = os.urandom(200_000), os.urandom(250_000)
    small = {f"small-{number}": os.urandom(1 + 2000 * number) for number in range(5)}
    changed = {**small, "small-0": os.urandom(5000), "small-3": b""}

    def work(machine: Machine) -> None:
        assert machine.folder.put("file", first).status_code == 201
        for name, content in small.items():
            assert machine.folder.put(name, content).status_code == 201
        machine.cut_power("created")
        assert machine.folder.put("file", second).status_code == 204
        for name in ("small-0", "small-3"):
            assert machine.folder.put(name, changed[name]).status_code == 204
        machine.cut_power("replaced")
        machine.folder.rename("file", "renamed")
        machine.cut_power("renamed")

    machine = run(work)
    for moment, found in (
        ("created", {"file": first, **small}),
        ("replaced", {"file": second, **changed}),
        ("renamed", {"renamed": second, **changed}),
    ):
        with machine.after(moment):
            assert machine.folder.published() == found
            assert [machine.folder.get(name) for name in found] == list(found.values())
            size = sum(map(len, found.values()))
            eventually(lambda size=size: machine.folder.charged == (size, 6), "the ledger agrees with the files")  # type: ignore[misc]


def test_an_upload_goes_on_where_it_was_acknowledged(run: Callable[[Callable[[Machine], None]], Machine]) -> None:
    """tus: the upload itself, each offset, and the file at the end. What came after the last offset is not taken for whole."""
    content = os.urandom(3 * PART)
    url = ""

    def work(machine: Machine) -> None:
        nonlocal url
        folder = machine.folder
        url = folder.upload_url("target", len(content))
        machine.cut_power("begun")
        assert send(folder, url, 0, content[:PART]) == PART
        machine.cut_power("first part")
        with half_sent(machine, url, PART, content[PART : 2 * PART]):
            machine.cut_power("in the second part")
        offset = offset_of(folder, url)
        machine.cut_power("asked")
        assert PART < offset < 2 * PART
        acknowledged["asked"] = offset
        assert send(folder, url, offset, content[offset:]) == len(content)
        machine.cut_power("finished")

    acknowledged = {"begun": 0, "first part": PART, "in the second part": PART, "finished": len(content)}
    machine = run(work)
    for moment, offset in acknowledged.items():
        with machine.after(moment):
            assert (machine.folder.get("target") == content) == (moment == "finished")
            assert offset_of(machine.folder, url) == offset
            if offset < len(content):
                assert send(machine.folder, url, offset, content[offset:]) == len(content)
            assert machine.folder.published() == {"target": content}


@contextmanager
def half_sent(machine: Machine, url: str, offset: int, part: bytes) -> Iterator[None]:
    """A request whose body has come half-way and has been written; it is cut at the end."""
    parsed = urlsplit(url)
    head = [f"PATCH {parsed.path}?{parsed.query} HTTP/1.1", f"Host: {parsed.netloc}", f"Content-Length: {len(part)}"]
    head += [f"{name}: {value}" for name, value in {**BYTES, "Upload-Offset": str(offset)}.items()]
    (stage,) = machine.folder.stages
    with closing(socket.create_connection(("127.0.0.1", machine.site.client_port), PATIENCE)) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + part[: -len(part) // 10])
        eventually(lambda: stage.stat().st_size > offset, "what came so far is written")
        yield
    eventually(lambda: stage.stat().st_size >= offset + len(part) * 9 // 10, "what arrived before the cut is written")


def test_the_power_really_was_cut(run: Callable[[Callable[[Machine], None]], Machine]) -> None:
    """What a volume without ``durability`` acknowledged is lost here; else this module would prove nothing."""
    content = os.urandom(200_000)

    def work(machine: Machine) -> None:
        assert machine.hasty.put("file", content).status_code == 201
        machine.cut_power("created")

    machine = run(work)
    with machine.after("created"):
        assert machine.hasty.published() != {"file": content}
