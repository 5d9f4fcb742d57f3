"""The reference's routes about whole vfolders."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from twisted.internet import reactor

from tests.support.manager import Serving, serving_manager
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.vfs import VfsVolumeFactory
from vfgateway.backends.vfs.hardware import MountPoint
from vfgateway.model import VFolderId
from vfgateway.paths import parse_text
from vfgateway.principals import INTERNAL, ORCHESTRATOR
from vfgateway.services.events import CloneFinished, DeletionFinished
from vfgateway.services.session import FolderSession
from vfgateway.services.tasks import TaskState, until_finished


def new() -> dict[str, Any]:
    """A vfolder that is not there yet, in a scope of its own."""
    return {"volume": "mem", "vfid": f"user:{uuid4()}/{uuid4().hex}"}


async def hands(serving: Serving, here: dict[str, Any]) -> FolderSession:
    """The orchestrator's hands in a vfolder."""
    return await serving.gateway.session(ORCHESTRATOR, INTERNAL).folder(VFolderId.parse(here["vfid"]), here["volume"])


async def put(serving: Serving, here: dict[str, Any], path: str, content: bytes) -> None:
    """Write a file."""
    folder = await hands(serving, here)
    async with await folder.upload(parse_text(path), size=len(content), parents=True) as upload:
        await upload.write([content])
        await upload.commit()


# --- making ---


async def test_a_folder_is_made_with_its_scope(shared: Serving) -> None:
    """The limit that comes with it is the scope's."""
    here = new()
    options = {"initial_max_size_for_quota_scope": 1 << 20, "something": "else"}
    await shared.client.post("/folder/create", {**here, "options": options}, 204)
    scope = await shared.client.get("/quota-scope", {"volume": "mem", "qsid": here["vfid"].partition("/")[0]})
    assert scope == {"used_bytes": 0, "limit_bytes": 1 << 20}


async def test_a_missing_scope_can_be_an_error(tmp_path: Path) -> None:
    """Where it is configured so."""
    async with serving_manager(tmp_path, allow_auto_quota_scope_creation=False) as serving:
        problem = await serving.client.refused("POST", "/folder/create", new(), 404)
        assert problem["error_code"] == "quota-scope_read_not-found"


async def test_a_folder_is_made_once(shared: Serving) -> None:
    """409, where the reference has an internal error; dashes in the UUID make no difference."""
    here = new()
    await shared.client.post("/folder/create", here, 204)
    problem = await shared.client.refused("POST", "/folder/create", here, 409)
    assert problem["error_code"] == "vfolder_create_already-exists"
    scope, _, digits = here["vfid"].partition("/")
    dashed = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    await shared.client.refused("POST", "/folder/create", {**here, "vfid": f"{scope}/{dashed}"}, 409)


async def test_a_new_folder_needs_a_scope(shared: Serving) -> None:
    """The old form, without one, is read only."""
    problem = await shared.client.refused("POST", "/folder/create", {"volume": "mem", "vfid": uuid4().hex}, 400)
    assert list(problem["data"]) == ["vfid"]


@pytest.mark.parametrize(("mode", "expected"), [(493, 0o755), (509, 0o775), (448, 0o700), (None, None)])
async def test_the_mode_is_honoured(tmp_path: Path, mode: int | None, expected: int | None) -> None:
    """Whatever the umask; a decimal number, as managers send it."""
    volume = VfsVolumeFactory().configure("mem", {"path": str(tmp_path / "v")}, _runtime(tmp_path))
    async with serving_manager(tmp_path, [volume]) as serving:
        here = new()
        await serving.client.post("/folder/create", {**here, "mode": mode}, 204)
        mounted = await serving.client.get("/folder/mount", here)
        found = Path(mounted["path"]).stat().st_mode & 0o777
        assert found == expected if expected is not None else found


def _runtime(tmp_path: Path) -> Any:
    from vfgateway import config
    from vfgateway.services.gateway import Gateway

    return Gateway(config.parse("", tmp_path), reactor).runtime_for("mem")


# --- finding ---


async def test_a_mount_is_the_root(tmp_path: Path) -> None:
    """A sub-path is only checked; it need not exist, and must not lead out."""
    volume = VfsVolumeFactory().configure("mem", {"path": str(tmp_path / "v")}, _runtime(tmp_path))
    async with serving_manager(tmp_path, [volume]) as serving:
        here = new()
        await serving.client.post("/folder/create", here, 204)
        path = (await serving.client.get("/folder/mount", here))["path"]
        digits = here["vfid"].rpartition("/")[2]
        assert path.endswith(f"/{digits[:2]}/{digits[2:4]}/{digits[4:]}")
        assert (await serving.client.get("/folder/mount", {**here, "subpath": "not/there"}))["path"] == path
        (Path(path) / "out").symlink_to("/etc")
        for subpath in ("../x", "/etc", "out"):
            await serving.client.refused("GET", "/folder/mount", {**here, "subpath": subpath}, 400)


async def test_mounting_from_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to who asks: what to mount there, and where the vfolder lies in it; nothing where there is no other way than this host."""
    volume = VfsVolumeFactory().configure("mem", {"path": str(tmp_path / "v")}, _runtime(tmp_path))
    async with serving_manager(tmp_path, [volume]) as serving:
        here = new()
        await serving.client.post("/folder/create", here, 204)
        path = (await serving.client.get("/folder/mount", here))["path"]
        assert await serving.client.get("/folder/mount", {**here, "remote": True}) == {"path": path}
        mount = MountPoint(str(tmp_path), "nfs4", "server:/export", read_only=False, device=None)
        monkeypatch.setattr("vfgateway.backends.vfs.volume.mount_of", lambda place: mount)
        assert await serving.client.get("/folder/mount", {**here, "remote": True}) == {
            "path": path,
            "remote": {
                "type": "nfs4",
                "source": "server:/export",
                "options": "",
                "credentials": "",
                "path": str(Path(path).relative_to(tmp_path)),
            },
        }
        assert await serving.client.get("/folder/mount", here) == {"path": path}


async def test_mounting_what_is_not_there(shared: Serving) -> None:
    """400 with the vfid, as managers know it."""
    here = new()
    problem = await shared.client.refused("GET", "/folder/mount", here, 400)
    assert problem["vfid"] == here["vfid"]
    assert problem["msg"] == "VFolder not found"


# --- measuring ---


async def test_usage_counts_everything_once(shared: Serving) -> None:
    """All entries below the root; bytes as they are, neither rounded nor in blocks."""
    here = new()
    await shared.client.post("/folder/create", here, 204)
    await put(shared, here, "a/b/c", b"x" * 1234567)
    assert await shared.client.get("/folder/usage", here) == {"file_count": 3, "used_bytes": 1234567}
    assert await shared.client.get("/folder/used-bytes", here) == {"used_bytes": 1234567}


async def test_usage_includes_uploads_under_way(shared: Serving) -> None:
    """What was sent takes room, before it is published."""
    here = new()
    await shared.client.post("/folder/create", here, 204)
    upload = await shared.gateway.staging.begin(await hands(shared, here), parse_text("big"), size=100)
    await upload.acquire()
    await upload.write([b"x" * 40])
    await upload.mark()
    await upload.release()
    assert await shared.client.get("/folder/usage", here) == {"file_count": 1, "used_bytes": 40}


async def test_usage_sees_what_jobs_wrote(tmp_path: Path) -> None:
    """Jobs on the cluster do not ask the gateway; the figure is right all the same, and so is the quota soon after."""
    volume = VfsVolumeFactory().configure("mem", {"path": str(tmp_path / "v")}, _runtime(tmp_path))
    async with serving_manager(tmp_path, [volume]) as serving:
        here = new()
        await serving.client.post("/folder/create", here, 204)
        root = Path((await serving.client.get("/folder/mount", here))["path"])
        (root / "result").write_bytes(b"x" * 5000)
        assert await serving.client.get("/folder/usage", here) == {"file_count": 1, "used_bytes": 5000}
        vfolder = await serving.gateway.find_vfolder(VFolderId.parse(here["vfid"]), "mem")
        await serving.gateway.lifecycle.recount(vfolder)  # the one that began already, if it has not ended
        assert (await serving.gateway.quota.usage(vfolder)).bytes == 5000


async def test_usage_of_what_is_not_there(shared: Serving) -> None:
    """404 with the domain ``vfolder``, from both."""
    for path in ("/folder/usage", "/folder/used-bytes"):
        assert (await shared.client.refused("GET", path, new(), 404))["error_code"] == "vfolder_read_not-found"


async def test_a_folder_found_on_disk_is_adopted(tmp_path: Path) -> None:
    """One that the registry does not know, of the old form too."""
    volume = VfsVolumeFactory().configure("mem", {"path": str(tmp_path / "v")}, _runtime(tmp_path))
    scope, digits = uuid4(), uuid4().hex
    root = tmp_path / "v" / scope.hex / digits[:2] / digits[2:4] / digits[4:]
    root.mkdir(parents=True)
    (tmp_path / "v" / "version.txt").write_text("3")
    (root / "old").write_bytes(b"12345")
    async with serving_manager(tmp_path, [volume]) as serving:
        here = {"volume": "mem", "vfid": f"user:{scope}/{digits}"}
        assert await serving.client.get("/folder/usage", here) == {"file_count": 1, "used_bytes": 5}


# --- removing ---


async def test_a_deleted_folder_is_gone_at_once(serving: Serving) -> None:
    """For users before the task has ended; then room and identifier are free, and one event has told so."""
    here = new()
    events: list[DeletionFinished] = []
    serving.gateway.events.subscribe(DeletionFinished, events.append)
    await serving.client.post("/folder/create", here, 204)
    await put(serving, here, "a", b"12345")
    started = await serving.client.post("/folder/delete", here, 202)
    await serving.client.refused("POST", "/folder/file/list", {**here, "relpath": "."}, 404)
    finished = await until_finished(serving.gateway.tasks, started["bgtask_id"])
    assert finished.state is TaskState.DONE
    assert events == [DeletionFinished(vfid=here["vfid"])]
    await serving.client.post("/folder/create", here, 204)
    assert await serving.client.get("/folder/usage", here) == {"file_count": 0, "used_bytes": 0}
    scope = await serving.client.get("/quota-scope", {"volume": "mem", "qsid": here["vfid"].partition("/")[0]})
    assert scope["used_bytes"] == 0


async def test_deleting_what_is_not_there_succeeds(shared: Serving) -> None:
    """What was wanted is the case; managers repeat deletions."""
    started = await shared.client.post("/folder/delete", new(), 202)
    assert (await until_finished(shared.gateway.tasks, started["bgtask_id"])).state is TaskState.DONE


# --- cloning ---


async def test_a_clone_is_complete_when_the_reply_is(tmp_path: Path) -> None:
    """A 23.09 manager uses the copy as soon as it has the reply; a current one waits for the event. To another volume too."""
    volumes = [MemoryVolume("mem", reactor), MemoryVolume("other", reactor)]
    async with serving_manager(tmp_path, volumes) as serving:
        client, here = serving.client, new()
        events: list[CloneFinished] = []
        serving.gateway.events.subscribe(CloneFinished, events.append)
        await client.post("/folder/create", here, 204)
        await put(serving, here, "a/b", b"hello")
        for name in (None, "mem", "other"):
            copy = f"user:{uuid4()}/{uuid4().hex}"
            params = {"src_volume": "mem", "src_vfid": here["vfid"], "dst_volume": name, "dst_vfid": copy}
            answer = await client.post("/folder/clone", params)
            there = {"volume": name or "mem", "vfid": copy}
            fetched = await client.call("POST", "/folder/file/fetch", {**there, "relpath": "a/b"})
            assert fetched.body == b"hello"
            assert (await client.get("/folder/usage", there)) == {"file_count": 2, "used_bytes": 5}
            assert (await until_finished(serving.gateway.tasks, answer["bgtask_id"])).state is TaskState.DONE
            assert events.pop() == CloneFinished(vfid=here["vfid"], to_vfid=copy)
            assert not events


async def test_a_clone_that_takes_long_is_answered_meanwhile(tmp_path: Path) -> None:
    """The reply does not wait for ever."""
    async with serving_manager(tmp_path, clone_patience=0) as serving:
        here = new()
        await serving.client.post("/folder/create", here, 204)
        params = {"src_volume": "mem", "src_vfid": here["vfid"], "dst_volume": None, "dst_vfid": new()["vfid"]}
        started = await serving.client.post("/folder/clone", params)
        assert (await until_finished(serving.gateway.tasks, started["bgtask_id"])).state is TaskState.DONE


async def test_a_clone_needs_a_free_place(shared: Serving) -> None:
    """Nothing is overwritten."""
    here, there = new(), new()
    for params in (here, there):
        await shared.client.post("/folder/create", params, 204)
    params = {"src_volume": "mem", "src_vfid": here["vfid"], "dst_volume": None, "dst_vfid": there["vfid"]}
    assert (await shared.client.refused("POST", "/folder/clone", params, 409))["title"]


async def test_a_clone_of_nothing_is_refused(shared: Serving) -> None:
    """Before a task is begun."""
    params = {"src_volume": "mem", "src_vfid": new()["vfid"], "dst_volume": None, "dst_vfid": new()["vfid"]}
    await shared.client.refused("POST", "/folder/clone", params, 404)
