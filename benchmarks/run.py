"""The runner: puts the contestants on each kind of storage, holds the contests, writes the report. A whole run takes a quarter of an hour."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks import cases, crowd, sftp, webdav
from benchmarks.contest import GIB, MIB, Outcome, hold
from benchmarks.gateway import Gateway
from benchmarks.peers.copyparty import Copyparty
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.tus_node import TusNode
from benchmarks.report import Report
from tests.support.process import ROOT, free_port

PAGE = ROOT / "docs/performance.md"
DATA = ROOT / "docs/performance.json"


@attrs.frozen
class Effort:
    """How much is done.

    :ivar large: bytes of the file that is up- and downloaded
    :ivar files: how many small files there are
    :ivar seconds: of each burst of small requests
    :ivar crowd: bytes of each of the eight uploads and downloads at once
    """

    rounds: int
    large: int
    files: int
    seconds: float
    crowd: int

    def words(self) -> str:
        """For the report."""
        return f"Large files have {self.large // MIB:,} MiB."


WHOLE = Effort(6, GIB, 10_000, 5, 2 * GIB)
QUICK = Effort(2, 128 * MIB, 1_000, 2, 256 * MIB)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    options = _options(arguments)
    effort = QUICK if options.quick else WHOLE
    if options.rounds:
        effort = attrs.evolve(effort, rounds=options.rounds)
    outcomes: list[Outcome] = []
    crowds = []
    for storage in options.storage:
        with _folder(storage, options.disk) as folder, arena(folder, storage, effort) as entered:
            for contest in cases.contests(entered):
                if not options.only or contest.name in options.only:
                    print(f"{contest.title}, {contest.setting}", flush=True)
                    outcomes.append(hold(contest, effort.rounds, lambda line: print(line, flush=True)))
            if storage == "disk" and (not options.only or "memory" in options.only):
                print("memory under eight uploads and eight downloads at once", flush=True)
                crowds.append(crowd.hold(entered.gateway, "none", effort.crowd))
    sections = []
    if "memory" in options.storage and (not options.only or "sftp" in options.only):
        sections.append(sftp.section(sftp.QUICK if options.quick else attrs.evolve(sftp.WHOLE, rounds=effort.rounds)))
    if "memory" in options.storage and (not options.only or "webdav" in options.only):
        dav = webdav.QUICK if options.quick else webdav.WHOLE
        sections.append(webdav.section(attrs.evolve(dav, rounds=effort.rounds)))
    report = Report(outcomes, crowds, effort.rounds, effort.words(), time.strftime("%d %B %Y"), sections)
    print("\n" + report.page())
    narrowed = options.quick or options.rounds or options.only or len(options.storage) < 2
    if options.write or not narrowed:
        PAGE.write_text(report.page())
        DATA.write_text(report.data())


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small files and two rounds: whether it runs, not how fast"
    )
    parser.add_argument("--rounds", type=int, help="pairs for each ratio")
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", help="of download, put, tus, requests, zip, memory, sftp, webdav"
    )
    parser.add_argument("--storage", nargs="+", choices=["memory", "disk"], default=["memory", "disk"])
    parser.add_argument(
        "--disk", type=Path, help="a directory on the disk to measure; by default that for temporary files"
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)} in spite of it")
    return parser.parse_args(arguments)


@contextmanager
def _folder(storage: str, disk: Path | None) -> Iterator[Path]:
    place = Path("/dev/shm") if storage == "memory" else disk
    with tempfile.TemporaryDirectory(prefix="vfgateway-bench-", dir=place) as folder:
        yield Path(folder)


@contextmanager
def arena(folder: Path, storage: str, effort: Effort) -> Iterator[cases.Arena]:
    """Everybody up and running on one kind of storage."""
    durabilities = ("none",) if storage == "memory" else ("sync", "none")
    source = folder / "source"
    _write_noise(source, effort.large)
    with ExitStack() as running:
        gateway = running.enter_context(Gateway(folder / "gateway", durabilities))
        served = gateway.folders[durabilities[0]].root
        _write_noise(served / "large", effort.large)
        (served / "small").mkdir()
        for number in range(effort.files):
            _write_noise(served / f"small/file-{number:05}", 4096)
        servers = Nginx(folder / "nginx", free_port(), served), TusNode(folder / "tus", free_port())
        copyparty = Copyparty(folder / "copyparty", free_port(), served)
        for server in (*servers, copyparty):
            running.enter_context(server)
        words = "memory (tmpfs)" if storage == "memory" else "disk"
        yield cases.Arena(
            words, durabilities, source, served, effort.files, effort.seconds, gateway, *servers, copyparty
        )


def _write_noise(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for offset in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - offset)))
