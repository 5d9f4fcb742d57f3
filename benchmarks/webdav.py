"""WebDAV beside Apache and nginx: ``python -m benchmarks.webdav``, part of ``make bench``; listings, single properties, small uploads."""

from __future__ import annotations

import argparse
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks.contest import FILES, REQUESTS, Contest, Entrant, Server, hold_all
from benchmarks.gateway import LOGIN
from benchmarks.meter import Meter
from benchmarks.peers.apache import Apache
from benchmarks.peers.nginx import Nginx
from benchmarks.report import Section, table
from benchmarks.storage import MEMORY
from benchmarks.storage import folder as new_folder
from benchmarks.wire import Work, WrongAnswer, timed
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice, free_port

#: What most clients ask for.
ASKED = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/>'
    b"<D:getlastmodified/><D:getetag/></D:prop></D:propfind>"
)
DEAD = (
    b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x:note xmlns:x="http://example.org/">kept</x:note></D:prop></D:set>'
    b"</D:propertyupdate>"
)
#: How many bytes an answer has, and how one ends that does not say.
_LENGTH, _LAST = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE), b"0\r\n\r\n"

ABOUT = """One client, one connection, one process each; requests are made beforehand, so that the client does little; a listing is asked for {times} times in each round. Apache's mod_dav asks for the same password as the gateway (kept
as SHA-1, which costs it least) and writes a line of the log for each request, as it comes packaged; nginx's dav-ext is open to everybody. Files are empty where they are only listed.
*A dead property each* was set by PROPPATCH on every file, on both. In memory nobody syncs anything. Apache never does, and the gateway need not either (`durability = "none"`): so PUTs are compared, in memory and on disk. Where it is said
that files are synced, Apache's client has the file and the directory synced after each PUT, and the gateway does so by itself before it answers: both wait for the same disk, which takes
most of the time."""
#: How often a directory is listed in each round: once takes 0.04 s, and the first after a pause may take twice that.
TIMES = 5


@attrs.frozen
class Effort:
    """How much is done.

    :ivar files: in the directory that is listed
    """

    rounds: int
    files: int


WHOLE, QUICK = Effort(9, 10_000), Effort(2, 500)


class Ours:
    """The gateway with a vfolder whose uploads are as durable as its peers': not at all, unless ``durability`` says otherwise."""

    title = "vfgateway"

    def __init__(self, folder: Path, durability: str = "none") -> None:
        self.site = DavSite(folder, {"local": {"path": str(folder / "volume"), "durability": durability}})
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


def question(method: str, path: str, body: bytes, fields: Mapping[str, str]) -> bytes:
    """A request, to be sent as it is."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


class Line:
    """A connection that is kept alive. It costs next to nothing, so that small requests are not measured by what the client does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket = socket.socket()

    def ask(self, asked: bytes, *good: int) -> bytes:
        """The answer to a :func:`question`. A connection that was closed while others had their turn is opened again."""
        try:
            answer = self._exchange(asked)
        except (ConnectionError, OSError):
            self._socket.close()
            self._socket = socket.create_connection(("127.0.0.1", self.port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answer = self._exchange(asked)
        if int(answer[9:12]) not in good:
            raise WrongAnswer(f"{asked[:100]!r}: {answer[:500]!r}")
        return answer

    def _exchange(self, asked: bytes) -> bytes:
        self._socket.sendall(asked)
        pieces = [b""]
        while b"\r\n\r\n" not in pieces[-1]:
            pieces = [pieces[0] + self._received()]
        head, _, body = pieces[0].partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is not None:
            missing = int(length[1]) - len(body)
            while missing > 0:
                pieces.append(self._received())
                missing -= len(pieces[-1])
        elif b"chunked" in head:
            while not pieces[-1].endswith(_LAST):
                pieces.append(self._received())
                if len(pieces[-1]) < len(_LAST):  # it may be in two
                    pieces[-2:] = [pieces[-2] + pieces[-1]]
        return b"".join(pieces)

    def _received(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        return data


class Player:
    """A server with its address and login.

    :param unsynced: where it stores files at ``prefix``, if they are to last and it leaves that to others
    """

    def __init__(
        self, server: Server, port: int, prefix: str, fields: Mapping[str, str], unsynced: Path | None = None
    ) -> None:
        self.server = server
        self.prefix = prefix
        self.fields = dict(fields)
        self.line = Line(port)
        self._unsynced = unsynced

    def listing(self, path: str, entries: int, asked: bytes = b"") -> Entrant:
        """PROPFIND with depth 1 of a directory, :data:`TIMES` on end; with nothing ``asked``, for all that there is."""
        fields = {**self.fields, "Depth": "1", "Content-Type": "application/xml"}
        asking = question("PROPFIND", self.prefix + path, asked, fields)

        def fetch() -> None:
            answers = [self.line.ask(asking, 207) for _ in range(TIMES)]
            # A tag at either end of each; some may be cut in two by the border of a chunk.
            if min(answer.count(b"href>") for answer in answers) < 1.98 * entries:
                raise WrongAnswer(f"{self.server.title}: too few entries")

        return Entrant(self.server, lambda _: timed(TIMES * entries, fetch))

    def looks(self, path: str, count: int) -> Entrant:
        """PROPFIND with depth 0, one after the other."""
        fields = {**self.fields, "Depth": "0", "Content-Type": "application/xml"}
        asking = question("PROPFIND", self.prefix + path, ASKED, fields)

        def fetch() -> None:
            for _ in range(count):
                self.line.ask(asking, 207)

        return Entrant(self.server, lambda _: timed(count, fetch))

    def uploads(self, count: int) -> Entrant:
        """PUT of new files of 4 KiB, one after the other."""
        body = os.urandom(4096)

        def send(number: int) -> Work:
            names = [f"put-{number}-{at}" for at in range(count)]
            questions = [question("PUT", f"{self.prefix}/{name}", body, self.fields) for name in names]

            def each() -> None:
                for name, asking in zip(names, questions, strict=True):
                    self.line.ask(asking, 201, 204)
                    if self._unsynced is not None:
                        _sync(self._unsynced / name)
                        _sync(self._unsynced)

            return timed(count, each)

        return Entrant(self.server, send)

    def mark(self, path: str, count: int) -> None:
        """Keep a dead property with each file."""
        for number in range(count):
            self.line.ask(question("PROPPATCH", f"{self.prefix}{path}file-{number:05}", DEAD, self.fields), 207)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    pairs: list[tuple[str, str, Callable[[Player], Entrant], Player, float | None]] = [
        ("list", title, lambda who: who.listing("/many/", files), apache, 3.5),
        ("list", title, lambda who: who.listing("/many/", files), nginx, 0.4),
        ("list-four", f"{title}, four properties", lambda who: who.listing("/many/", files, ASKED), apache, None),
        ("list-four", f"{title}, four properties", lambda who: who.listing("/many/", files, ASKED), nginx, 0.4),
        ("look", "PROPFIND depth 0", lambda who: who.looks("/many/file-00000", 500), apache, 1.3),
        ("put", "PUT of 4 KiB", lambda who: who.uploads(300), apache, 1.8),
    ]
    for name, words, entrant, peer, aim in pairs:
        unit = FILES if "depth 1" in words else REQUESTS
        yield Contest(name, words, MEMORY, unit, entrant(ours), entrant(peer), aim)
    for player in (ours, apache):
        player.mark("/many/", files)
    marked = ours.listing("/many/", files), apache.listing("/many/", files)
    yield Contest("list-marked", f"{title} with a dead property each", MEMORY, FILES, *marked, 2.0)


def on_disk(ours: Player, apache: Player, synced: bool) -> Iterator[Contest]:
    """Those that are stored. Where all is to last it is the disk that decides, for both alike."""
    name, setting, aim = ("put-synced", "disk, synced", None) if synced else ("put-disk", "disk, not synced", 1.8)
    yield Contest(name, "PUT of 4 KiB", setting, REQUESTS, ours.uploads(100), apache.uploads(100), aim)


@contextmanager
def disk_arena(synced: bool) -> Iterator[tuple[Player, Player]]:
    """The gateway and Apache on a disk."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="vfgateway-dav-", dir="/var/tmp")))
        folder.chmod(0o755)
        files = folder / "files"
        files.mkdir()
        ours = running.enter_context(Ours(folder / "gateway", "sync" if synced else "none"))
        apache = running.enter_context(Apache(folder / "apache", free_port(), files, ALICE))
        yield (
            Player(ours, ours.port, "/data", LOGIN),
            Player(apache, apache.port, "", LOGIN, files if synced else None),
        )


@contextmanager
def arena(files: int) -> Iterator[tuple[Player, Player, Player]]:
    """Everybody up and running, in memory: the gateway, Apache, nginx."""
    with ExitStack() as running:
        folder = running.enter_context(new_folder())
        ours = running.enter_context(Ours(folder / "gateway"))
        fill(ours.folder.root, files)
        fill(folder / "files", files)
        apache = Apache(folder / "apache", free_port(), folder / "files", ALICE)
        nginx = Nginx(folder / "nginx", free_port(), folder / "files", dav=True)
        for server in (apache, nginx):
            running.enter_context(server)
        yield (
            Player(ours, ours.port, "/data", LOGIN),
            Player(apache, apache.port, "", LOGIN),
            Player(nginx, nginx.port, "/files", {}),
        )


def section(effort: Effort, only: Sequence[str] | None = None) -> Section:
    """Hold them, for the report."""
    with arena(effort.files) as players:
        outcomes, failures = hold_all(contests(*players, effort.files), effort.rounds, only)
    for synced in (False, True):
        with disk_arena(synced) as pair:
            more, failed = hold_all(on_disk(*pair, synced), effort.rounds, only)
        outcomes += more
        failures += failed
    return Section("WebDAV", ABOUT.format(times=TIMES), outcomes, failures=failures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webdav", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few files and two rounds: whether it runs")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--files", type=int, help="in the directory that is listed")
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", help="of list, list-four, look, put, list-marked, put-disk, put-synced"
    )
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else WHOLE
    effort = Effort(options.rounds or effort.rounds, options.files or effort.files)
    print("\n" + table(section(effort, options.only).outcomes))


if __name__ == "__main__":
    main()
