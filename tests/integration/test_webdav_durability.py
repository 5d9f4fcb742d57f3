"""What WebDAV's locks and properties are worth: they outlive the process, and bind every process on the same database."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from lxml import etree

from tests.support.dav_clients import dav_url
from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, GatewayProcess, VFolderOfAlice, eventually
from tests.support.webdav import basic

MIB = 1 << 20
LOCK = (
    "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:{}/></D:lockscope><D:locktype><D:write/></D:locktype>"
    "<D:owner>me</D:owner></D:lockinfo>"
)
SET = "<propertyupdate xmlns='DAV:'><set><prop><note xmlns='urn:x'>{}</note></prop></set></propertyupdate>"


class Second(DavSite):
    """Another gateway with the data of a first one, as one more process or machine would be."""

    def __init__(self, folder: Path, first: DavSite) -> None:
        self._first = first
        super().__init__(folder, {"local": {"path": str(first.folder / "volume")}})

    def _configuration(self, volumes: Any) -> str:
        return super()._configuration(volumes).replace(str(self.data_dir), str(self._first.data_dir), 1)


@pytest.fixture
def site(tmp_path: Path) -> DavSite:
    """A site whose gateway the test starts itself."""
    return DavSite(tmp_path / "site", {"local": {"path": str(tmp_path / "site/volume")}})


def ask(method: str, url: str, body: Any = None, **fields: str) -> requests.Response:
    """One request as Alice."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return requests.request(method, url, data=body, headers=headers, auth=ALICE, timeout=PATIENCE)


def note_of(url: str) -> str | None:
    """The property that :data:`SET` sets."""
    body = "<propfind xmlns='DAV:'><prop><note xmlns='urn:x'/></prop></propfind>"
    found = etree.fromstring(ask("PROPFIND", url, body, Depth="0").content)
    return found.findtext(".//{urn:x}note") or None


@pytest.mark.parametrize("end", [GatewayProcess.stop, GatewayProcess.kill], ids=["restart", "kill"])
def test_they_outlive_the_process(site: DavSite, end: Callable[[GatewayProcess], object]) -> None:
    """After a restart, and after ``kill -9`` right behind the answers: every lock with its depth, scope and time, every property."""
    with GatewayProcess(site) as gateway:
        vfolder = site.populate()
        url = dav_url(vfolder)
        assert ask("MKCOL", f"{url}/tree").status_code == 201
        for name in ("tree/f", "free"):
            assert ask("PUT", f"{url}/{name}", b"old").status_code == 201
        assert ask("PROPPATCH", f"{url}/tree/f", SET.format("kept")).status_code == 207
        tree = ask("LOCK", f"{url}/tree", LOCK.format("exclusive"), Timeout="Second-3600").headers["Lock-Token"]
        new = ask("LOCK", f"{url}/new", LOCK.format("shared"), Depth="0").headers["Lock-Token"]
        before = site.manager("GET", "/vfgateway/v1/locks")["locks"]
        end(gateway)
        gateway.start()
        assert site.manager("GET", "/vfgateway/v1/locks")["locks"] == before
        assert note_of(f"{url}/tree/f") == "kept"
        assert (vfolder.root / "new").read_bytes() == b""
        for method, target, body in (
            ("PUT", "tree/f", b"new"),
            ("PUT", "tree/g", b"new"),
            ("PUT", "new", b"new"),
            ("DELETE", "tree", None),
            ("PROPPATCH", "tree/f", SET.format("other")),
        ):
            assert ask(method, f"{url}/{target}", body).status_code == 423, (method, target)
        assert ask("PUT", f"{url}/tree/f", b"new", If=f"({tree})").status_code == 204
        assert ask("LOCK", f"{url}/tree", If=f"({tree})", Timeout="Second-60").status_code == 200
        assert ask("UNLOCK", f"{url}/tree", Lock_Token=tree).status_code == 204
        assert ask("UNLOCK", f"{url}/new", Lock_Token=new).status_code == 204
        assert ask("PUT", f"{url}/tree/f", b"newer").status_code == 204


class Upload:
    """A PUT that stops in the middle until it is told to go on."""

    def __init__(self, site: DavSite, target: str, content: bytes, token: str) -> None:
        self._rest = content[len(content) // 2 :]
        self._connection = http.client.HTTPConnection("127.0.0.1", site.dav_port, timeout=PATIENCE)
        self._connection.putrequest("PUT", target)
        for name, value in (("Authorization", basic(*ALICE)), ("Content-Length", len(content)), ("If", f"({token})")):
            self._connection.putheader(name, str(value))
        self._connection.endheaders(content[: len(content) // 2])

    def finish(self) -> tuple[int, bytes]:
        """Send the rest; status and body."""
        self._connection.send(self._rest)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def two(site: DavSite, tmp_path: Path) -> Iterator[tuple[DavSite, DavSite, VFolderOfAlice]]:
    """Two gateways on one database and one volume; a vfolder with the file ``f``."""
    second = Second(tmp_path / "second", site)
    with GatewayProcess(site), GatewayProcess(second):
        vfolder = site.populate()
        assert ask("PUT", f"{dav_url(vfolder)}/f", b"old").status_code == 201
        yield site, second, vfolder


def test_a_lock_binds_the_other_process(two: tuple[DavSite, DavSite, VFolderOfAlice]) -> None:
    """Taken here, it holds there at once, can be used there, and ends there."""
    first, second, _ = two
    here, there = f"{first.dav_url}/data/f", f"{second.dav_url}/data/f"
    for _ in range(5):
        token = ask("LOCK", here, LOCK.format("exclusive")).headers["Lock-Token"]
        assert ask("PUT", there, b"stolen").status_code == 423
        assert ask("LOCK", there, LOCK.format("shared")).status_code == 423
        assert ask("PUT", there, b"mine", If=f"({token})").status_code == 204
        assert ask("PROPPATCH", there, SET.format("x"), If=f"({token})").status_code == 207
        assert note_of(here) == "x"
        assert ask("UNLOCK", there, Lock_Token=token).status_code == 204
        assert ask("PUT", here, b"free").status_code == 204


@pytest.mark.parametrize("taken", [False, True], ids=["broken", "broken and taken by another"])
def test_who_lost_its_lock_does_not_publish(two: tuple[DavSite, DavSite, VFolderOfAlice], taken: bool) -> None:
    """A writer in the one process is in the middle of its upload when an administrator breaks its lock in the other: it is refused at the
    end, nobody's bytes are replaced, and nothing is left of it."""
    first, second, vfolder = two
    token = ask("LOCK", f"{first.dav_url}/data/f", LOCK.format("exclusive")).headers["Lock-Token"]
    upload = Upload(first, "/data/f", os.urandom(2 * MIB), token)
    eventually(lambda: vfolder.stages, "the upload is under way")
    second.manager("DELETE", f"/vfgateway/v1/locks/{token.strip('<>')}")
    if taken:
        other = ask("LOCK", f"{second.dav_url}/data/f", LOCK.format("exclusive")).headers["Lock-Token"]
        assert ask("PUT", f"{second.dav_url}/data/f", b"theirs", If=f"({other})").status_code == 204
    status, body = upload.finish()
    assert status in ((412, 423) if taken else (412,)), body
    expected = b"theirs" if taken else b"old"
    assert vfolder.published() == {"f": expected}
    eventually(lambda: not vfolder.stages, "nothing is left of it")
    assert vfolder.charged == (len(expected), 1)
