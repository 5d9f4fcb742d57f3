"""SFTP beside OpenSSH's own server, with OpenSSH's own client: ``python -m benchmarks.sftp``.

Both serve the same kind of storage and are asked the same by the same program, in pairs, in alternating order; bytes are compared in the
round that warms up.
"""

from __future__ import annotations

import argparse
import filecmp
import getpass
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import BYTES, FILES, Contest, Entrant, hold
from benchmarks.meter import Meter
from benchmarks.peers.openssh import OpenSsh
from benchmarks.wire import Work, WrongAnswer
from tests.support.process import GatewayProcess, free_port
from tests.support.sftp import OPTIONS, SftpSite

MIB = 1 << 20
GCM = "-oCiphers=aes128-gcm@openssh.com"


class Ours:
    """This gateway."""

    title = "vfgateway"

    def __init__(self, folder: Path) -> None:
        self.site = SftpSite(folder, {"local": {"path": str(folder / "volume"), "durability": "none"}})
        self.process = GatewayProcess(self.site)
        self.port = self.site.sftp_port

    @property
    def meter(self) -> Meter:
        """What it costs."""
        return Meter(self.process.pid)


class Side:
    """A server as the client sees it.

    :ivar root: where files lie, for the client; ``place``: on disk
    """

    def __init__(self, server: Ours | OpenSsh, user: str, root: str, place: Path, key: Path) -> None:
        self.server = server
        self.place = place
        self._command = ["sftp", *OPTIONS, f"-oIdentityFile={key}", f"-oPort={server.port}"]
        self._target = f"{user}@127.0.0.1:{root}"

    def run(self, script: str, amount: int, *options: str) -> Work:
        """Let the client do what the script says."""
        began = time.perf_counter()
        done = subprocess.run(
            [*self._command, *options, "-b", "-", self._target], input=script, capture_output=True, text=True
        )
        if done.returncode:
            raise WrongAnswer(done.stderr)
        return Work(amount, time.perf_counter() - began)


def contests(ours: Side, theirs: Side, folder: Path, large: int, files: int, entries: int) -> Iterator[Contest]:
    """Everything that is held."""
    source, back, small = folder / "source", folder / "back", folder / "small"

    def pair(
        name: str, title: str, script: str, amount: int, aim: float, check: Callable[[Side], None], options: str = ""
    ) -> Contest:
        unit = BYTES if amount > entries and amount > files else FILES

        def entrant(side: Side) -> Entrant:
            def run(number: int) -> Work:
                shutil.rmtree(folder / "tree", ignore_errors=True)
                more = [options] if options and side is theirs else []
                work = side.run(script, amount, *more)
                if not number:
                    check(side)
                return work

            return Entrant(side.server, run)

        return Contest(name, title, "memory (tmpfs)", unit, entrant(ours), entrant(theirs), aim)

    def same(first: Callable[[Side], Path], second: Path) -> Callable[[Side], None]:
        def check(side: Side) -> None:
            if not filecmp.cmp(first(side), second, shallow=False):
                raise WrongAnswer(f"{side.server.title} changed what it was given")

        return check

    def all_there(where: Callable[[Side], Path]) -> Callable[[Side], None]:
        def check(side: Side) -> None:
            if len(list(where(side).iterdir())) != files:
                raise WrongAnswer(f"{side.server.title} lost files")

        return check

    stored, fetched = same(lambda side: side.place / "large", source), same(lambda _: back, source)
    for options, words, put_aim in (("", "", 2.0), (GCM, ", it on AES-GCM", 1.4)):
        tail = "-gcm" if options else ""
        yield pair(f"put{tail}", f"put{words}", f"put {source} large", large, put_aim, stored, options)
        yield pair(f"get{tail}", f"get{words}", f"get large {back}", large, put_aim, fetched, options)
    yield pair("small-put", "small files up", f"put -r {small} s", files, 1.0, all_there(lambda side: side.place / "s"))
    down = all_there(lambda _: folder / "tree")
    yield pair("small-get", "small files down", f"get -r s {folder}/tree", files, 1.0, down)
    yield pair("list", f"ls -l of {entries:,}", "ls -l many", entries, 1.8, lambda _: None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sftp", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files and two rounds: whether it runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=10_000, help="of the directory that is listed")
    parser.add_argument("--only", nargs="+", metavar="CASE")
    options = parser.parse_args(arguments)
    large, files = (64 * MIB, 500) if options.quick else (1024 * MIB, 10_000)
    rounds = 2 if options.quick else options.rounds
    with tempfile.TemporaryDirectory(prefix="vfgateway-bench-", dir="/dev/shm") as name, ExitStack() as running:
        folder = Path(name)
        mine = Ours(folder / "gateway")
        running.enter_context(mine.process)
        vfolder = mine.site.populate()
        mine.site.admit_key()
        peer = OpenSsh(folder / "peer", free_port(), mine.site.key)
        running.enter_context(peer)
        (folder / "files").mkdir()
        ours = Side(mine, "alice", "data", vfolder.root, mine.site.key)
        theirs = Side(peer, getpass.getuser(), str(folder / "files"), folder / "files", mine.site.key)
        _prepare(folder, [ours.place, theirs.place], large, files, options.entries)
        for contest in contests(ours, theirs, folder, large, files, options.entries):
            if options.only and contest.name not in options.only:
                continue
            print(f"{contest.title}, {contest.setting}", flush=True)
            outcome = hold(contest, rounds, lambda line: print(line, flush=True))
            cost = outcome.ours.cpu / outcome.ours.amount * contest.unit.cost_scale
            print(f"  median {outcome.ratio:.2f} (aim {contest.aim}), {cost:.2f} {contest.unit.cost}", flush=True)


def _prepare(folder: Path, places: Sequence[Path], large: int, files: int, entries: int) -> None:
    with (folder / "source").open("wb") as file, Path("/dev/urandom").open("rb") as noise:
        for _ in range(0, large, MIB):
            file.write(noise.read(MIB))
    (folder / "small").mkdir()
    for number in range(files):
        (folder / f"small/file-{number:05}").write_bytes(b"x" * 1024)
    for place in places:
        (place / "many").mkdir()
        for number in range(entries):
            (place / f"many/entry-{number:06}").touch()


if __name__ == "__main__":
    main()
