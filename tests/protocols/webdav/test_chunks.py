"""Large files in chunks, as Nextcloud and ownCloud have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.support.webdav import Dav, condition, responses, webdav
from vfgateway.model import Limits, Permission, Usage

FILES = "/data/.uploads/dav/files/alice"
UPLOAD = "/data/.uploads/dav/uploads/alice/some-upload.1"


async def send(dav: Dav, *chunks: tuple[str, bytes]) -> None:
    """Begin, and send chunks."""
    assert (await dav.ask("MKCOL", UPLOAD)).status == 201
    for name, content in chunks:
        assert (await dav.ask("PUT", f"{UPLOAD}/{name}", content)).status == 201


async def test_by_number_and_by_range(tmp_path: Path) -> None:
    """In order of the numbers, whatever order they came in; a chunk that comes again counts once, the later one."""
    async with webdav(tmp_path) as dav:
        for names in (("2", "10", "1"), ("000003-000005", "6-8", "00-02")):
            await send(dav, (names[0], b"xxx"), (names[1], b"ghi"), (names[2], b"abc"))
            assert (await dav.ask("PUT", f"{UPLOAD}/{names[0]}", b"def")).status == 201
            assert not (dav.root / "file").exists()
            fields: dict[str, Any] = {"OC_Total_Length": "9", "X_OC_Mtime": "1000000000"}
            answer = await dav.ask("MOVE", f"{UPLOAD}/.file", Destination=f"{FILES}/file", **fields)
            assert answer.status == 201
            assert answer.headers["x-oc-mtime"] == "accepted"
            assert (dav.root / "file").read_bytes() == b"abcdefghi"
            assert (dav.root / "file").stat().st_mtime == 1_000_000_000
            assert answer.headers["oc-etag"] == (await dav.ask("HEAD", "/data/file")).headers["etag"]
            again = await dav.ask("MOVE", f"{UPLOAD}/.file", Destination=f"{FILES}/file", **fields)
            assert again.status == 204, "a client that missed the answer asks again"
            assert (await dav.ask("DELETE", "/data/file")).status == 204
        assert await dav.gateway.quota.usage(dav.vfolder) == Usage(0, 0)
        assert await leftovers(dav) == 0


async def leftovers(dav: Dav) -> int:
    """Uploads that are not published."""
    return len(await dav.gateway.staging.list(dav.vfolder))


async def test_a_hole(tmp_path: Path) -> None:
    """Or too few bytes: refused, and nothing is lost; the client sends what is missing."""
    async with webdav(tmp_path) as dav:
        await send(dav, ("0-2", b"abc"), ("6-8", b"ghi"))
        assert (await dav.ask("MOVE", f"{UPLOAD}/.file", Destination="/data/f")).status == 400
        assert (await dav.ask("MOVE", f"{UPLOAD}/.file", Destination="/data/f", OC_Total_Length="9")).status == 400
        listed = responses(await dav.ask("PROPFIND", UPLOAD, Depth="1"))
        assert sorted(href.removeprefix(UPLOAD) for href in listed) == ["/", "/0-2", "/6-8"]
        assert listed[f"{UPLOAD}/0-2"]["{DAV:}getcontentlength"][1].text == "3"
        assert (await dav.ask("PUT", f"{UPLOAD}/3-5", b"def")).status == 201
        assert (await dav.ask("MOVE", f"{UPLOAD}/.file", Destination="/data/f", OC_Total_Length="8")).status == 400
        assert (await dav.ask("MOVE", f"{UPLOAD}/.file", Destination="/data/f", OC_Total_Length="9")).status == 201
        assert (dav.root / "f").read_bytes() == b"abcdefghi"


async def test_limits(tmp_path: Path) -> None:
    """Chunks count as they come, once, and give back what they had when they are given up or become a file."""
    async with webdav(tmp_path, limits=Limits(bytes=10)) as dav:
        refused = await dav.ask("MKCOL", UPLOAD, OC_Total_Length="11")
        assert (refused.status, condition(refused)) == (507, "quota-not-exceeded")
        await send(dav, ("1", b"x" * 6))
        assert (await dav.ask("PUT", f"{UPLOAD}/2", b"x" * 6)).status == 507
        assert (await dav.gateway.quota.usage(dav.vfolder)).bytes == 6
        assert (await dav.ask("PUT", f"{UPLOAD}/2", b"x" * 4)).status == 201
        assert (await dav.ask("MOVE", f"{UPLOAD}/.file", Destination="/data/f")).status == 201
        assert await dav.gateway.quota.usage(dav.vfolder) == Usage(10, 1)
        assert (await dav.ask("DELETE", "/data/f")).status == 204
        await send(dav, ("1", b"x" * 10))
        assert (await dav.ask("DELETE", UPLOAD)).status == 204
        assert (await dav.ask("DELETE", UPLOAD)).status == 404
        assert await dav.gateway.quota.usage(dav.vfolder) == Usage(0, 0)
        assert await leftovers(dav) == 0


async def test_what_is_refused(tmp_path: Path) -> None:
    """Names that are no chunks, an end without a beginning, somebody else's chunks, places where no file can be, locks."""
    async with webdav(tmp_path) as dav:
        await dav.let_in("writer", Permission.RW)
        await send(dav, ("1", b"x"))
        assert (await dav.ask("MKCOL", UPLOAD)).status == 405
        for name in ("x", "1-", ".file", ".target", "%2e%2e"):
            assert (await dav.ask("PUT", f"{UPLOAD}/{name}", b"x")).status == 400, name
        move = f"{UPLOAD}/.file"
        for destination, status in (
            ("/data/", 405),
            ("/data/missing/f", 409),
            ("/other/f", 404),
            ("http://elsewhere.example/f", 502),
        ):
            assert (await dav.ask("MOVE", move, Destination=destination)).status == status, destination
        assert (await dav.ask("MOVE", f"{UPLOAD}/1", Destination="/data/f")).status == 405
        assert (await dav.ask("MOVE", move, user="writer", Destination="/data/f")).status == 404
        assert (await dav.ask("MOVE", move.replace("some", "no"), Destination="/data/f")).status == 404
        (dav.root / "f").write_bytes(b"old")
        assert (await dav.ask("MOVE", move, Destination="/data/f", Overwrite="F")).status == 412
        assert (await dav.ask("MOVE", move, Destination="/data/f", If_Match='"x"')).status == 412
        lock = (
            b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
            b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
        )
        assert (await dav.ask("LOCK", "/data/f", lock, user="writer")).status == 200
        assert (await dav.ask("MOVE", move, Destination="/data/f")).status == 423
        assert (dav.root / "f").read_bytes() == b"old"
        assert (await dav.ask("PUT", f"{UPLOAD}/2", b"x", OC_Checksum="MD5:" + "0" * 32)).status == 400
        assert len(responses(await dav.ask("PROPFIND", UPLOAD, Depth="1"))) == 2


async def test_two_that_must_not_overwrite(tmp_path: Path) -> None:
    """With ``Overwrite: F`` one of two that end at once gets the name; the other keeps its chunks, for another one."""
    async with webdav(tmp_path) as dav:
        for upload in (UPLOAD, f"{UPLOAD}b"):
            assert (await dav.ask("MKCOL", upload)).status == 201
            assert (await dav.ask("PUT", f"{upload}/1", upload.encode())).status == 201
        moves = [
            Deferred.fromCoroutine(dav.ask("MOVE", f"{upload}/.file", Destination="/data/f", Overwrite="F"))
            for upload in (UPLOAD, f"{UPLOAD}b")
        ]
        statuses = [answer.status for answer in await gatherResults(moves)]
        assert sorted(statuses) == [201, 412]
        won, lost = (UPLOAD, f"{UPLOAD}b")[:: 1 if statuses[0] == 201 else -1]
        assert (dav.root / "f").read_bytes() == won.encode()
        assert (await dav.ask("MOVE", f"{lost}/.file", Destination="/data/g", Overwrite="F")).status == 201
        assert (dav.root / "g").read_bytes() == lost.encode()


async def test_the_files_under_their_other_address(tmp_path: Path) -> None:
    """All verbs work there, and tell addresses of the same kind."""
    async with webdav(tmp_path) as dav:
        assert (await dav.ask("MKCOL", f"{FILES}/d")).status == 201
        assert (await dav.ask("PUT", f"{FILES}/d/f", b"x")).status == 201
        assert (dav.root / "d/f").read_bytes() == b"x"
        assert set(responses(await dav.ask("PROPFIND", f"{FILES}/d", Depth="1"))) == {f"{FILES}/d/", f"{FILES}/d/f"}
        assert set(responses(await dav.ask("PROPFIND", f"{FILES}/", Depth="1"))) == {f"{FILES}/", f"{FILES}/d/"}
        assert (await dav.ask("MOVE", f"{FILES}/d/f", Destination=f"{FILES}/g")).status == 201
        assert (await dav.ask("GET", f"{FILES}/g")).body == b"x"
        assert (await dav.ask("DELETE", f"{FILES}/")).status == 403
        assert ".uploads" not in (await dav.ask("PROPFIND", "/data/", Depth="1")).body.decode()


async def test_asking_what_was_stored(tmp_path: Path) -> None:
    """rclone has the digest of each file computed anew after it was sent."""
    async with webdav(tmp_path) as dav:
        (dav.root / "f").write_bytes(b"abc")
        for kind, digest in (
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("MD5", "900150983cd24fb0d6963f7d28e17f72"),
        ):
            answer = await dav.ask("PATCH", f"{FILES}/f", b"", X_Recalculate_Hash=kind)
            assert (answer.status, answer.headers["oc-checksum"]) == (204, f"{kind.upper()}:{digest}")
        assert (await dav.ask("PATCH", "/data/f", b"", X_Recalculate_Hash="crc32")).status == 400
        assert (await dav.ask("PATCH", "/data/g", b"", X_Recalculate_Hash="md5")).status == 404
