"""Archives over the wire: ``/download?archive=true`` and ``/download-archive`` (reference, sections 1.4, 1.5 and 6.3)."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import jwt
import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.support.client_api import SECRET, ClientApi, client_api, problem
from tests.support.site import Client
from tests.support.uploading import Answer, head
from vfgateway.backends.vfs.files import VfsFile
from vfgateway.errors import StorageFailure
from vfgateway.protocols.client import archive
from vfgateway.protocols.client.archive import REPORT

PROBLEMS = "https://api.backend.ai/probs/"
MIB = 1 << 20


def unzipped(answer: Answer) -> dict[str, bytes]:
    """The members, their checksums verified."""
    assert answer.status == 200
    with ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def fill(root: Path) -> None:
    """A small tree."""
    (root / "d/sub/deep").mkdir(parents=True)
    (root / "d/empty/er").mkdir(parents=True)
    (root / "d/dot.").mkdir()
    (root / "d/a.txt").write_bytes(b"aaa")
    (root / "d/sub/deep/b").write_bytes(b"b" * (3 * MIB))
    (root / "d/nothing").touch()


async def test_directory(tmp_path: Path) -> None:
    """A directory as a zip file of its name: members relative to it, empty directories as entries, others without."""
    async with client_api(tmp_path) as api:
        fill(api.root)
        answer = await api.download("d", query="&archive=true&no_cache=1")
        assert unzipped(answer) == {
            "a.txt": b"aaa",
            "sub/deep/b": b"b" * (3 * MIB),
            "nothing": b"",
            "empty/er/": b"",
            "dot./": b"",
        }
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"] == 'attachment; filename="d.zip"'
        assert answer.headers["cache-control"] == "no-store"
        assert "content-length" not in answer.headers


async def test_whole_vfolder(tmp_path: Path) -> None:
    """The top is archived under the vfolder's name, without what belongs to the gateway."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"x")
        (api.root / ".upload").mkdir(exist_ok=True)
        (api.root / ".upload/stage").write_bytes(b"secret")
        answer = await api.download(".", query="&archive=true")
        assert unzipped(answer) == {"f": b"x"}
        assert answer.headers["content-disposition"] == 'attachment; filename="data.zip"'


async def test_empty_vfolder(tmp_path: Path) -> None:
    """An archive of nothing is an archive."""
    async with client_api(tmp_path) as api:
        assert unzipped(await api.download("", query="&archive=true")) == {}


async def test_head(tmp_path: Path) -> None:
    """HEAD tells the type and name, and makes nothing."""
    async with client_api(tmp_path) as api:
        fill(api.root)
        answer = await api.download("d", "HEAD", query="&archive=true")
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/zip", b"")


async def test_several_files(tmp_path: Path) -> None:
    """Files and directories as one archive, called by their paths from the top; nothing twice."""
    async with client_api(tmp_path) as api:
        fill(api.root)
        (api.root / "f").write_bytes(b"x")
        token = api.archive_token("d/sub", "f", "d/sub/deep/b", "./f", filename="my ärchive.zip")
        answer = await api.ask("GET", f"/download-archive?token={token}")
        assert unzipped(answer) == {"d/sub/deep/b": b"b" * (3 * MIB), "f": b"x"}
        assert "filename*=UTF-8''my%20%C3%A4rchive.zip" in answer.headers["content-disposition"]
        plain = await api.ask("HEAD", f"/download-archive?token={api.archive_token('d/empty', 'f')}")
        assert plain.headers["content-disposition"] == 'attachment; filename="archive.zip"'


async def test_what_cannot_be_archived(tmp_path: Path) -> None:
    """Whatever cannot be had is left out and named; nothing from outside the vfolder gets in, and nobody waits for a FIFO."""
    async with client_api(tmp_path) as api:
        (api.root.parent / "secret").write_bytes(b"secret")
        (api.root / "dir").mkdir()
        (api.root / "good").write_bytes(b"good")
        (api.root / "to-file").symlink_to("good")
        (api.root / "to-dir").symlink_to("dir")
        (api.root / "dangling").symlink_to("nowhere")
        (api.root / "loop").symlink_to("loop")
        (api.root / "out").symlink_to(api.root.parent / "secret")
        (api.root / "outdir").symlink_to("..")
        os.mkfifo(api.root / "fifo")
        members = unzipped(await api.download(".", query="&archive=true"))
        report = members.pop(REPORT).decode()
        assert members == {"good": b"good", "to-file": b"good", "dir/": b""}
        for name in ("to-dir", "dangling", "loop", "out", "outdir", "fifo"):
            assert f"{name}: left out: " in report
        assert "good" not in report
        assert str(tmp_path) not in report


async def test_names(tmp_path: Path) -> None:
    """Names that are not UTF-8 appear percent-escaped, and the archive says so; odd names stay as they are."""
    async with client_api(tmp_path) as api:
        for name in (b"a\xffb", b"back\\slash", b"trailing. ", "ü".encode()):
            (api.root / os.fsdecode(name)).write_bytes(b"x")
        members = unzipped(await api.download(".", query="&archive=true"))
        report = members.pop(REPORT).decode()
        assert set(members) == {"a%FFb", "back\\slash", "trailing. ", "ü"}
        assert "a%FFb" in report


async def test_old_files(tmp_path: Path) -> None:
    """A file from before 1980 does not stop an archive."""
    async with client_api(tmp_path) as api:
        (api.root / "old").write_bytes(b"x")
        os.utime(api.root / "old", (1, 1))
        assert unzipped(await api.download(".", query="&archive=true")) == {"old": b"x"}


@pytest.mark.parametrize("at_hand", [True, False])
async def test_file_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_hand: bool) -> None:
    """A file that goes away between being listed and being opened is named as missing, whether it can be read at once or not."""
    async with client_api(tmp_path) as api:
        for number in range(20):
            (api.root / f"f{number}").write_bytes(b"x" * number)
        fetch_now = archive._Archive._fetch_now

        def vanishing(self: Any, path: Any) -> Any:
            if path.name == "f13":
                (api.root / "f13").unlink()
            return fetch_now(self, path) if at_hand else None

        monkeypatch.setattr(archive._Archive, "_fetch_now", vanishing)
        members = unzipped(await api.download(".", query="&archive=true"))
        assert "f13: left out: " in members.pop(REPORT).decode()
        assert members == {f"f{number}": b"x" * number for number in range(20) if number != 13}


async def test_file_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage error in the middle of a file ends the connection without the mark of a whole answer."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"x" * (8 * MIB))
        read = VfsFile.read

        async def broken(self: Any, offset: int, length: int) -> bytes:
            if offset >= 4 * MIB:
                raise StorageFailure("the disk is on fire")
            return await read(self, offset, length)

        monkeypatch.setattr(VfsFile, "read", broken)
        client = await Client.open(api.port)
        client.send(head("GET", f"/download?token={api.token('.')}&archive=true"))
        await client.lost
        assert b"200 OK" in client.received
        assert not client.received.endswith(b"0\r\n\r\n")
        assert b"fire" not in client.received


async def test_first_byte_comes_early(tmp_path: Path) -> None:
    """The answer begins with the first file, long before the last is read; and a client that does not read is waited for."""
    async with client_api(tmp_path) as api:
        for number in range(6):
            with (api.root / f"f{number}").open("wb") as file:
                file.truncate(64 * MIB)
        client = await Client.open(api.port)
        client.send(head("GET", f"/download?token={api.token('.')}&archive=true"))
        await client.until(b"PK\x03\x04")
        client.pause()
        assert _open_files(api) > 0
        await client.cut()
        while _open_files(api):
            await deferLater(reactor, 0.001)


def _open_files(api: ClientApi) -> int:
    """How many files of the vfolder this process has open."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            count += str(link.readlink()).startswith(f"{api.root}/f")
        except FileNotFoundError:
            continue
    return count


@pytest.mark.parametrize(
    ("change", "key", "status", "kind", "code"),
    [
        ({"exp": 1}, SECRET, 401, "jwt-expired", "user_auth_data-expired"),
        ({}, "x" * 32, 401, "jwt-invalid-signature", "user_auth_unauthorized"),
        ({"files": []}, SECRET, 400, "jwt-payload-validation-error", "auth_auth_invalid-parameters"),
        ({"files": "f"}, SECRET, 400, "jwt-payload-validation-error", "auth_auth_invalid-parameters"),
        ({"filename": "a/b"}, SECRET, 400, "jwt-payload-validation-error", "auth_auth_invalid-parameters"),
        ({"operation": "upload"}, SECRET, 400, "jwt-payload-validation-error", "auth_auth_invalid-parameters"),
        ({"files": ["f", "../x"]}, SECRET, 400, "storage/subpath/invalid", "vfolder_access_invalid-parameters"),
        ({"files": ["f", "/etc"]}, SECRET, 400, "storage/subpath/invalid", "vfolder_access_invalid-parameters"),
        ({"files": ["f", "out"]}, SECRET, 400, "storage/subpath/invalid", "vfolder_access_invalid-parameters"),
        ({"files": ["f", "missing"]}, SECRET, 404, "storage/file-not-found", "vfs-storage_read_not-found"),
        ({"files": ["fifo"]}, SECRET, 400, "storage/unsupported-file-type", "vfs-storage_read_invalid-parameters"),
    ],
)
async def test_refusals(tmp_path: Path, change: dict[str, Any], key: str, status: int, kind: str, code: str) -> None:
    """Everything is checked before the first byte, and refused with the reference's codes."""
    async with client_api(tmp_path) as api:
        (api.root / "f").write_bytes(b"x")
        (api.root / "out").symlink_to("..")
        os.mkfifo(api.root / "fifo")
        claims = {"operation": "download", "volume": "disk", "virtual_folder_id": str(api.vfolder.id), "exp": 2**40}
        token = jwt.encode({**claims, "files": ["f"], "filename": None, **change}, key, "HS256")
        answer = await api.ask("GET", f"/download-archive?token={token}", Origin="http://a.example")
        body = problem(answer)
        assert (answer.status, body["type"], body["error_code"]) == (status, PROBLEMS + kind, code)
        assert answer.headers["access-control-allow-origin"] == "http://a.example"


async def test_unreadable_token(tmp_path: Path) -> None:
    """What is no token at all is 401, too."""
    async with client_api(tmp_path) as api:
        answer = await api.ask("GET", "/download-archive?token=abc")
        assert (answer.status, problem(answer)["type"]) == (401, PROBLEMS + "jwt-decode-error")
