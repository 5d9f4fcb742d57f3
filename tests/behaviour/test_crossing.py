"""One truth under every protocol: what goes in by one front end, over the real wire, is seen, limited and locked by all others."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice
from tests.support.sftp import SftpSite

LOCK = '<lockinfo xmlns="DAV:"><lockscope><{}/></lockscope><locktype><write/></locktype></lockinfo>'


class EveryDoor(DavSite, SftpSite):
    """A site with all front ends for people."""


class Doors:
    """Alice's folder, by each of them: ``put`` tells whether it was taken, ``get`` gives ``None`` for nothing."""

    def __init__(self, site: EveryDoor, vfolder: VFolderOfAlice, scratch: Path) -> None:
        self.site = site
        self.vfolder = vfolder
        self.scratch = scratch

    def dav(self, method: str, path: str, body: bytes | str = b"", **fields: str) -> requests.Response:
        """A WebDAV request."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        url = f"{self.site.dav_url}/{self.vfolder.name}/{path}"
        return self.site.http.request(method, url, data=body, headers=headers, auth=ALICE, timeout=PATIENCE)

    def put_by_dav(self, path: str, content: bytes) -> bool:
        """PUT."""
        return self.dav("PUT", path, content).ok

    def get_by_dav(self, path: str) -> bytes | None:
        """GET."""
        answer = self.dav("GET", path)
        return answer.content if answer.ok else None

    def put_by_http(self, path: str, content: bytes) -> bool:
        """PUT on the content API."""
        return self.vfolder.put(path, content).ok

    def get_by_http(self, path: str) -> bytes | None:
        """GET on the content API."""
        answer = self.site.http.get(self.vfolder.url(path), auth=ALICE, timeout=PATIENCE)
        return answer.content if answer.ok else None

    def put_by_sftp(self, path: str, content: bytes) -> bool:
        """OpenSSH's put."""
        local = self.scratch / "local"
        local.write_bytes(content)
        done = self.site.sftp(f"put {local} {self.vfolder.name}/{path}\n", check=False)
        return done.returncode == 0

    def get_by_sftp(self, path: str) -> bytes | None:
        """OpenSSH's get."""
        local = self.scratch / "fetched"
        local.unlink(missing_ok=True)
        done = self.site.sftp(f"get {self.vfolder.name}/{path} {local}\n", check=False)
        return local.read_bytes() if done.returncode == 0 else None

    def put_by_tus(self, path: str, content: bytes) -> bool:
        """Creation with the bytes in the same request, on the collection as WebDAV shows it."""
        name = base64.b64encode(path.encode()).decode()
        answer = self.dav(
            "POST",
            "",
            content,
            Tus_Resumable="1.0.0",
            Upload_Length=str(len(content)),
            Upload_Metadata=f"filename {name}",
            Content_Type="application/offset+octet-stream",
        )
        return answer.ok

    @property
    def writers(self) -> list[tuple[str, Callable[[str, bytes], bool]]]:
        """Every way in."""
        ways = (self.put_by_dav, self.put_by_http, self.put_by_sftp, self.put_by_tus)
        return [(way.__name__.removeprefix("put_by_"), way) for way in ways]

    @property
    def readers(self) -> list[Callable[[str], bytes | None]]:
        """Every way out."""
        return [self.get_by_dav, self.get_by_http, self.get_by_sftp]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryDoor]:
    """A gateway with all doors open."""
    site = EveryDoor(tmp_path_factory.mktemp("doors") / "site")
    with GatewayProcess(site):
        site.populate()
        site.admit_key()
        yield site


@pytest.fixture
def doors(site: EveryDoor, tmp_path: Path, request: pytest.FixtureRequest) -> Doors:
    """A vfolder of its own for each test."""
    return Doors(site, site.populate(name=request.node.name.removeprefix("test_")), tmp_path)


def test_what_one_writes_all_read(doors: Doors) -> None:
    """Each file, however it came, is the same by every door, and its entity tag too."""
    for name, put in doors.writers:
        content = name.encode() * 1000
        assert put(name, content), name
        assert [get(name) for get in doors.readers] == [content] * 3
        by_dav = doors.dav("HEAD", name).headers["ETag"]
        by_http = doors.site.http.head(doors.vfolder.url(name), auth=ALICE, timeout=PATIENCE).headers["ETag"]
        assert by_dav == by_http
    assert doors.vfolder.charged == (sum(len(name) * 1000 for name, _ in doors.writers), len(doors.writers))


def test_a_lock_binds_all(doors: Doors) -> None:
    """What WebDAV has locked no door changes, removes or renames; each reads it; released, each may."""
    doors.put_by_dav("f", b"old")
    token = doors.dav("LOCK", "f", LOCK.format("exclusive")).headers["Lock-Token"]
    for name, put in doors.writers:
        assert not put("f", b"new"), name
    assert doors.site.http.delete(doors.vfolder.url("f"), auth=ALICE, timeout=PATIENCE).status_code == 423
    assert doors.dav("DELETE", "f").status_code == 423
    folder = doors.vfolder.name
    for line in (f"rm {folder}/f", f"rename {folder}/f {folder}/g"):
        assert doors.site.sftp(f"{line}\n", check=False).returncode != 0, line
    assert [get("f") for get in doors.readers] == [b"old"] * 3
    assert doors.dav("UNLOCK", "f", Lock_Token=token).status_code == 204
    for name, put in doors.writers:
        assert put("f", name.encode()), name
        assert doors.get_by_http("f") == name.encode()


def test_a_locked_directory_binds_all(doors: Doors) -> None:
    """A lock of depth infinity covers names that are not there yet, for every door; one of depth 0 the list of names."""
    for depth in ("infinity", "0"):
        doors.dav("MKCOL", f"d-{depth}")
        assert doors.dav("LOCK", f"d-{depth}", LOCK.format("exclusive"), Depth=depth).status_code == 200
        for name, put in doors.writers:
            assert not put(f"d-{depth}/{name}", b"new"), name
        assert doors.site.sftp(f"mkdir {doors.vfolder.name}/d-{depth}/sub\n", check=False).returncode != 0
    assert list((doors.vfolder.root / "d-0").iterdir()) == []


def test_one_limit_for_all(doors: Doors) -> None:
    """Each door takes a quarter of what is allowed; then none takes a byte more, and WebDAV tells that nothing is left."""
    body = {"limit_bytes": 4000}
    doors.site.manager("PATCH", f"/vfgateway/v1/vfolders/{doors.vfolder.vfid[-32:]}", body)
    for name, put in doors.writers:
        assert put(name, b"x" * 1000), name
    for name, put in doors.writers:
        assert not put(f"{name}-more", b"x"), name
    assert doors.vfolder.charged[0] == 4000
    asked = '<propfind xmlns="DAV:"><prop><quota-available-bytes/></prop></propfind>'
    assert "quota-available-bytes>0<" in doors.dav("PROPFIND", "", asked, Depth="0").text
    assert doors.dav("DELETE", "sftp").status_code == 204
    assert doors.put_by_http("sftp-more", b"x" * 1000)


def test_properties_follow_a_rename_by_sftp(doors: Doors) -> None:
    """What WebDAV keeps with a file goes along when another door moves it, and ends when another door removes it."""
    doors.put_by_http("a", b"x")
    patch = (
        '<propertyupdate xmlns="DAV:"><set><prop><n xmlns="http://example.org/">kept</n></prop></set></propertyupdate>'
    )
    assert doors.dav("PROPPATCH", "a", patch).status_code == 207
    folder = doors.vfolder.name
    doors.site.sftp(f"rename {folder}/a {folder}/b\n")
    assert "kept" in doors.dav("PROPFIND", "b", Depth="0").text
    doors.site.sftp(f"rm {folder}/b\n")
    doors.put_by_sftp("b", b"y")
    assert "kept" not in doors.dav("PROPFIND", "b", Depth="0").text


def test_locks_and_properties_survive_a_restart(tmp_path: Path) -> None:
    """After ``kill -9`` they are there, and the lock still binds."""
    site = EveryDoor(tmp_path / "site")
    with GatewayProcess(site) as process:
        doors = Doors(site, site.populate(), tmp_path)
        doors.put_by_dav("f", b"old")
        patch = '<propertyupdate xmlns="DAV:"><set><prop><n xmlns="http://example.org/">kept</n></prop></set></propertyupdate>'
        assert doors.dav("PROPPATCH", "f", patch).status_code == 207
        token = doors.dav("LOCK", "f", LOCK.format("exclusive")).headers["Lock-Token"]
        process.kill()
        process.start()
        assert doors.dav("PUT", "f", b"new").status_code == 423
        told = doors.dav("PROPFIND", "f", Depth="0").text
        assert "kept" in told and token.strip("<>") in told
        assert doors.dav("PUT", "f", b"new", If=f"({token})").status_code == 204
