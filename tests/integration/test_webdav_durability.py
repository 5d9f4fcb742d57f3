"""What WebDAV's locks and properties are worth: they outlive the process, and bind every process on the same database."""

from __future__ import annotations

import http.client
import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import attrs
import pytest
from lxml import etree

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.webdav import basic

MIB = 1 << 20
LOCK = (
    "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:{}/></D:lockscope><D:locktype><D:write/></D:locktype>"
    "<D:owner>me</D:owner></D:lockinfo>"
)
SET = "<propertyupdate xmlns='DAV:'><set><prop><note xmlns='urn:x'>{}</note></prop></set></propertyupdate>"
NOTE = "<propfind xmlns='DAV:'><prop><note xmlns='urn:x'/></prop></propfind>"

_names = (f"data{number}" for number in count())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway of two processes."""
    with GatewayProcess(DavSite(tmp_path_factory.mktemp("site") / "site", workers=2)) as gateway:
        eventually(lambda: len(workers(gateway)) == 2, "both processes are there")
        yield gateway


@pytest.fixture
def vfolder(gateway: GatewayProcess) -> VFolderOfAlice:
    """One of the test's own."""
    return gateway.site.populate(name=next(_names))


def workers(gateway: GatewayProcess) -> set[int]:
    """The processes that serve."""
    return set(map(int, Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()))


def restart(gateway: GatewayProcess, end: Callable[[GatewayProcess], object]) -> None:
    """End it, and start it again once nobody serves any more."""
    served = workers(gateway)
    end(gateway)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in served), "nobody serves any more")
    gateway.start()


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    lock_token: str
    body: bytes


class Line:
    """One connection to WebDAV, and so to one process, which never becomes another.

    :ivar vfolder: what is asked about
    """

    def __init__(self, gateway: GatewayProcess, vfolder: VFolderOfAlice) -> None:
        assert isinstance(gateway.site, DavSite)
        self._gateway, self.vfolder, self._port = gateway, vfolder, gateway.site.dav_port
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        self._connection.connect()
        self._connection.auto_open = 0

    def ask(self, method: str, name: str = "", body: str | bytes | None = None, **fields: str) -> Answer:
        """One request as Alice about what is in the vfolder."""
        self.begin(method, name, len(body or b""), **fields)
        if body:
            self.send(body.encode() if isinstance(body, str) else body)
        return self.answer()

    def begin(self, method: str, name: str, length: int, **fields: str) -> None:
        """The head of a request."""
        self._connection.putrequest(method, f"/{self.vfolder.name}/{name}")
        for field, value in {"Authorization": basic(*ALICE), "Content_Length": str(length), **fields}.items():
            self._connection.putheader(field.replace("_", "-"), value)
        self._connection.endheaders()

    def send(self, content: bytes) -> None:
        """Some of its body."""
        self._connection.send(content)

    def answer(self) -> Answer:
        """The answer to it."""
        got = self._connection.getresponse()
        return Answer(got.status, got.headers.get("Lock-Token", ""), got.read())

    def locked(self, name: str, scope: str = "exclusive", **fields: str) -> str:
        """Take a lock; its token, in angle brackets."""
        answer = self.ask("LOCK", name, LOCK.format(scope), **fields)
        assert answer.status in (200, 201), answer.body
        return answer.lock_token

    def note(self, name: str) -> str | None:
        """The property that :data:`SET` sets."""
        return etree.fromstring(self.ask("PROPFIND", name, NOTE, Depth="0").body).findtext(".//{urn:x}note") or None

    @property
    def process(self) -> int:
        """Who is at the other end; it has to have answered something."""
        mine = self._connection.sock.getsockname()[1]
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ends = (f":{self._port:04X}", f":{mine:04X}")
        (inode,) = {row[9] for row in rows if row[1].endswith(ends[0]) and row[2].endswith(ends[1])}
        return next(pid for pid in workers(self._gateway) if f"socket:[{inode}]" in _open_files(pid))

    def close(self) -> None:
        """End it."""
        self._connection.close()


def _open_files(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


@pytest.fixture
def line(gateway: GatewayProcess, vfolder: VFolderOfAlice) -> Iterator[Callable[[], Line]]:
    """Opens a line to whichever process; all are closed afterwards."""
    opened: list[Line] = []

    def open_one() -> Line:
        opened.append(Line(gateway, vfolder))
        assert opened[-1].ask("OPTIONS").status == 200
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def two(line: Callable[[], Line]) -> tuple[Line, Line]:
    """A line to each of the two processes."""
    found: dict[int, Line] = {}

    def both() -> bool:
        another = line()
        found.setdefault(another.process, another)
        return len(found) == 2

    eventually(both, "both processes take connections")
    here, there = found.values()
    return here, there


@pytest.mark.parametrize("end", [GatewayProcess.stop, GatewayProcess.kill], ids=["restart", "kill"])
def test_they_outlive_the_process(
    gateway: GatewayProcess,
    vfolder: VFolderOfAlice,
    line: Callable[[], Line],
    end: Callable[[GatewayProcess], object],
) -> None:
    """After a restart, and after ``kill -9`` right behind the answers: every lock with its depth, scope and time, every property."""
    locks = f"/vfgateway/v1/locks?vfolder={vfolder.name}"
    here = line()
    assert here.ask("MKCOL", "tree").status == 201
    for name in ("tree/f", "free"):
        assert here.ask("PUT", name, b"old").status == 201
    assert here.ask("PROPPATCH", "tree/f", SET.format("kept")).status == 207
    tree = here.locked("tree", Timeout="Second-3600")
    new = here.locked("new", "shared", Depth="0")
    before = gateway.site.manager("GET", locks)["locks"]
    assert len(before) == 2
    restart(gateway, end)
    here = line()
    assert gateway.site.manager("GET", locks)["locks"] == before
    assert here.note("tree/f") == "kept"
    assert (vfolder.root / "new").read_bytes() == b""
    for method, name, body in (
        ("PUT", "tree/f", "new"),
        ("PUT", "tree/g", "new"),
        ("PUT", "new", "new"),
        ("DELETE", "tree", None),
        ("PROPPATCH", "tree/f", SET.format("other")),
    ):
        refused = here.ask(method, name, body)
        assert refused.status == 423, (method, name)
        assert (b"locked by alice" in refused.body) and re.search(rb"until \d{4}-", refused.body), refused.body
    assert here.ask("PUT", "tree/f", b"new", If=f"({tree})").status == 204
    assert here.ask("LOCK", "tree", If=f"({tree})", Timeout="Second-60").status == 200
    assert here.ask("UNLOCK", "tree", Lock_Token=tree).status == 204
    assert here.ask("UNLOCK", "new", Lock_Token=new).status == 204
    assert here.ask("PUT", "tree/f", b"newer").status == 204


def test_a_kill_in_the_middle_of_an_upload(
    gateway: GatewayProcess, vfolder: VFolderOfAlice, line: Callable[[], Line]
) -> None:
    """Readers see the old file, before and after, and what had come is gone, its room too."""
    here = line()
    assert here.ask("PUT", "f", b"old").status == 201
    here.begin("PUT", "f", 2 * MIB)
    here.send(b"n" * MIB)
    eventually(lambda: vfolder.stages, "the upload is under way")
    assert line().ask("GET", "f").body == b"old"
    restart(gateway, GatewayProcess.kill)
    again = line()
    assert again.ask("GET", "f").body == b"old"
    eventually(lambda: vfolder.published() == {"f": b"old"} and not vfolder.stages, "nothing is left of it")
    eventually(lambda: vfolder.charged == (3, 1), "its room is given back")
    assert again.ask("PUT", "f", b"newer").status == 204


def test_a_lock_binds_the_other_process(two: tuple[Line, Line], vfolder: VFolderOfAlice) -> None:
    """Taken here, it holds there at once, for every protocol; it can be used there, and ends there."""
    here, there = two
    assert here.ask("PUT", "f", b"old").status == 201
    for _ in range(5):
        token = here.locked("f")
        assert there.ask("PUT", "f", b"stolen").status == 423
        assert there.ask("LOCK", "f", LOCK.format("shared")).status == 423
        assert vfolder.put("f", b"stolen").status_code == 423
        assert there.ask("PUT", "f", b"mine", If=f"({token})").status == 204
        assert there.ask("PROPPATCH", "f", SET.format("x"), If=f"({token})").status == 207
        assert here.note("f") == "x"
        assert there.ask("UNLOCK", "f", Lock_Token=token).status == 204
        assert here.ask("PUT", "f", b"free").status == 204


def test_a_new_vfolder_is_known_at_once(gateway: GatewayProcess, two: tuple[Line, Line]) -> None:
    """To every process, whichever made it."""
    for _ in range(5):
        made = gateway.site.populate(name=next(_names))
        for each in two:
            each.vfolder = made
            assert each.ask("PUT", "f", b"x").status in (201, 204)


def test_it_ends_by_itself_everywhere(two: tuple[Line, Line]) -> None:
    """A lock whose time is over binds nobody, in no process."""
    here, there = two
    token = here.locked("f", Timeout="Second-1")
    ends = time.time() + 1
    assert there.ask("PUT", "f", b"x").status == 423 or time.time() > ends
    eventually(lambda: there.ask("PUT", "f", b"x").status == 204, "it is over there")
    assert here.ask("PUT", "f", b"y").status == 204
    assert here.ask("LOCK", "f", If=f"({token})").status == 412


@pytest.mark.parametrize("taken", [False, True], ids=["broken", "broken and taken by another"])
def test_who_lost_its_lock_does_not_publish(two: tuple[Line, Line], vfolder: VFolderOfAlice, taken: bool) -> None:
    """A writer in the one process is in the middle of its upload when an administrator breaks its lock: it is refused at the end, though it
    may have been taken by another in the other process; nobody's bytes are replaced, and nothing is left of it."""
    here, there = two
    content = os.urandom(2 * MIB)
    assert here.ask("PUT", "f", b"old").status == 201
    token = here.locked("f")
    here.begin("PUT", "f", len(content), If=f"({token})")
    here.send(content[:MIB])
    eventually(lambda: vfolder.stages, "the upload is under way")
    vfolder.site.manager("DELETE", f"/vfgateway/v1/locks/{token.strip('<>')}")
    if taken:
        other = there.locked("f")
        assert there.ask("PUT", "f", b"theirs", If=f"({other})").status == 204
    here.send(content[MIB:])
    answer = here.answer()
    assert answer.status == 412, answer.body
    expected = b"theirs" if taken else b"old"
    assert vfolder.published() == {"f": expected}
    eventually(lambda: not vfolder.stages, "nothing is left of it")
    eventually(lambda: vfolder.charged == (len(expected), 1), "and its room is given back")


def test_who_lost_its_lock_does_not_write_in_place(two: tuple[Line, Line], vfolder: VFolderOfAlice) -> None:
    """The same for a part of a file: once another has the lock, no byte of it is written any more."""
    here, there = two
    half = b"n" * MIB
    assert here.ask("PUT", "f", b"o" * 2 * MIB).status == 201
    token = here.locked("f")
    here.begin("PUT", "f", 2 * MIB, If=f"({token})", Content_Range=f"bytes 0-{2 * MIB - 1}/*")
    here.send(half)
    eventually(lambda: (vfolder.root / "f").read_bytes()[:1] == b"n", "its first bytes are written")
    vfolder.site.manager("DELETE", f"/vfgateway/v1/locks/{token.strip('<>')}")
    there.locked("f")
    here.send(half)
    answer = here.answer()
    assert answer.status in (412, 423), answer.body
    assert (vfolder.root / "f").read_bytes().endswith(b"o" * MIB)
