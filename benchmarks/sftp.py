"""SFTP beside OpenSSH's own server and asyncssh's, with OpenSSH's own client: ``python -m benchmarks.sftp``; part of ``make bench``.

Both serve the same kind of storage and are asked the same by the same program, in pairs, in alternating order; bytes are compared in the
round that warms up.
"""

from __future__ import annotations

import filecmp
import getpass
import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs

from benchmarks.area import Area
from benchmarks.contest import BYTES, FILES, MIB, Contest, Entrant, Unit, hold_all
from benchmarks.delay import Delay
from benchmarks.files import write_noise
from benchmarks.meter import Meter
from benchmarks.peers.asyncssh import AsyncSsh
from benchmarks.peers.openssh import OpenSsh
from benchmarks.report import Section
from benchmarks.storage import MEMORY
from benchmarks.storage import folder as new_folder
from benchmarks.wire import Work, WrongAnswer, timed, together
from tests.support.process import GatewayProcess, VFolderOfAlice, free_port
from tests.support.sftp import OPTIONS, SftpSite

GCM = "-oCiphers=aes128-gcm@openssh.com"
#: Where what is fetched goes, if nobody wants to look at it.
NOWHERE = "/dev/null"
#: Seconds from one end of the long line to the other and back.
ROUND_TRIP = 0.05

ABOUT = """OpenSSH's client with either server: `sftp -b`, one connection, without compression. The gateway chooses AES-GCM; OpenSSH's defaults are
chacha20-poly1305, and *AES-GCM* compares with OpenSSH on that. *50 ms* goes through a relay that hands on everything 25 ms later, in both
directions. *New keys* asks for them after every 16 MiB. *Four sessions* are four clients at once, each with a file of {each:,} MiB, and two workers of the gateway's. paramiko's
`get` asks for the whole file at once. Large files have {large:,} MiB; nothing is there before that would have to be replaced. What OpenSSH's client fetches it writes to `/dev/null`, as the
client for HTTP throws bytes away, but for small files and where it says *into a file*: there one of the client's two processes has a processor for itself, and hardly waits for either server."""


@attrs.frozen
class Effort:
    """How much is done.

    :ivar large: bytes of the file that is up- and downloaded; ``each``: of that of each of four; ``far``: of that at 50 ms; ``piped``: of that
        for paramiko
    :ivar files: how many small files there are
    :ivar entries: of the directory that is listed; ``crowded``: of the larger one
    """

    rounds: int
    large: int
    each: int
    far: int
    piped: int
    files: int
    entries: int
    crowded: int


WHOLE = Effort(5, 1024 * MIB, 256 * MIB, 32 * MIB, 700 * MIB, 10_000, 10_000, 100_000)
QUICK = Effort(2, 64 * MIB, 32 * MIB, 16 * MIB, 64 * MIB, 500, 1_000, 10_000)


class Ours:
    """This gateway."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        volume = {"path": str(folder / "volume"), "durability": "none"}
        self.site = SftpSite(folder, {"local": volume}, workers=workers)
        self.process = GatewayProcess(self.site)
        self.port = self.site.sftp_port
        self.title = "vfgateway" + (f", {workers} workers" if workers > 1 else "")

    def populate(self) -> VFolderOfAlice:
        """When it runs: let Alice in, with a vfolder of hers."""
        self.process.all_there()
        vfolder = self.site.populate()
        self.site.admit_key()
        return vfolder

    @property
    def meter(self) -> Meter:
        """What it costs."""
        return Meter(self.process.pid)


class Side:
    """A server as the client sees it.

    :ivar root: where files lie, for the client; ``place``: on disk
    :ivar far: the port of the server at the end of the long line
    """

    def __init__(self, server: Ours | OpenSsh | AsyncSsh, user: str, root: str, place: Path, key: Path) -> None:
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
    """All servers up and running, and what is moved.

    :ivar spread: this gateway with two workers
    """

    folder: Path
    ours: Side
    theirs: Side
    python: Side
    spread: Side
    effort: Effort

    def pair(
        self,
        name: str,
        title: str,
        unit: Unit,
        aim: float | None,
        run: Callable[[Side, bool], Work],
        check: Callable[[Side], None] = lambda _: None,
        sides: tuple[Side, Side] | None = None,
        taken: int = 0,
        cost: float | None = None,
    ) -> Contest:
        """A contest in which both do the same; ``check`` looks at the outcome of the round that warms up.

        :param run: is told whether what it fetches is to be kept, for the check
        :param taken: bytes of memory that the client needs for what it stores
        :param cost: the processor time per unit that is wanted at most
        """

        def entrant(side: Side) -> Entrant:
            def once(number: int) -> Work:
                work = run(side, not number)
                if not number:
                    check(side)
                return work

            def after(_: int) -> None:
                for left in (*self.folder.glob("down*"), *side.place.glob("up*")):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()

            return Entrant(side.server, once, after, partial(_touch, taken + taken // 4))

        ours, theirs = sides or (self.ours, self.theirs)
        return Contest(name, title, MEMORY, unit, entrant(ours), entrant(theirs), aim, cost)

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


def _touch(size: int) -> None:
    """See to it that so many bytes of memory are there. What a virtual machine has let go of since it last used it, its host has taken back: to store a
    GiB there takes ten times as long as elsewhere (3.3 s beside 0.35), whoever sends it."""
    if size:
        mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def large_files(arena: Arena) -> Iterator[Contest]:
    """Large files, with different ciphers, at a distance, and with new keys all the time."""
    folder, effort = arena.folder, arena.effort
    down = folder / "down"

    def both(
        tail: str, words: str, aim: float | None, source: str, size: int, options: Callable[[Side], Sequence[str]]
    ) -> Iterator[Contest]:
        def put(side: Side, _: bool) -> Work:
            return side.run(f"put {folder / source} up", size, *options(side))

        def get(side: Side, kept: bool) -> Work:
            return side.run(f"get {source} {down if kept else NOWHERE}", size, *options(side))

        stored, fetched = arena.same(lambda side: side.place / "up", source), arena.same(lambda _: down, source)
        cost = None if tail else 1.1
        yield arena.pair(f"put{tail}", f"put{words}", BYTES, aim, put, stored, cost=cost)
        yield arena.pair(f"get{tail}", f"get{words}", BYTES, aim, get, fetched, cost=cost)
        if source == "source":
            into = lambda side, _: get(side, True)  # noqa: E731
            yield arena.pair(f"get-file{tail}", f"get into a file{words}", BYTES, None, into, fetched, taken=size)

    yield from both("", "", 2.0, "source", effort.large, lambda _: ())
    gcm = lambda side: (GCM,) if side is arena.theirs else ()  # noqa: E731
    yield from both("-gcm", ", AES-GCM", 1.4, "source", effort.large, gcm)
    yield from both("-far", ", 50 ms", 1.0, "far", effort.far, lambda side: (f"-oPort={side.far}",))
    yield from both("-rekey", ", new keys", None, "far", effort.far, lambda _: ("-oRekeyLimit=16M",))


def beside_python(arena: Arena) -> Iterator[Contest]:
    """The other server in Python."""
    sides, size, down = (arena.ours, arena.python), arena.effort.large, arena.folder / "down"

    def put(side: Side, _: bool) -> Work:
        return side.run(f"put {arena.folder / 'source'} up", size)

    def get(side: Side, kept: bool) -> Work:
        return side.run(f"get source {down if kept else NOWHERE}", size)

    stored, fetched = arena.same(lambda side: side.place / "up"), arena.same(lambda _: down)
    yield arena.pair("put", "put", BYTES, None, put, stored, sides)
    yield arena.pair("get", "get", BYTES, None, get, fetched, sides)


def four_sessions(arena: Arena) -> Iterator[Contest]:
    """Four clients at once, with two workers of ours."""
    folder, size, sides = arena.folder, arena.effort.each, (arena.spread, arena.theirs)

    def at_once(side: Side, script: Callable[[int], str]) -> Work:
        return timed(4 * size, lambda: together(partial(side.run, script(at), size) for at in range(4)))

    def put(side: Side, _: bool) -> Work:
        return at_once(side, lambda at: f"put {folder / 'each'} up-{at}")

    def get(side: Side, kept: bool) -> Work:
        return at_once(side, lambda at: f"get each {folder / f'down-{at}' if kept else NOWHERE}")

    last = arena.same(lambda side: side.place / "up-3", "each"), arena.same(lambda _: folder / "down-3", "each")
    yield arena.pair("put-4", "put, four sessions", BYTES, 2.0, put, last[0], sides)
    yield arena.pair("get-4", "get, four sessions", BYTES, 2.0, get, last[1], sides)


def small_files(arena: Arena) -> Iterator[Contest]:
    """Many small files, and many names."""
    folder, effort = arena.folder, arena.effort

    def script(text: str, amount: int) -> Callable[[Side, bool], Work]:
        return lambda side, _: side.run(text, amount)

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
    yield from beside_python(arena)
    yield from four_sessions(arena)
    yield from small_files(arena)
    yield contest(arena)


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold them, for the report."""
    from benchmarks.sftp_paramiko import memory, neighbour

    with arena(effort) as entered:
        outcomes, failures = hold_all(contests(entered), effort.rounds, only)
        notes = [note(entered) for note in (memory, neighbour) if not only or note.__name__ in only]
    about = ABOUT.format(large=effort.large // MIB, each=effort.each // MIB)
    return Section("SFTP", about, outcomes, notes, failures=failures)


@contextmanager
def arena(effort: Effort) -> Iterator[Arena]:
    """Everybody up and running."""
    with new_folder() as folder, ExitStack() as running:
        mine, spread = Ours(folder / "gateway"), Ours(folder / "spread", workers=2)
        sides = []
        for each in (mine, spread):
            running.enter_context(each.process)
            vfolder = each.populate()
            sides.append(Side(each, "alice", "data", vfolder.root, each.site.key))
        key = mine.site.key
        for peer in (OpenSsh(folder / "openssh", free_port(), key), AsyncSsh(folder / "asyncssh", free_port(), key)):
            running.enter_context(peer)
            place = peer.folder / "files"
            place.mkdir()
            sides.append(Side(peer, getpass.getuser(), str(place), place, key))
        ours, two, theirs, python = sides
        for side in (ours, theirs):
            side.far = running.enter_context(Delay(side.server.port, ROUND_TRIP)).port
        _prepare(folder, [ours.place, theirs.place], effort)
        os.link(folder / "source", python.place / "source")
        os.link(folder / "each", two.place / "each")
        yield Arena(folder, ours, theirs, python, two, effort)


def _prepare(folder: Path, places: Sequence[Path], effort: Effort) -> None:
    for name, size in (("source", effort.large), ("far", effort.far), ("piped", effort.piped), ("each", effort.each)):
        write_noise(folder / name, size)
        for place in places:
            os.link(folder / name, place / name)
    (folder / "small").mkdir()
    for number in range(effort.files):
        (folder / f"small/file-{number:05}").write_bytes(b"x" * 1024)
    for place in places:
        shutil.copytree(folder / "small", place / "small")
        for name, count in (("many", effort.entries), ("crowded", effort.crowded)):
            (place / name).mkdir()
            for number in range(count):
                (place / f"{name}/entry-{number:06}").touch()


AREA = Area("sftp", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()
