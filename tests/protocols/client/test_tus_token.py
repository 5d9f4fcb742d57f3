"""``/upload?token=``: the reference's wire, without its faults."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jwt
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.support.uploading import RawConnection, Uploading, head, uploading
from vfgateway.abilities import ILinks
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.memory.files import MemoryStagedFile
from vfgateway.paths import parse_text
from vfgateway.protocols.web.body import MOST_WAITING
from vfgateway.services.uploads import UploadRow

SECRET = b"0123456789abcdef0123456789abcdef"
PROBLEMS = "https://api.backend.ai/probs/storage/"


async def offset_of(serving: Uploading, url: str) -> int:
    """What HEAD tells."""
    answer = await serving.ask("HEAD", url)
    assert answer.status == 200
    return int(answer.headers["upload-offset"])


async def test_upload_in_two_requests(tmp_path: Path) -> None:
    """The reference's uploader: PATCH after PATCH, each answered by exactly 204 and the new offset."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        first = await serving.ask("PATCH", url, {"upload-offset": 0}, b"hello")
        assert (first.status, first.headers["upload-offset"], first.headers["upload-length"]) == (204, "5", "10")
        assert first.headers["cache-control"] == "no-store"
        assert first.headers["tus-resumable"] == "1.0.0"
        second = await serving.ask("PATCH", url, {"Upload-Offset": 5, "Tus-Resumable": "1.0.0"}, b"world")
        assert (second.status, second.headers["upload-offset"]) == (204, "10")
        assert await serving.content("file.bin") == b"helloworld"


async def test_options(tmp_path: Path) -> None:
    """Discovery needs no token and lists what the reference lists."""
    async with uploading(tmp_path) as serving:
        answer = await serving.ask("OPTIONS", "/upload")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
        assert int(answer.headers["tus-max-size"]) > 0
        assert answer.headers["x-content-type-options"] == "nosniff"
        for name in ("access-control-allow-headers", "access-control-expose-headers"):
            listed = "Tus-Resumable, Upload-Length, Upload-Metadata, Upload-Offset, Content-Type"
            assert answer.headers[name].startswith(listed)


async def test_head_tells_offset_and_length(tmp_path: Path) -> None:
    """A browser's first request learns where to go on, and may read it."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        answer = await serving.ask("HEAD", url)
        assert (answer.status, answer.headers["upload-offset"], answer.headers["upload-length"]) == (200, "0", "10")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Upload-Offset" in answer.headers["access-control-expose-headers"]


async def test_lost_last_answer(tmp_path: Path) -> None:
    """After the file is there HEAD still tells that it is complete, and repeating the last empty request does no harm."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        await serving.ask("PATCH", url, {"Upload-Offset": 0}, b"hello")
        assert await offset_of(serving, url) == 5
        assert (await serving.ask("PATCH", url, {"Upload-Offset": 5})).status == 204


async def test_empty_file(tmp_path: Path) -> None:
    """A token for no bytes: the file is there before any client does anything, and HEAD says that it is complete."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(0)
        assert await serving.content("file.bin") == b""
        assert await offset_of(serving, url) == 0


@pytest.mark.parametrize("offset", [None, "-1", "x", "1.5", "", "٣", "9" * 40])
async def test_offset_that_is_none(tmp_path: Path, offset: str | None) -> None:
    """An offset that is missing or no number is a bad parameter."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        raw = await RawConnection.open(serving.port)
        fields = {} if offset is None else {"Upload_Offset": offset.encode().decode("latin-1")}
        raw.send(head("PATCH", url, Content_Length=0, **fields))
        assert b"400 Bad Request" in await raw.until(b"invalid-api-params")
        await raw.cut()


@pytest.mark.parametrize("offset", [0, 4, 6, 99])
async def test_other_offset(tmp_path: Path, offset: int) -> None:
    """An offset that was not reached, or is past, is a conflict that names both, and scripts may read it."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        await serving.ask("PATCH", url, {"Upload-Offset": 0}, b"hello")
        answer = await serving.ask("PATCH", url, {"Upload-Offset": offset}, b"wrong")
        assert answer.status == 409
        problem = answer.json()
        assert problem["type"] == PROBLEMS + "upload-offset-mismatch"
        assert problem["error_code"] == "storage-proxy_update_conflict"
        assert problem["msg"] == f"expected offset 5, got {offset}"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert await offset_of(serving, url) == 5


async def test_longer_than_promised(tmp_path: Path) -> None:
    """More bytes than the token promised are refused, before they are read where the length tells; nothing beyond is stored."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        answer = await serving.ask("PATCH", url, {"Upload-Offset": 0}, b"hello!")
        assert answer.status == 413
        raw = await RawConnection.open(serving.port)
        raw.send(
            head("PATCH", url, Upload_Offset=0, Transfer_Encoding="chunked") + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        )
        assert b" 413 " in await raw.until(b"\r\n\r\n")
        await raw.cut()
        assert await offset_of(serving, url) == 0


async def test_chunked_body(tmp_path: Path) -> None:
    """A body without a declared length is as good."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(7)
        raw = await RawConnection.open(serving.port)
        raw.send(
            head("PATCH", url, Upload_Offset=0, Transfer_Encoding="chunked") + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        )
        assert b"204 No Content" in await raw.until(b"\r\n\r\n")
        await raw.cut()
        assert await serving.content("file.bin") == b"abcdefg"


@pytest.mark.parametrize("cut_at", [0, 1, 2, 63, 64, 65, 99, 4096, 65535, 65536, 299_999])
async def test_cut_at_any_byte(tmp_path: Path, cut_at: int) -> None:
    """A connection that breaks in the body: the very next HEAD tells every byte that arrived, and the rest completes the file."""
    whole = bytes(range(256)) * 1200
    async with uploading(tmp_path) as serving:
        url = await serving.begin(len(whole))
        raw = await RawConnection.open(serving.port)
        raw.send(head("PATCH", url, Upload_Offset=0, Content_Length=len(whole)) + whole[:cut_at])
        raw.end()
        await raw.lost
        reached = await offset_of(serving, url)
        assert reached == cut_at
        answer = await serving.ask("PATCH", url, {"Upload-Offset": reached}, whole[reached:])
        assert answer.status == 204
        assert await serving.content("file.bin") == whole


async def test_who_asks_comes_after_bytes_that_came_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose upload is still being looked for when its connection breaks and HEAD comes counts, too."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        uploads = serving.gateway.staging.uploads
        get, found, asked = uploads.get, Deferred[None](), Deferred[None]()
        looking = [found]

        async def get_slowly(upload_id: str) -> UploadRow:
            if looking:
                asked.callback(None)
                await looking.pop()
            return await get(upload_id)

        monkeypatch.setattr(uploads, "get", get_slowly)
        raw = await RawConnection.open(serving.port)
        raw.send(head("PATCH", url, Upload_Offset=0, Content_Length=10) + b"hello")
        await asked
        raw.end()
        await raw.lost
        told = Deferred.fromCoroutine(offset_of(serving, url))
        for _ in range(3):
            assert (await serving.ask("OPTIONS", url)).status == 200
        found.callback(None)
        assert await told == 5


async def test_who_asks_waits_for_bytes_that_lie_in_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While storage is slow nobody reads the socket, and so does not meet its end; what lies in it was sent all the same."""
    whole = bytes(range(256)) * 4096
    async with uploading(tmp_path) as serving:
        serving.gateway.staging.leases.patience.silence = 0.0
        url = await serving.begin(len(whole))
        append, held = MemoryStagedFile.append, Deferred[None]()

        async def append_slowly(stage: MemoryStagedFile, chunks: Sequence[bytes]) -> None:
            await held
            await append(stage, chunks)

        monkeypatch.setattr(MemoryStagedFile, "append", append_slowly)
        sent = whole[: MOST_WAITING + (32 << 10)]
        raw = await RawConnection.open(serving.port)
        raw.send(head("PATCH", url, Upload_Offset=0, Content_Length=len(whole)) + sent)
        raw.end()
        (upload,) = await serving.gateway.staging.list(serving.folder)
        leases = serving.gateway.staging.leases
        while (lease := leases.held(upload.id)) is None or not lease.over():
            await sleepless(0.01)
        told = Deferred.fromCoroutine(offset_of(serving, url))
        while not lease.waiters and not told.called:
            await sleepless(0.01)
        held.callback(None)
        assert await told == len(sent)
        await raw.lost


async def test_dead_connection_does_not_lock_out(tmp_path: Path) -> None:
    """While a connection hangs that will never say another word, its client comes back, learns all that arrived and completes."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        dead = await RawConnection.open(serving.port)
        dead.send(head("PATCH", url, Upload_Offset=0, Content_Length=10) + b"hello")
        assert await offset_until(serving, url, 5) == 5
        assert (await serving.ask("PATCH", url, {"Upload-Offset": 5}, b"world")).status == 204
        assert b"tus-lease-lost" in await dead.until(b"tus-lease")
        await dead.cut()
        assert await serving.content("file.bin") == b"helloworld"


async def offset_until(serving: Uploading, url: str, wanted: int) -> int:
    """HEAD again until what was sent on another connection has arrived."""
    for _ in range(50):
        if await offset_of(serving, url) == wanted:
            return wanted
        await sleepless(0.02)
    return await offset_of(serving, url)


async def sleepless(seconds: float) -> None:
    """Let the other connection's bytes be read."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(seconds, turn.callback, None)
    await turn


async def test_two_at_once(tmp_path: Path) -> None:
    """Of two that really send from the same offset one wins and the other is told 409; the file is the winner's alone."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(2000)
        first, second = await RawConnection.open(serving.port), await RawConnection.open(serving.port)
        for connection, letter in ((first, b"a"), (second, b"b")):
            connection.send(head("PATCH", url, Upload_Offset=0, Content_Length=2000))
            for _ in range(4):
                connection.send(letter * 500)
        answers = [await first.until(b"\r\n\r\n"), await second.until(b"\r\n\r\n")]
        assert sorted(answer.split(b" ")[1] for answer in answers) == [b"204", b"409"]
        winner = b"a" if b" 204 " in answers[0] else b"b"
        assert await serving.content("file.bin") == winner * 2000
        for connection in (first, second):
            await connection.cut()


async def test_checksum(tmp_path: Path) -> None:
    """A body with a wrong checksum is refused with 460 and forgotten; with the right one it counts."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        right = base64.b64encode(hashlib.sha1(b"hello", usedforsecurity=False).digest()).decode()
        fields = {"Upload-Offset": 0, "Upload-Checksum": f"sha1 {right}"}
        wrong = await serving.ask("PATCH", url, fields, b"HELLO")
        assert wrong.status == 460
        assert await offset_of(serving, url) == 0
        assert (await serving.ask("PATCH", url, fields, b"hello")).status == 204


async def test_other_version_of_tus(tmp_path: Path) -> None:
    """No version is fine, ours is, another is not."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        answer = await serving.ask("PATCH", url, {"Upload-Offset": 0, "Tus-Resumable": "0.2.2"}, b"hello")
        assert (answer.status, answer.headers["tus-version"]) == (412, "1.0.0")


async def test_creation_on_the_same_url(tmp_path: Path) -> None:
    """tus-js-client's fall-back: creating on the token's URL gives that very URL."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        answer = await serving.ask("POST", url, {"Tus-Resumable": "1.0.0", "Upload-Length": 5})
        assert (answer.status, answer.headers["location"]) == (201, serving.base + url)


async def test_method_override(tmp_path: Path) -> None:
    """A client that may only POST can send bytes."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        fields = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": 0}
        assert (await serving.ask("POST", url, fields, b"hello")).status == 204
        assert await serving.content("file.bin") == b"hello"


async def test_termination(tmp_path: Path) -> None:
    """A cancelled upload is unknown, and nothing of it is left."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        await serving.ask("PATCH", url, {"Upload-Offset": 0}, b"hello")
        assert (await serving.ask("DELETE", url)).status == 204
        answer = await serving.ask("PATCH", url, {"Upload-Offset": 5}, b"world")
        assert (answer.status, answer.json()["type"]) == (404, PROBLEMS + "tus-session-not-found")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert (await serving.stages(), await serving.held_bytes()) == (0, 0)


# --- tokens ---


def claims(serving: Uploading, **changed: object) -> dict[str, object]:
    """Those of a good upload token."""
    return {
        "op": "upload",
        "volume": serving.vfolder.volume,
        "vfid": str(serving.vfolder.id),
        "relpath": "file.bin",
        "size": 5,
        "session": "0" * 32,
        "exp": 1 << 40,
        **changed,
    }


async def test_bad_tokens(tmp_path: Path) -> None:
    """Expired, forged, unsigned and unfit tokens are bad parameters, in the reference's words, readable for scripts."""
    async with uploading(tmp_path) as serving:
        good = claims(serving)
        bad = [
            "x",
            jwt.encode({**good, "exp": 1}, SECRET, "HS256"),
            jwt.encode(good, b"y" * 32, "HS256"),
            jwt.encode(good, "", "none"),
            jwt.encode({**good, "op": "download"}, SECRET, "HS256"),
            jwt.encode({**good, "session": "../../x"}, SECRET, "HS256"),
            jwt.encode({**good, "size": -1}, SECRET, "HS256"),
        ]
        for token in bad:
            answer = await serving.ask("PATCH", f"/upload?token={token}", {"Upload-Offset": 0}, b"hello")
            assert answer.status == 400
            problem = answer.json()
            assert problem["type"] == PROBLEMS + "invalid-api-params"
            assert problem["data"]["token"].startswith("cannot decode the given value as JWT: ")
            assert answer.headers["access-control-allow-origin"] == "*"
        assert (await serving.ask("PATCH", "/upload", {"Upload-Offset": 0}, b"hello")).status == 400


async def test_unknown_session_and_folder(tmp_path: Path) -> None:
    """A session that was never begun, and a vfolder that is not there, are not found."""
    async with uploading(tmp_path) as serving:
        other = f"user:{'3' * 8}-3333-4333-8333-{'3' * 12}/{'4' * 32}"
        for changed in ({}, {"vfid": other}):
            token = jwt.encode(claims(serving, **changed), SECRET, "HS256")
            answer = await serving.ask("HEAD", f"/upload?token={token}")
            assert answer.status == 404


async def test_token_of_another_vfolder(tmp_path: Path) -> None:
    """An upload cannot be reached by a token for another vfolder."""
    async with uploading(tmp_path / "a") as serving:
        from tests.support.gateway import new_vfolder

        upload = await serving.gateway.staging.begin(serving.folder, parse_text("x"), size=5, owned_by_vfolder=True)
        other = await new_vfolder(serving.gateway)
        token = jwt.encode(claims(serving, vfid=str(other.id), session=upload.id), SECRET, "HS256")
        assert (await serving.ask("HEAD", f"/upload?token={token}")).status == 404


# --- targets ---


async def test_dst_dir(tmp_path: Path) -> None:
    """``dst_dir`` places the file below it, and makes it."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        assert (await serving.ask("PATCH", url + "&dst_dir=some/where", {"Upload-Offset": 0}, b"hello")).status == 204
        assert await serving.content("some/where/file.bin") == b"hello"


@pytest.mark.parametrize("dst_dir", ["../../x", "/abs", "a/../..", "a%00b", "%2e%2e", ".upload", "x" * 256])
async def test_dst_dir_cannot_leave(tmp_path: Path, dst_dir: str) -> None:
    """The unsigned parameter cannot lead out of the vfolder or into the gateway's own part of it, and costs nothing of the upload."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        answer = await serving.ask("PATCH", f"{url}&dst_dir={dst_dir}", {"Upload-Offset": 0}, b"hello")
        assert answer.status == 400
        assert await serving.names() == set()
        assert await offset_of(serving, url) == 0


async def test_parent_that_leads_out(tmp_path: Path) -> None:
    """A link out of the vfolder as parent of the target: refused, and the bytes are kept."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5, "link/file.bin")
        await ILinks(serving.folder.context.folder).make_link(parse_text("link"), "../../outside")
        answer = await serving.ask("PATCH", url, {"Upload-Offset": 0}, b"hello")
        assert 400 <= answer.status < 500
        await serving.folder.remove(parse_text("link"))
        assert await offset_of(serving, url) == 5
        assert await serving.content("link/file.bin") == b"hello"


async def test_directory_in_the_way(tmp_path: Path) -> None:
    """A directory at the target: a conflict, and the stage is kept until it is gone."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(5)
        await serving.folder.make_dir(parse_text("file.bin"))
        assert (await serving.ask("PATCH", url, {"Upload-Offset": 0}, b"hello")).status == 409
        await serving.folder.remove_dir(parse_text("file.bin"))
        assert await offset_of(serving, url) == 5
        assert await serving.content("file.bin") == b"hello"


async def test_vfolder_deleted_meanwhile(tmp_path: Path) -> None:
    """A vfolder that goes while bytes come in: the sender is told 404, and so is whoever asks later; nothing is left."""
    async with uploading(tmp_path) as serving:
        url = await serving.begin(10)
        raw = await RawConnection.open(serving.port)
        raw.send(head("PATCH", url, Upload_Offset=0, Content_Length=10) + b"hello")
        assert await live_offset(serving) == 5
        await serving.gateway.lifecycle.purge(serving.vfolder.volume, serving.vfolder.id)
        assert b" 404 " in await raw.until(b"\r\n\r\n")
        await raw.cut()
        assert (await serving.ask("HEAD", url)).status == 404


async def live_offset(serving: Uploading) -> int:
    """How much of a body that is still coming in has arrived."""
    (info,) = await serving.gateway.staging.list(serving.folder)
    for _ in range(200):
        lease = serving.gateway.staging.leases.held(info.id)
        if lease is not None and lease.heard():
            return lease.heard()
        await sleepless(0.01)
    return 0


async def test_full_storage(tmp_path: Path) -> None:
    """A volume that fills up in the middle answers 507; the upload goes on when there is room."""
    async with uploading(tmp_path, MemoryVolume("mem", reactor, capacity=1000)) as serving:
        url = await serving.begin(800)
        filler = await serving.folder.upload(parse_text("filler"), size=500)
        async with filler:
            await filler.write([b"f" * 500])
            await filler.commit()
        answer = await serving.ask("PATCH", url, {"Upload-Offset": 0}, b"x" * 800)
        assert answer.status == 507
        reached = await offset_of(serving, url)
        await serving.folder.remove(parse_text("filler"))
        answer = await serving.ask("PATCH", url, {"Upload-Offset": reached}, b"x" * (800 - reached))
        assert answer.status == 204
        assert await serving.content("file.bin") == b"x" * 800
