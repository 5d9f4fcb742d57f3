"""curl and unzippers against the client front end: resuming, ranges, HEAD, uploads, archives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.support.client_api import PASSWORD, ClientApi, client_api

MIB = 1 << 20


async def run(*command: str | Path, expect: Sequence[int] = (0,)) -> str:
    """Run a program while the gateway serves it; what it printed."""
    done = await deferToThread(
        subprocess.run, [str(word) for word in command], capture_output=True, timeout=60, check=False
    )
    assert done.returncode in expect, done.stderr.decode()
    return str(done.stdout.decode("utf-8", "replace"))


def url(api: ClientApi, name: str, query: str = "") -> str:
    """A download URL."""
    return f"{api.base}/download?token={api.token(name)}{query}"


async def test_resume(tmp_path: Path) -> None:
    """``curl -C -`` completes a file of which a part is there."""
    async with client_api(tmp_path) as api:
        content = os.urandom(20 * MIB + 1)
        (api.root / "big").write_bytes(content)
        target = tmp_path / "target"
        target.write_bytes(content[: 7 * MIB + 3])
        await run("curl", "-sS", "--fail", "-C", "-", "-o", target, url(api, "big"))
        assert target.read_bytes() == content


async def test_ranges(tmp_path: Path) -> None:
    """``curl -r``, single and from the end."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"0123456789")
        assert await run("curl", "-sS", "-r", "2-4", url(api, "f")) == "234"
        assert await run("curl", "-sS", "-r", "-3", url(api, "f")) == "789"
        several = await run("curl", "-sS", "-r", "0-1,5-6", url(api, "f"))
        assert "Content-Range: bytes 5-6/10\r\n\r\n56\r\n" in several


async def test_head(tmp_path: Path) -> None:
    """``curl -I`` sees length and validators."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"0123456789")
        headers = await run("curl", "-sSI", url(api, "f"))
        assert headers.startswith("HTTP/1.1 200 OK")
        assert "Content-Length: 10\r\n" in headers


async def test_saved_under_its_name(tmp_path: Path) -> None:
    """``curl -OJ`` saves under the name that the header gives."""
    async with client_api(tmp_path) as api:
        (api.root / "report final.pdf").write_bytes(b"x")
        await run("curl", "-sSOJ", "--output-dir", tmp_path, url(api, "report final.pdf"))
        assert (tmp_path / "report final.pdf").read_bytes() == b"x"


async def test_upload_and_download(tmp_path: Path) -> None:
    """``curl -T`` with a login, from a file and from a pipe, and back."""
    async with client_api(tmp_path) as api:
        await api.let_people_in()
        source = tmp_path / "source"
        source.write_bytes(os.urandom(9 * MIB + 5))
        there = f"{api.base}/vfgateway/v1/files/data/new/dir/f"
        login = ("-u", f"alice:{PASSWORD}")
        await run("curl", "-sS", "--fail", *login, "-T", source, there)
        await run("sh", "-c", f"cat {source} | curl -sS --fail -u 'alice:{PASSWORD}' -T - {there}2")
        for name in ("f", "f2"):
            assert (api.root / "new/dir" / name).read_bytes() == source.read_bytes()
        await run("curl", "-sS", "--fail", *login, "-o", tmp_path / "back", there)
        assert (tmp_path / "back").read_bytes() == source.read_bytes()


async def test_refused_upload(tmp_path: Path) -> None:
    """curl reports the refusal rather than a broken connection, and has sent next to nothing."""
    async with client_api(tmp_path, limit_bytes=MIB) as api:
        await api.let_people_in()
        source = tmp_path / "source"
        with source.open("wb") as file:
            file.truncate(500 * MIB)
        out = await run(
            "curl", "-sS", "-u", f"alice:{PASSWORD}", "-T", source, "-w", "\n%{http_code} %{size_upload}",
            f"{api.base}/vfgateway/v1/files/data/f",
        )  # fmt: skip
        status, sent = out.rsplit("\n", 1)[1].split()
        assert (status, int(sent) < 64 * MIB) == ("507", True)


async def test_unzip(tmp_path: Path) -> None:
    """Info-ZIP and bsdtar unpack an archive, empty directories and odd names included."""
    async with client_api(tmp_path) as api:
        (api.root / "d/empty").mkdir(parents=True)
        (api.root / "d/ü and 문서.txt").write_bytes(b"text")
        (api.root / "d/big").write_bytes(os.urandom(3 * MIB))
        archive = tmp_path / "a.zip"
        await run("curl", "-sS", "--fail", "-o", archive, url(api, "d", "&archive=true"))
        assert "No errors detected" in await run("unzip", "-t", archive)
        for name, command in (("unzip", ("unzip", "-q", archive, "-d")), ("bsdtar", ("bsdtar", "-xf", archive, "-C"))):
            target = tmp_path / name
            target.mkdir()
            await run(*command, target)
            assert (target / "ü and 문서.txt").read_bytes() == b"text"
            assert (target / "big").read_bytes() == (api.root / "d/big").read_bytes()
            assert (target / "empty").is_dir()
