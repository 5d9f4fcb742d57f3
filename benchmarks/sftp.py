"""SFTP beside OpenSSH's own server, with OpenSSH's own client: ``python -m benchmarks.sftp``; part of ``make bench``.

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
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks.contest import BYTES, FILES, MIB, Contest, Entrant, Unit, hold
from benchmarks.delay import Delay
from benchmarks.meter import Meter
from benchmarks.peers.openssh import OpenSsh
from benchmarks.report import Section, table
from benchmarks.wire import Work, WrongAnswer
from tests.support.process import GatewayProcess, free_port
from tests.support.sftp import OPTIONS, SftpSite

SETTING = "memory (tmpfs)"
GCM = "-oCiphers=aes128-gcm@openssh.com"
#: Seconds from one end of the long line to the other and back.
ROUND_TRIP = 0.05

ABOUT = """OpenSSH's client with either server: `sftp -b`, one connection, without compression. The gateway chooses AES-GCM; OpenSSH's defaults are
chacha20-poly1305, and *AES-GCM* compares with OpenSSH on that. *50 ms* goes through a relay that hands on everything 25 ms later, in both
directions. *New keys* asks for them after every 16 MiB. paramiko's `get` asks for the whole file at once."""


@attrs.frozen
class Effort:
    """How much is done.

    :ivar large: bytes of the file that is up- and downloaded; ``far``: of that at 50 ms; ``piped``: of that for paramiko
    :ivar files: how many small files there are
    :ivar entries: of the directory that is listed; ``crowded``: of the larger one
    """

    rounds: int
    large: int
    far: int
    piped: int
    files: int
    entries: int
    crowded: int


WHOLE = Effort(5, 1024 * MIB, 256 * MIB, 700 * MIB, 10_000, 10_000, 100_000)
QUICK = Effort(2, 64 * MIB, 16 * MIB, 64 * MIB, 500, 1_000, 10_000)


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
    :ivar far: the port of the server at the end of the long line
    """

    def __init__(self, server: Ours | OpenSsh, user: str, root: str, place: Path, key: Path) -> None:
        self.server = server
        self.user = user
        self.root = root
        self.place = place
        self.key = key
        self.far = 0

    def run(self, script: str, amount: int, *options: str) -> Work:
        """Let the client do what the script says."""
        command = ["sftp", *OPTIONS, f"-oIdentityFile={self.key}", *options, f"-oPort={self.server.port}"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "-b", "-", f"{self.user}@127.0.0.1:{self.root}"], input=script, capture_output=True, text=True
        )
        if done.returncode:
            raise WrongAnswer(done.stderr)
        return Work(amount, time.perf_counter() - began)


@attrs.frozen
class Arena:
    """Both servers up and running, and what is moved."""

    folder: Path
    ours: Side
    theirs: Side
    effort: Effort

    def pair(
        self,
        name: str,
        title: str,
        unit: Unit,
        aim: float | None,
        run: Callable[[Side], Work],
        check: Callable[[Side], None] = lambda _: None,
    ) -> Contest:
        """A contest in which both do the same; ``check`` looks at the outcome of the round that warms up."""

        def entrant(side: Side) -> Entrant:
            def once(number: int) -> Work:
                for left in (self.folder / "down", side.place / "up"):
                    shutil.rmtree(left, ignore_errors=True)
                work = run(side)
                if not number:
                    check(side)
                return work

            return Entrant(side.server, once)

        return Contest(name, title, SETTING, unit, entrant(self.ours), entrant(self.theirs), aim)

    def same(self, found: Callable[[Side], Path], source: str = "source") -> Callable[[Side], None]:
        """A check that bytes are what they were."""

        def check(side: Side) -> None:
            if not filecmp.cmp(found(side), self.folder / source, shallow=False):
                raise WrongAnswer(f"{side.server.title} changed what it was given")

        return check

    def all_there(self, where: Callable[[Side], Path]) -> Callable[[Side], None]:
        """A check that no file is missing."""

        def check(side: Side) -> None:
            if len(list(where(side).iterdir())) != self.effort.files:
                raise WrongAnswer(f"{side.server.title} lost files")

        return check


def large_files(arena: Arena) -> Iterator[Contest]:
    """Large files, with different ciphers, at a distance, and with new keys all the time."""
    folder, effort = arena.folder, arena.effort
    back = folder / "back"

    def both(
        tail: str, words: str, aim: float | None, source: str, size: int, options: Callable[[Side], Sequence[str]]
    ) -> Iterator[Contest]:
        stored, fetched = arena.same(lambda side: side.place / source, source), arena.same(lambda _: back, source)
        for verb, script, check in (
            ("put", f"put {folder / source} {source}", stored),
            ("get", f"get {source} {back}", fetched),
        ):

            def run(side: Side, script: str = script) -> Work:
                return side.run(script, size, *options(side))

            yield arena.pair(f"{verb}{tail}", f"{verb}{words}", BYTES, aim, run, check)

    yield from both("", "", 2.0, "source", effort.large, lambda _: ())
    gcm = lambda side: (GCM,) if side is arena.theirs else ()  # noqa: E731
    yield from both("-gcm", ", AES-GCM", 1.4, "source", effort.large, gcm)
    yield from both("-far", ", 50 ms", 1.0, "far", effort.far, lambda side: (f"-oPort={side.far}",))
    yield from both("-rekey", ", new keys", None, "far", effort.far, lambda _: ("-oRekeyLimit=16M",))


def small_files(arena: Arena) -> Iterator[Contest]:
    """Many small files, and many names."""
    folder, effort = arena.folder, arena.effort

    def script(text: str, amount: int) -> Callable[[Side], Work]:
        return lambda side: side.run(text, amount)

    up, down = arena.all_there(lambda side: side.place / "up"), arena.all_there(lambda _: folder / "down")
    words = f"{effort.files:,} files of 1 KiB"
    yield arena.pair("small-put", f"{words} up", FILES, 1.0, script(f"put -r {folder}/small up", effort.files), up)
    yield arena.pair(
        "small-get", f"{words} down", FILES, 1.0, script(f"get -r small {folder}/down", effort.files), down
    )
    yield arena.pair("list", f"ls -l of {effort.entries:,}", FILES, 1.8, script("ls -l many", effort.entries))
    yield arena.pair("crowded", f"ls of {effort.crowded:,}", FILES, None, script("ls crowded", effort.crowded))


def contests(arena: Arena) -> Iterator[Contest]:
    """Everything that is held."""
    from benchmarks.sftp_paramiko import contest  # the library is loaded where it is used

    yield from large_files(arena)
    yield from small_files(arena)
    yield contest(arena)


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold them, for the report."""
    from benchmarks.sftp_paramiko import memory, neighbour

    outcomes, notes = [], []
    with arena(effort) as entered:
        for contest in contests(entered):
            if not only or contest.name in only:
                print(f"{contest.title}, {contest.setting}", flush=True)
                outcomes.append(hold(contest, effort.rounds, lambda line: print(line, flush=True)))
        for note in (memory, neighbour):
            if not only or note.__name__ in only:
                notes.append(note(entered))
    return Section("SFTP", ABOUT, outcomes, notes)


@contextmanager
def arena(effort: Effort) -> Iterator[Arena]:
    """Both up and running."""
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
        for side in (ours, theirs):
            side.far = running.enter_context(Delay(side.server.port, ROUND_TRIP)).port
        _prepare(folder, [ours.place, theirs.place], effort)
        yield Arena(folder, ours, theirs, effort)


def _prepare(folder: Path, places: Sequence[Path], effort: Effort) -> None:
    for name, size in (("source", effort.large), ("far", effort.far), ("piped", effort.piped)):
        with (folder / name).open("wb") as file, Path("/dev/urandom").open("rb") as noise:
            for _ in range(0, size, MIB):
                file.write(noise.read(MIB))
        for place in places:
            shutil.copy(folder / name, place / name)
    (folder / "small").mkdir()
    for number in range(effort.files):
        (folder / f"small/file-{number:05}").write_bytes(b"x" * 1024)
    for place in places:
        shutil.copytree(folder / "small", place / "small")
        for name, count in (("many", effort.entries), ("crowded", effort.crowded)):
            (place / name).mkdir()
            for number in range(count):
                (place / f"{name}/entry-{number:06}").touch()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sftp", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files and two rounds: whether it runs")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--large", type=int, metavar="MIB", help="size of the large file")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="put-gcm, small-get, list, neighbour and so on")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else WHOLE
    effort = attrs.evolve(
        effort,
        rounds=options.rounds or effort.rounds,
        large=options.large * MIB if options.large else effort.large,
    )
    found = section(effort, options.only)
    print("\n".join(["", table(found.outcomes), *found.notes]))


if __name__ == "__main__":
    main()
