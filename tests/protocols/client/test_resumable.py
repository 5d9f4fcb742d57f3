"""The IETF's resumable uploads: one set of vectors for every draft that clients speak."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.uploading import COLLECTION, RawConnection, Uploading, head, uploading

ALICE = {"Authorization": "Bearer alice"}
TARGET = f"{COLLECTION}?vfolder=data&path=a/file.bin"
PROBLEMS = "https://iana.org/assignments/http-problem-types#"
#: Interop versions that we know; ``None`` is the final protocol, which names none.
VERSIONS = [3, 4, 5, 6, 7, 8, None]

versions = pytest.mark.parametrize("version", VERSIONS)


def said(version: int | None, complete: bool | None) -> dict[str, object]:
    """The fields by which a client of ``version`` says whether this is the last request."""
    fields: dict[str, object] = dict(ALICE)
    if version is not None:
        fields["Upload-Draft-Interop-Version"] = version
    if complete is not None and version == 3:
        fields["Upload-Incomplete"] = "?0" if complete else "?1"
    elif complete is not None:
        fields["Upload-Complete"] = "?1" if complete else "?0"
    return fields


def appended(version: int | None, offset: int, complete: bool) -> dict[str, object]:
    """The fields of an append."""
    fields = {**said(version, complete), "Upload-Offset": offset}
    if version is None or version >= 6:
        fields["Content-Type"] = "application/partial-upload"
    return fields


def is_complete(version: int | None, headers: dict[str, str]) -> bool:
    """What an answer says."""
    if version == 3:
        return {"?0": True, "?1": False}[headers["upload-incomplete"]]
    return {"?1": True, "?0": False}[headers["upload-complete"]]


async def create(
    serving: Uploading,
    version: int | None,
    data: bytes = b"",
    complete: bool = False,
    more: Mapping[str, object] | None = None,
) -> str:
    """Begin an upload; its URL."""
    answer = await serving.ask("POST", TARGET, {**said(version, complete), **(more or {})}, data)
    assert answer.status == 201, answer
    return answer.headers["location"]


@versions
async def test_whole_in_one_request(tmp_path: Path, version: int | None) -> None:
    """A request that carries everything is done with it."""
    async with uploading(tmp_path) as serving:
        answer = await serving.ask("POST", TARGET, said(version, True), b"helloworld")
        assert answer.status == 201
        assert is_complete(version, dict(answer.headers))
        assert answer.headers["upload-offset"] == "10"
        assert await serving.content("a/file.bin") == b"helloworld"


@versions
async def test_in_pieces(tmp_path: Path, version: int | None) -> None:
    """Begin with some, ask for the offset, append, end."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, version, b"hel")
        looked = await serving.ask("HEAD", url, said(version, None))
        assert (looked.status, looked.headers["upload-offset"]) == (204, "3")
        assert not is_complete(version, dict(looked.headers))
        assert looked.headers["cache-control"] == "no-store"
        more = await serving.ask("PATCH", url, appended(version, 3, False), b"lo")
        assert (more.status, more.headers["upload-offset"]) == (204, "5")
        assert not is_complete(version, dict(more.headers))
        last = await serving.ask("PATCH", url, appended(version, 5, True), b"world")
        assert last.status == 201
        assert is_complete(version, dict(last.headers))
        assert await serving.content("a/file.bin") == b"helloworld"
        looked = await serving.ask("HEAD", url, said(version, None))
        assert is_complete(version, dict(looked.headers))


@versions
async def test_empty_request_ends(tmp_path: Path, version: int | None) -> None:
    """The end may be said with no bytes, and said again when the answer was lost."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, version, b"hello")
        for _ in range(2):
            answer = await serving.ask("PATCH", url, appended(version, 5, True))
            assert (answer.status, answer.headers["upload-offset"]) == (201, "5")
        assert await serving.content("a/file.bin") == b"hello"


@versions
async def test_early_answer(tmp_path: Path, version: int | None) -> None:
    """Before any byte is sent a client that names its draft is told the URL, in that very draft; others are told nothing early."""
    async with uploading(tmp_path) as serving:
        raw = await RawConnection.open(serving.port)
        fields = {name.replace("-", "_"): value for name, value in said(version, True).items()}
        fields["Host"] = f"127.0.0.1:{serving.port}"
        raw.send(head("POST", TARGET, Content_Length=5, **fields))
        if version is not None:
            early = (await raw.until(b"\r\n\r\n")).decode()
            assert early.startswith("HTTP/1.1 104 Upload Resumption Supported\r\n")
            assert f"\r\nUpload-Draft-Interop-Version: {version}\r\n" in early
            assert f"\r\nLocation: {serving.base}{COLLECTION}/" in early
            assert ("\r\nUpload-Limit: " in early) == (version >= 6)
        raw.send(b"hello")
        final = await raw.until(b"HTTP/1.1 201 ")
        assert (b" 104 " in final) == (version is not None)
        await raw.cut()


async def test_unknown_version_gets_no_early_answer(tmp_path: Path) -> None:
    """A draft that we do not know is served as the newest, without the interim answer."""
    async with uploading(tmp_path) as serving:
        raw = await RawConnection.open(serving.port)
        fields = {"Upload_Draft_Interop_Version": 99, "Upload_Complete": "?1", "Authorization": "Bearer alice"}
        raw.send(head("POST", TARGET, Content_Length=5, **fields) + b"hello")
        received = await raw.until(b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 201 ")
        await raw.cut()


@versions
async def test_resume_the_creation(tmp_path: Path, version: int | None) -> None:
    """A creation that was cut goes on at the URL that the early answer told, from the byte that arrived."""
    if version is None:
        return  # without the early answer there is no URL to go on at
    async with uploading(tmp_path) as serving:
        raw = await RawConnection.open(serving.port)
        fields = {name.replace("-", "_"): value for name, value in said(version, True).items()}
        fields["Host"] = f"127.0.0.1:{serving.port}"
        raw.send(head("POST", TARGET, Content_Length=10, **fields))
        early = (await raw.until(b"\r\n\r\n")).decode()
        url = next(line.partition(": ")[2] for line in early.splitlines() if line.startswith("Location"))
        raw.send(b"hello")
        raw.end()
        await raw.lost
        looked = await serving.ask("HEAD", url, said(version, None))
        assert (looked.headers["upload-offset"], looked.headers["upload-length"]) == ("5", "10")
        await serving.ask("PATCH", url, appended(version, 5, True), b"world")
        assert await serving.content("a/file.bin") == b"helloworld"


@versions
async def test_other_offset(tmp_path: Path, version: int | None) -> None:
    """Another offset than was reached is 409, with the right one in the header and in the problem."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, version, b"hello")
        answer = await serving.ask("PATCH", url, appended(version, 7, True), b"world")
        assert (answer.status, answer.headers["upload-offset"]) == (409, "5")
        problem = answer.json()
        assert problem["type"] == PROBLEMS + "mismatching-upload-offset"
        assert (problem["expected-offset"], problem["provided-offset"]) == (5, 7)


@versions
async def test_completed_upload_takes_no_more(tmp_path: Path, version: int | None) -> None:
    """A complete upload cannot be appended to."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, version, b"hello", complete=True)
        longer = await serving.ask("PATCH", url, appended(version, 5, True), b"!")
        assert (longer.status, longer.json()["type"]) == (400, PROBLEMS + "inconsistent-upload-length")
        open_end = await serving.ask("PATCH", url, appended(version, 5, False))
        assert (open_end.status, open_end.json()["type"]) == (400, PROBLEMS + "completed-upload")
        assert await serving.content("a/file.bin") == b"hello"


async def test_lengths_must_agree(tmp_path: Path) -> None:
    """Two ways of telling the length that differ, in one request or over several."""
    async with uploading(tmp_path) as serving:
        kind = PROBLEMS + "inconsistent-upload-length"
        answer = await serving.ask("POST", TARGET, {**said(8, True), "Upload-Length": 6}, b"hello")
        assert (answer.status, answer.json()["type"]) == (400, kind)
        url = await create(serving, 8, b"hello", more={"Upload-Length": 10})
        answer = await serving.ask("PATCH", url, appended(8, 5, True), b"wor")
        assert (answer.status, answer.json()["type"]) == (400, kind)
        assert (await serving.ask("PATCH", url, appended(8, 5, True), b"world")).status == 201


async def test_more_than_the_length(tmp_path: Path) -> None:
    """Bytes past the declared length are refused, with the limits told."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 8, b"hello", more={"Upload-Length": 8})
        answer = await serving.ask("PATCH", url, appended(8, 5, False), b"world")
        assert answer.status == 413
        assert "max-size=" in answer.headers["upload-limit"]


async def test_what_append_needs(tmp_path: Path) -> None:
    """From draft 04 on the media type, from draft 06 on the completeness, and always the offset."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 8, b"hello")
        plain = {**said(8, False), "Upload-Offset": 5}
        assert (await serving.ask("PATCH", url, plain, b"x")).status == 415
        silent = appended(8, 5, False)
        del silent["Upload-Complete"]
        assert (await serving.ask("PATCH", url, silent, b"x")).status == 400
        lost = appended(8, 5, False)
        del lost["Upload-Offset"]
        assert (await serving.ask("PATCH", url, lost, b"x")).status == 400
        assert (await serving.ask("PATCH", url, {**said(5, False), "Upload-Offset": 5}, b"x")).status == 204


@pytest.mark.parametrize(("version", "word"), [(6, "expires="), (7, "max-age="), (8, "max-age=")])
async def test_limits(tmp_path: Path, version: int, word: str) -> None:
    """The largest size and the remaining life, by the draft's own names."""
    async with uploading(tmp_path) as serving:
        serving.gateway.staging.max_size = 1000
        url = await create(serving, version)
        limits = (await serving.ask("HEAD", url, said(version, None))).headers["upload-limit"]
        assert limits.startswith("max-size=1000, ")
        assert word in limits
        answer = await serving.ask("POST", TARGET, {**said(version, False), "Upload-Length": 1001})
        assert answer.status == 413
        assert "max-size=1000" in answer.headers["upload-limit"]


async def test_discovery(tmp_path: Path) -> None:
    """``OPTIONS`` says that uploads can be resumed here."""
    async with uploading(tmp_path) as serving:
        answer = await serving.ask("OPTIONS", COLLECTION)
        assert answer.headers["accept-patch"] == "application/partial-upload"
        assert answer.headers["upload-limit"].startswith("max-size=")


@versions
async def test_cancel(tmp_path: Path, version: int | None) -> None:
    """A cancelled upload is gone."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, version, b"hello")
        assert (await serving.ask("DELETE", url, said(version, None))).status == 204
        assert (await serving.ask("HEAD", url, said(version, None))).status == 404
        assert await serving.stages() == 0


async def test_file_name_from_disposition(tmp_path: Path) -> None:
    """``Content-Disposition`` names the file, as the draft recommends."""
    async with uploading(tmp_path) as serving:
        fields = {**said(8, True), "Content-Disposition": "inline; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt"}
        answer = await serving.ask("POST", f"{COLLECTION}?vfolder=data", fields, b"hello")
        assert answer.status == 201
        assert await serving.content("grüße.txt") == b"hello"


async def test_content_digest(tmp_path: Path) -> None:
    """A body that does not have its digest does not count."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 8)
        digest = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
        fields = {**appended(8, 0, True), "Content-Digest": f"sha-256=:{digest}:"}
        assert (await serving.ask("PATCH", url, fields, b"jello")).status == 400
        assert (await serving.ask("PATCH", url, fields, b"hello")).status == 201
        assert await serving.content("a/file.bin") == b"hello"


async def test_other_protocol_goes_on(tmp_path: Path) -> None:
    """What one protocol began the other can end: there is one staging."""
    async with uploading(tmp_path) as serving:
        url = await create(serving, 8, b"hello", more={"Upload-Length": 10})
        fields = {
            **ALICE,
            "Tus-Resumable": "1.0.0",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": 5,
        }
        assert (await serving.ask("PATCH", url, fields, b"world")).status == 204
        assert await serving.content("a/file.bin") == b"helloworld"
