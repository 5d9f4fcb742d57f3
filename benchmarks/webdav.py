"""WebDAV beside Apache and nginx: ``python -m benchmarks.webdav``; listings, single properties, small uploads."""

from __future__ import annotations

import argparse
import http.client
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import FILES, REQUESTS, Contest, Entrant, Server, hold
from benchmarks.gateway import LOGIN
from benchmarks.meter import Meter
from benchmarks.peers.apache import Apache
from benchmarks.peers.nginx import Nginx
from benchmarks.wire import Work, WrongAnswer, timed
from tests.support.dav_site import DavSite
from tests.support.process import GatewayProcess, VFolderOfAlice, free_port

#: What most clients ask for.
ASKED = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/>'
    b"<D:getlastmodified/><D:getetag/></D:prop></D:propfind>"
)
DEAD = (
    b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x:note xmlns:x="http://example.org/">kept</x:note></D:prop></D:set>'
    b"</D:propertyupdate>"
)


class Ours:
    """The gateway with a vfolder whose uploads are as durable as its peers': not at all."""

    title = "vfgateway"

    def __init__(self, folder: Path) -> None:
        self.site = DavSite(folder, {"local": {"path": str(folder / "volume"), "durability": "none"}})
        self.port = self.site.dav_port
        self._process = GatewayProcess(self.site)
        self.folder: VFolderOfAlice

    @property
    def meter(self) -> Meter:
        """What it costs."""
        return Meter(self._process.pid)

    def __enter__(self) -> Ours:
        self._process.start()
        self.folder = self.site.populate()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, fields: Mapping[str, str], *good: int
) -> bytes:
    """One request; its body. A connection that was closed while others had their turn is opened again."""
    try:
        connection.request(method, path, body, dict(fields))
        answer = connection.getresponse()
    except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
        connection.close()
        connection.request(method, path, body, dict(fields))
        answer = connection.getresponse()
    data = answer.read()
    if answer.status not in good:
        raise WrongAnswer(f"{method} {path}: {answer.status} {data[:300]!r}")
    return data


class Player:
    """A server with its address and login."""

    def __init__(self, server: Server, port: int, prefix: str, fields: Mapping[str, str]) -> None:
        self.server = server
        self.prefix = prefix
        self.fields = dict(fields)
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def listing(self, path: str, entries: int, asked: bytes = b"") -> Entrant:
        """PROPFIND with depth 1 of a directory; with nothing ``asked``, for all that there is."""
        fields = {**self.fields, "Depth": "1", "Content-Type": "application/xml"}

        def fetch() -> None:
            data = ask(self._connection, "PROPFIND", self.prefix + path, asked, fields, 207)
            if data.count(b"href>") < 2 * entries:  # a tag at either end
                raise WrongAnswer(f"{self.server.title}: too few entries")

        return Entrant(self.server, lambda _: timed(entries, fetch))

    def looks(self, path: str, count: int) -> Entrant:
        """PROPFIND with depth 0, one after the other."""
        fields = {**self.fields, "Depth": "0", "Content-Type": "application/xml"}

        def fetch() -> None:
            for _ in range(count):
                ask(self._connection, "PROPFIND", self.prefix + path, ASKED, fields, 207)

        return Entrant(self.server, lambda _: timed(count, fetch))

    def uploads(self, count: int) -> Entrant:
        """PUT of new files of 4 KiB, one after the other."""
        body = os.urandom(4096)

        def send(number: int) -> Work:
            def each() -> None:
                for at in range(count):
                    ask(self._connection, "PUT", f"{self.prefix}/put-{number}-{at}", body, self.fields, 201, 204)

            return timed(count, each)

        return Entrant(self.server, send)

    def mark(self, path: str, count: int) -> None:
        """Keep a dead property with each file."""
        for number in range(count):
            ask(self._connection, "PROPPATCH", f"{self.prefix}{path}file-{number:05}", DEAD, self.fields, 207)


def fill(root: Path, files: int) -> None:
    """A directory of empty files."""
    (root / "many").mkdir(parents=True)
    (root / "many").chmod(0o777)
    for number in range(files):
        place = root / "many" / f"file-{number:05}"
        place.touch()
        place.chmod(0o666)


def contests(ours: Player, apache: Player, nginx: Player, files: int) -> Iterator[Contest]:
    """All of them, those with stored properties last."""
    title = f"PROPFIND depth 1 of {files:,} files"
    pairs: list[tuple[str, Callable[[Player], Entrant], Player, float]] = [
        (title, lambda who: who.listing("/many/", files), apache, 3.5),
        (title, lambda who: who.listing("/many/", files), nginx, 0.4),
        (f"{title}, four properties", lambda who: who.listing("/many/", files, ASKED), apache, 0.0),
        (f"{title}, four properties", lambda who: who.listing("/many/", files, ASKED), nginx, 0.4),
        ("PROPFIND depth 0", lambda who: who.looks("/many/file-00000", 500), apache, 1.3),
        ("PUT of 4 KiB", lambda who: who.uploads(300), apache, 1.8),
    ]
    for name, entrant, peer, aim in pairs:
        unit = FILES if "depth 1" in name else REQUESTS
        yield Contest("webdav", f"{name} / {peer.server.title}", "memory", unit, entrant(ours), entrant(peer), aim)
    for player in (ours, apache):
        player.mark("/many/", files)
    name = f"{title} with a dead property each / {apache.server.title}"
    yield Contest("webdav", name, "memory", FILES, ours.listing("/many/", files), apache.listing("/many/", files), 2.0)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="vfgateway-dav-", dir="/dev/shm")))
        folder.chmod(0o755)
        ours = running.enter_context(Ours(folder / "gateway"))
        fill(ours.folder.root, options.files)
        fill(folder / "files", options.files)
        (folder / "files/put").mkdir(exist_ok=True)
        apache = Apache(folder / "apache", free_port(), folder / "files")
        nginx = Nginx(folder / "nginx", free_port(), folder / "files", dav=True)
        for server in (apache, nginx):
            running.enter_context(server)
        players = (
            Player(ours, ours.port, "/data", LOGIN),
            Player(apache, apache.port, "", {}),
            Player(nginx, nginx.port, "/files", {}),
        )
        for contest in contests(*players, options.files):
            print(contest.title, flush=True)
            outcome = hold(contest, options.rounds, lambda line: print(line, flush=True))
            print(f"  median {outcome.ratio:.2f}, wanted {contest.aim}", flush=True)


if __name__ == "__main__":
    main()
