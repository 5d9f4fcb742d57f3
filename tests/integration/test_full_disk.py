"""Storage that has no room left: every protocol has a word for it, nothing is left behind, and uploads go on when there is room again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.disks import small_memory_disk
from tests.support.process import GatewayProcess, Site, VFolderOfAlice, eventually

SIZE = 16 << 20
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway whose volume holds 16 MiB."""
    top = tmp_path_factory.mktemp("full")
    with small_memory_disk(top / "small", SIZE):
        site = Site(top / "site", {"small": {"path": str(top / "small/volume")}})
        with GatewayProcess(site):
            yield site


@pytest.fixture
def folder(gateway: Site, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """An empty vfolder, and an empty disk but for it."""
    return gateway.populate("small", request.node.name)


def must_be_empty(folder: VFolderOfAlice) -> None:
    """Neither files nor stages, nor anything charged; the disk has its room again."""
    assert folder.published() == {}
    assert list(folder.stages) == []
    assert folder.charged == (0, 0)
    assert room(folder.root) > SIZE * 0.9


def room(place: Path) -> int:
    """Bytes that still fit."""
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize


def problem(answer: requests.Response) -> str:
    """The type of the problem that an answer tells (RFC 9457)."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(answer.json()["type"])


def test_a_file_that_cannot_fit_is_refused_at_once(folder: VFolderOfAlice) -> None:
    """507 (RFC 4918 section 11.5) for a declared size beyond the free space."""
    answer = folder.put("large", bytes(SIZE + 1))
    assert answer.status_code == 507
    assert problem(answer)
    must_be_empty(folder)


def test_a_file_of_unknown_size_that_turns_out_not_to_fit(folder: VFolderOfAlice) -> None:
    """507 as well, though the storage said so only in the middle."""
    pieces = (bytes(1 << 20) for _ in range(17))
    try:
        answer = folder.put("large", pieces)
        assert answer.status_code == 507
    except requests.ConnectionError:
        pass  # an answer to a body that is still being sent may get lost with the connection
    eventually(lambda: not folder.stages, "the stage is removed")
    must_be_empty(folder)


def test_a_full_disk_leaves_the_old_file(folder: VFolderOfAlice) -> None:
    """A replacement that does not fit takes nothing away."""
    assert folder.put("file", b"old").status_code == 201
    assert folder.put("file", bytes(SIZE + 1)).status_code == 507
    assert folder.published() == {"file": b"old"}
    (folder.root / "file").unlink()


def test_an_upload_goes_on_when_there_is_room_again(folder: VFolderOfAlice) -> None:
    """tus: the request during which the disk fills up is answered by 507; what was written before counts, and the rest can follow later."""
    content = os.urandom(8 << 20)
    url = folder.upload_url("target", len(content))
    http = folder.site.http
    assert http.patch(url, data=content[: 1 << 20], headers={**BYTES, "Upload-Offset": "0"}).status_code == 204
    filler = folder.root.parent / "of-somebody-else"
    filler.write_bytes(bytes(room(folder.root) - (3 << 20)))
    answer = http.patch(url, data=content[1 << 20 :], headers={**BYTES, "Upload-Offset": str(1 << 20)})
    assert answer.status_code == 507, answer.text
    head = http.head(url, headers=TUS)
    offset = int(head.headers["Upload-Offset"])
    assert head.status_code == 200
    assert 1 << 20 <= offset <= 4 << 20
    filler.unlink()
    answer = http.patch(url, data=content[offset:], headers={**BYTES, "Upload-Offset": str(offset)})
    assert answer.status_code == 204, answer.text
    assert folder.published() == {"target": content}
    assert folder.charged == (len(content), 1)
    (folder.root / "target").unlink()


def test_an_upload_that_cannot_fit_is_refused_at_once(folder: VFolderOfAlice) -> None:
    """The orchestrator is told when it asks, before any byte is sent, in the words it knows: those of an ``ENOSPC`` of its own."""
    answer = folder.site.call_manager(
        "POST",
        "/folder/file/upload",
        {"volume": folder.volume, "vfid": folder.vfid, "relpath": "large", "size": SIZE + 1},
    )
    assert answer.status_code == 400
    assert answer.json()["errno"] == errno.ENOSPC
    must_be_empty(folder)
