"""The tasks: what each side is asked, and how it is checked that it did it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from benchmarks import small
from benchmarks.contest import BYTES, FILES, REQUESTS, Contest, Entrant
from benchmarks.gateway import LOGIN, Gateway
from benchmarks.peers.copyparty import Copyparty
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.tus_node import TusNode
from benchmarks.wire import Client, Work, WrongAnswer, drained, expect, timed
from benchmarks.zips import check_zip

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}


@attrs.frozen
class Arena:
    """One kind of storage with all contestants on it.

    :ivar storage: what it is, in words
    :ivar durabilities: what the gateway offers there; on memory there is nothing to wait for
    :ivar source: the file to upload
    :ivar served: the directory that everybody serves: ``large`` and, in ``small/``, ``file-00000`` and so on
    :ivar files: how many lie in ``small/``
    :ivar seconds: how long a burst of small requests lasts
    """

    storage: str
    durabilities: tuple[str, ...]
    source: Path
    served: Path
    files: int
    seconds: float
    gateway: Gateway
    nginx: Nginx
    tus: TusNode
    copyparty: Copyparty

    def setting(self, durability: str) -> str:
        """Storage and durability, in words."""
        if len(self.durabilities) == 1:
            return self.storage
        return f"{self.storage}, {'synced' if durability == 'sync' else 'not synced'}"


def contests(arena: Arena) -> Iterator[Contest]:
    """Everything that is held in an arena."""
    yield download(arena)
    for durability in arena.durabilities:
        yield put(arena, durability)
        yield tus(arena, durability)
    yield requests(arena)
    yield archive(arena)


def checksum(path: Path) -> int:
    """Of a whole file."""
    value = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            value = zlib.crc32(piece, value)
    return value


def must_equal(path: Path, source: Path, wanted: int) -> None:
    """Compare a stored file with what was sent."""
    if path.stat().st_size != source.stat().st_size or checksum(path) != wanted:
        raise WrongAnswer(f"{path} is not what was sent")


# --- download ---


def download(arena: Arena) -> Contest:
    """A large file from the page cache."""
    wanted = checksum(arena.served / "large")

    def entrant(server: Gateway | Nginx, path: str, headers: Mapping[str, str]) -> Entrant:
        size = (arena.served / "large").stat().st_size

        def run(number: int) -> Work:
            crc = 0

            def check(piece: memoryview) -> None:
                nonlocal crc
                crc = zlib.crc32(piece, crc)

            def fetch() -> None:
                with Client(server.port) as client:
                    answer = expect(client.request("GET", path, headers, None if number else check), 200)
                if answer.length != size or (not number and crc != wanted):
                    raise WrongAnswer(f"{server.title} sent something else")

            return timed(size, fetch)  # the bytes are looked at in the round that does not count

        return Entrant(server, run)

    ours = entrant(arena.gateway, arena.gateway.path(arena.durabilities[0], "large"), LOGIN)
    theirs = entrant(arena.nginx, "/files/large", {})
    return Contest("download", "download", arena.storage, BYTES, ours, theirs, 0.9)


# --- upload ---


def _synced(path: Path) -> None:
    """What a careful client of a server that does not sync has to do after each file: the file, then its name."""
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def put(arena: Arena, durability: str) -> Contest:
    """A new file by PUT."""
    size, wanted = arena.source.stat().st_size, checksum(arena.source)
    root = arena.gateway.folders[durability].root

    def send(server: Gateway | Nginx, path: str, headers: Mapping[str, str]) -> None:
        with Client(server.port) as client:
            expect(client.upload("PUT", path, headers, arena.source), 201, 204)

    def ours(number: int) -> Work:
        return timed(size, lambda: send(arena.gateway, arena.gateway.path(durability, f"put-{number}"), LOGIN))

    def theirs(number: int) -> Work:
        def work() -> None:
            send(arena.nginx, f"/put/{number}", {})
            if durability == "sync":
                _synced(arena.nginx.folder / f"put/{number}")

        return timed(size, work)

    return Contest(
        "put",
        "upload by PUT",
        arena.setting(durability),
        BYTES,
        Entrant(arena.gateway, ours, _checked_and_removed(arena, wanted, lambda number: root / f"put-{number}")),
        Entrant(
            arena.nginx,
            theirs,
            _checked_and_removed(arena, wanted, lambda number: arena.nginx.folder / f"put/{number}"),
        ),
        1.2,
    )


def _checked_and_removed(arena: Arena, wanted: int, place: Callable[[int], Path]) -> Callable[[int], None]:
    def after(number: int) -> None:
        must_equal(place(number), arena.source, wanted)
        place(number).unlink()

    return after


def tus(arena: Arena, durability: str) -> Contest:
    """A new file by one tus PATCH; the creation before it is off the clock, since the orchestrator does it."""
    size, wanted = arena.source.stat().st_size, checksum(arena.source)
    root = arena.gateway.folders[durability].root
    stored: dict[int, Path] = {}

    def send(server: Gateway | TusNode, path: str) -> None:
        with Client(server.port) as client:
            answer = expect(client.upload("PATCH", path, PATCH, arena.source), 204)
        if answer.headers.get("upload-offset") != str(size):
            raise WrongAnswer(f"{server.title} took {answer.headers.get('upload-offset')} bytes of {size}")

    def ours(number: int) -> Work:
        path = arena.gateway.upload_path(durability, f"tus-{number}", size)
        return timed(size, lambda: send(arena.gateway, path))

    def theirs(number: int) -> Work:
        with Client(arena.tus.port) as client:
            headers = {**TUS, "Upload-Length": str(size), "Content-Length": "0"}
            created = expect(client.request("POST", "/files", headers), 201)
        name = created.headers["location"].rpartition("/")[2]
        stored[number] = arena.tus.store / name

        def work() -> None:
            send(arena.tus, f"/files/{name}")
            if durability == "sync":
                _synced(stored[number])

        return timed(size, work)

    return Contest(
        "tus",
        "upload by tus PATCH",
        arena.setting(durability),
        BYTES,
        Entrant(arena.gateway, ours, _checked_and_removed(arena, wanted, lambda number: root / f"tus-{number}")),
        Entrant(arena.tus, theirs, _checked_and_removed(arena, wanted, lambda number: stored[number])),
        1.2,
    )


# --- small requests, archives ---


def requests(arena: Arena) -> Contest:
    """Files of 4 KiB over 64 connections."""
    names = [f"small/file-{number:05}" for number in range(min(arena.files, 1000))]

    def entrant(server: Gateway | Nginx, prefix: str, headers: Mapping[str, str]) -> Entrant:
        script = small.script(arena.source.parent, server.title.split()[0], [prefix + name for name in names], headers)

        def run(number: int) -> Work:
            if not number:
                _compare_small(arena, server.port, prefix, names, headers)
            return small.burst(server.port, script, arena.seconds)

        return Entrant(server, run)

    ours = entrant(arena.gateway, arena.gateway.path(arena.durabilities[0], ""), LOGIN)
    theirs = entrant(arena.nginx, "/files/", {})
    return Contest("requests", "files of 4 KiB, 64 connections", arena.storage, REQUESTS, ours, theirs)


def _compare_small(arena: Arena, port: int, prefix: str, names: list[str], headers: Mapping[str, str]) -> None:
    with Client(port) as client:
        for name in names:
            received = bytearray()
            expect(client.request("GET", prefix + name, headers, received.extend), 200)
            if received != (arena.served / name).read_bytes():
                raise WrongAnswer(f"{name} came back different")


def archive(arena: Arena) -> Contest:
    """A directory of small files as one zip."""

    def entrant(server: Gateway | Copyparty, path: Callable[[], str]) -> Entrant:
        def run(number: int) -> Work:
            if not number:
                check_zip(
                    f"http://127.0.0.1:{server.port}{path()}", arena.served / "small", arena.source.with_name("zip")
                )
            target = path()
            return timed(arena.files, lambda: drained(server.port, target, {}))

        return Entrant(server, run)

    ours = entrant(arena.gateway, lambda: arena.gateway.archive_path(arena.durabilities[0], "small"))
    theirs = entrant(arena.copyparty, lambda: "/files/small/?zip")
    return Contest("zip", f"zip of {arena.files:,} files of 4 KiB", arena.storage, FILES, ours, theirs)
