"""Large files by HTTP, up and down, one and four at once: ``python -m benchmarks.large``, part of ``make bench``."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs

from benchmarks.area import Area
from benchmarks.contest import BYTES, GIB, MIB, Contest, Entrant, hold_all
from benchmarks.files import must_equal, synced, write_noise
from benchmarks.gateway import LOGIN, Gateway
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.storage_proxy import StorageProxy
from benchmarks.peers.tus_node import TusNode
from benchmarks.report import Section
from benchmarks.storage import MEMORY, folder
from benchmarks.wire import Client, Work, WrongAnswer, expect, timed, together
from tests.support.process import free_port

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
#: How many there are where there are several at once.
SEVERAL = 4

ABOUT = """Large files have {large:,} MiB; where there are four at once, {each:,} MiB each. nginx runs one worker with `sendfile`, `tcp_nopush` and its temporary files on the
storage of the target; @tus/server as its manual starts it; the Storage Proxy with one process on uvloop, beside etcd and Redis, which do nothing meanwhile. Each upload is
compared with its source, byte for byte; a download in the round that does not count. Whoever downloads alone looks for more without falling asleep, since to be woken would cost the server
more than the download, where both are on one virtual machine.

- *synced* means that the answer comes when storage has the bytes and the name. The gateway does that with `durability = "sync"`. Its peers never do, so
  their client syncs the file and its directory after each upload, within the time that is measured; it has to, to know as much.
- *not synced* compares `durability = "none"` with the peers as they come.
- In memory there is nothing to sync: these figures show the software alone."""


@attrs.frozen
class Effort:
    """How much is done.

    :ivar large: bytes of the file that is up- and downloaded alone
    :ivar each: bytes of each where there are several
    """

    rounds: int
    large: int
    each: int


WHOLE = Effort(5, GIB, 512 * MIB)
QUICK = Effort(2, 128 * MIB, 64 * MIB)


@attrs.frozen
class Arena:
    """One kind of storage with all contestants on it.

    :ivar storage: what it is, in words
    :ivar durabilities: what the gateway offers there; on memory there is nothing to wait for
    :ivar folder: holds ``large`` and ``each``, to be sent
    :ivar served: the directory that everybody serves, with ``large`` and ``each`` to be fetched
    :ivar stored: what was uploaded to each server last
    """

    storage: str
    durabilities: tuple[str, ...]
    folder: Path
    served: Path
    gateway: Gateway
    nginx: Nginx
    tus: TusNode
    proxy: StorageProxy
    stored: dict[str, list[Path]] = attrs.Factory(lambda: defaultdict(list))

    def setting(self, durability: str) -> str:
        """Storage and durability, in words."""
        if len(self.durabilities) == 1:
            return self.storage
        return f"{self.storage}, {'synced' if durability == 'sync' else 'not synced'}"

    def path(self, name: str) -> str:
        """Of a served file, for who logs in."""
        return self.gateway.path(self.durabilities[0], name)


type_server = Gateway | Nginx | TusNode | StorageProxy


# --- download ---


def downloads(arena: Arena) -> Iterator[Contest]:
    """From the page cache: one, and four at once."""
    theirs = fetching(arena, arena.nginx, lambda name: f"/files/{name}", {})
    ours = fetching(arena, arena.gateway, arena.path, LOGIN)
    yield Contest("download", "download", arena.storage, BYTES, ours("large", 1), theirs("large", 1), 0.95, 0.4)
    if arena.storage == MEMORY:
        yield Contest("download-4", "four downloads", MEMORY, BYTES, ours("each", 4), theirs("each", 4), 1.0)
    minted = fetching(arena, arena.gateway, arena.gateway.token_path, {})
    proxy = fetching(arena, arena.proxy, arena.proxy.download_path, {})
    yield Contest("proxy-get", "download by token", arena.storage, BYTES, minted("large", 1), proxy("large", 1), 2.0)


def fetching(
    arena: Arena, server: type_server, path: Callable[[str], str], headers: Mapping[str, str]
) -> Callable[[str, int], Entrant]:
    """Who fetches: what, and how often at once."""

    def entrant(name: str, count: int) -> Entrant:
        served = arena.served / name
        size = served.stat().st_size

        def fetch(target: str, number: int) -> None:
            crc = 0

            def check(piece: memoryview) -> None:
                nonlocal crc
                crc = zlib.crc32(piece, crc)

            with Client(server.port, sleepless=count == 1) as client:
                answer = expect(client.request("GET", target, headers, None if number else check), 200)
            if answer.length != size or (not number and crc != checksum(served)):
                raise WrongAnswer(f"{server.title} sent something else")

        def run(number: int) -> Work:
            targets = [path(name) for _ in range(count)]
            return timed(count * size, lambda: together(partial(fetch, target, number) for target in targets))

        return Entrant(server, run)

    return entrant


def checksum(path: Path) -> int:
    """Of a whole file."""
    value = 0
    with path.open("rb") as file:
        while piece := file.read(MIB):
            value = zlib.crc32(piece, value)
    return value


# --- upload ---


@attrs.frozen
class Target:
    """Where one upload goes.

    :ivar stored: where it lies on disk in the end
    :ivar sync: whether its client has to see to it that it is durable
    """

    path: str
    stored: Path
    sync: bool = False


def sending(
    arena: Arena,
    server: type_server,
    method: str,
    headers: Mapping[str, str],
    sources: Sequence[Path],
    target: Callable[[str, int], Target],
) -> Entrant:
    """Who sends ``sources`` at once; ``target`` is asked, off the clock, where a name with a size goes.

    What a server has stored is removed just before it stores as much again: of memory that is free for a second the host of a virtual machine takes
    some back, and to store something there takes ten times as long.
    """
    stored = arena.stored[server.title]
    chosen: dict[int, list[tuple[Path, Target]]] = {}

    def send(source: Path, to: Target) -> None:
        with Client(server.port) as client:
            expect(client.upload(method, to.path, headers, source), 201, 204)
        if to.sync:
            synced(to.stored)

    def run(number: int) -> Work:
        sizes = [source.stat().st_size for source in sources]
        chosen[number] = [
            (source, target(f"{method.lower()}-{number}-{at}", size))
            for at, (source, size) in enumerate(zip(sources, sizes, strict=True))
        ]
        while stored:
            stored.pop().unlink()
        return timed(sum(sizes), lambda: together(partial(send, *pair) for pair in chosen[number]))

    def after(number: int) -> None:
        for source, to in chosen.pop(number):
            must_equal(to.stored, source)
            stored.append(to.stored)

    return Entrant(server, run, after)


def puts(arena: Arena, durability: str) -> Iterator[Contest]:
    """New files by PUT: one, and four at once."""
    gateway, sync = arena.gateway, durability == "sync"

    def ours(name: str, _: int) -> Target:
        return Target(gateway.path(durability, name), gateway.folders[durability].root / name)

    def theirs(name: str, _: int) -> Target:
        return Target(f"/put/{name}", arena.nginx.folder / "put" / name, sync)

    setting = arena.setting(durability)
    memory = arena.storage == MEMORY
    for name, title, sources, aim in (
        ("put", "upload by PUT", ["large"], 1.5 if memory else 2.5),
        ("put-4", "four uploads by PUT", ["each"] * SEVERAL, 2.0),
    ):
        files = [arena.folder / source for source in sources]
        entrants = (
            sending(arena, gateway, "PUT", LOGIN, files, ours),
            sending(arena, arena.nginx, "PUT", {}, files, theirs),
        )
        cost = 0.85 if memory and name == "put" else None
        yield Contest(name, title, setting, BYTES, *entrants, aim, cost)


def patches(arena: Arena, durability: str) -> Iterator[Contest]:
    """A new file by one tus PATCH; the creation before it is off the clock, since the orchestrator does it."""
    gateway, sync, files = arena.gateway, durability == "sync", [arena.folder / "large"]

    def created(name: str, size: int) -> Target:
        with Client(arena.tus.port) as client:
            headers = {**TUS, "Upload-Length": str(size), "Content-Length": "0"}
            answer = expect(client.request("POST", "/files", headers), 201)
        name = answer.headers["location"].rpartition("/")[2]
        return Target(f"/files/{name}", arena.tus.store / name, sync)

    def minted(name: str, size: int) -> Target:
        return Target(arena.proxy.upload_path(name, size), arena.proxy.root / name, sync)

    def ours(name: str, size: int) -> Target:
        return Target(gateway.upload_path(durability, name, size), gateway.folders[durability].root / name)

    setting, title = arena.setting(durability), "upload by tus PATCH"
    mine = sending(arena, gateway, "PATCH", PATCH, files, ours)
    node = sending(arena, arena.tus, "PATCH", PATCH, files, created)
    yield Contest("tus", title, setting, BYTES, mine, node, 1.5)
    if arena.storage == MEMORY or not sync:
        theirs = sending(arena, arena.proxy, "PATCH", PATCH, files, minted)
        yield Contest("proxy-put", f"{title} by token", setting, BYTES, mine, theirs, 2.0)


# --- everybody up and running ---


@contextmanager
def arena(place: Path, storage: str, effort: Effort) -> Iterator[Arena]:
    """On one kind of storage."""
    durabilities = ("none",) if storage == MEMORY else ("sync", "none")
    for name, size in (("large", effort.large), ("each", effort.each)):
        write_noise(place / name, size)
    with ExitStack() as running:
        gateway = running.enter_context(Gateway(place / "gateway", durabilities))
        served = gateway.folders[durabilities[0]].root
        nginx = Nginx(place / "nginx", free_port(), served)
        tus = TusNode(place / "tus", free_port())
        proxy = StorageProxy(place / "proxy", free_port())
        for server in (nginx, tus, proxy):
            running.enter_context(server)
        for name in ("large", "each"):
            os.link(place / name, served / name)
            os.link(place / name, proxy.root / name)
        yield Arena(storage, durabilities, place, served, gateway, nginx, tus, proxy)


def contests(entered: Arena) -> Iterator[Contest]:
    """Everything that is held in an arena."""
    yield from downloads(entered)
    for durability in entered.durabilities:
        yield from puts(entered, durability)
        yield from patches(entered, durability)


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold them, in memory and on the disk of temporary files."""
    outcomes, failures = [], []
    for storage in (MEMORY, "disk"):
        with folder(in_memory=storage == MEMORY) as place, arena(place, storage, effort) as entered:
            held, failed = hold_all(contests(entered), effort.rounds, only)
        outcomes += held
        failures += failed
    about = ABOUT.format(large=effort.large // MIB, each=effort.each // MIB)
    return Section("Large files over HTTP", about, outcomes, failures=failures)


AREA = Area("large", section, WHOLE, QUICK)

if __name__ == "__main__":
    AREA.main()
