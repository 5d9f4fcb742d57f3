"""``/`` and ``/download``: the reference's wire (its sections 1.3, 1.4 and 1.8) without its faults (6.1, 6.3)."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import jwt
import pytest

from tests.support.client_api import SECRET, client_api, problem
from tests.support.gateway import new_vfolder
from vfgateway import __version__

INVALID = "https://api.backend.ai/probs/storage/invalid-api-params"
MISSING = {"title": "File not found", "type": "https://api.backend.ai/probs/storage/file-not-found"}


async def test_status(tmp_path: Path) -> None:
    """Liveness needs no token, and takes no parameters."""
    async with client_api(tmp_path) as api:
        answer = await api.ask("GET", "/")
        assert (answer.status, answer.json()) == (
            200,
            {"status": "ok", "type": "client-facing", "storage-proxy": __version__},
        )
        refused = await api.ask("GET", "/?verbose=1")
        assert (refused.status, problem(refused)["data"]) == (400, {"verbose": "verbose is not allowed key"})
        assert (await api.ask("HEAD", "/")).status == 200
        assert (await api.ask("POST", "/")).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_file(tmp_path: Path) -> None:
    """A file with everything that a client needs to save and to resume it."""
    async with client_api(tmp_path) as api:
        (api.root / "dir").mkdir()
        (api.root / "dir/data set.bin").write_bytes(b"0123456789" * 10)
        answer = await api.download("dir/data set.bin")
        assert (answer.status, answer.body) == (200, b"0123456789" * 10)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == 'attachment; filename="data set.bin"'
        assert "cache-control" not in answer.headers
        assert answer.headers["etag"].startswith('"')
        head = await api.download("dir/data set.bin", "HEAD")
        for name in ("content-length", "etag", "last-modified", "accept-ranges", "content-disposition"):
            assert head.headers[name] == answer.headers[name]
        part = await api.download("dir/data set.bin", Range="bytes=10-19", If_Range=answer.headers["etag"])
        assert (part.status, part.body, part.headers["content-range"]) == (206, b"0123456789", "bytes 10-19/100")
        stale = await api.download("dir/data set.bin", Range="bytes=10-19", If_Range='"other"')
        assert (stale.status, len(stale.body)) == (200, 100)


async def test_dst_dir_and_flags(tmp_path: Path) -> None:
    """``dst_dir`` is where the token's path is taken from; ``no_cache`` keeps caches out; truth values as the reference reads them."""
    async with client_api(tmp_path) as api:
        (api.root / "sub").mkdir()
        (api.root / "sub/f").write_bytes(b"x")
        answer = await api.download("f", query="&dst_dir=sub&no_cache=Yes&archive=TRUE")
        assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, b"x", "no-store")
        for query, field in (("&archive=maybe", "archive"), ("&no_cache=f", "no_cache"), ("&x=1", "x")):
            refused = await api.download("f", query=query)
            assert (refused.status, problem(refused)["type"], list(problem(refused)["data"])) == (400, INVALID, [field])


@pytest.mark.parametrize(
    ("relpath", "query"),
    [
        ("missing", ""),
        ("../secret", ""),
        ("a/../../secret", ""),
        ("/etc/passwd", ""),
        ("etc/passwd", "&dst_dir=/"),
        ("secret", "&dst_dir=.."),
        ("secret", "&dst_dir=%2e%2e"),
        ("secret", "&dst_dir=a%2f..%2f.."),
        ("f%00", ""),
        ("f", "&dst_dir=%00"),
        ("out", ""),
        ("outdir/secret", ""),
        ("dangling", ""),
        ("loop", ""),
        ("f/below-a-file", ""),
        ("x" * 256, ""),
        ("x/" * 3000, ""),
        (".upload/x", ""),
        (".upload", ""),
    ],
)
async def test_what_is_not_there(tmp_path: Path, relpath: str, query: str) -> None:
    """What does not exist, lies outside, or is none of the caller's business: always the same 404, which tells nothing."""
    async with client_api(tmp_path) as api:
        (api.root.parent / "secret").write_bytes(b"secret")
        (api.root / "a").mkdir()
        (api.root / "f").write_bytes(b"x")
        (api.root / "out").symlink_to(api.root.parent / "secret")
        (api.root / "outdir").symlink_to("..")
        (api.root / "dangling").symlink_to("nowhere")
        (api.root / "loop").symlink_to("loop")
        answer = await api.download(relpath.replace("%00", "\0"), query=query)
        assert answer.status == 404
        assert {key: value for key, value in problem(answer).items() if key != "request_id"} == MISSING


async def test_links_within(tmp_path: Path) -> None:
    """Links that stay in the vfolder are followed."""
    async with client_api(tmp_path) as api:
        (api.root / "dir").mkdir()
        (api.root / "dir/f").write_bytes(b"content")
        (api.root / "link").symlink_to("dir/f")
        (api.root / "dirlink").symlink_to("dir")
        assert (await api.download("link")).body == b"content"
        assert (await api.download("dirlink/f")).body == b"content"


async def test_directories_and_devices(tmp_path: Path) -> None:
    """What is no regular file is refused as such; a FIFO does not make anybody wait."""
    async with client_api(tmp_path) as api:
        (api.root / "dir").mkdir()
        os.mkfifo(api.root / "fifo")
        for name in ("dir", "fifo", "."):
            answer = await api.download(name)
            assert answer.status == 400
            assert problem(answer)["type"] == INVALID
            assert "not a regular file" in problem(answer)["msg"]
            assert problem(answer)["error_code"] == "storage-proxy_request_invalid-parameters"


async def test_bad_tokens(tmp_path: Path) -> None:
    """Whatever is wrong with a token, the answer is the reference's 400, and nobody gets a byte."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"x")
        other = await new_vfolder(api.gateway, "disk")
        claims = {"op": "download", "volume": "disk", "vfid": str(api.vfolder.id), "relpath": "f", "exp": 2**40}
        assert (await api.ask("GET", f"/download?token={jwt.encode(claims, SECRET, 'HS256')}")).status == 200
        bad = [
            "",
            "abc",
            jwt.encode({**claims, "exp": 1}, SECRET, "HS256"),
            jwt.encode(claims, "another secret of at least 32 bytes", "HS256"),
            jwt.encode(claims, SECRET * 2, "HS512"),
            jwt.encode(claims, "", "none"),
            jwt.encode({**claims, "op": "upload"}, SECRET, "HS256"),
            jwt.encode({**claims, "vfid": "nonsense"}, SECRET, "HS256"),
            jwt.encode({**claims, "unmanaged_path": "/etc"}, SECRET, "HS256"),
            api.archive_token("f"),
        ]
        for token in bad:
            answer = await api.ask("GET", f"/download?token={token}")
            assert (answer.status, problem(answer)["type"]) == (400, INVALID)
            assert problem(answer)["data"]["token"].startswith("cannot decode the given value as JWT: ")
        assert problem(await api.ask("GET", "/download"))["data"] == {"token": "is required"}
        elsewhere = jwt.encode({**claims, "vfid": str(other.id)}, SECRET, "HS256")
        assert (await api.ask("GET", f"/download?token={elsewhere}")).status == 404
        volume = jwt.encode({**claims, "volume": "other"}, SECRET, "HS256")
        assert problem(await api.ask("GET", f"/download?token={volume}"))["type"].endswith("storage/volume/invalid")


async def test_after_the_vfolder_is_gone(tmp_path: Path) -> None:
    """A token outlives its vfolder, and then opens nothing."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"x")
        token = api.token("f")
        await api.gateway.lifecycle.delete("disk", api.vfolder.id)
        assert (await api.ask("GET", f"/download?token={token}")).status == 404


async def test_compressed_sibling(tmp_path: Path) -> None:
    """``a.txt`` is ``a.txt``, whatever lies beside it and whatever codings the client takes."""
    async with client_api(tmp_path) as api:
        (api.root / "a.txt").write_bytes(b"plain")
        (api.root / "a.txt.gz").write_bytes(b"zipped")
        answer = await api.download("a.txt", Accept_Encoding="gzip, br")
        assert answer.body == b"plain"
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "name", ["문서 1.txt", 'a"b;c.txt', "a\r\nb: c", "a\\b", "%41", "ü" * 120, " .x. ", "a\udcffb"]
)
async def test_names(tmp_path: Path, name: str) -> None:
    """Any name that a disk can have is served, and told without breaking a header."""
    async with client_api(tmp_path) as api:
        (api.root / name).write_bytes(b"x")
        if "\udcff" in name:  # JSON cannot carry it, but dst_dir can
            (api.root / name).unlink()
            (api.root / name).mkdir()
            (api.root / name / "f").write_bytes(b"x")
            answer = await api.download("f", query="&dst_dir=" + quote(os.fsencode(name)))
        else:
            answer = await api.download(name)
            assert "filename*=UTF-8''" in answer.headers["content-disposition"] or name.isascii()
        assert (answer.status, answer.body) == (200, b"x")


async def test_empty_file(tmp_path: Path) -> None:
    """A file without content is a file."""
    async with client_api(tmp_path) as api:
        (api.root / "empty").touch()
        answer = await api.download("empty")
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "0", b"")
        assert (await api.download("empty", Range="bytes=0-")).status == 416


async def test_cross_origin(tmp_path: Path) -> None:
    """Pages of any origin may read answers, errors too, and preflight requests say so."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"x")
        origin = "https://cloud.example.org"
        for answer in (
            await api.download("f", Origin=origin),
            await api.download("f", "HEAD", Origin=origin),
            await api.download("missing", Origin=origin),
            await api.ask("GET", "/nowhere", Origin=origin),
        ):
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "content-length" in answer.headers["access-control-expose-headers"].lower()
        assert (
            "content-range"
            in (await api.download("f", Origin=origin, Range="bytes=0-0"))
            .headers["access-control-expose-headers"]
            .lower()
        )
        assert "access-control-allow-origin" not in (await api.download("f")).headers
        preflight = await api.ask(
            "OPTIONS",
            "/download",
            Origin=origin,
            Access_Control_Request_Method="GET",
            Access_Control_Request_Headers="range, if-range",
        )
        assert (preflight.status, preflight.body) == (200, b"")
        assert preflight.headers["access-control-allow-origin"] == origin
        assert preflight.headers["access-control-allow-methods"] == "GET"
        assert preflight.headers["access-control-allow-headers"] == "RANGE,IF-RANGE"
        assert (await api.ask("OPTIONS", "/download", Origin=origin)).status == 403
        assert (await api.ask("OPTIONS", "/download")).status == 403


async def test_origins_that_were_not_named(tmp_path: Path) -> None:
    """Where origins are configured, others get nothing."""
    async with client_api(tmp_path, {"cors_origins": ["https://good.example"]}) as api:
        (api.root / "f").write_bytes(b"x")
        assert "access-control-allow-origin" in (await api.download("f", Origin="https://good.example")).headers
        assert "access-control-allow-origin" not in (await api.download("f", Origin="https://evil.example")).headers
        evil = await api.ask("OPTIONS", "/", Origin="https://evil.example", Access_Control_Request_Method="GET")
        assert evil.status == 403


async def test_errors_can_be_found_again(tmp_path: Path) -> None:
    """Each answer names its request, and an error says nothing about the host."""
    async with client_api(tmp_path) as api:
        answer = await api.download("missing")
        assert problem(answer)["request_id"] == answer.headers["x-request-id"]
        assert str(tmp_path) not in answer.body.decode()
