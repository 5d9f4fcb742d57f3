"""What transfers take of the gateway's memory: ``python -m benchmarks.memory``, part of ``make bench``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs
import paramiko

from benchmarks.area import Area
from benchmarks.contest import MIB
from benchmarks.doors import Doors
from benchmarks.files import must_equal, write_noise
from benchmarks.gateway import LOGIN
from benchmarks.large import PATCH
from benchmarks.report import Finding, Section
from benchmarks.storage import folder
from benchmarks.wire import Client, WrongAnswer, expect, together

#: MiB that a transfer may take, and a client that asks for a whole file at once.
AIM, AIM_WHOLE = 2.0, 64.0

ABOUT = """The highest resident size of the process while {count} transfers of {large:,} MiB run at once, less its size before, each: after one transfer of each kind, idle."""


@attrs.frozen
class Effort:
    """How much is done: bytes of each transfer, and how many at once."""

    rounds: int
    large: int
    count: int


WHOLE, QUICK = Effort(1, 64 * MIB, 16), Effort(1, 16 * MIB, 4)


class Transfers:
    """One of each kind; ``number`` keeps them apart."""

    def __init__(self, gateway: Doors, place: Path) -> None:
        self._gateway = gateway
        self._place = place
        self._source = place / "source"

    def _http(self, port: int, method: str, path: str, headers: dict[str, str], upload: bool) -> None:
        with Client(port) as client:
            if upload:
                expect(client.upload(method, path, headers, self._source), 201, 204)
                return
            answer = expect(client.request(method, path, headers), 200)
        if answer.length != self._source.stat().st_size:
            raise WrongAnswer(f"{answer.length} bytes came")

    def _path(self, url: str) -> str:
        return url.removeprefix(self._gateway.site.client_url)

    def get(self, number: int) -> None:
        """HTTP download."""
        self._http(
            self._gateway.site.client_port, "GET", self._path(self._gateway.folder.url("large")), {**LOGIN}, False
        )

    def put(self, number: int) -> None:
        """HTTP upload."""
        path = self._path(self._gateway.folder.url(f"up-{number}"))
        self._http(self._gateway.site.client_port, "PUT", path, {**LOGIN}, True)

    def tus(self, number: int) -> None:
        """Resumable upload."""
        path = self._path(self._gateway.folder.upload_url(f"up-{number}", self._source.stat().st_size))
        self._http(self._gateway.site.client_port, "PATCH", path, {**PATCH}, True)

    def dav_get(self, number: int) -> None:
        """WebDAV download."""
        self._http(self._gateway.site.dav_port, "GET", "/data/large", {**LOGIN}, False)

    def dav_put(self, number: int) -> None:
        """WebDAV upload."""
        self._http(self._gateway.site.dav_port, "PUT", f"/data/up-{number}", {**LOGIN}, True)

    def _sftp(self, script: str) -> None:
        command = ["sftp", *self._gateway.site.ssh_options(), "-b", "-", "alice@127.0.0.1:data"]
        subprocess.run(command, input=script, text=True, capture_output=True, check=True)

    def sftp_get(self, number: int) -> None:
        """OpenSSH's client."""
        self._sftp(f"get large {self._place}/back-{number}")

    def sftp_put(self, number: int) -> None:
        """OpenSSH's client."""
        self._sftp(f"put {self._source} up-{number}")

    def whole(self, number: int) -> None:
        """paramiko's ``get``, which asks for a whole file at once."""
        with paramiko.SSHClient() as ssh:
            ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            site = self._gateway.site
            options = {"key_filename": str(site.key), "allow_agent": False, "look_for_keys": False}
            ssh.connect("127.0.0.1", site.sftp_port, "alice", **options)
            with ssh.open_sftp() as sftp:
                sftp.get("data/large", str(self._place / f"back-{number}"))


def measure(gateway: Doors, place: Path, work: Callable[[int], None], count: int) -> float:
    """MiB that each of ``count`` at once takes; what they left is compared with its source and removed."""
    before = gateway.resident()
    together(partial(work, number) for number in range(count))
    taken = (gateway.meter.peak() - before) / MIB / count
    for left in (*gateway.folder.root.glob("up-*"), *place.glob("back-*")):
        must_equal(left, place / "source")
        left.unlink()
    return max(0.0, taken)


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Measure each kind."""
    findings, failures = [], []
    with folder() as place, Doors(place / "gateway") as gateway:
        write_noise(place / "source", effort.large)
        os.link(place / "source", gateway.folder.root / "large")
        made = Transfers(gateway, place)
        kinds: list[tuple[str, str, Callable[[int], None], int, float]] = [
            ("get", "downloads over HTTP", made.get, effort.count, AIM),
            ("put", "uploads by PUT", made.put, effort.count, AIM),
            ("tus", "uploads by tus", made.tus, effort.count, AIM),
            ("dav-get", "downloads over WebDAV", made.dav_get, effort.count, AIM),
            ("dav-put", "uploads over WebDAV", made.dav_put, effort.count, AIM),
            ("sftp-get", "downloads over SFTP", made.sftp_get, effort.count, AIM),
            ("sftp-put", "uploads over SFTP", made.sftp_put, effort.count, AIM),
            ("whole", "a download of a whole file at once over SFTP (paramiko)", made.whole, 1, AIM_WHOLE),
        ]
        for _, _, work, _, _ in kinds:
            measure(gateway, place, work, 1)
        idle = gateway.resident() / MIB
        for name, title, work, count, most in kinds:
            if only and name not in only:
                continue
            print(title, flush=True)
            try:
                taken = measure(gateway, place, work, count)
            except Exception as failure:
                failures.append(f"Not measured: {title} ({type(failure).__name__}: {failure}).")
                continue
            findings.append(Finding(name, f"memory, {title}", taken, "MiB each", most, "itself idle"))
    notes = [f"Idle it has {idle:.0f} MiB."]
    about = ABOUT.format(count=effort.count, large=effort.large // MIB)
    return Section("Memory of transfers", about, notes=notes, findings=findings, failures=failures)


AREA = Area("memory", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()
