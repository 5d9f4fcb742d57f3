"""What orchestrators do in a row, over real connections to both front ends: a current one, and one of the 23.09 line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred

from tests.support.manager import ManagerClient, Serving, serving_manager
from vfgateway.backends.memory import MemoryVolume
from vfgateway.model import Actor, VFolderId
from vfgateway.paths import parse_text
from vfgateway.protocols.client.frontend import ClientFrontEnd
from vfgateway.services.events import CloneFinished, DeletionFinished, Event
from vfgateway.services.tasks import TaskState, until_finished

SCOPE = "user:11111111-1111-4111-8111-111111111111"


@attrs.frozen
class Site:
    """A gateway with both front ends, the events that it told, and the manager's view of it."""

    serving: Serving
    people: ManagerClient
    events: list[Event]

    @property
    def manager(self) -> ManagerClient:
        return self.serving.client

    async def purge(self, here: Mapping[str, Any]) -> None:
        """Delete a vfolder and wait for its end as a current manager does: for one event."""
        started = await self.manager.post("/folder/delete", here, 202)
        finished = await until_finished(self.serving.gateway.tasks, started["bgtask_id"])
        assert finished.state is TaskState.DONE
        told = [event for event in self.events if isinstance(event, DeletionFinished)]
        assert [(event.vfid, event.error) for event in told if event.vfid == here["vfid"]] == [(here["vfid"], None)]


@asynccontextmanager
async def running_site(tmp_path: Path, *volumes: str) -> AsyncIterator[Site]:
    """Volumes in memory, ``fast`` among them."""
    places = [MemoryVolume(name, reactor) for name in ("fast", *volumes)]
    async with serving_manager(tmp_path, places) as serving:
        service: Any = ClientFrontEnd().configure({"endpoint": "tcp:0:interface=127.0.0.1"}, serving.gateway)
        service.startService()
        events: list[Event] = []
        serving.gateway.events.subscribe(Event, events.append)
        try:
            yield Site(serving, ManagerClient(service.urls[0], None), events)
        finally:
            await maybeDeferred(service.stopService)


def new_folder(volume: str = "fast") -> dict[str, Any]:
    """A vfolder that is not there yet."""
    return {"volume": volume, "vfid": f"{SCOPE}/{uuid4().hex}"}


async def send(site: Site, here: Mapping[str, Any], relpath: str, content: bytes) -> None:
    """Upload a file as a user does: a token from the manager, then tus."""
    size = len(content)
    token = (await site.manager.post("/folder/file/upload", {**here, "relpath": relpath, "size": size}))["token"]
    url = f"/upload?token={token}"
    tus = {"Tus-Resumable": "1.0.0"}
    head = await site.people.call("HEAD", url, headers=tus)
    assert head.headers.getRawHeaders("upload-offset") == ["0"]
    offset = 0
    for part in (content[: size // 2], content[size // 2 :]):
        headers = {**tus, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        answer = await site.people.call("PATCH", url, raw=part, headers=headers)
        assert answer.status == 204
        offset += len(part)
    assert answer.headers.getRawHeaders("upload-offset") == [str(size)]


async def test_a_whole_life(tmp_path: Path) -> None:
    """Create, fill, read, reorganise, measure, clone elsewhere, delete, and create again."""
    async with running_site(tmp_path, "slow") as site:
        manager, here = site.manager, new_folder()
        scope = {"volume": "fast", "qsid": SCOPE}
        assert [volume["name"] for volume in (await manager.get("/volumes"))["volumes"]] == ["fast", "slow"]
        await manager.post("/quota-scope", {**scope, "options": {"limit_bytes": 1 << 20}, "extra_args": None}, 204)
        await manager.post("/folder/create", {**here, "mode": 493, "options": {}}, 204)
        made = await manager.post("/folder/file/mkdir", {**here, "relpath": ["a", "b/c"], "exist_ok": True})
        assert made["results"]["failed"] == []
        await send(site, here, "a/x.txt", b"hello")
        listed = await manager.post("/folder/file/list", {**here, "relpath": "a"})
        assert [(item["name"], item["type"], item["stat"]["size"]) for item in listed["items"]] == [
            ("x.txt", "FILE", 5)
        ]
        fetched = await manager.call("POST", "/folder/file/fetch", {**here, "relpath": "./a/x.txt"})
        assert (fetched.status, fetched.body) == (200, b"hello")
        await manager.post("/folder/file/rename", {**here, "relpath": "a/x.txt", "new_name": "y.txt"}, 204)
        await manager.post("/folder/file/move", {**here, "src_relpath": "a/y.txt", "dst_relpath": "b"}, 204)
        assert await manager.get("/folder/usage", here) == {"file_count": 4, "used_bytes": 5}
        assert await manager.get("/quota-scope", scope) == {"used_bytes": 5, "limit_bytes": 1 << 20}
        token = (await manager.post("/folder/file/download", {**here, "relpath": "b/y.txt", "archive": False}))["token"]
        assert (await site.people.call("GET", f"/download?token={token}")).body == b"hello"
        copy = new_folder("slow")
        cloning = {"src_volume": "fast", "src_vfid": here["vfid"], "dst_volume": "slow", "dst_vfid": copy["vfid"]}
        await manager.post("/folder/clone", cloning)
        assert CloneFinished(vfid=here["vfid"], to_vfid=copy["vfid"]) in site.events
        await site.purge(here)
        assert (await manager.get("/quota-scope", scope))["used_bytes"] == 0
        assert (await manager.call("POST", "/folder/file/fetch", {**copy, "relpath": "b/y.txt"})).body == b"hello"
        await manager.post("/folder/create", here, 204)
        assert await manager.get("/folder/usage", here) == {"file_count": 0, "used_bytes": 0}


async def test_the_23_09_line(tmp_path: Path) -> None:
    """Its bodies, and what it takes for granted: any 2xx is success, and a reply means that the work is done."""
    async with running_site(tmp_path) as site:
        manager, here = site.manager, new_folder()
        await manager.post("/folder/create", {**here, "options": {"initial_max_size_for_quota_scope": 4096}}, 204)
        quota = {"volume": "fast", "qsid": SCOPE}
        assert (await manager.get("/quota-scope", quota))["limit_bytes"] == 4096
        await manager.ok("PATCH", "/quota-scope", {**quota, "options": {"limit_bytes": 8192}}, 204)
        await manager.ok("DELETE", "/quota-scope/quota", quota, 204)
        one = {**here, "relpath": "sub", "parents": True, "exist_ok": False}
        assert (await manager.call("POST", "/folder/file/mkdir", one)).status // 100 == 2
        repeated = await manager.call("POST", "/folder/file/mkdir", one)
        assert repeated.status // 100 != 2
        assert isinstance(repeated.json, dict)
        await send(site, here, "sub/model-definition.yaml", b"models: []\n")
        download = {**here, "relpath": "sub", "archive": True, "unmanaged_path": None}
        assert (await manager.post("/folder/file/download", download))["token"]
        copy = new_folder()
        cloning = {"src_volume": "fast", "src_vfid": here["vfid"], "dst_volume": "fast", "dst_vfid": copy["vfid"]}
        assert (await manager.call("POST", "/folder/clone", cloning)).status // 100 == 2
        listed = await manager.post("/folder/file/list", {**copy, "relpath": "sub"})
        assert [item["name"] for item in listed["items"]] == ["model-definition.yaml"]
        removal = {**here, "relpaths": ["sub/model-definition.yaml"], "recursive": False}
        assert (await manager.call("POST", "/folder/file/delete", removal)).status // 100 == 2
        assert (await manager.call("POST", "/folder/delete", here)).status // 100 == 2
        await manager.refused("POST", "/folder/file/list", {**here, "relpath": "."}, 404)
        # Asked for nevertheless by its API; it reads whatever JSON object comes with the refusal.
        assert isinstance(await manager.refused("GET", "/volume/quota", copy, 400), dict)


async def test_a_folder_deleted_under_an_upload(tmp_path: Path) -> None:
    """The sender learns that it is over, and nothing is left: neither room nor the file in the next folder of that name."""
    async with running_site(tmp_path) as site:
        manager, here = site.manager, new_folder()
        await manager.post("/folder/create", here, 204)
        begin = {**here, "relpath": "x", "size": 10}
        token = (await manager.post("/folder/file/upload", begin))["token"]
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        await site.people.call("PATCH", f"/upload?token={token}", raw=b"12345", headers=headers)
        await site.purge(here)
        headers["Upload-Offset"] = "5"
        late = await site.people.call("PATCH", f"/upload?token={token}", raw=b"67890", headers=headers)
        assert late.status == 404
        await manager.post("/folder/create", here, 204)
        assert await manager.get("/folder/usage", here) == {"file_count": 0, "used_bytes": 0}
        assert (await site.people.call("HEAD", f"/upload?token={token}", headers=headers)).status == 404


async def test_ten_thousand_files(tmp_path: Path) -> None:
    """Made by a job, behind our back: listed whole, counted, charged, and removed."""
    async with running_site(tmp_path) as site:
        manager, gateway, here = site.manager, site.serving.gateway, new_folder()
        await manager.post("/folder/create", here, 204)
        vfid = VFolderId.parse(here["vfid"])
        storage = await gateway.volumes.get("fast").folder(vfid, Actor())
        await storage.make_dir(parse_text("many"))
        for number in range(10_000):
            await storage.make_dir(parse_text(f"many/{number:05d}"))
        listed = await manager.post("/folder/file/list", {**here, "relpath": "many"})
        assert len(listed["items"]) == 10_000
        assert "truncated" not in listed
        assert (await manager.get("/folder/usage", here))["file_count"] == 10_001
        await gateway.lifecycle.recount(await gateway.find_vfolder(vfid))
        removal = {**here, "relpaths": ["many"], "recursive": True}
        started = await manager.post("/folder/file/delete-async", removal, 202)
        await until_finished(gateway.tasks, started["bgtask_id"])
        assert await manager.get("/folder/usage", here) == {"file_count": 0, "used_bytes": 0}
        assert (await gateway.quota.usage(await gateway.find_vfolder(vfid))).files == 0


async def test_failures_are_read_as_a_manager_reads_them(tmp_path: Path) -> None:
    """Every refusal is JSON; the code's first word is one whose meaning fits (reference 0.5)."""
    async with running_site(tmp_path) as site:
        manager, here = site.manager, new_folder()
        await manager.post("/folder/create", here, 204)
        missing = new_folder()
        asked: list[tuple[str, str, dict[str, Any], int, str]] = [
            ("GET", "/folder/usage", missing, 404, "vfolder"),
            ("POST", "/folder/create", here, 409, "vfolder"),
            ("POST", "/folder/file/list", {**here, "relpath": "none"}, 400, "vfolder"),
            ("POST", "/folder/file/list", {**here, "relpath": "../x"}, 400, "vfolder"),
            ("POST", "/folder/file/fetch", {**here, "relpath": "none"}, 404, "vfolder"),
            ("POST", "/folder/file/rename", {**here, "relpath": "none", "new_name": "x"}, 400, "vfolder"),
            ("GET", "/quota-scope", {"volume": "fast", "qsid": f"project:{uuid4()}"}, 404, "quota-scope"),
            ("POST", "/quota-scope", {"volume": "fast", "qsid": SCOPE}, 409, "quota-scope"),
            ("GET", "/folder/fs-usage", {"volume": "none"}, 400, "storage"),
            ("GET", "/folder/mount", missing, 400, ""),
        ]
        for method, path, params, status, domain in asked:
            problem = await manager.refused(method, path, params, status)
            assert problem.get("error_code", "").partition("_")[0] == domain, (path, problem)
            assert problem["msg"]
