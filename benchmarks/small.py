"""Small requests by HTTP: ``python -m benchmarks.small``, part of ``make bench``."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks.area import Area
from benchmarks.contest import MIB, REQUESTS, Contest, Entrant, hold_all
from benchmarks.files import write_noise, write_small
from benchmarks.gateway import LOGIN, Gateway
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.rclone import Rclone
from benchmarks.report import Section
from benchmarks.storage import MEMORY, folder
from benchmarks.wire import Client, Work, WrongAnswer, expect
from benchmarks.wrk import burst, script
from tests.support.process import ALICE, free_port

#: Bytes of a small file, and of a range of a large one.
SMALL, RANGE = 4096, 64 << 10
#: A condition that holds, so that servers have to look.
CONDITION: Mapping[str, str] = {"If-None-Match": '"0"'}

ABOUT = """wrk asks, with one thread, on connections that are kept alive. Files of 4 KiB are asked for with a condition that holds (`If-None-Match`), and, of the gateway and rclone, with a login;
the gateway and nginx write an access log. rclone is told the login as its manual has it, by `--user` and `--pass`: it makes MD5-crypt of what it is shown with each request. *SHA-1* is an rclone that has it in a file in that form,
which costs it least of all that it knows; its manual recommends bcrypt. nginx runs one worker, and beside it the gateway is one process; rclone uses all cores, and so does the gateway there, with two workers. Ranges are of 64 KiB, anywhere in a file of {large} MiB, one after the other on one connection."""


@attrs.frozen
class Effort:
    """How much is done.

    :ivar large: bytes of the file that ranges are read of
    :ivar seconds: of each burst
    """

    rounds: int
    large: int
    files: int
    seconds: float


WHOLE = Effort(9, 256 * MIB, 1000, 2)
QUICK = Effort(2, 32 * MIB, 200, 1)


@attrs.frozen
class Arena:
    """Everybody up and running over the same directory: ``large``, and files in ``small/``.

    :ivar spread: the gateway with two workers, over a copy of it
    """

    folder: Path
    served: Path
    gateway: Gateway
    spread: Gateway
    nginx: Nginx
    rclone: Rclone
    rclone_sha1: Rclone
    effort: Effort


type_server = Gateway | Nginx | Rclone


def bursts(
    arena: Arena, server: type_server, prefix: str, headers: Mapping[str, str], connections: int, ranged: bool = False
) -> Entrant:
    """Who is asked for small files, or for ranges of the large one."""
    names, ranges = [f"small/file-{number:05}" for number in range(arena.effort.files)], list[str]()
    if ranged:
        names = ["large"] * 500
        starts = random.Random(1).choices(range(0, arena.effort.large - RANGE, 4096), k=len(names))
        ranges = [f"bytes={start}-{start + RANGE - 1}" for start in starts]
    name = f"{server.port}-{connections}-{ranged}"
    lua = script(arena.folder, name, [prefix + name for name in names], headers, ranges)

    def run(number: int) -> Work:
        if not number:
            compare(arena, server, prefix, names[:200], headers, ranges)
        # Until a thousand connections are accepted nobody is answered.
        seconds = arena.effort.seconds + connections // 500
        return burst(server.port, lua, connections, seconds).work

    return Entrant(server, run)


def compare(
    arena: Arena,
    server: type_server,
    prefix: str,
    names: Sequence[str],
    headers: Mapping[str, str],
    ranges: Sequence[str],
) -> None:
    """Whether the right bytes come."""
    with Client(server.port) as client:
        for at, name in enumerate(names):
            received = bytearray()
            ranged = {"Range": ranges[at]} if ranges else {}
            expect(client.request("GET", prefix + name, {**headers, **ranged}, received.extend), 206 if ranges else 200)
            start = int(ranges[at].removeprefix("bytes=").partition("-")[0]) if ranges else 0
            with (arena.served / name).open("rb") as file:
                file.seek(start)
                if received != file.read(RANGE):
                    raise WrongAnswer(f"{server.title}: {name} came back different")


def contests(arena: Arena) -> Iterator[Contest]:
    """All of them."""
    one, two = arena.gateway, arena.spread
    asked = {**LOGIN, **CONDITION}
    rclone, sha1 = arena.rclone, arena.rclone_sha1
    rivals: list[tuple[str, int, Gateway, type_server, str, Mapping[str, str], float]] = [
        ("files", 64, one, arena.nginx, "/files/", CONDITION, 0.6),
        ("files-1000", 1000, one, arena.nginx, "/files/", CONDITION, 0.45),
        ("files-rclone", 64, two, rclone, "/", asked, 3.0),
        ("files-rclone-1000", 1000, two, rclone, "/", asked, 3.0),
        ("files-sha1", 64, two, sha1, "/", asked, 3.0),
        ("files-sha1-1000", 1000, two, sha1, "/", asked, 3.0),
    ]
    for name, connections, gateway, peer, prefix, fields, aim in rivals:
        title = f"files of 4 KiB, {connections} connections"
        mine = bursts(arena, gateway, gateway.path("none", ""), asked, connections)
        theirs = bursts(arena, peer, prefix, fields, connections)
        yield Contest(name, title, MEMORY, REQUESTS, mine, theirs, aim)
    mine = bursts(arena, one, one.path("none", ""), LOGIN, 1, ranged=True)
    theirs = bursts(arena, arena.nginx, "/files/", {}, 1, ranged=True)
    yield Contest("ranges", "ranges of 64 KiB, one connection", MEMORY, REQUESTS, mine, theirs, 0.8)


@contextmanager
def arena(place: Path, effort: Effort) -> Iterator[Arena]:
    """Everybody up and running, in memory."""
    with ExitStack() as running:
        gateway = running.enter_context(Gateway(place / "gateway", ("none",)))
        spread = running.enter_context(Gateway(place / "spread", ("none",), workers=2))
        served = gateway.folders["none"].root
        write_noise(served / "large", effort.large)
        write_small(served / "small", effort.files, SMALL)
        shutil.copytree(served / "small", spread.folders["none"].root / "small")
        nginx = Nginx(place / "nginx", free_port(), served)
        rclone = Rclone(place / "rclone", free_port(), served, "http", ALICE)
        rclone_sha1 = Rclone(place / "rclone-sha1", free_port(), served, "http", ALICE, cheap=True)
        for server in (nginx, rclone, rclone_sha1):
            running.enter_context(server)
        yield Arena(place, served, gateway, spread, nginx, rclone, rclone_sha1, effort)


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold them, for the report."""
    with folder() as place, arena(place, effort) as entered:
        outcomes, failures = hold_all(contests(entered), effort.rounds, only)
    return Section("Small requests over HTTP", ABOUT.format(large=effort.large // MIB), outcomes, failures=failures)


AREA = Area("small", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()
