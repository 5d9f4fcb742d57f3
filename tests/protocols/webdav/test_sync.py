"""Following a collection by ``sync-collection`` (RFC 6578)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from tests.support.client_api import disk_volume
from tests.support.gateway import orchestrator_in, running_gateway
from tests.support.mirror import Mirror, sync, truth
from tests.support.webdav import DAV, Dav, condition, responses, webdav
from vfgateway.model import OpenMode
from vfgateway.paths import FolderPath, parse_text
from vfgateway.services import changes as log
from vfgateway.services import schema


def at(text: str) -> FolderPath:
    """A path."""
    return parse_text(text)


@asynccontextmanager
async def followed(tmp_path: Path, **options: Any) -> AsyncIterator[Dav]:
    """A front end on storage that nobody else writes to."""
    async with webdav(tmp_path, {"depth_infinity": True}, {"shared": False}, **options) as dav:
        yield dav


async def put(dav: Dav, path: str, content: bytes = b"x") -> None:
    """Create or replace a file."""
    assert (await dav.ask("PUT", f"/data/{path}", content)).status in (201, 204)


async def make(dav: Dav, *paths: str) -> None:
    """Make collections."""
    for path in paths:
        assert (await dav.ask("MKCOL", f"/data/{path}/")).status == 201


NAMES = b'<D:propfind xmlns:D="DAV:"><D:prop><D:supported-report-set/><D:sync-token/></D:prop></D:propfind>'


async def test_where_it_is_offered(tmp_path: Path) -> None:
    """By OPTIONS, and by the properties of collections; the token that a property shows can be used."""
    async with followed(tmp_path) as dav:
        await put(dav, "f")
        options = await dav.ask("OPTIONS", "/data/")
        assert "REPORT" in options.headers["allow"] and "sync-collection" in options.headers["dav"]
        found = responses(await dav.ask("PROPFIND", "/data/", NAMES, Depth="1"))
        status, reports = found["/data/"][DAV + "supported-report-set"]
        assert status == 200
        assert [str(report.tag) for report in reports.iterfind(f"{DAV}supported-report/{DAV}report/*")] == [
            DAV + "sync-collection"
        ]
        assert len(found["/data/f"][DAV + "supported-report-set"][1]) == 0
        assert found["/data/f"][DAV + "sync-token"][0] == 404
        mirror = Mirror(dav, "/data/", token=found["/data/"][DAV + "sync-token"][1].text or "")
        await put(dav, "g")
        await mirror.follow()
        assert mirror.told == ["/data/g"] and not mirror.begun


async def test_minimal(tmp_path: Path) -> None:
    """``Prefer: return=minimal`` leaves out the properties that a member does not have, and says that it did (RFC 8144 section 2.1)."""
    async with followed(tmp_path) as dav:
        await put(dav, "f")
        report = (
            b'<D:sync-collection xmlns:D="DAV:"><D:sync-token/><D:sync-level>1</D:sync-level>'
            b'<D:prop><D:getetag/><none xmlns="urn:x"/></D:prop></D:sync-collection>'
        )
        full = await dav.ask("REPORT", "/data/", report)
        minimal = await dav.ask("REPORT", "/data/", report, Prefer="return=minimal")
        assert {name: status for name, (status, _) in responses(full)["/data/f"].items()} == {
            DAV + "getetag": 200,
            "{urn:x}none": 404,
        }
        assert set(responses(minimal)["/data/f"]) == {DAV + "getetag"}
        assert minimal.headers["preference-applied"] == "return=minimal"


async def test_where_others_write_behind_our_back(tmp_path: Path) -> None:
    """It is not offered, and refused."""
    async with webdav(tmp_path) as dav:
        refused = await sync(dav, "/data/")
        assert (refused.status, condition(refused)) == (403, "supported-report")
        found = responses(await dav.ask("PROPFIND", "/data/", NAMES, Depth="0"))
        assert len(found["/data/"][DAV + "supported-report-set"][1]) == 0
        assert found["/data/"][DAV + "sync-token"][0] == 404


async def test_where_it_is_not(tmp_path: Path) -> None:
    """Not on files, not on the list of vfolders, not through links; and no other report."""
    async with followed(tmp_path) as dav:
        await put(dav, "f")
        await make(dav, "d")
        (dav.root / "link").symlink_to("d")
        for target in ("/data/f", "/", "/data/link/"):
            refused = await sync(dav, target)
            assert (refused.status, condition(refused)) == (403, "supported-report"), target
        expand = b'<D:expand-property xmlns:D="DAV:"/>'
        refused = await dav.ask("REPORT", "/data/", expand)
        assert (refused.status, condition(refused)) == (403, "supported-report")
        assert (await sync(dav, "/data/missing/")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<x",
        b'<D:sync-collection xmlns:D="DAV:"/>',
        b'<D:sync-collection xmlns:D="DAV:"><D:sync-token/><D:sync-level>2</D:sync-level><D:prop/></D:sync-collection>',
        b'<D:sync-collection xmlns:D="DAV:"><D:sync-token/><D:sync-level>1</D:sync-level></D:sync-collection>',
        b'<D:sync-collection xmlns:D="DAV:"><D:sync-token/><D:sync-level>1</D:sync-level>'
        b"<D:limit><D:nresults>0</D:nresults></D:limit><D:prop/></D:sync-collection>",
    ],
)
async def test_questions_that_make_no_sense(body: bytes, tmp_path: Path) -> None:
    """400."""
    async with followed(tmp_path) as dav:
        assert (await dav.ask("REPORT", "/data/", body)).status == 400


@pytest.mark.parametrize(
    "token", ["x", "urn:vfgateway:sync:0:1", "http://example.org/sync/5", "urn:vfgateway:sync:{epoch}:999"]
)
async def test_tokens_that_nobody_gave_out(token: str, tmp_path: Path) -> None:
    """Refused with the condition that makes clients begin anew."""
    async with followed(tmp_path) as dav:
        mirror = Mirror(dav, "/data/")
        await mirror.follow()
        refused = await sync(dav, "/data/", token.format(epoch=mirror.token.split(":")[3]))
        assert (refused.status, condition(refused)) == (403, "valid-sync-token")


async def test_nothing_is_written_before_somebody_asks(tmp_path: Path) -> None:
    """And then one row for each path, however often it changes."""
    async with followed(tmp_path) as dav:
        await put(dav, "a")
        assert await rows(dav) == 0
        await Mirror(dav, "/data/").follow()
        for _ in range(5):
            await put(dav, "a")
        assert await rows(dav) == 1


async def rows(dav: Dav) -> int:
    """The length of the log."""
    query = select(func.count()).select_from(schema.changes)
    count = await dav.gateway.database.read(lambda connection: connection.execute(query).scalar())
    return int(count or 0)


async def test_what_changes_is_told(tmp_path: Path) -> None:
    """Each verb, and nothing that did not change: one level and all."""
    async with followed(tmp_path) as dav:
        await make(dav, "d", "d/e")
        for name in ("a", "b", "d/c", "d/e/f"):
            await put(dav, name)
        deep, flat = Mirror(dav, "/data/"), Mirror(dav, "/data/", "1")
        for mirror in (deep, flat):
            await mirror.follow()
        assert deep.members == await truth(dav, "/data/")
        assert flat.members == await truth(dav, "/data/", "1")
        for work, told_deep, told_flat in (
            (("PUT", "/data/a", b"new", {}), ["/data/a"], ["/data/a"]),
            (("PUT", "/data/d/e/f", b"new", {}), ["/data/d/e/f"], []),
            (("DELETE", "/data/b", None, {}), ["/data/b"], ["/data/b"]),
            (("MOVE", "/data/a", None, {"Destination": "/data/d/a"}), ["/data/a", "/data/d/a"], ["/data/a"]),
            (
                ("MOVE", "/data/d", None, {"Destination": "/data/n"}),
                ["/data/d/", "/data/n/", "/data/n/a", "/data/n/c", "/data/n/e/", "/data/n/e/f"],
                ["/data/d/", "/data/n/"],
            ),
            (("COPY", "/data/n/e", None, {"Destination": "/data/k"}), ["/data/k/", "/data/k/f"], ["/data/k/"]),
            (("DELETE", "/data/n/e", None, {}), ["/data/n/e/"], []),
            (("LOCK", "/data/k", LOCK, {}), [], []),
            (("LOCK", "/data/new", LOCK, {}), ["/data/new"], ["/data/new"]),
            (("PROPPATCH", "/data/n/c", PATCH, {}), ["/data/n/c"], []),
            (("DELETE", "/data/missing", None, {}), [], []),
        ):
            method, target, body, fields = work
            await dav.ask(method, target, body, **fields)
            for mirror, told in ((deep, told_deep), (flat, told_flat)):
                await mirror.follow()
                assert sorted(mirror.told) == told, (work, mirror.level)
        assert deep.members == await truth(dav, "/data/")
        assert flat.members == await truth(dav, "/data/", "1")
        assert (deep.begun, flat.begun) == (0, 0)


LOCK = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
PATCH = b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><n xmlns="urn:x">v</n></D:prop></D:set></D:propertyupdate>'


async def test_a_long_list_comes_in_pieces(tmp_path: Path) -> None:
    """The first time and later, in any size of piece; nothing is told twice, nothing is left out."""
    async with followed(tmp_path) as dav:
        for top in "pq":
            await make(dav, top, f"{top}/d")
            for name in ("a", "b-1", "b", "d/x", "d/y", "z"):
                await put(dav, f"{top}/{name}")
        for limit in (1, 2, 3, 7, 100):
            mirror = Mirror(dav, "/data/", limit=limit)
            await mirror.follow()
            assert mirror.members == await truth(dav, "/data/")
            assert len(mirror.told) == len(mirror.members)
            await dav.ask("MOVE", "/data/p", Destination="/data/o")
            await put(dav, "q/z", b"%d" % limit)
            await mirror.follow()
            assert len(mirror.told) == 10 and not mirror.begun
            await dav.ask("MOVE", "/data/o", Destination="/data/p")
            mirror = Mirror(dav, "/data/q/", "1", limit=limit)
            await mirror.follow()
            assert mirror.members == await truth(dav, "/data/q/", "1")


async def test_what_changes_between_the_pieces(tmp_path: Path) -> None:
    """Is told before the client takes itself for up to date."""
    async with followed(tmp_path) as dav:
        for name in "abcdef":
            await put(dav, name)
        first = await sync(dav, "/data/", limit=3)
        mirror = Mirror(dav, "/data/", limit=3)
        assert mirror._take(first)
        await put(dav, "a", b"changed")
        await dav.ask("DELETE", "/data/b")
        await mirror.follow()
        assert mirror.members == await truth(dav, "/data/")
        assert not mirror.begun


async def test_a_collection_in_the_place_of_another(tmp_path: Path) -> None:
    """Which members the old one had is not known: who knew them has to begin anew, who looks elsewhere has not."""
    async with followed(tmp_path) as dav:
        await make(dav, "d", "other")
        await put(dav, "d/old")
        whole, flat, other = Mirror(dav, "/data/"), Mirror(dav, "/data/", "1"), Mirror(dav, "/data/other/")
        inside = Mirror(dav, "/data/d/")
        for mirror in (whole, flat, other, inside):
            await mirror.follow()
        await dav.ask("DELETE", "/data/d")
        await make(dav, "d")
        await put(dav, "d/new")
        for mirror in (whole, flat, other, inside):
            await mirror.follow()
        assert [mirror.begun for mirror in (whole, flat, other, inside)] == [1, 0, 0, 1]
        assert whole.members == await truth(dav, "/data/")
        assert set(inside.members) == {"/data/d/new"}


async def test_a_file_that_became_a_collection_and_went(tmp_path: Path) -> None:
    """Between two questions: who knew the file is told that it is gone."""
    async with followed(tmp_path) as dav:
        await put(dav, "a")
        mirror = Mirror(dav, "/data/")
        await mirror.follow()
        assert list(mirror.members) == ["/data/a"]
        assert (await dav.ask("DELETE", "/data/a")).status == 204
        await make(dav, "a")
        assert (await dav.ask("DELETE", "/data/a/")).status == 204
        await mirror.follow()
        assert mirror.members == {}


async def test_every_door_is_watched(tmp_path: Path) -> None:
    """In-place writes, attributes, links and trees through the session that SFTP, HTTP and the manager API share."""
    async with followed(tmp_path) as dav:
        await put(dav, "f")
        mirror = Mirror(dav, "/data/")
        await mirror.follow()
        handle = await dav.folder.open(at("f"), OpenMode.WRITE)
        await handle.write(0, [b"in place"])
        await handle.close()
        await mirror.follow()
        assert mirror.told == ["/data/f"]
        await dav.folder.make_dir(at("x/y/z"), parents=True)
        await mirror.follow()
        assert sorted(mirror.told) == ["/data/x/", "/data/x/y/", "/data/x/y/z/"]
        async with await dav.folder.upload(at("p/q/file"), size=0, parents=True) as upload:
            await upload.commit()
        await mirror.follow()
        assert sorted(mirror.told) == ["/data/p/", "/data/p/q/", "/data/p/q/file"]
        await dav.folder.make_link(at("link"), "f")
        await mirror.follow()
        assert mirror.told in ([], ["/data/link"])
        await dav.folder.remove(at("f"))
        await dav.folder.make_link(at("f"), "p")
        await mirror.follow()
        assert "/data/f" not in mirror.members
        assert not mirror.begun


async def test_a_file_with_two_names(tmp_path: Path) -> None:
    """A change by one name is a change of the other: clients look anew."""
    async with followed(tmp_path) as dav:
        await put(dav, "f")
        await dav.folder.hard_link(at("f"), at("g"))
        mirror = Mirror(dav, "/data/")
        await mirror.follow()
        handle = await dav.folder.open(at("f"), OpenMode.WRITE)
        await handle.write(0, [b"changed"])
        await handle.close()
        await mirror.follow()
        assert mirror.members == await truth(dav, "/data/")


async def test_a_file_that_was_moved_while_it_is_open(tmp_path: Path) -> None:
    """What is written then is told, wherever it is now."""
    async with followed(tmp_path) as dav:
        await put(dav, "f")
        handle = await dav.folder.open(at("f"), OpenMode.WRITE)
        await handle.rest()
        await dav.ask("MOVE", "/data/f", Destination="/data/g")
        mirror = Mirror(dav, "/data/")
        await mirror.follow()
        await handle.write(0, [b"changed"])
        await handle.close()
        await mirror.follow()
        assert mirror.members == await truth(dav, "/data/")


async def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its length or its age the oldest go, and tokens from before are refused."""
    monkeypatch.setattr(log, "MOST", 10)
    monkeypatch.setattr(log, "ROUND", 5)
    async with followed(tmp_path) as dav:
        old = Mirror(dav, "/data/")
        await old.follow()
        for number in range(12):
            await put(dav, f"f{number}")
        recent = Mirror(dav, "/data/")
        await recent.follow()
        for number in range(12, 18):
            await put(dav, f"f{number}")
        assert await rows(dav) <= 15
        for mirror, begun in ((old, 1), (recent, 0)):
            await mirror.follow()
            assert mirror.begun == begun
            assert mirror.members == await truth(dav, "/data/")


async def test_what_nobody_asks_about_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracking ends by itself; the next question begins it anew."""
    monkeypatch.setattr(log, "ROUND", 1)
    async with followed(tmp_path) as dav:
        mirror = Mirror(dav, "/data/")
        await mirror.follow()
        monkeypatch.setattr(log, "KEPT", -1.0)
        await put(dav, "f")
        assert await rows(dav) == 0
        monkeypatch.setattr(log, "KEPT", 1000.0)
        await put(dav, "g")
        await mirror.follow()
        assert mirror.begun == 1
        assert mirror.members == await truth(dav, "/data/")


async def test_two_processes(tmp_path: Path) -> None:
    """What another process changes is told here, from the moment in which tracking begins, also by a file that it had open by then; and
    when it dies in the middle of things, clients begin anew."""
    async with followed(tmp_path) as dav:
        await put(dav, "f")
        volume = disk_volume(tmp_path / "volume", shared=False)
        async with running_gateway(tmp_path, [volume]) as other:
            there = await orchestrator_in(other, await other.vfolders.get(dav.vfolder.id, "disk"))
            handle = await there.open(at("f"), OpenMode.WRITE)
            await handle.write(0, [b"before"])
            mirror = Mirror(dav, "/data/")
            await mirror.follow()
            await handle.write(0, [b"after!"])
            await handle.close()
            for number in range(3):
                await there.make_dir(at(f"d{number}"))
                await put(dav, f"d{number}/g")
                await there.rename(at(f"d{number}"), at(f"e{number}"))
            while "/data/f" not in mirror.told:  # closing does not wait for the database
                await mirror.follow()
            await mirror.follow()
            assert mirror.members == await truth(dav, "/data/")
            assert (await sync(dav, "/data/", mirror.token)).status == 207
            dead = other.processes.id
        # It has ended cleanly; had it not, its mark would be there.
        mark = insert(schema.dirty).values(process=dead, vfolder=dav.vfolder.key, recount=False)
        await dav.gateway.database.write(lambda connection: connection.execute(mark).rowcount)
        (dav.root / "unheard-of").write_bytes(b"x")
        await dav.gateway.lifecycle.recover()
        await mirror.follow()
        assert mirror.begun == 1
        assert mirror.members == await truth(dav, "/data/")
