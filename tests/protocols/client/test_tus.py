"""tus 1.0 for people, extension by extension."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tests.support.uploading import COLLECTION, RawConnection, Uploading, head, uploading
from vfgateway.paths import parse_text

ALICE = {"Authorization": "Bearer alice", "Tus-Resumable": "1.0.0"}
BOB = {**ALICE, "Authorization": "Bearer bob"}
CHUNK = {**ALICE, "Content-Type": "application/offset+octet-stream"}


def metadata(**values: str) -> str:
    """``Upload-Metadata``."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


async def create(serving: Uploading, size: int | None, path: str = "a/file.bin", **fields: object) -> str:
    """Create an upload; its URL."""
    length = {"Upload-Defer-Length": 1} if size is None else {"Upload-Length": size}
    named = {"Upload-Metadata": metadata(vfolder="data", path=path)}
    answer = await serving.ask("POST", COLLECTION, {**ALICE, **length, **named, **fields})
    assert answer.status == 201, answer
    return answer.headers["location"]


async def send(serving: Uploading, url: str, offset: int, data: bytes, **fields: object) -> int:
    """PATCH; the status."""
    return (await serving.ask("PATCH", url, {**CHUNK, "Upload-Offset": offset, **fields}, data)).status


async def test_create_and_send(tmp_path: Path) -> None:
    """A person names a vfolder and a path, gets an absolute URL, and finds the file there, its directory made."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 10)
        assert url.startswith(f"{serving.base}{COLLECTION}/")
        assert await send(serving, url, 0, b"hello") == 204
        assert await send(serving, url, 5, b"world") == 204
        assert await serving.content("a/file.bin") == b"helloworld"


async def test_options_lists_extensions(tmp_path: Path) -> None:
    """Discovery needs no login and no version."""
    async with uploading(tmp_path) as serving:
        for url in (COLLECTION, f"{COLLECTION}/{'0' * 32}"):
            answer = await serving.ask("OPTIONS", url)
            assert answer.status == 200
            assert answer.headers["tus-version"] == "1.0.0"
            assert set(answer.headers["tus-extension"].split(",")) == {
                "creation",
                "creation-with-upload",
                "creation-defer-length",
                "termination",
                "checksum",
                "expiration",
                "concatenation",
            }
            assert set(answer.headers["tus-checksum-algorithm"].split(",")) >= {"sha1", "md5", "sha256", "crc32"}
            assert int(answer.headers["tus-max-size"]) > 0
            assert answer.headers["accept-patch"] == "application/partial-upload"


async def test_head_repeats_what_was_said(tmp_path: Path) -> None:
    """HEAD tells offset, length, metadata and when it expires, and is not to be cached."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 10)
        await send(serving, url, 0, b"hello")
        answer = await serving.ask("HEAD", url, ALICE)
        assert (answer.status, answer.headers["upload-offset"], answer.headers["upload-length"]) == (200, "5", "10")
        assert answer.headers["upload-metadata"] == metadata(vfolder="data", path="a/file.bin")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["upload-expires"].endswith(" GMT")


async def test_version_is_required(tmp_path: Path) -> None:
    """Without the version, or with another, nothing is done: 412 with the versions there are."""
    async with uploading(tmp_path) as serving:
        for version in (None, "0.2.2"):
            fields = {"Authorization": "Bearer alice", "Upload-Length": 5}
            if version is not None:
                fields["Tus-Resumable"] = version
            answer = await serving.ask("POST", COLLECTION, fields)
            assert (answer.status, answer.headers["tus-version"]) == (412, "1.0.0")


async def test_login_is_required(tmp_path: Path) -> None:
    """Nobody without a login: 401 that names the way, readable for scripts."""
    async with uploading(tmp_path) as serving:
        answer = await serving.ask("POST", COLLECTION, {"Tus-Resumable": "1.0.0", "Upload-Length": 5})
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_uploads_are_their_owners(tmp_path: Path) -> None:
    """Somebody else's upload is not found, whatever is tried."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 5)
        for method in ("HEAD", "DELETE", "GET"):
            assert (await serving.ask(method, url, BOB)).status == 404
        fields = {**BOB, "Content-Type": CHUNK["Content-Type"], "Upload-Offset": 0}
        assert (await serving.ask("PATCH", url, fields, b"hello")).status == 404
        created = await serving.ask(
            "POST", COLLECTION, {**BOB, "Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data", path="x")}
        )
        assert created.status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Upload-Length": 5, "Upload-Defer-Length": 1},
        {"Upload-Defer-Length": 2},
        {"Upload-Length": "x"},
        {"Upload-Length": -1},
        {"Upload-Length": 5, "Upload-Metadata": "path !!!"},
        {"Upload-Length": 5, "Upload-Metadata": "path YQ==,path YQ=="},
        {"Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data")},
        {"Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data", path="../x")},
        {"Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data", path="/etc/x")},
        {"Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data", path="a\0b")},
        {"Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data", path="x" * 256)},
        {"Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data", path=".upload/x")},
        {"Upload-Length": 5, "Upload-Concat": "whatever"},
    ],
)
async def test_unusable_creations(tmp_path: Path, fields: dict[str, object]) -> None:
    """What cannot become a file is refused when it is created, and leaves nothing."""
    async with uploading(tmp_path) as serving:
        assert (await serving.ask("POST", COLLECTION, {**ALICE, **fields})).status == 400
        assert (await serving.stages(), await serving.held_bytes()) == (0, 0)


async def test_name_will_do(tmp_path: Path) -> None:
    """``filename``, as most clients say, is a path at the top; the only vfolder need not be named; the URL may name it."""
    async with uploading(tmp_path) as serving:
        for query, name in (("", "one"), ("?vfolder=data", "two")):
            fields = {**ALICE, "Upload-Length": 0, "Upload-Metadata": metadata(filename=name)}
            assert (await serving.ask("POST", COLLECTION + query, fields)).status == 201
        assert await serving.names() == {"one", "two"}


async def test_empty_file(tmp_path: Path) -> None:
    """An upload of length 0 is a file as soon as it is created."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 0, "empty")
        assert await serving.content("empty") == b""
        assert (await serving.ask("HEAD", url, ALICE)).headers["upload-offset"] == "0"


async def test_creation_with_upload(tmp_path: Path) -> None:
    """The first bytes may come with the creation."""
    async with uploading(tmp_path) as serving:
        fields = {**CHUNK, "Upload-Length": 10, "Upload-Metadata": metadata(vfolder="data", path="file")}
        answer = await serving.ask("POST", COLLECTION, fields, b"hello")
        assert (answer.status, answer.headers["upload-offset"]) == (201, "5")
        assert await send(serving, answer.headers["location"], 5, b"world") == 204
        assert await serving.content("file") == b"helloworld"


async def test_refused_creation_with_upload(tmp_path: Path) -> None:
    """A creation whose first bytes are refused is refused as a whole, and leaves nothing."""
    async with uploading(tmp_path) as serving:
        wrong = base64.b64encode(b"x" * 20).decode()
        for size, more, status in ((4, {}, 413), (10, {"Upload-Checksum": f"sha1 {wrong}"}, 460)):
            fields = {**CHUNK, **more, "Upload-Length": size, "Upload-Metadata": metadata(vfolder="data", path="file")}
            answer = await serving.ask("POST", COLLECTION, fields, b"hello")
            assert answer.status == status
            assert "location" not in answer.headers
        assert (await serving.stages(), await serving.held_bytes()) == (0, 0)


async def test_refused_before_the_body(tmp_path: Path) -> None:
    """A creation that cannot be is refused without ``100 Continue``, so the bytes are never sent."""
    async with uploading(tmp_path, limit_bytes=100) as serving:
        raw = await RawConnection.open(serving.port)
        named = metadata(vfolder="data", path="file")
        raw.send(
            head(
                "POST",
                COLLECTION,
                Expect="100-continue",
                Content_Length=1000,
                Upload_Length=1000,
                Upload_Metadata=named,
                **{key.replace("-", "_"): value for key, value in CHUNK.items()},
            )
        )
        received = await raw.until(b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 413 ")
        await raw.cut()


async def test_deferred_length(tmp_path: Path) -> None:
    """The length may be told with any PATCH, once; until then HEAD says that it is owed."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, None)
        assert await send(serving, url, 0, b"hello") == 204
        assert (await serving.ask("HEAD", url, ALICE)).headers["upload-defer-length"] == "1"
        assert await send(serving, url, 5, b"wor", **{"Upload-Length": 10}) == 204
        assert await send(serving, url, 8, b"ld", **{"Upload-Length": 11}) == 400
        assert await send(serving, url, 8, b"ld") == 204
        assert await serving.content("a/file.bin") == b"helloworld"


async def test_deferred_length_told_at_last(tmp_path: Path) -> None:
    """tus-js-client's end of a stream: an empty PATCH that tells the length."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, None)
        await send(serving, url, 0, b"hello")
        assert await send(serving, url, 5, b"", **{"Upload-Length": 5}) == 204
        assert await serving.content("a/file.bin") == b"hello"


async def test_media_type_is_required(tmp_path: Path) -> None:
    """Bytes have to be labelled as such."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 5)
        answer = await serving.ask("PATCH", url, {**ALICE, "Upload-Offset": 0}, b"hello")
        assert answer.status == 415


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("sha1", hashlib.sha1(b"hello", usedforsecurity=False).digest()),
        ("md5", hashlib.md5(b"hello", usedforsecurity=False).digest()),
        ("sha256", hashlib.sha256(b"hello").digest()),
        ("crc32", bytes.fromhex("3610a686")),
    ],
)
async def test_checksums(tmp_path: Path, algorithm: str, digest: bytes) -> None:
    """Wrong bytes are refused with 460 and do not count; right ones do."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 5)
        checksum = {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}
        assert await send(serving, url, 0, b"jello", **checksum) == 460
        assert await send(serving, url, 0, b"hello", **checksum) == 204


@pytest.mark.parametrize("checksum", ["sha3 YQ==", "sha1", "sha1 !!!", "md5 YQ=="])
async def test_unusable_checksums(tmp_path: Path, checksum: str) -> None:
    """A checksum that cannot be compared is a bad request, before anything is read."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 5)
        assert await send(serving, url, 0, b"hello", **{"Upload-Checksum": checksum}) == 400


async def test_termination(tmp_path: Path) -> None:
    """A terminated upload is not found, and leaves neither bytes nor charge; a published file stays."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 10)
        await send(serving, url, 0, b"hello")
        assert (await serving.ask("DELETE", url, ALICE)).status == 204
        assert (await serving.ask("HEAD", url, ALICE)).status == 404
        assert (await serving.stages(), await serving.held_bytes()) == (0, 0)
        done = await create(serving, 0, "kept")
        assert (await serving.ask("DELETE", done, ALICE)).status == 204
        assert await serving.names() == {"kept"}


async def test_too_large(tmp_path: Path) -> None:
    """More than is allowed for any upload, or than the limit leaves, is 413 at once."""
    async with uploading(tmp_path, limit_bytes=100) as serving:
        serving.gateway.staging.max_size = 1000
        for size in (101, 1001):
            fields = {**ALICE, "Upload-Length": size, "Upload-Metadata": metadata(vfolder="data", path="x")}
            assert (await serving.ask("POST", COLLECTION, fields)).status == 413
        assert await serving.held_bytes() == 0


async def test_limit_in_the_middle(tmp_path: Path) -> None:
    """An upload that did not say its length meets the limit: 413, what fitted is kept, and nothing is over the limit."""
    async with uploading(tmp_path, limit_bytes=100) as serving:
        url = await create(serving, None)
        assert await send(serving, url, 0, b"x" * 90) == 204
        assert await send(serving, url, 90, b"x" * 20) == 413
        assert (await serving.ask("HEAD", url, ALICE)).headers["upload-offset"] == "90"
        assert await serving.held_bytes() <= 100


# --- concatenation ---


async def part(serving: Uploading, data: bytes) -> str:
    """A complete partial upload, created as tus-js-client does: without metadata."""
    fields = {**ALICE, "Upload-Length": len(data), "Upload-Concat": "partial"}
    answer = await serving.ask("POST", COLLECTION, fields)
    assert answer.status == 201
    url = answer.headers["location"]
    assert await send(serving, url, 0, data) == 204
    return url


async def test_concatenation(tmp_path: Path) -> None:
    """Parts become one file in the order asked for; the final upload says what it was made of and takes no more."""
    async with uploading(tmp_path, limit_bytes=10) as serving:
        urls = [await part(serving, b"hello"), await part(serving, b"world")]
        assert (await serving.ask("HEAD", urls[0], ALICE)).headers["upload-concat"] == "partial"
        concat = "final;" + " ".join(url.removeprefix(serving.base) for url in urls)
        fields = {**ALICE, "Upload-Concat": concat, "Upload-Metadata": metadata(vfolder="data", path="whole")}
        answer = await serving.ask("POST", COLLECTION, fields)
        assert answer.status == 201
        assert await serving.content("whole") == b"helloworld"
        final = await serving.ask("HEAD", answer.headers["location"], ALICE)
        assert (final.headers["upload-concat"], final.headers["upload-length"]) == (concat, "10")
        assert await send(serving, answer.headers["location"], 10, b"x") == 403
        again = await serving.ask("POST", COLLECTION, fields)
        assert (again.status, again.headers["location"]) == (201, answer.headers["location"])
        assert (await serving.stages(), await serving.held_bytes()) == (0, 10)


async def test_unfinished_parts(tmp_path: Path) -> None:
    """Parts that are not complete, and uploads that are no parts, cannot be joined."""
    async with uploading(tmp_path) as serving:
        done = await part(serving, b"hello")
        fields = {**ALICE, "Upload-Length": 5, "Upload-Concat": "partial"}
        unfinished = (await serving.ask("POST", COLLECTION, fields)).headers["location"]
        plain = await create(serving, 5)
        named = {"Upload-Metadata": metadata(vfolder="data", path="whole")}
        for other, status in ((unfinished, 400), (plain, 400), (f"{COLLECTION}/{'0' * 32}", 404)):
            answer = await serving.ask("POST", COLLECTION, {**ALICE, "Upload-Concat": f"final;{done} {other}", **named})
            assert answer.status == status
        assert await serving.names() == set()


# --- lists ---


async def test_list(tmp_path: Path) -> None:
    """A person sees the uploads that are theirs, with progress."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 10)
        await send(serving, url, 0, b"hello")
        (item,) = (await serving.ask("GET", COLLECTION, ALICE)).json()["items"]
        assert (item["vfolder_name"], item["path"], item["size"], item["offset"]) == ("data", "a/file.bin", 10, 5)
        assert serving.base + item["url"] == url
        assert (await serving.ask("GET", url, ALICE)).json()["offset"] == 5
        assert (await serving.ask("GET", COLLECTION, BOB)).json()["items"] == []


async def test_only_where_nothing_is(tmp_path: Path) -> None:
    """``If-None-Match: *`` on creation: a file that is there, or comes meanwhile, is not replaced."""
    async with uploading(tmp_path) as serving:
        careful = {"If-None-Match": "*"}
        url = await create(serving, 5, "file", **careful)
        await create(serving, 0, "file")
        assert await send(serving, url, 0, b"hello") == 409
        named = {"Upload-Length": 5, "Upload-Metadata": metadata(vfolder="data", path="file")}
        assert (await serving.ask("POST", COLLECTION, {**ALICE, **careful, **named})).status == 409
        assert (await serving.folder.stat(parse_text("file"))).size == 0


async def test_method_override(tmp_path: Path) -> None:
    """PATCH, HEAD and DELETE may come as POST."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 5)
        for method, status in (("HEAD", 200), ("PATCH", 204), ("DELETE", 204)):
            fields = {**CHUNK, "X-HTTP-Method-Override": method, "Upload-Offset": 0}
            assert (await serving.ask("POST", url, fields, b"hello" if method == "PATCH" else None)).status == status
