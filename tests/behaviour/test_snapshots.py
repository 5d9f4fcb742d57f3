"""Snapshots of a real Btrfs, through every door."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour.doors import DOORS, DavDoor, Door, EveryDoor, HttpDoor, Refused, SftpDoor
from tests.support.btrfs import btrfs
from tests.support.process import PATIENCE, GatewayProcess, VFolderOfAlice, eventually

V1 = "/vfgateway/v1"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EveryDoor]:
    """A gateway over a Btrfs."""
    folder = tmp_path_factory.mktemp("snapshots")
    with btrfs(folder / "disk") as place, btrfs(folder / "counting") as counting:
        volumes = {
            "local": {"backend": "btrfs", "path": str(place / "volume")},
            "limited": {"backend": "btrfs", "path": str(counting / "volume"), "limits": "qgroup"},
        }
        site = EveryDoor(folder / "site", volumes)
        with GatewayProcess(site):
            yield site


@pytest.fixture
def data(site: EveryDoor, request: pytest.FixtureRequest) -> VFolderOfAlice:
    """A vfolder of the test's own, with a snapshot ``one`` in which ``d/f`` holds ``before``, and that has changed since."""
    data = site.populate(name=f"s-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")
    with HttpDoor(site, data) as http:
        http.put("d/f", b"before")
        http.put("gone", b"gone")
        ask(site, data, "POST", "snapshots", {"label": "one"})
        http.put("d/f", b"after")
        http.remove("gone")
    return data


@pytest.fixture(params=DOORS, ids=lambda kind: kind.name)
def door(site: EveryDoor, data: VFolderOfAlice, request: pytest.FixtureRequest) -> Iterator[Door]:
    with request.param(site, data) as door:
        yield door


@pytest.fixture
def http(site: EveryDoor, data: VFolderOfAlice) -> Iterator[HttpDoor]:
    with HttpDoor(site, data) as http:
        yield http


def ask(site: EveryDoor, data: VFolderOfAlice, method: str, what: str, body: Any = None) -> Any:
    """The manager API, about a vfolder."""
    return site.manager(method, f"{V1}/vfolders/{data.vfid[-32:]}/{what}", body)


def people(http: HttpDoor, method: str, what: str, body: Any = None) -> Any:
    """The people's API, about the door's vfolder."""
    url = f"{http.site.client_url}{V1}/vfolders/{http.vfolder.name}/{what}"
    answer = http.http.request(method, url, json=body, auth=http.login, timeout=PATIENCE)
    if answer.status_code >= 400:
        raise Refused(str(answer.status_code), answer.text)
    return answer.json() if answer.content else None


def test_reading(door: Door) -> None:
    """By name; in no listing of the vfolder."""
    assert door.get(".snapshots/one/d/f") == b"before"
    assert door.get(".snapshots/one/gone") == b"gone"
    assert door.get("d/f") == b"after"
    assert set(door.list()) == {"d"}
    assert set(door.list(".snapshots")) == {"one"}
    assert {name: facts.is_dir for name, facts in door.list(".snapshots/one").items()} == {"d": True, "gone": False}
    assert door.list(".snapshots/one/d")["f"].size == 6
    for path in (".snapshots/two/d/f", ".snapshots/one/none", ".snapshots/one/.upload/x"):
        with pytest.raises(Refused) as refusal:
            door.get(path)
        assert refusal.value.why == "missing"


def test_nothing_is_written(door: Door) -> None:
    """Each door says so as it says that anything is not permitted."""
    with pytest.raises(Refused) as refusal:
        door.put(".snapshots/one/d/f", b"x")
    assert refusal.value.why == "permission"
    assert "not permitted to change a snapshot" in refusal.value.text
    for path in (".snapshots/one/d/f", ".snapshots/one/d", ".snapshots/one"):
        with pytest.raises(Refused) as refusal:
            door.remove(path)
        assert refusal.value.why == "permission"
    if door.makes_dirs:
        with pytest.raises(Refused) as refusal:
            door.make_dir(".snapshots/two")
        assert refusal.value.why == "permission"
    if door.renames:
        for source, target in ((".snapshots/one/d/f", "out"), ("d/f", ".snapshots/one/in"), (".snapshots/one", "o")):
            with pytest.raises(Refused) as refusal:
                door.rename(source, target)
            assert refusal.value.why == "permission"
    if door.sets_times and not isinstance(door, DavDoor):
        with pytest.raises(Refused) as refusal:
            door.set_time(".snapshots/one/d/f", 1_500_000_000)
        assert refusal.value.why == "permission"
    assert door.get(".snapshots/one/d/f") == b"before"
    assert set(door.list()) == {"d"}


def test_webdav(site: EveryDoor, data: VFolderOfAlice) -> None:
    """Locks and properties are changes, too; a copy out of one brings a file or a directory back, and none goes in."""
    with DavDoor(site, data) as dav:
        url = dav.url(".snapshots/one")
        with pytest.raises(Refused) as refusal:
            dav.lock(".snapshots/one/d/f")
        assert refusal.value.why == "permission"
        update = '<propertyupdate xmlns="DAV:"><set><prop><x xmlns="y">1</x></prop></set></propertyupdate>'
        answer = dav.http.request("PROPPATCH", f"{url}/d/f", data=update, auth=dav.login, timeout=PATIENCE)
        assert answer.status_code == 403 or "403" in answer.text
        assert ".snapshots" not in dav.ask("PROPFIND", dav.url(""), Depth="1").text
        dav.ask("COPY", f"{url}/gone", Destination=dav.url("gone"))
        dav.ask("COPY", f"{url}/d", Destination=dav.url("d2"))
        assert dav.get("gone") == b"gone"
        assert dav.get("d2/f") == b"before"
        with pytest.raises(Refused):
            dav.ask("COPY", dav.url("gone"), Destination=f"{url}/in")
        head = dav.ask("HEAD", f"{url}/d/f")
        assert head.headers["Content-Length"] == "6"
        part = dav.ask("GET", f"{url}/d/f", Range="bytes=1-2")
        assert (part.status_code, part.content) == (206, b"ef")


def test_content_api(http: HttpDoor) -> None:
    """Conditions, ranges, entries and archives."""
    url = http.url(".snapshots/one/d/f")
    whole = http.ask("GET", url)
    assert http.ask("GET", url, If_None_Match=whole.headers["ETag"]).status_code == 304
    assert people(http, "GET", "entry?path=.snapshots/one/d/f")["size"] == 6
    listed = people(http, "GET", "entries?path=.snapshots/one&recursive=true")["entries"]
    assert {entry["name"] for entry in listed} >= {"d", "gone"}
    archive = f"{http.site.client_url}{V1}/vfolders/{http.vfolder.name}/archive?path=.snapshots/one"
    names = zipfile.ZipFile(io.BytesIO(http.ask("GET", archive).content)).namelist()
    assert sorted(name for name in names if not name.endswith("/")) == ["one/d/f", "one/gone"]
    mine = f"{http.site.client_url}{V1}/vfolders/{http.vfolder.name}/archive?path=."
    assert not any(
        ".snapshots" in name for name in zipfile.ZipFile(io.BytesIO(http.ask("GET", mine).content)).namelist()
    )


def test_orchestrators_downloads(site: EveryDoor, data: VFolderOfAlice) -> None:
    """A token reaches into a snapshot as into the vfolder."""
    body = {"volume": "local", "vfid": data.vfid, "relpath": ".snapshots/one/d/f"}
    token = site.manager("POST", "/folder/file/download", body)["token"]
    assert site.http.get(f"{site.client_url}/download", params={"token": token}, timeout=PATIENCE).content == b"before"


def test_people_put_back(http: HttpDoor, data: VFolderOfAlice) -> None:
    """Their own; those to whom it is opened as far as they may."""
    site = http.site
    assert [each["label"] for each in people(http, "GET", "snapshots")["snapshots"]] == ["one"]
    assert people(http, "POST", "snapshots", {"label": "mine"})["made_by"] == "alice"
    assert people(http, "POST", "snapshots/one/restore", {"path": "gone"}) == {"name": "gone"}
    assert http.get("gone") == b"gone"
    site.let_in("reader", data, "ro")
    reader = http.of("reader")
    assert reader.get(".snapshots/one/d/f") == b"before"
    for method, what, body in (
        ("POST", "snapshots", {}),
        ("DELETE", "snapshots/one", None),
        ("POST", "snapshots/one/restore", {"path": "gone", "target": "x"}),
        ("PUT", "snapshot-schedule", {"daily": 1}),
    ):
        with pytest.raises(Refused) as refusal:
            people(reader, method, what, body)
        assert refusal.value.why == "403"
    people(http, "DELETE", "snapshots/one")
    assert [each["label"] for each in people(http, "GET", "snapshots")["snapshots"]] == ["mine"]
    reader.close()


def test_the_whole_comes_back(http: HttpDoor, data: VFolderOfAlice) -> None:
    """And jobs that have it mounted see it where they are."""
    inside = os.open(data.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        task = people(http, "POST", "snapshots/one/restore", {})["task"]
        eventually(lambda: http.site.manager("GET", f"{V1}/tasks/{task}")["state"] == "done", "it is put back")
        assert http.get("d/f") == b"before"
        assert set(http.list()) == {"d", "gone"}
        mounted = Path(f"/proc/self/fd/{inside}")
        assert {path.name for path in mounted.iterdir() if path.name != ".upload"} == {"d", "gone"}
    finally:
        os.close(inside)
    labels = [each["label"] for each in people(http, "GET", "snapshots")["snapshots"]]
    assert http.get(f".snapshots/{labels[1]}/d/f") == b"after"
    assert data.charged == (10, 3)


def test_bytes_are_shared(http: HttpDoor, data: VFolderOfAlice) -> None:
    """What comes back out of a snapshot takes no room of its own on the storage, and its size against the limit of the vfolder."""
    http.put("large", os.urandom(32 << 20))
    people(http, "POST", "snapshots", {"label": "two"})
    http.remove("large")
    before = _used(data.root)
    assert data.charged == (5, 2)
    people(http, "POST", "snapshots/two/restore", {"path": "large"})
    assert _used(data.root) - before < 8 << 20
    assert data.charged == (5 + (32 << 20), 3)
    http.site.limit(data, limit_bytes=40 << 20)
    with pytest.raises(Refused) as refusal:
        people(http, "POST", "snapshots/two/restore", {"path": "large", "target": "again"})
    assert refusal.value.why == "507"
    assert set(http.list()) == {"d", "large"}


def _used(place: Path) -> int:
    os.sync()
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_dropped_while_it_is_read(site: EveryDoor, data: VFolderOfAlice, http: HttpDoor) -> None:
    """Who reads comes to the end or is told; never to other bytes, and everybody else is served."""
    content = os.urandom(8 << 20)
    http.put("large", content)
    people(http, "POST", "snapshots", {"label": "two"})
    with SftpDoor(site, data) as sftp, DavDoor(site, data) as dav:
        remote = sftp._sftp.open(sftp.at(".snapshots/two/large"))
        begun = remote.read(1000)
        answer = dav.http.get(dav.url(".snapshots/two/large"), auth=dav.login, stream=True, timeout=PATIENCE)
        first = answer.raw.read(1000)
        people(http, "DELETE", "snapshots/two")
        assert begun + remote.read() == content
        assert first + answer.raw.read() == content
        remote.close()
        for each in (http, sftp, dav):
            with pytest.raises(Refused) as refusal:
                each.get(".snapshots/two/large")
            assert refusal.value.why == "missing"
            assert each.get("d/f") == b"after"


def test_counted_nowhere(site: EveryDoor, data: VFolderOfAlice) -> None:
    """Neither by ``du`` in the vfolder nor by a scan, which finds nothing strange; and gone with the vfolder."""
    assert sorted(path.name for path in data.root.rglob("*") if path.name != ".upload") == ["d", "f"]
    assert data.charged == (5, 2)
    task = site.manager("POST", f"{V1}/scans", {"volume": "local"})["task"]
    eventually(lambda: site.manager("GET", f"{V1}/tasks/{task}")["state"] == "done", "the scan ends")
    assert site.manager("GET", f"{V1}/scans/{task}")["findings"] == []
    taken = data.root.parents[2] / ".snapshots" / data.vfid[-32:]
    assert [path.name for path in taken.iterdir()] == ["one"]
    site.manager("DELETE", f"{V1}/vfolders/{data.vfid[-32:]}?purge=true")
    eventually(lambda: not taken.exists() and not data.root.exists(), "both are gone")


@pytest.mark.parametrize("kind", DOORS, ids=lambda kind: kind.name)
def test_what_the_kernel_refuses_is_a_limits(site: EveryDoor, kind: type[Door]) -> None:
    """A job has filled a vfolder past the gateway, which learns of it from the kernel; nothing is left of what was refused."""
    data = site.populate("limited", f"k-{kind.name}")
    site.limit(data, limit_bytes=4 << 20)
    with (data.root / "job").open("wb", buffering=0) as file, pytest.raises(OSError) as stopped:
        while True:
            file.write(bytes(64 << 10))
    assert stopped.value.errno == errno.EDQUOT
    with kind(site, data) as door:
        with pytest.raises(Refused) as refusal:
            door.put("new", bytes(2 << 20))
        assert refusal.value.why == "quota"
        if not door.keeps:
            assert set(door.list()) == {"job"}
        (data.root / "job").unlink()
        door.put("new", bytes(2 << 20))
        assert set(door.list()) == {"new"}


def test_a_schedule(site: EveryDoor, data: VFolderOfAlice) -> None:
    """Takes one by itself, soon."""
    ask(site, data, "PUT", "snapshot-schedule", {"hourly": 2})

    def reasons() -> list[str]:
        return [each["reason"] for each in ask(site, data, "GET", "snapshots")["snapshots"]]

    eventually(lambda: reasons() == ["hand", "schedule"], "one is taken")
    assert ask(site, data, "GET", "snapshot-schedule")["due"] > 0
