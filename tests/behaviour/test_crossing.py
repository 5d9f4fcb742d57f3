"""Write by one front end, read by another: one vfolder, one ledger, one lock table under all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ALICE, GatewayProcess, VFolderOfAlice
from tests.support.sftp import SftpSite

CONTENT = os.urandom(2 << 20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpSite]:
    """A running gateway with HTTP and SFTP."""
    site = SftpSite(tmp_path_factory.mktemp("crossing"))
    with GatewayProcess(site):
        site.populate(name="first")
        site.admit_key()
        yield site


@pytest.fixture
def data(site: SftpSite, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own."""
    return site.populate(name=f"c-{abs(hash(request.node.name)) % 10**8}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file to send."""
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def test_put_by_http_is_got_by_sftp(site: SftpSite, data: VFolderOfAlice, tmp_path: Path) -> None:
    """The same bytes, size and name."""
    assert data.put("a", CONTENT).ok
    site.sftp(f"get {data.name}/a {tmp_path}/back")
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_put_by_sftp_is_got_by_http(site: SftpSite, data: VFolderOfAlice, source: Path) -> None:
    """Also after it was replaced by rename and grew in place."""
    site.sftp(f"put {source} {data.name}/draft\nrename {data.name}/draft {data.name}/a")
    assert data.get("a") == CONTENT
    with source.open("ab") as file:
        file.write(b"more")
    site.sftp(f"reput {source} {data.name}/a")
    assert data.get("a") == CONTENT + b"more"
    assert data.charged == (len(CONTENT) + 4, 1)


def test_an_upload_by_tus_is_seen_by_sftp_when_it_is_whole(
    site: SftpSite, data: VFolderOfAlice, tmp_path: Path
) -> None:
    """Half of it is invisible, the whole is there at once."""
    url = data.upload_url("t", len(CONTENT))
    head = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    half = len(CONTENT) // 2
    assert site.http.patch(url, data=CONTENT[:half], headers={**head, "Upload-Offset": "0"}).status_code == 204
    assert "/t" not in site.sftp(f"ls -1 {data.name}").stdout
    assert site.http.patch(url, data=CONTENT[half:], headers={**head, "Upload-Offset": str(half)}).status_code == 204
    site.sftp(f"get {data.name}/t {tmp_path}/back")
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_half_the_limit_by_each(site: SftpSite, data: VFolderOfAlice, source: Path) -> None:
    """What one protocol stored, the other has no more; what one removed, the other has."""
    folder = data.vfid.rpartition("/")[2]
    site.manager("PATCH", f"/vfgateway/v1/vfolders/{folder}", {"limit_bytes": 2 * len(CONTENT)})
    assert data.put("a", CONTENT).ok
    site.sftp(f"put {source} {data.name}/b")
    assert data.put("c", b"x").status_code in (413, 507)
    assert site.sftp(f"put /etc/hostname {data.name}/d", check=False).returncode == 1
    site.sftp(f"rm {data.name}/a\nrm {data.name}/d")
    assert data.put("c", CONTENT).ok
    assert site.http.delete(data.url("b"), auth=ALICE).status_code in (200, 204, 404, 405)
