"""PROPFIND and PROPPATCH."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.gateway import new_vfolder
from tests.support.site import Client
from tests.support.uploading import Answer, head
from tests.support.webdav import DAV, Dav, basic, condition, responses, webdav
from vfgateway.model import Permission
from vfgateway.services import properties

QUOTA = b'<propfind xmlns="DAV:"><prop><quota-available-bytes/><quota-used-bytes/></prop></propfind>'


def patch(inner: str) -> bytes:
    """The body of a PROPPATCH that sets something."""
    names = 'xmlns:D="DAV:" xmlns:x="http://example.org/" xmlns:Z="urn:schemas-microsoft-com:"'
    return f"<D:propertyupdate {names}><D:set><D:prop>{inner}</D:prop></D:set></D:propertyupdate>".encode()


def asking(inner: str) -> bytes:
    """The body of a PROPFIND for named properties."""
    return f'<D:propfind xmlns:D="DAV:" xmlns:x="http://example.org/"><D:prop>{inner}</D:prop></D:propfind>'.encode()


async def propfind(dav: Dav, target: str, body: bytes = b"", depth: str = "0", **fields: Any) -> Answer:
    """Ask."""
    return await dav.ask("PROPFIND", target, body, Depth=depth, **fields)


async def kept(dav: Dav, target: str, name: str = "x:note") -> str | None:
    """The text of a dead property; ``None`` if there is none."""
    found = responses(await propfind(dav, target, asking(f"<{name}/>")))
    ((status, element),) = next(iter(found.values())).values()
    return str(element.xpath("string()")) if status == 200 else None


async def test_what_is_told(tmp_path: Path) -> None:
    """A collection and its members with the properties of RFC 4918; the tag is that of GET, to the byte."""
    async with webdav(tmp_path) as dav:
        (dav.root / "dir").mkdir()
        (dav.root / "a & b.txt").write_bytes(b"hello")
        os.utime(dav.root / "a & b.txt", (1_000_000_000, 1_000_000_000))
        found = responses(await propfind(dav, "/data", depth="1"))
        assert set(found) == {"/data/", "/data/dir/", "/data/a%20%26%20b.txt"}
        file = {name.removeprefix(DAV): element for name, (_, element) in found["/data/a%20%26%20b.txt"].items()}
        assert file["getcontentlength"].text == "5"
        assert file["getlastmodified"].text == "Sun, 09 Sep 2001 01:46:40 GMT"
        assert file["displayname"].text == "a & b.txt"
        assert len(file["resourcetype"]) == 0
        assert len(file["supportedlock"]) == 2
        assert file["getetag"].text == (await dav.ask("GET", "/data/a%20%26%20b.txt")).headers["etag"]
        assert found["/data/dir/"][DAV + "resourcetype"][1][0].tag == DAV + "collection"
        assert DAV + "getcontentlength" not in found["/data/dir/"]


async def test_three_forms(tmp_path: Path) -> None:
    """By name with 404 for what is missing, by ``propname`` without values, ``allprop`` with ``include``."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"x")
        named = responses(await propfind(dav, "/data/f", asking("<D:getetag/><x:none/><y xmlns=''/>")))["/data/f"]
        assert {name: status for name, (status, _) in named.items()} == {
            DAV + "getetag": 200,
            "{http://example.org/}none": 404,
            "y": 404,
        }
        body = b'<propfind xmlns="DAV:"><propname/></propfind>'
        names = responses(await propfind(dav, "/data/f", body))["/data/f"]
        assert DAV + "getetag" in names and all(not element.text for _, element in names.values())
        body = b'<propfind xmlns="DAV:"><allprop/><include><quota-used-bytes/></include></propfind>'
        assert DAV + "quota-used-bytes" in responses(await propfind(dav, "/data/", body))["/data/"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "iso-8859-1"])
async def test_encodings(encoding: str, tmp_path: Path) -> None:
    """A document in any encoding that it says it has (RFC 4918 section 8.2): what is set comes back."""
    async with webdav(tmp_path) as dav:
        declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig").removesuffix("-be")}"?>'
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        body = (mark + declared + patch("<x:note>Gr\u00fc\u00dfe</x:note>").decode()).encode(encoding)
        assert (await dav.ask("PROPPATCH", "/data/", body)).status == 207
        asked = (mark + declared + asking("<x:note/>").decode()).encode(encoding)
        ((status, element),) = responses(await propfind(dav, "/data/", asked))["/data/"].values()
        assert (status, element.text) == (200, "Gr\u00fc\u00dfe")


async def test_minimal(tmp_path: Path) -> None:
    """``Prefer: return=minimal`` leaves out what is missing, and says that it did; a PROPPATCH then has no body."""
    async with webdav(tmp_path) as dav:
        answer = await propfind(dav, "/data/", asking("<x:none/><D:displayname/>"), Prefer="return=minimal")
        assert answer.headers["preference-applied"] == "return=minimal"
        assert set(responses(answer)["/data/"]) == {DAV + "displayname"}
        silent = await dav.ask("PROPPATCH", "/data/", patch("<x:note>1</x:note>"), Prefer="return=minimal")
        assert (silent.status, silent.body) == (204, b"")


async def test_depth(tmp_path: Path) -> None:
    """Whole trees only where that is configured; nonsense is 400."""
    async with webdav(tmp_path) as dav:
        refused = await propfind(dav, "/data/", depth="infinity")
        assert (refused.status, condition(refused)) == (403, "propfind-finite-depth")
        assert (await propfind(dav, "/data/", depth="2")).status == 400
    (tmp_path / "second").mkdir()
    async with webdav(tmp_path / "second", {"depth_infinity": True}) as dav:
        (dav.root / "a/b").mkdir(parents=True)
        (dav.root / "a/b/c").write_bytes(b"")
        found = responses(await propfind(dav, "/data/", depth="infinity"))
        assert set(found) == {"/data/", "/data/a/", "/data/a/b/", "/data/a/b/c"}


async def test_top(tmp_path: Path) -> None:
    """The top lists the user's vfolders and nobody else's."""
    async with webdav(tmp_path) as dav:
        await new_vfolder(dav.gateway, "disk", uuid4(), name="secret")
        assert set(responses(await propfind(dav, "/", depth="1"))) == {"/", "/data/"}
        assert set(responses(await propfind(dav, "/", depth="0"))) == {"/"}


async def test_quota(tmp_path: Path) -> None:
    """RFC 4331 tells the real remainder; where nothing is limited, none is told, since any number would be believed."""
    async with webdav(tmp_path, limit_bytes=1000) as dav:
        assert (await dav.ask("PUT", "/data/f", b"x" * 300)).status == 201
        found = responses(await propfind(dav, "/data/", QUOTA))["/data/"]
        assert found[DAV + "quota-available-bytes"][1].text == "700"
        assert found[DAV + "quota-used-bytes"][1].text == "300"
        assert responses(await propfind(dav, "/", QUOTA, depth="1"))["/data/"][DAV + "quota-used-bytes"][0] == 200
        await new_vfolder(dav.gateway, "disk", name="free")
        found = responses(await propfind(dav, "/free/", QUOTA))["/free/"]
        assert found[DAV + "quota-available-bytes"][0] == 404


async def test_long_listing_streams(tmp_path: Path) -> None:
    """Thousands of entries come all, in pieces, to a client that reads slowly too."""
    async with webdav(tmp_path) as dav:
        for number in range(3000):
            (dav.root / f"file-{number:05}").touch()
        client = await Client.open(dav.port)
        client.send(head("PROPFIND", "/data/", Depth="1", Connection="close", Authorization=basic("alice")))
        await client.until(b"<D:response>")
        client.pause()
        assert (await dav.ask("OPTIONS", "/", user=None)).status == 200
        client.resume()
        await client.lost
        assert client.received.count(b"<D:response>") == 3001
        assert b"transfer-encoding: chunked" in client.received.lower()


async def test_links(tmp_path: Path) -> None:
    """A link is told as what it leads to; one that leads nowhere or out is not told."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"hello")
        for name, target in (("good", "f"), ("dangling", "missing"), ("out", "/etc/passwd")):
            (dav.root / name).symlink_to(target)
        found = responses(await propfind(dav, "/data/", depth="1"))
        assert set(found) == {"/data/", "/data/f", "/data/good"}
        assert found["/data/good"][DAV + "getcontentlength"][1].text == "5"


async def test_odd_names(tmp_path: Path) -> None:
    """Any name on disk comes back by its href, also one that is not UTF-8 or holds what XML cannot."""
    async with webdav(tmp_path) as dav:
        for raw in (b"caf\xe9", b"bell\x07", b"<&>'\"", b"100%", "😀".encode(), b"a\nb"):
            Path(os.fsdecode(os.fsencode(dav.root) + b"/" + raw)).write_bytes(raw)
            listed = responses(await propfind(dav, "/data/", depth="1"))
            (href,) = set(listed) - {"/data/"}
            assert (await dav.ask("GET", href)).body == raw
            assert (await dav.ask("DELETE", href)).status == 204


async def test_dead_properties(tmp_path: Path) -> None:
    """What a client sets it gets back: structure, language and namespaces; removing ends it; all or nothing."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"")
        body = patch('<x:note xml:lang="de"><x:b y="1">Grüße</x:b> &amp; mehr</x:note><plain xmlns="">p</plain>')
        assert {status for status, _ in responses(await dav.ask("PROPPATCH", "/data/f", body))["/data/f"].values()} == {
            200
        }
        (status, element) = responses(await propfind(dav, "/data/f"))["/data/f"]["{http://example.org/}note"]
        assert (status, str(element.xpath("string()")), element[0].get("y")) == (200, "Grüße & mehr", "1")
        assert element.get("{http://www.w3.org/XML/1998/namespace}lang") == "de"
        refused = await dav.ask("PROPPATCH", "/data/f", patch("<x:note>other</x:note><D:getetag>e</D:getetag>"))
        by_name = {name: status for name, (status, _) in responses(refused)["/data/f"].items()}
        assert by_name == {"{http://example.org/}note": 424, DAV + "getetag": 403}
        assert b"cannot-modify-protected-property" in refused.body
        assert await kept(dav, "/data/f") == "Grüße & mehr"
        remove = b'<propertyupdate xmlns="DAV:"><remove><prop><note xmlns="http://example.org/"/></prop></remove></propertyupdate>'
        assert (await dav.ask("PROPPATCH", "/data/f", remove)).status == 207
        assert await kept(dav, "/data/f") is None


@pytest.mark.parametrize(("limit", "most"), [("MOST_HELD", 8 << 20), ("MOST_HELD", 1000), ("MOST_HELD_IN_ALL", 1000)])
async def test_a_listing_tells_dead_properties(
    limit: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files, directories and links, and of nothing that is elsewhere: all of them in hand, or too many for that."""
    monkeypatch.setattr(properties, limit, most)
    async with webdav(tmp_path) as dav:
        (dav.root / "d").mkdir()
        (dav.root / "link").symlink_to("a")
        for name in ("a", "none", "ä", "d/a"):
            (dav.root / name).write_bytes(b"")
        marked = {f"/data/{name}": name.upper() for name in ("a", "%C3%A4", "d/", "d/a", "link")}
        for target, text in marked.items():
            answer = await dav.ask("PROPPATCH", target, patch(f"<x:note>{text}</x:note><x:second>{text}</x:second>"))
            assert answer.status == 207
        for body in (b"", asking("<x:note/><x:second/>")):
            for folder in ("/data/", "/data/d/"):
                listed = responses(await propfind(dav, folder, body, depth="1"))
                told = {
                    href: [
                        str(entry[name][1].xpath("string()"))
                        for name in ("{http://example.org/}note", "{http://example.org/}second")
                        if name in entry and entry[name][0] == 200
                    ]
                    for href, entry in listed.items()
                }
                assert told == {href: [marked[href]] * 2 if href in marked else [] for href in listed}
                assert len(told) == (6 if folder == "/data/" else 2)


async def test_they_follow_their_files(tmp_path: Path) -> None:
    """Moved with files and trees, copied with copies, kept by a PUT, gone with a DELETE: a later file of the name has none."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d").mkdir()
        (dav.root / "d/f").write_bytes(b"")
        for target in ("/data/d", "/data/d/f"):
            await dav.ask("PROPPATCH", target, patch(f"<x:note>{target}</x:note>"))
        assert (await dav.ask("PUT", "/data/d/f", b"new")).status == 204
        assert (await dav.ask("MOVE", "/data/d", Destination="/data/e")).status == 201
        assert (await kept(dav, "/data/e"), await kept(dav, "/data/e/f")) == ("/data/d", "/data/d/f")
        assert (await dav.ask("COPY", "/data/e", Destination="/data/c")).status == 201
        assert (await kept(dav, "/data/c"), await kept(dav, "/data/c/f")) == ("/data/d", "/data/d/f")
        listed = responses(await propfind(dav, "/data/c", asking("<x:note/>"), depth="1"))
        assert all(entry["{http://example.org/}note"][0] == 200 for entry in listed.values())
        assert (await dav.ask("DELETE", "/data/e")).status == 204
        assert (await dav.ask("MKCOL", "/data/e")).status == 201
        assert (await dav.ask("PUT", "/data/e/f", b"")).status == 201
        assert (await kept(dav, "/data/e"), await kept(dav, "/data/e/f")) == (None, None)
        other = await new_vfolder(dav.gateway, "disk", name="other")
        assert (await dav.ask("MOVE", "/data/c", Destination="/other/c")).status == 201
        assert await kept(dav, "/other/c/f") == "/data/d/f"
        assert not (dav.root / "c").exists()
        assert other.name == "other"


@pytest.mark.parametrize(
    ("element", "seconds"),
    [
        ("<D:getlastmodified>Sun, 09 Sep 2001 01:46:40 GMT</D:getlastmodified>", 1_000_000_000),
        ("<Z:Win32LastModifiedTime>Sun, 09 Sep 2001 01:46:40 GMT</Z:Win32LastModifiedTime>", 1_000_000_000),
        ("<D:lastmodified>1234567890</D:lastmodified>", 1_234_567_890),
    ],
)
async def test_times(element: str, seconds: int, tmp_path: Path) -> None:
    """Clients set the time of a file by any of three names, and the file has it."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"")
        assert responses(await dav.ask("PROPPATCH", "/data/f", patch(element)))
        assert (dav.root / "f").stat().st_mtime == seconds


async def test_extended_mkcol(tmp_path: Path) -> None:
    """A collection with properties in one step (RFC 5689); what cannot be set leaves none."""
    async with webdav(tmp_path) as dav:
        body = (
            b'<D:mkcol xmlns:D="DAV:"><D:set><D:prop><D:resourcetype><D:collection/></D:resourcetype>'
            b"<D:displayname>Pictures</D:displayname>%s</D:prop></D:set></D:mkcol>"
        )
        made = await dav.ask("MKCOL", "/data/p", body % b"", Content_Type="application/xml", Prefer="return=minimal")
        assert (made.status, made.body, made.headers["preference-applied"]) == (201, b"", "return=minimal")
        assert await kept(dav, "/data/p", "D:displayname") == "Pictures"
        refused = await dav.ask("MKCOL", "/data/q", body % b"<D:getetag>1</D:getetag>", Content_Type="text/xml")
        assert (refused.status, b"mkcol-response" in refused.body) == (403, True)
        assert not (dav.root / "q").exists()


async def test_only_writers_set(tmp_path: Path) -> None:
    """Who may only read sets nothing."""
    async with webdav(tmp_path) as dav:
        await dav.let_in("reader", Permission.RO)
        assert (await dav.ask("PROPPATCH", "/data/", patch("<x:note/>"), user="reader")).status == 403


async def test_hostile_documents(tmp_path: Path) -> None:
    """Entities, depth, size and nonsense: a clear refusal, quickly, and nothing kept."""
    async with webdav(tmp_path) as dav:
        bomb = b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">%s]><propfind xmlns="DAV:"><prop><x>&j;</x></prop></propfind>'
        levels = b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
        for body, status in (
            (bomb % levels, 400),
            (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><propfind xmlns="DAV:"><allprop/></propfind>', 403),
            (b"<a>" * 100_000, 400),
            (b"<a>" * 10_000 + b"</a>" * 10_000, 400),
            (b"<propfind xmlns='DAV:'><prop>" + b"<x/>" * 1 + b"</prop>", 400),
            (b"not xml", 400),
            (b"<other/>", 400),
            (asking("".join(f"<x:n{number}/>" for number in range(5000))), 400),
        ):
            assert (await propfind(dav, "/data/", body)).status == status, body[:60]
        large = patch("<x:note>" + "x" * (10 << 20) + "</x:note>")
        fields = {"Content_Length": len(large), "Expect": "100-continue", "Connection": "close"}
        client = await Client.open(dav.port)
        client.send(head("PROPPATCH", "/data/", Authorization=basic("alice"), **fields))
        await client.lost
        assert b" 413 " in client.received
        many = [await dav.ask("PROPPATCH", "/data/", patch(f"<x:n{n}>{'x' * 400_000}</x:n{n}>")) for n in range(3)]
        assert [answer.status for answer in many] == [207, 207, 507]


async def test_without_the_root(tmp_path: Path) -> None:
    """Clients that know the collection itself ask for its members alone (RFC 8144, and Microsoft before it)."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"x")
        for fields in ({"Depth": "1", "Prefer": "depth-noroot"}, {"Depth": "1,noroot"}):
            answer = await dav.ask("PROPFIND", "/data/", None, "alice", **fields)
            assert set(responses(answer)) == {"/data/f"}
            assert ("depth-noroot" in answer.headers.get("preference-applied", "")) is ("Prefer" in fields)
