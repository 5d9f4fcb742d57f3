"""OPTIONS, GET, PUT, DELETE, MKCOL and the page for browsers."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from tests.support.disks import small_memory_disk
from tests.support.site import Client
from tests.support.uploading import head
from tests.support.webdav import basic, condition, failed_members, webdav
from vfgateway.model import Permission


async def test_round_trip(tmp_path: Path) -> None:
    """MKCOL makes a collection, PUT a file in it, GET reads it, PUT replaces it, DELETE removes it."""
    async with webdav(tmp_path) as dav:
        assert (await dav.ask("MKCOL", "/data/a")).status == 201
        made = await dav.ask("PUT", "/data/a/b%20c.txt", b"hello")
        assert made.status == 201
        got = await dav.ask("GET", "/data/a/b%20c.txt")
        assert (got.status, got.body, got.headers["etag"]) == (200, b"hello", made.headers["etag"])
        assert got.headers["content-type"] == "text/plain"
        replaced = await dav.ask("PUT", "/data/a/b%20c.txt", b"other")
        assert (replaced.status, replaced.headers["etag"] != made.headers["etag"]) == (204, True)
        assert (dav.root / "a/b c.txt").read_bytes() == b"other"
        assert (await dav.ask("DELETE", "/data/a")).status == 204
        assert not (dav.root / "a").exists()
        assert (await dav.ask("GET", "/data/a/b%20c.txt")).status == 404


async def test_options_needs_no_login(tmp_path: Path) -> None:
    """Windows and Office stop where OPTIONS is refused; both look for these headers."""
    async with webdav(tmp_path) as dav:
        answer = await dav.ask("OPTIONS", "/", user=None)
        assert answer.status == 200
        assert {"1", "2", "3"} <= {part.strip() for part in answer.headers["dav"].split(",")}
        assert answer.headers["ms-author-via"] == "DAV"
        assert "PROPFIND" in answer.headers["allow"]


async def test_logging_in(tmp_path: Path) -> None:
    """A password, a key as password or as bearer; anything else is 401 with challenges, and a stranger finds nothing."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"x")
        user = await dav.gateway.accounts.user("alice")
        key = (await dav.gateway.accounts.add_key(user.id, "api_key")).secret
        for good in (basic("alice"), basic("alice", str(key)), f"Bearer {key}"):
            assert (await dav.ask("GET", "/data/f", Authorization=good)).status == 200
        for bad in (basic("alice", "wrong"), basic("nobody"), "Digest username=alice", ""):
            refused = await dav.ask("GET", "/data/f", user=None, Authorization=bad)
            assert refused.status == 401
            assert "Basic" in refused.headers["www-authenticate"]
        await dav.let_in("bob", Permission.RO)
        bob = await dav.gateway.accounts.user("bob")
        for grant in await dav.gateway.vfolders.grants(dav.vfolder.key):
            if grant.subject == bob.id:
                await dav.gateway.vfolders.revoke(grant.id)
        assert (await dav.ask("GET", "/data/f", user="bob")).status == 404


async def test_put_is_refused_before_the_body(tmp_path: Path) -> None:
    """What cannot fit gets 507 with its condition while the client still waits to send; nothing is left of it."""
    async with webdav(tmp_path, limit_bytes=10) as dav:
        client = await Client.open(dav.port)
        fields = {"Expect": "100-continue", "Content_Length": 11, "Authorization": basic("alice")}
        client.send(head("PUT", "/data/f", **fields))
        await client.until(b"</D:error>")
        assert b"100 Continue" not in client.received
        assert b" 507 " in client.received
        assert b"quota-not-exceeded" in client.received
        client.close()
        assert {path.name for path in dav.root.iterdir()} <= {".upload"}


async def test_storage_without_room(tmp_path: Path) -> None:
    """Nothing is limited, but the disk is full: 507 with its own condition, before the first byte, or in the middle; the old file stays."""
    with small_memory_disk(tmp_path / "small", 16 << 20):
        async with webdav(tmp_path / "small") as dav:
            assert (await dav.ask("PUT", "/data/f", b"old")).status == 201
            client = await Client.open(dav.port)
            fields = {"Expect": "100-continue", "Content_Length": 1 << 30, "Authorization": basic("alice")}
            client.send(head("PUT", "/data/f", **fields))
            await client.until(b"</D:error>")
            assert b"100 Continue" not in client.received
            assert b" 507 " in client.received and b"sufficient-disk-space" in client.received
            client.close()
            assert (await dav.ask("PUT", "/data/large", b"x" * (6 << 20))).status == 201
            (dav.root / "d").mkdir()
            (dav.root / "d/large").write_bytes(b"x" * (6 << 20))
            answer = await dav.ask("COPY", "/data/d", Destination="/data/e")
            assert set(failed_members(answer).values()) == {507}
            assert b"sufficient-disk-space" in answer.body
            assert (dav.root / "f").read_bytes() == b"old"
            assert list((dav.root / "e").iterdir()) == []


@pytest.mark.parametrize("name", ["X_Expected_Entity_Length", "OC_Total_Length"])
async def test_a_length_told_otherwise(name: str, tmp_path: Path) -> None:
    """Finder and ownCloud tell the length of a chunked body in fields of their own: refused before a byte is stored."""
    async with webdav(tmp_path, limit_bytes=10) as dav:
        fields = {"Transfer_Encoding": "chunked", name: 11}
        body = b"b\r\nhello world\r\n0\r\n\r\n"
        client = await Client.open(dav.port)
        client.send(head("PUT", "/data/f", Authorization=basic("alice"), Connection="close", **fields) + body)
        await client.lost
        assert b" 507 " in client.received
        assert not (dav.root / "f").exists()


async def test_put_where_none_can_be(tmp_path: Path) -> None:
    """No collection above: 409. A collection in the way: 405. The list of vfolders: 405. Only what exists may be a vfolder: 404."""
    async with webdav(tmp_path) as dav:
        (dav.root / "dir").mkdir()
        (dav.root / "file").write_bytes(b"")
        for target, status in (
            ("/data/missing/f", 409),
            ("/data/file/f", 409),
            ("/data/dir", 405),
            ("/data/dir/", 405),
            ("/data/", 405),
            ("/", 405),
            ("/nowhere/f", 404),
        ):
            assert (await dav.ask("PUT", target, b"x")).status == status, target


async def test_conditions(tmp_path: Path) -> None:
    """``If-None-Match: *`` creates only, ``If-Match`` replaces only what it names."""
    async with webdav(tmp_path) as dav:
        made = await dav.ask("PUT", "/data/f", b"1", If_None_Match="*")
        assert made.status == 201
        assert (await dav.ask("PUT", "/data/f", b"2", If_None_Match="*")).status == 412
        assert (await dav.ask("PUT", "/data/f", b"2", If_Match='"other"')).status == 412
        assert (await dav.ask("PUT", "/data/f", b"2", If_Match=made.headers["etag"])).status == 204
        assert (await dav.ask("DELETE", "/data/f", If_Match=made.headers["etag"])).status == 412
        assert (dav.root / "f").read_bytes() == b"2"


async def test_times_and_digests_of_owncloud(tmp_path: Path) -> None:
    """``X-OC-Mtime`` is kept and said to be; a wrong ``OC-Checksum`` leaves the old file."""
    async with webdav(tmp_path) as dav:
        digest = hashlib.sha1(b"hello").hexdigest()
        made = await dav.ask("PUT", "/data/f", b"hello", X_OC_Mtime="1234567890", OC_Checksum=f"SHA1:{digest}")
        assert (made.status, made.headers["x-oc-mtime"]) == (201, "accepted")
        assert (dav.root / "f").stat().st_mtime == 1234567890
        assert (await dav.ask("HEAD", "/data/f")).headers["etag"] == made.headers["etag"] == made.headers["oc-etag"]
        assert (await dav.ask("PUT", "/data/f", b"hallo", OC_Checksum=f"SHA1:{digest}")).status == 400
        assert (dav.root / "f").read_bytes() == b"hello"


async def test_mkcol(tmp_path: Path) -> None:
    """There already: 405; nothing above: 409; a body that is not understood: 415; a vfolder: 403."""
    async with webdav(tmp_path) as dav:
        (dav.root / "file").write_bytes(b"")
        assert (await dav.ask("MKCOL", "/data/d/")).status == 201
        for target, status in (
            ("/data/d", 405),
            ("/data/file", 405),
            ("/data/x/y", 409),
            ("/data/", 405),
            ("/new/", 403),
            ("/", 405),
        ):
            assert (await dav.ask("MKCOL", target)).status == status, target
        assert (await dav.ask("MKCOL", "/data/e", b"hello")).status == 415


async def test_delete(tmp_path: Path) -> None:
    """Only whole collections, never a vfolder, and never what a fragment hides."""
    async with webdav(tmp_path) as dav:
        (dav.root / "d").mkdir()
        (dav.root / "d/f").write_bytes(b"x")
        assert (await dav.ask("DELETE", "/data/d/", Depth="0")).status == 400
        assert (await dav.ask("DELETE", "/data/d/#f")).status == 400
        assert (await dav.ask("DELETE", "/data/")).status == 403
        assert (dav.root / "d/f").exists()
        assert (await dav.ask("DELETE", "/data/missing")).status == 404


async def test_rights(tmp_path: Path) -> None:
    """Who may only read, reads; who may write, may not delete what others made."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"x")
        await dav.let_in("reader", Permission.RO)
        await dav.let_in("writer", Permission.RW)
        assert (await dav.ask("GET", "/data/f", user="reader")).body == b"x"
        for method in ("PUT", "DELETE", "MKCOL"):
            answer = await dav.ask(method, "/data/f" if method != "MKCOL" else "/data/d", b"", user="reader")
            assert (answer.status, condition(answer)) == (403, "need-privileges")
        assert (await dav.ask("PUT", "/data/f", b"y", user="writer")).status == 204
        assert (await dav.ask("DELETE", "/data/f", user="writer")).status == 403


@pytest.mark.parametrize(
    "target", ["/data/../etc/passwd", "/data/%2e%2e/x", "/data/a%2fb", "/data/a%00b", "/data/" + "x" * 300]
)
async def test_no_way_out(target: str, tmp_path: Path) -> None:
    """Paths that lead out or cannot be: 400."""
    async with webdav(tmp_path) as dav:
        assert (await dav.ask("GET", target)).status == 400
        assert (await dav.ask("PUT", target, b"x")).status == 400


async def test_page_for_browsers(tmp_path: Path) -> None:
    """The list of vfolders links to them, a collection to its entries, sorted as asked; names cannot inject anything."""
    async with webdav(tmp_path) as dav:
        (dav.root / "<script>alert(1)").write_bytes(b"x" * 2000)
        (dav.root / "b&c").write_bytes(b"x")
        (dav.root / "dir").mkdir()
        top = await dav.ask("GET", "/")
        assert b'href="/data/"' in top.body
        page = (await dav.ask("GET", "/data/?sort=size&order=down")).body.decode()
        assert "<script" not in page
        assert page.index("2.0 KiB") < page.index("b&amp;c</a>")
        assert 'href="/data/dir/"' in page
        empty = await dav.ask("HEAD", "/data/")
        assert (empty.status, empty.body) == (200, b"")
        assert "sandbox" in (await dav.ask("GET", "/data/b%26c")).headers["content-security-policy"]


async def test_a_page_in_every_order(tmp_path: Path) -> None:
    """By name, size and time, up and down; each heading leads to its order, or to the other way round; sizes and times can be read."""
    async with webdav(tmp_path) as dav:
        (dav.root / "Dir").mkdir()
        os.utime(dav.root / "Dir", (4_000, 4_000))
        for name, size, when in (("alpha", 3_000_000, 3_000), ("Beta", 5, 1_000), ("gamma", 2_000, 2_000)):
            (dav.root / name).write_bytes(b"x" * size)
            os.utime(dav.root / name, (when, when))
        for asked, order in (
            ("", "Dir alpha Beta gamma"),
            ("?sort=name&order=down", "gamma Beta alpha Dir"),
            ("?sort=size&order=up", "Dir Beta gamma alpha"),
            ("?sort=size&order=down", "alpha gamma Beta Dir"),
            ("?sort=modified&order=up", "Beta gamma alpha Dir"),
            ("?sort=modified&order=down", "Dir alpha gamma Beta"),
            ("?sort=owner&order=sideways", "Dir alpha Beta gamma"),
        ):
            page = (await dav.ask("GET", f"/data/{asked}")).body.decode()
            assert re.findall(r">(\w+)/?</a></td>", page) == order.split(), asked
        assert "2.9 MiB" in page and "5 B" in page and "1970-01-01 00:50" in page
        assert 'href="?sort=name&amp;order=down"' in page and 'href="?sort=size&amp;order=up"' in page


async def test_names_of_macs(tmp_path: Path) -> None:
    """Names that a Mac decomposes find the file, and new ones of it get the form that all others type."""
    async with webdav(tmp_path) as dav:
        (dav.root / "caf\u00e9").write_bytes(b"x")
        assert (await dav.ask("GET", "/data/cafe%CC%81")).status == 200
        mac = {"User_Agent": "WebDAVFS/3.0.0 (03008000) Darwin/23.0.0 (x86_64)"}
        assert (await dav.ask("PUT", "/data/n%CC%83", b"x", **mac)).status == 201
        assert (dav.root / "\u00f1").exists()
