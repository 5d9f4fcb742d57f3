"""The fast lane answers nothing that the ordinary way would answer differently, and answers what it is there for."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, product
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from tests.support.client_api import PASSWORD, client_api, parsed
from tests.support.gateway import ALICE, new_vfolder
from tests.support.process import PATIENCE
from tests.support.site import Client
from tests.support.uploading import Answer, RawConnection, head
from tests.support.webdav import basic, webdav
from vfgateway.backends.vfs.folder import VfsFolder
from vfgateway.model import Limits, Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.protocols.web.lane import Lane
from vfgateway.protocols.web.site import GatewaySite
from vfgateway.services.database import FRESH

FILES = "/vfgateway/v1/files"
LAST = head("GET", "/", Connection="close")


@attrs.define
class Door:
    """One front end, asked on connections that stay open, with its lane or without.

    :ivar taken: what the lane said to each request
    """

    dav: Any
    site: GatewaySite
    prefix: str
    taken: list[bool] = attrs.Factory(list)

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, lane: bool = True, user: str = "alice", **fields: Any
    ) -> Answer:
        """One request that is alone on its connection until it is answered. A field without a value is left out."""
        fields = {"Authorization": basic(user), **fields}
        if body:
            fields.setdefault("Content_Length", len(body))
        request = head(
            method, self.prefix + path, **{name: value for name, value in fields.items() if value is not None}
        )
        return await self.send(method, request + body, lane)

    async def send(self, method: str, request: bytes, lane: bool = True) -> Answer:
        """As :meth:`ask`, byte for byte."""
        kept = self.site.lane
        assert isinstance(kept, Lane)
        self.site.lane = _Watched(kept, self.taken) if lane else None  # type: ignore[assignment]
        try:
            client = await Client.open(self.dav.port)
            client.send(request)
            await client.until(b"\r\n\r\n")
        finally:
            self.site.lane = kept
        client.send(LAST)
        await client.lost
        return parsed(method, client.received)

    async def warm(self, **fields: Any) -> None:
        """Ask until the lane knows who asks: what it needs is in memory after a request or two."""
        await self.both("GET", "/small.txt", quick=True, **fields)

    async def both(self, method: str, path: str, body: bytes = b"", *, quick: bool | None, **fields: Any) -> Answer:
        """What both ways answer, which is the same, and that the lane takes it only if it is ``quick``. On a busy machine what the lane knew may
        have become too old, or storage seem slow for a while: then it is asked again."""
        ordinary = await self.ask(method, path, body, lane=False, **fields)
        patience = time.monotonic() + PATIENCE
        for number in count():
            answer = await self.ask(method, path, body, **fields)
            taken = self.taken[-1]
            assert answer.status == ordinary.status
            if taken:
                assert comparable(answer) == comparable(ordinary), (method, path, fields)
            assert quick is not False or not taken, (method, path, body[:100], fields)
            if taken or (not quick and (answer.status >= 400 or number == 2)):  # wrong logins are counted
                return answer
            assert time.monotonic() < patience, (method, path, body[:100], fields)
        raise AssertionError


class _Watched:
    """A lane that is listened to."""

    def __init__(self, lane: Lane, taken: list[bool]) -> None:
        self._lane = lane
        self._taken = taken

    def take(self, channel: Any, data: bytes) -> bool:
        taken = self._lane.take(channel, data)
        self._taken.append(taken)
        return taken

    def waits_for_more(self, data: bytes) -> bool:
        return self._lane.waits_for_more(data)


async def turns() -> None:
    """Let what was sent arrive."""
    await deferLater(reactor, 0.02, lambda: None)


def comparable(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """All but what differs from one request to the next."""
    fields = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    assert "date" in answer.headers
    assert len(answer.headers["x-request-id"]) == 16
    return answer.status, fields, answer.body.replace(answer.headers["x-request-id"].encode(), b"ID")


@asynccontextmanager
async def opened(front_end: str, tmp_path: Path, **storage: Any) -> AsyncIterator[Door]:
    """Either front end, with files of several sizes, and Alice logged in."""
    if front_end == "webdav":
        async with webdav(tmp_path, storage=storage) as dav:
            yield await _furnished(Door(dav, dav.site, "/data"))
    else:
        async with client_api(tmp_path, storage=storage) as client:
            await client.let_people_in()
            yield await _furnished(Door(client, client.site, f"{FILES}/data"))


@pytest_twisted.async_yield_fixture(params=["webdav", "client"])
async def door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Door]:
    """See :func:`opened`."""
    async with opened(request.param, tmp_path) as found:
        yield found


async def _furnished(door: Door) -> Door:
    root = door.dav.root
    for name, size in (("small.txt", 4096), ("empty", 0), ("large", 1 << 20), ("page.html", 10), ("b@d,(1)", 5)):
        (root / name).write_bytes(os.urandom(size))
    for raw in (b"sm all.txt", "kl\u00e4glich.txt".encode(), b"latin-\xe4"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + raw)).write_bytes(raw)
    (root / "dir").mkdir()
    (root / "dir" / "inner.tar.gz").write_bytes(b"inner")
    (root / "link").symlink_to("small.txt")
    (root / "out").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    await door.warm()
    return door


#: Paths below a vfolder, and whether a GET of them is for the lane.
PATHS = {
    "/small.txt": True,
    "/empty": True,
    "/page.html": True,
    "/b@d,(1)": True,
    "/dir/inner.tar.gz": True,
    "/large": False,
    "/link": False,
    "/out": False,
    "/fifo": False,
    "/dir": False,
    "/dir/": False,
    "/": False,
    "": False,
    "/missing": False,
    "/missing/small.txt": False,
    "/small.txt/": None,
    "/small.txt/inner": False,
    "/dir/../small.txt": False,
    "/./small.txt": False,
    "//small.txt": False,
    "/small%2etxt": True,
    "/%73mall.txt": True,
    "/sm%20all.txt": True,
    "/kl%C3%A4glich.txt": True,
    "/latin-%e4": True,
    "/dir%2finner.tar.gz": False,
    "/%2e/small.txt": False,
    "/dir/%2e%2e/small.txt": False,
    "/small.txt%00": False,
    "/small%2": False,
    "/%2eupload/x": False,
    "/small.txt?x=1": False,
    "/.upload/x": False,
    "/.uploads": False,
    "/" + "n" * 300: False,
    "x/small.txt": False,
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_every_path_means_the_same(door: Door, method: str) -> None:
    """Whatever a path names, both ways answer alike; small files and no others are for the lane (and large ones where no byte is asked)."""
    for path, quick in PATHS.items():
        await door.both(method, path, quick=method == "HEAD" if path == "/large" else quick)


#: Fields of a GET of a file with 4096 bytes, and whether they are for the lane. ``TAG`` and ``DATE`` stand for those of the file.
FIELDS: list[tuple[dict[str, str], bool]] = [
    ({"User_Agent": "curl/8", "Accept": "*/*", "Accept_Encoding": "gzip"}, True),
    ({"Connection": "keep-alive"}, True),
    ({"If_None_Match": "TAG"}, True),
    ({"If_None_Match": '"other", TAG'}, True),
    ({"If_None_Match": "*"}, True),
    ({"If_None_Match": '"other"'}, True),
    ({"If_Match": "TAG"}, True),
    ({"If_Match": '"other"'}, False),
    ({"If_Modified_Since": "DATE"}, True),
    ({"If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, True),
    ({"If_Unmodified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, False),
    ({"Range": "bytes=0-99"}, True),
    ({"Range": "bytes=-7"}, True),
    ({"Range": "bytes=4000-"}, True),
    ({"Range": "bytes=4096-"}, False),
    ({"Range": "bytes=0-9,20-29"}, False),
    ({"Range": "bytes=0-4095"}, True),
    ({"Range": "lines=1-2"}, True),
    ({"Range": "bytes=0-9", "If_Range": "TAG"}, True),
    ({"Range": "bytes=0-9", "If_Range": '"other"'}, True),
    ({"Range": "bytes=0-9", "If_None_Match": "TAG"}, True),
    ({"Origin": "https://example.org"}, False),
    ({"If": "(<opaquelocktoken:x>)"}, False),
    ({"Want_Repr_Digest": "sha-256=1"}, False),
    ({"X_Forwarded_For": "192.0.2.1"}, False),
    ({"X_Request_ID": "somebody-elses"}, False),
    ({"Expect": "100-continue"}, False),
    ({"Authorization": "Basic !"}, False),
    ({"Authorization": basic("alice", "wrong")}, False),
    ({"Authorization": basic("nobody")}, False),
    ({"Content_Length": "0"}, True),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_every_field_means_the_same(door: Door, method: str) -> None:
    """Conditions, ranges and everything else are judged alike."""
    facts = await door.ask("HEAD", "/small.txt", lane=False)
    stand_in = {"TAG": facts.headers["etag"], "DATE": facts.headers["last-modified"]}
    for fields, quick in FIELDS:
        filled: dict[str, Any] = {
            name: value.replace("TAG", stand_in["TAG"]).replace("DATE", stand_in["DATE"])
            for name, value in fields.items()
        }
        whole = method == "HEAD" and "Range" in fields  # it knows no ranges
        await door.both(method, "/small.txt", quick=quick or whole, **filled)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_changes_is_told_anew(door: Door, method: str) -> None:
    """Whoever sends the same request again and again is answered from what is there each time."""
    file = door.dav.root / "changing"
    tags: list[str] = []
    for content in (b"one", b"two", b"", b"a longer one", b"one"):
        file.write_bytes(content)
        for _ in range(2):
            whole = await door.both(method, "/changing", quick=True)
            assert whole.body == (b"" if method == "HEAD" else content)
            assert whole.headers["content-length"] == str(len(content))
        if content:
            part = await door.both(method, "/changing", quick=True, Range="bytes=1-2")
            assert part.body == (b"" if method == "HEAD" else content[1:3])
        for tag in tags:
            assert (await door.both(method, "/changing", quick=True, If_None_Match=tag)).status == 200
        tags.append(whole.headers["etag"])
        for _ in range(2):
            assert (await door.both(method, "/changing", quick=True, If_None_Match=tags[-1])).status == 304
    file.unlink()
    assert (await door.ask(method, "/changing")).status == 404


async def test_who_asks_again_is_answered_as_he_may_now(door: Door) -> None:
    """What was found out about a request holds for as long as nothing changes: a vfolder in which less is allowed, or that is another one of the same name,
    is not shown from memory; and a new login of the same person finds it right."""
    gateway, vfolder = door.dav.gateway, door.dav.vfolder
    for _ in range(3):
        await door.both("GET", "/small.txt", quick=True)
        await deferLater(reactor, FRESH, lambda: None)  # who comes later logs in anew
    other = await new_vfolder(gateway, "disk", name="another")
    await gateway.vfolders.update(vfolder.key, name="first")
    await gateway.vfolders.update(other.key, name="data")
    assert (await door.ask("PUT", "/else", b"another")).status == 201
    await door.both("GET", "/else", quick=True)  # whoever asks is known to be in the other one now
    assert (await door.ask("GET", "/small.txt")).status == 404


NAMED = b'<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getetag/><displayname/><x:y xmlns:x="urn:x"/></prop></propfind>'
#: Bodies of PROPFIND, and whether they are for the lane.
ASKED = [
    (b"", True),
    (NAMED, True),
    (NAMED.replace(b"displayname", b"contenttype"), True),  # as long, and the rest of the request is the same
    (b'<propfind xmlns="DAV:"><propname/></propfind>', True),
    (b'<propfind xmlns="DAV:"><allprop/><include><supported-report-set/></include></propfind>', True),
    (b'<propfind xmlns="DAV:"><prop><lockdiscovery/></prop></propfind>\r\n', True),
    (b'<propfind xmlns="DAV:"><prop><quota-used-bytes/></prop></propfind>', False),
    (b'<propfind xmlns="DAV:">', False),
    (b"<x/>", False),
    (b'<!DOCTYPE x><propfind xmlns="DAV:"><allprop/></propfind>', False),
    (NAMED + b" " * 70_000, False),
]


async def test_every_propfind_means_the_same(tmp_path: Path) -> None:
    """Properties of files and directories are told alike, or not for the lane: depth, preferences, links, what is not there."""
    async with webdav(tmp_path) as dav:
        door = await _furnished(Door(dav, dav.site, "/data"))
        for body, quick in ASKED:
            await door.ask("PROPFIND", "/small.txt", body, Depth="0")
            for path in ("/small.txt", "/small.txt/", "/dir", "/dir/", "/b@d,(1)", "", "/"):
                await door.both("PROPFIND", path, body, quick=quick, Depth="0")
        for path in ("/a%20b.txt", "/%C3%A9", "/100%25", "/a%26b", "/x%2By", "/dir/a%20b"):
            assert (await door.ask("PUT", path, b"content")).status == 201
            await door.both("PROPFIND", path, NAMED, quick=True, Depth="0")
        for path in ("/missing", "/link", "/out", "/fifo", "/.upload", "/dir/../small.txt"):
            await door.both("PROPFIND", path, NAMED, quick=False, Depth="0")
        for fields in ({"Depth": "1"}, {"Depth": "infinity"}, {}, {"Depth": "0", "Brief": "t"}):
            await door.both("PROPFIND", "/small.txt", NAMED, quick=False, **fields)


async def test_changes_of_a_file_are_told(tmp_path: Path) -> None:
    """Whoever asks the same again and again gets what is there each time, be it of the same size, or no file any more."""
    async with webdav(tmp_path) as dav:
        door = await _furnished(Door(dav, dav.site, "/data"))
        tags = set()
        for content in (b"one", b"two", b"", b"three"):
            assert (await door.ask("PUT", "/changing", content)).status in (201, 204)
            (answer,) = {
                (await door.both("PROPFIND", "/changing", NAMED, quick=True, Depth="0")).body for _ in range(2)
            }
            assert b"<D:getcontentlength>%d</" % len(content) in answer
            tags.add(answer.partition(b"getetag>")[2].partition(b"<")[0])
        assert len(tags) == 4
        for method, kind in (("DELETE", b""), ("MKCOL", b"<D:collection/>")):
            assert (await door.ask(method, "/changing")).status in (201, 204)
            for _ in range(2):
                answered = await door.ask("PROPFIND", "/changing", NAMED, Depth="0")
                assert answered.status == (207 if kind else 404)
                assert kind in answered.body


async def test_locks_and_properties_are_told(tmp_path: Path) -> None:
    """What is set on a file is in the next answer, whichever way that goes."""
    async with webdav(tmp_path) as dav:
        door = await _furnished(Door(dav, dav.site, "/data"))
        for _ in range(3):
            assert (await door.ask("PROPFIND", "/small.txt", Depth="0")).status == 207
        assert door.taken[-1]
        patch = b'<propertyupdate xmlns="DAV:"><set><prop><n xmlns="urn:n">told</n></prop></set></propertyupdate>'
        assert (await door.ask("PROPPATCH", "/small.txt", patch)).status == 207
        for _ in range(3):
            assert b"told" in (await door.ask("PROPFIND", "/small.txt", Depth="0")).body
        lock = b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
        assert (await door.ask("LOCK", "/small.txt", lock)).status == 200
        asked = b'<propfind xmlns="DAV:"><prop><lockdiscovery/></prop></propfind>'
        for _ in range(3):
            assert b"opaquelocktoken:" in (await door.ask("PROPFIND", "/small.txt", asked, Depth="0")).body


@pytest_twisted.async_yield_fixture(params=product(["webdav", "client"], ["none", "sync"]), ids="-".join)
async def storing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Door]:
    """Either front end to a volume that makes nothing durable, or everything, on which a small upload has gone the ordinary way."""
    front_end, durability = request.param
    async with opened(front_end, tmp_path, durability=durability) as found:
        yield await _writing(found)


async def _writing(door: Door) -> Door:
    for number in range(200):
        assert (await door.ask("PUT", "/warm", b"%d" % number)).status in (201, 204)
        if door.taken[-1]:
            return door
        await deferLater(reactor, 0.02, lambda: None)
    raise AssertionError("the lane takes no uploads")


#: Uploads below a vfolder, and whether they are for the lane.
STORED: list[tuple[str, bytes, dict[str, str], bool]] = [
    ("/new-WAY", b"content", {}, True),
    ("/dir/new-WAY", b"content", {"Content_Type": "text/plain", "User_Agent": "curl/8"}, True),
    ("/small-WAY.txt", b"shorter", {}, True),
    ("/small-WAY.txt", b"", {}, True),
    ("/small-WAY.txt", os.urandom(60_000), {}, True),
    ("/small-WAY.txt", os.urandom(70_000), {}, False),
    ("/none-WAY/new", b"content", {}, False),
    ("/dir", b"content", {}, False),
    ("/dir/", b"content", {}, False),
    ("/new-WAY/", b"content", {}, False),
    ("/link-WAY", b"content", {}, False),
    ("/fifo-WAY", b"content", {}, False),
    ("/.upload/x", b"content", {}, False),
    ("/.uploads/x", b"content", {}, False),
    ("/" + "n" * 300, b"content", {}, False),
    ("/a%20name-WAY", b"content", {}, False),
    ("/small-WAY.txt", b"content", {"If_Match": '"other"'}, False),
    ("/small-WAY.txt", b"content", {"If_None_Match": "*"}, False),
    ("/small-WAY.txt", b"content", {"If": "(<opaquelocktoken:x>)"}, False),
    ("/new-mtime-WAY", b"content", {"X_OC_Mtime": "1234567890"}, False),
    ("/new-sum-WAY", b"content", {"OC_Checksum": "MD5:9a0364b9e99bb480dd25e1f0284c8555"}, False),
    ("/small-WAY.txt", b"content", {"Content_Range": "bytes 0-6/7"}, False),
    ("/new-anon-WAY", b"content", {"Authorization": "Basic !"}, False),
]


#: Names one refusal.
_REFUSAL = re.compile(rb' \[[0-9a-f]{12}\]|"decision": "[0-9a-f]{12}"')


async def test_every_upload_means_the_same(storing: Door) -> None:
    """What is stored and what is answered is the same by both ways, and so is what is charged."""
    root, quota = storing.dav.root, storing.dav.gateway.quota
    for way in ("slow", "fast"):
        assert (await storing.ask("PUT", f"/small-{way}.txt", b"x" * 100)).status == 201
        (root / f"small-{way}.txt").chmod(0o751)
        (root / f"link-{way}").symlink_to("small.txt")
        os.mkfifo(root / f"fifo-{way}")
    took = 0
    for path, content, fields, quick in STORED:
        found = []
        for way in ("slow", "fast"):
            before = await quota.usage(storing.dav.vfolder)
            answer = await storing.ask("PUT", path.replace("WAY", way), content, lane=way == "fast", **fields)
            status, told, body = comparable(answer)
            taken = storing.taken[-1] and way == "fast"
            assert ("etag" in told) == (status < 300)
            place = root / unquote(path.replace("WAY", way).strip("/"))
            kept = None
            if status < 300 and place.is_file():
                facts = place.stat()
                kept = (place.read_bytes(), facts.st_mode, facts.st_uid, facts.st_gid)
                etag = (await storing.ask("HEAD", path.replace("WAY", way))).headers["etag"]
                assert etag == told.pop("etag") == told.pop("oc-etag", etag)
                told.pop("last-modified")
                if "location" in told:
                    assert told.pop("location") == f"http://127.0.0.1{storing.prefix}{path.replace('WAY', way)}"
            charged = await quota.usage(storing.dav.vfolder) - before
            found.append((status, told, _REFUSAL.sub(b"", body.replace(way.encode(), b"WAY")), kept, charged))
        assert found[0] == found[1], (path, fields)
        took += taken and quick
    assert took > 0
    assert list((root / ".upload").iterdir()) == []


async def test_a_body_that_comes_after_its_head(storing: Door) -> None:
    """Most clients send it so; the lane waits for it, and what is unusual is answered before it has come."""
    lane = storing.site.lane
    assert isinstance(lane, Lane)
    start = head("PUT", f"{storing.prefix}/late", Authorization=basic("alice"), Content_Length=10)
    client = await RawConnection.open(storing.dav.port)
    for pieces in ((start, b"0123456789"), (start[:-2], start[-2:] + b"abc", b"defghij"), (start + b"klm", b"nopqrst")):
        for piece in pieces:
            client.send(piece)
            await turns()
        await client.until(b"\r\n\r\n")
        assert client.received.startswith(b"HTTP/1.1 20"), client.received
        client.received = b""
        assert (storing.dav.root / "late").read_bytes() == b"".join(pieces).partition(b"\r\n\r\n")[2]
    client.send(start.replace(b"Content-Length", b'If-Match: "other"\r\nContent-Length'))
    await client.until(b"\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 412 ")
    await client.cut()


async def test_half_a_body_is_no_upload(storing: Door) -> None:
    """Whoever leaves in the middle leaves nothing behind; and who is in the middle when the front end stops may finish."""
    start = head("PUT", f"{storing.prefix}/half", Authorization=basic("alice"), Content_Length=10)
    client = await RawConnection.open(storing.dav.port)
    client.send(start + b"01234")
    await turns()
    await client.cut()
    await turns()
    assert not (storing.dav.root / "half").exists()
    client = await RawConnection.open(storing.dav.port)
    client.send(start + b"01234")
    await turns()
    closing = Deferred.fromCoroutine(storing.site.close_connections())
    client.send(b"56789")
    await client.lost
    await closing
    assert client.received.startswith(b"HTTP/1.1 201 ")
    assert (storing.dav.root / "half").read_bytes() == b"0123456789"


@pytest.mark.parametrize("how", ["more", "leaves", "ends"])
@pytest.mark.parametrize("front_end", ["webdav", "client"])
async def test_while_storage_is_waited_for(
    front_end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What comes meanwhile is answered afterwards, in order; who leaves does not take the file along; and a front end that stops answers first."""
    async with opened(front_end, tmp_path, durability="sync") as door:
        await _writing(door)
        dav = door.dav
        held: list[Deferred[None]] = []
        store = VfsFolder.store_whole

        async def slowly(self: VfsFolder, path: FolderPath, content: bytes, alone: bool) -> Any:
            held.append(Deferred())
            await held[-1]
            return await store(self, path, content, alone)

        monkeypatch.setattr(VfsFolder, "store_whole", slowly)
        client = await RawConnection.open(dav.port)
        client.send(head("PUT", f"{door.prefix}/slow", Authorization=basic("alice"), Content_Length=7) + b"content")
        while not held:
            await turns()
        closing: Deferred[None] | None = None
        if how == "more":
            client.send(head("GET", f"{door.prefix}/small.txt", Authorization=basic("alice"), Connection="close"))
        elif how == "leaves":
            await client.cut()
        else:
            closing = Deferred.fromCoroutine(door.site.close_connections())
        await turns()
        assert client.received == b""
        held[0].callback(None)
        while not (dav.root / "slow").exists():
            await turns()
        assert (dav.root / "slow").read_bytes() == b"content"
        if how == "leaves":
            return
        await client.lost
        assert client.received.startswith(b"HTTP/1.1 201 ")
        assert client.received.endswith((dav.root / "small.txt").read_bytes()) is (how == "more")
        if closing is not None:
            await closing


async def test_locks_limits_and_marks_hold_for_small_uploads(storing: Door) -> None:
    """However lately they were set, and though the lane has taken the same upload a moment ago."""
    gateway, vfolder = storing.dav.gateway, storing.dav.vfolder
    others = storing.dav.folder
    held = await others.lock(FolderPath(("warm",)), infinite=False, exclusive=True, timeout=60)
    assert (await storing.ask("PUT", "/warm", b"x")).status == 423
    await others.unlock(held.token)
    assert (await storing.ask("PUT", "/warm", b"x")).status == 204
    usage = await gateway.quota.usage(vfolder)
    await gateway.vfolders.update(vfolder.key, limits=Limits(usage.bytes + 5, None))
    assert [(await storing.ask("PUT", "/more", b"123456")).status for _ in range(3)] == [507] * 3
    assert [(await storing.ask("PUT", "/more", b"12345")).status for _ in range(3)] == [201, 204, 204]
    assert await gateway.quota.usage(vfolder) == usage + Usage(5, 1)


async def test_odd_heads_go_the_ordinary_way(door: Door) -> None:
    """What is not written as everybody writes it is left to the parser that knows all of it."""
    login = basic("alice").encode()
    target = f"{door.prefix}/small.txt".encode()
    plain = b"GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n\r\n" % (target, login)
    await door.warm(Host="a")
    assert (await door.send("GET", plain)).status == 200
    assert door.taken[-1]
    kept = door.site.lane
    assert isinstance(kept, Lane)
    for odd in (
        plain.replace(b"GET ", b"GET  "),
        plain.replace(b"HTTP/1.1", b"HTTP/1.0"),
        plain.replace(b"Host: a", b"Host: a\r\nHost: a"),
        plain.replace(b"Host: a", b"Host : a"),
        plain.replace(b"Host: a", b"Host: a\r\n folded"),
        plain.replace(b"Host: a", b"Host: a\rb"),
        plain.replace(b"Host: a", b"Host: \xe4"),
        plain.replace(b"Host: a\r\n", b""),
        plain.replace(b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked"),
        plain.replace(b"Host: a", b"Host: a\r\nAuthorization: Basic eA=="),
        plain.replace(b"GET /", b"GET http://a/"),
        b"\r\n" + plain,
    ):
        client = await Client.open(door.dav.port)
        channel_saw = len(door.taken)
        door.site.lane = _Watched(kept, door.taken)  # type: ignore[assignment]
        try:
            client.send(odd)
            await client.until(b"\r\n\r\n")
        finally:
            door.site.lane = kept
            await client.cut()
        assert not any(door.taken[channel_saw:]), odd
    channel: Any = None
    for end in range(len(plain)):  # nor what is not whole
        assert not kept.take(channel, plain[:end])


@pytest.mark.parametrize("lane", [True, False])
async def test_a_changed_password_counts_at_once(door: Door, lane: bool) -> None:
    """Nobody gets in with a login that was good a moment ago."""
    await door.warm()
    await door.dav.gateway.accounts.set_password(ALICE, "another password altogether")
    door.taken.append(False)
    answer = await door.ask("GET", "/small.txt", lane=lane)
    assert (answer.status, door.taken[-1]) == (401, False)


@pytest.mark.parametrize("lane", [True, False])
async def test_a_revoked_grant_counts_at_once(door: Door, lane: bool) -> None:
    """Nor does anybody see what is closed to him."""
    gateway, vfolder = door.dav.gateway, door.dav.vfolder
    user = next((u for u in await gateway.accounts.users() if u.name == "bob"), None)
    if user is None:
        user = await gateway.accounts.create_user("bob")
        await gateway.accounts.set_password(user.id, PASSWORD)
    grant = await gateway.vfolders.grant(vfolder.key, "user", user.id, Permission.RO)
    await door.warm(user="bob")
    await gateway.vfolders.revoke(grant.id)
    door.taken.append(False)
    answer = await door.ask("GET", "/small.txt", user="bob", lane=lane)
    assert (answer.status, door.taken[-1]) == (404, False)


async def test_many_requests_on_one_connection(door: Door) -> None:
    """Requests that follow each other, some for the lane and some not, and some that come together, are answered in their order."""
    client = await Client.open(door.dav.port)
    wanted = [b"small.txt", b"dir/inner.tar.gz", b"large", b"missing", b"small.txt"]
    requests = [head("GET", f"{door.prefix}/{name.decode()}", Authorization=basic("alice")) for name in wanted]
    client.send(requests[0])
    await client.until(b"\r\n\r\n")
    client.send(b"".join(requests[1:]))
    client.send(LAST)
    await client.lost
    assert client.received.count(b"HTTP/1.1 200 OK") >= 4
    assert client.received.count(b"HTTP/1.1 404 ") >= 1
    root = door.dav.root
    places = [client.received.find((root / name.decode()).read_bytes()) for name in wanted[:3]]
    assert -1 not in places
    assert places == sorted(places)


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """The requests that the log tells of."""
    found: list[dict[str, Any]] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if event.get("log_namespace") == "vfgateway.http" and "requests" in event:
            found.extend(event["requests"])

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


async def test_every_request_is_logged(door: Door, logged: list[dict[str, Any]]) -> None:
    """By whichever way it was answered: who asked for what from where, what came of it, and the identifier that the client was told."""
    door.site.access_log.flush()
    logged.clear()
    answers = [await door.ask("GET", "/small.txt", lane=lane) for lane in (True, False)]
    door.site.access_log.flush()
    told = [line for line in logged if line["status"] == 200 and line["sent"] == 4096]
    assert [line["request_id"] for line in told] == [answer.headers["x-request-id"] for answer in answers]
    for line in told:
        assert (line["user"], line["method"], line["address"]) == ("alice", "GET", "127.0.0.1")
        assert line["path"] == f"{door.prefix}/small.txt".encode()


async def test_a_login_over_an_open_line_is_no_business_of_the_lane(tmp_path: Path) -> None:
    """Where passwords are taken over TLS only, a remembered one helps nobody."""
    async with webdav(tmp_path) as dav:
        door = await _furnished(Door(dav, dav.site, "/data"))
        await door.warm()
        lane: Any = dav.site.lane
        scheme = "https"
        lane.caller = lambda channel: attrs.evolve(Lane.caller(lane, channel), address="192.0.2.1", scheme=scheme)
        await door.both("GET", "/small.txt", quick=True)
        scheme = "http"
        answer = await door.ask("GET", "/small.txt")
        assert answer.status == 200  # by the ordinary way, which sees that it is loopback
        assert not door.taken[-1]
