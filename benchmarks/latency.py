"""How long others wait while a volume hangs: ``python -m benchmarks.latency``, part of ``make bench``."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks.area import Area
from benchmarks.contest import MIB
from benchmarks.files import write_noise
from benchmarks.gateway import LOGIN
from benchmarks.meter import Meter
from benchmarks.peers.twisted_web import BareTwisted
from benchmarks.report import Finding, Section
from benchmarks.storage import folder
from benchmarks.wire import Client, expect
from tests.support.hanging import HangingMount
from tests.support.process import GatewayProcess, Site, VFolderOfAlice, free_port

#: Transfers at once, half of them uploads; as many requests wait for the volume that hangs.
TRANSFERS = 8
#: Milliseconds by which 99 of 100 answers may be later than those of a bare responder.
AIM = 20.0
#: The storage that sleeps does so for the first, and answers for the second, again and again, in seconds.
ASLEEP, AWAKE = 0.4, 0.1
#: Seconds between two questions.
PAUSE = 0.005

ABOUT = """`GET /` of the gateway and of a bare Twisted responder in a process of its own (one resource that answers sixteen bytes), on one connection each, in turn, while eight
clients, each a process, transfer files of {large} MiB as fast as they can: four downloads and four uploads. So both meet the same load of the machine. One volume of the gateway is a FUSE mount
(sshfs over a pipe to an `sftp-server`). *Hangs*: its server is halted, and eight requests for files, listings and uploads wait for it. *Sleeps*: it is halted for {asleep:.1f} of every
{both:.1f} seconds, while two of the uploads go there. The table has the 99th percentile of the gateway less that of the responder."""


@attrs.frozen
class Effort:
    """How much is done.

    :ivar probes: questions to either in each phase
    :ivar large: bytes of each transfer
    """

    rounds: int
    probes: int
    large: int


WHOLE, QUICK = Effort(1, 600, 256 * MIB), Effort(1, 100, 32 * MIB)


@attrs.frozen
class Arena:
    """The gateway with a volume in memory and one on the mount, and the responder."""

    source: Path
    mount: HangingMount
    local: VFolderOfAlice
    distant: VFolderOfAlice
    gateway: Meter
    port: int
    bare: BareTwisted


@contextmanager
def arena(place: Path, effort: Effort) -> Iterator[Arena]:
    """Everybody up and running."""
    write_noise(place / "source", effort.large)
    with ExitStack() as running:
        mount = running.enter_context(HangingMount(place / "far", place / "mount"))
        volumes = {
            "local": {"path": str(place / "volume"), "durability": "none"},
            "distant": {"path": str(mount.place), "durability": "none"},
        }
        site = Site(place / "gateway", volumes)
        process = running.enter_context(GatewayProcess(site))
        local, distant = site.populate("local", "near"), site.populate("distant", "far")
        os.link(place / "source", local.root / "large")
        distant.put("file", b"x" * 4096).raise_for_status()
        bare = BareTwisted(place / "bare", free_port())
        running.enter_context(bare)
        running.callback(mount.go_on)
        yield Arena(place / "source", mount, local, distant, Meter(process.pid), site.client_port, bare)


def path_of(vfolder: VFolderOfAlice, name: str) -> str:
    """In an URL."""
    return vfolder.url(name).removeprefix(vfolder.site.client_url)


# --- the load ---


def _transfer(port: int, path: str, source: str | None) -> None:
    """In a process of its own: again and again, until it is ended."""
    while True:
        with Client(port) as client:
            if source is None:
                expect(client.request("GET", path, LOGIN), 200)
            else:
                expect(client.upload("PUT", path, LOGIN, Path(source)), 201, 204)


@contextmanager
def transfers(entered: Arena, to_distant: int = 0) -> Iterator[None]:
    """Eight of them, of which so many uploads go to the volume that sleeps."""
    making = multiprocessing.get_context("spawn")
    jobs: list[tuple[int, str, str | None]] = []
    for number in range(TRANSFERS // 2):
        where = entered.distant if number < to_distant else entered.local
        jobs.append((entered.port, path_of(where, f"up-{number}"), str(entered.source)))
        jobs.append((entered.port, path_of(entered.local, "large"), None))
    processes = [making.Process(target=_transfer, args=job, daemon=True) for job in jobs]
    for process in processes:
        process.start()
    time.sleep(1.5)  # until they are at it
    try:
        yield
        if not all(process.is_alive() for process in processes):
            raise RuntimeError("a transfer ended: the load was not what it should have been")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


@contextmanager
def hanging(entered: Arena) -> Iterator[None]:
    """Halt the volume, and let requests wait for it."""
    entered.mount.halt()
    with ExitStack() as waiting:
        for number in range(TRANSFERS):
            client = waiting.enter_context(Client(entered.port))
            method, name = (("GET", "file"), ("PUT", f"new-{number}"), ("HEAD", "file"), ("DELETE", "none"))[number % 4]
            client.begin(method, path_of(entered.distant, name), {**LOGIN, "Content-Length": "0"})
        try:
            yield
        finally:
            entered.mount.go_on()


@contextmanager
def sleeping(entered: Arena) -> Iterator[None]:
    """Halt the volume most of the time."""
    awake = threading.Event()

    def nod() -> None:
        while not awake.is_set():
            entered.mount.halt()
            awake.wait(ASLEEP)
            entered.mount.go_on()
            awake.wait(AWAKE)

    nodding = threading.Thread(target=nod)
    nodding.start()
    try:
        yield
    finally:
        awake.set()
        nodding.join()


# --- the questions ---


def probe(entered: Arena, count: int) -> Mapping[str, Sequence[float]]:
    """Milliseconds until either answered, in turn."""
    taken: dict[str, list[float]] = {"gateway": [], "bare responder": []}
    with Client(entered.port) as ours, Client(entered.bare.port) as theirs:
        for number in range(-20, count):
            for name, client in (("gateway", ours), ("bare responder", theirs)):
                begun = time.perf_counter()
                expect(client.request("GET", "/", {}), 200)
                if number >= 0:
                    taken[name].append((time.perf_counter() - begun) * 1000)
                time.sleep(PAUSE)
    return taken


def late(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(values)[int(len(values) * 0.99)]


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Ask in each phase."""
    findings, series, failures = [], dict[str, Sequence[float]](), list[str]()
    phases = {
        "busy": ("eight transfers", 0, None),
        "hangs": ("eight transfers, a volume hangs", 0, hanging),
        "sleeps": ("eight transfers, a volume sleeps", 2, sleeping),
    }
    with folder() as place, arena(place, effort) as entered:
        for name, (title, distant, trouble) in phases.items():
            if only and name not in only:
                continue
            print(title, flush=True)
            try:
                with transfers(entered, distant), ExitStack() as troubled:
                    if trouble is not None:
                        troubled.enter_context(trouble(entered))
                    taken = probe(entered, effort.probes)
            except Exception as failure:
                failures.append(f"Not measured: {title} ({type(failure).__name__}: {failure}).")
                continue
            ours, bare = taken["gateway"], taken["bare responder"]
            told = (
                f"gateway {statistics.median(ours):.1f} ms in the middle, {late(ours):.1f} ms late;"
                f" responder {statistics.median(bare):.1f}, {late(bare):.1f}"
            )
            print(f"  {told}", flush=True)
            most = None if name == "busy" else AIM
            findings.append(Finding(name, f"status, {title}", late(ours) - late(bare), "ms", most, told))
            series.update({f"{who}, {title}": values for who, values in taken.items()})
    about = ABOUT.format(large=effort.large // MIB, asleep=ASLEEP, both=ASLEEP + AWAKE)
    return Section("Latency", about, findings=findings, series=series, failures=failures)


AREA = Area("latency", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()
