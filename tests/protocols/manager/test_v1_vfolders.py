"""Our own routes about vfolders, grants, links and what goes on."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.protocols.manager.test_v1_accounts import V1, fresh
from tests.support.gateway import new_vfolder, orchestrator_in
from tests.support.manager import ManagerClient, Serving
from vfgateway.errors import VFolderNotFound
from vfgateway.paths import parse_text
from vfgateway.principals import Origin
from vfgateway.services.tasks import until_finished


async def owned(client: ManagerClient, **more: Any) -> dict[str, Any]:
    """A new vfolder called ``data`` of a new user."""
    owner = fresh()
    await client.post(f"{V1}/users", {"name": owner}, 201)
    made: dict[str, Any] = await client.post(f"{V1}/vfolders", {"owner": owner, "name": "data", **more}, 201)
    return made


async def test_a_vfolder_is_made_for_somebody(client: ManagerClient) -> None:
    """On the only volume there is, with limits; and it can be found by its name."""
    made = await owned(client, limit_bytes=1000, limit_files=10)
    needed = ["id", "name", "owner", "volume", "permission", "used_bytes", "used_files", "limit_bytes", "limit_files"]
    assert set(needed) <= set(made)
    assert (made["name"], made["volume"], made["limit_bytes"], made["used_bytes"]) == ("data", "mem", 1000, 0)
    assert await client.get(f"{V1}/vfolders/resolve?vfolder={made['owner']}/data") == made
    assert await client.get(f"{V1}/vfolders/{made['folder']}") == made
    assert (await client.get(f"{V1}/vfolders?owner={made['owner']}&volume=mem"))["vfolders"] == [made]


async def test_a_name_is_taken_once_by_an_owner(client: ManagerClient) -> None:
    """Nothing is left of the second."""
    made = await owned(client)
    await client.refused("POST", f"{V1}/vfolders", {"owner": made["owner"], "name": "data"}, 409)
    assert len((await client.get(f"{V1}/vfolders?owner={made['owner']}"))["vfolders"]) == 1


async def test_an_orchestrators_vfolder_gets_a_name_and_an_owner(shared: Serving) -> None:
    """``/folder/create`` knows neither; then its owner sees it under that name."""
    client, identity, name = shared.client, uuid4(), fresh()
    vfid = f"user:{identity}/{uuid4().hex}"
    await client.post("/folder/create", {"volume": "mem", "vfid": vfid}, 204)
    folder = vfid.rpartition("/")[2]
    before = await client.get(f"{V1}/vfolders/{folder}")
    assert (before["name"], before["named"], before["owner"]) == (folder, False, None)
    await client.post(f"{V1}/users", {"name": name, "id": str(identity)}, 201)
    after = await client.ok("PATCH", f"{V1}/vfolders/{folder}", {"name": "models", "limit_bytes": 5})
    assert (after["name"], after["owner"], after["limit_bytes"], after["id"]) == ("models", name, 5, vfid)
    principal = await shared.gateway.accounts.principal_of(identity)
    session = shared.gateway.session(principal, Origin("test"))
    assert [seen.name for seen in await session.vfolders()] == ["models"]


async def test_a_vfolder_can_change_hands(client: ManagerClient) -> None:
    """To a group, by name."""
    made, group = await owned(client), fresh()
    crew = await client.post(f"{V1}/groups", {"name": group}, 201)
    changed = await client.ok("PATCH", f"{V1}/vfolders/{made['folder']}", {"owner": group, "kind": "group"})
    assert (changed["owner"], changed["owner_id"], changed["kind"]) == (group, crew["id"], "group")
    assert await client.get(f"{V1}/vfolders/resolve?vfolder={group}/data") == changed


async def test_usage_by_directory(shared: Serving) -> None:
    """The largest first, with what lies beside them, a name that is no text, and what is known to be wrong."""
    gateway, client = shared.gateway, shared.client
    vfolder = await new_vfolder(gateway)
    folder = await orchestrator_in(gateway, vfolder)
    for name, size in (("small/file", 1), ("large/deep/file", 100), ("\udcff/file", 10), ("loose", 7)):
        async with await folder.upload(parse_text(name), size=size, parents=True) as upload:
            await upload.write([b"x" * size])
            await upload.commit()
    url = f"{V1}/vfolders/{vfolder.id.folder.hex}/usage"
    nothing = {"used_bytes": 0, "used_files": 0, "stale_since": None}
    told = await client.get(url)
    assert told == {
        "used_bytes": 118,
        "used_files": 8,
        "folders": [
            {"name": "large", "name_b64": None, "used_bytes": 100, "used_files": 3, "stale_since": None},
            {"name": "%FF", "name_b64": "/w==", "used_bytes": 10, "used_files": 2, "stale_since": None},
            {"name": "small", "name_b64": None, "used_bytes": 1, "used_files": 2, "stale_since": None},
        ],
        "loose": {"used_bytes": 7, "used_files": 1, "stale_since": None},
        "others": nothing,
        "trash": nothing,
    }
    item = await gateway.file_trash.discard(folder, parse_text("small"))
    assert item is not None
    told = await client.get(url)
    assert [share["name"] for share in told["folders"]] == ["large", "%FF"]
    assert (told["trash"]["used_bytes"], told["used_bytes"]) == (1, 118)
    await client.refused("GET", f"{V1}/vfolders/{uuid4().hex}/usage", None, 404)


async def test_a_deleted_vfolder_is_gone(shared: Serving) -> None:
    """By a task that can be watched."""
    made = await owned(shared.client)
    started = await shared.client.ok("DELETE", f"{V1}/vfolders/{made['folder']}?purge=true", status=202)
    await until_finished(shared.gateway.tasks, started["task"])
    await shared.client.refused("GET", f"{V1}/vfolders/{made['folder']}", None, 404)
    with pytest.raises(VFolderNotFound):
        await shared.gateway.vfolders.resolve(f"{made['owner']}/data")


async def test_a_count_is_told(shared: Serving) -> None:
    """And corrects the figures."""
    vfolder = await new_vfolder(shared.gateway)
    hands = await orchestrator_in(shared.gateway, vfolder)
    await hands.make_dir(parse_text("a"))
    counted = await shared.client.post(f"{V1}/vfolders/{vfolder.id.folder.hex}/recount", None)
    assert counted == {"used_bytes": 0, "used_files": 1}


async def test_what_is_ambiguous_is_said(client: ManagerClient) -> None:
    """With the names that would do."""
    first, second = await owned(client), await owned(client)
    problem = await client.refused("GET", f"{V1}/vfolders/resolve?vfolder=data", None, 409)
    assert f"{first['owner']}/data" in problem["msg"]
    assert f"{second['owner']}/data" in problem["msg"]


# --- grants ---


async def test_a_grant_opens_and_is_taken_back(shared: Serving) -> None:
    """To a user by name; a second one takes the place of the first."""
    client, made, friend = shared.client, await owned(shared.client), fresh()
    user = await client.post(f"{V1}/users", {"name": friend}, 201)
    grants = f"{V1}/vfolders/{made['folder']}/grants"
    await client.post(grants, {"kind": "user", "subject": friend, "permission": "ro"}, 201)
    grant = await client.post(grants, {"kind": "user", "subject": user["id"], "permission": "wd"}, 201)
    assert (grant["subject"], grant["subject_id"], grant["permission"]) == (friend, user["id"], "rwd")
    assert (await client.get(grants))["grants"] == [grant]
    await client.ok("DELETE", f"{V1}/grants/{grant['id']}", status=204)
    assert (await client.get(grants))["grants"] == []
    await client.refused("DELETE", f"{V1}/grants/{grant['id']}", None, 404)


async def test_a_grant_needs_somebody(client: ManagerClient) -> None:
    """A name must have an account; a permission must be one."""
    made = await owned(client)
    grants = f"{V1}/vfolders/{made['folder']}/grants"
    await client.refused("POST", grants, {"kind": "user", "subject": "nobody", "permission": "ro"}, 404)
    await client.refused("POST", grants, {"kind": "user", "subject": made["owner"], "permission": "all"}, 400)


# --- links ---


async def test_links_are_minted(shared: Serving) -> None:
    """For what there is, by the vfolder's name; an upload is listed until it is cancelled."""
    client, made = shared.client, await owned(shared.client)
    name = f"{made['owner']}/data"
    link = await client.post(f"{V1}/tokens/upload", {"vfolder": name, "path": "a/b", "size": 5}, 201)
    assert shared.gateway.tokens.verify_upload(link["token"]).session == link["upload"]
    assert link["url"].endswith(f"/upload?token={link['token']}")
    (upload,) = (await client.get(f"{V1}/uploads?vfolder={name}"))["uploads"]
    assert (upload["id"], upload["path"], upload["size"], upload["offset"]) == (link["upload"], "a/b", 5, 0)
    await client.ok("DELETE", f"{V1}/uploads/{upload['id']}", status=204)
    assert (await client.get(f"{V1}/uploads?vfolder={name}"))["uploads"] == []
    await client.refused("DELETE", f"{V1}/uploads/{upload['id']}", None, 404)
    await client.refused("POST", f"{V1}/tokens/download", {"vfolder": name, "path": "a/b"}, 404)
    await client.post(f"{V1}/tokens/upload", {"vfolder": name, "path": "a/b", "size": 0}, 201)
    link = await client.post(f"{V1}/tokens/download", {"vfolder": name, "path": "a/b"}, 201)
    assert shared.gateway.tokens.verify_download(link["token"]).relpath == "a/b"


async def test_a_link_over_the_limit_is_refused(client: ManagerClient) -> None:
    """507 here, with the figures."""
    made = await owned(client, limit_bytes=10)
    params = {"vfolder": made["id"], "path": "a", "size": 11}
    problem = await client.refused("POST", f"{V1}/tokens/upload", params, 507)
    assert (problem["limit"], problem["wanted"], problem["resource"]) == (10, 11, "bytes")


# --- what goes on ---


async def test_a_task_is_watched_to_its_end(shared: Serving) -> None:
    """As server-sent events, of which the last one says how it ended."""
    client, made = shared.client, await owned(shared.client)
    started = await client.ok("DELETE", f"{V1}/vfolders/{made['folder']}?purge=true", status=202)
    answer = await client.call("GET", f"{V1}/tasks/{started['task']}/events")
    assert answer.media_type == "text/event-stream"
    events = [event.split("\n") for event in answer.body.decode().strip().split("\n\n")]
    assert events[-1][0] == "event: done"
    last = json.loads(events[-1][1].removeprefix("data: "))
    assert (last["id"], last["state"]) == (started["task"], "done")
    assert last == await client.get(f"{V1}/tasks/{started['task']}")
    assert last in (await client.get(f"{V1}/tasks"))["tasks"]


async def test_an_unknown_task_is_not_found(client: ManagerClient) -> None:
    """Neither shown, watched nor cancelled."""
    for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
        await client.refused(method, f"{V1}/tasks/{uuid4()}{path}", None, 404)


async def test_a_lock_is_listed_and_broken(shared: Serving) -> None:
    """By an administrator, for somebody who has gone home."""
    client, made = shared.client, await owned(shared.client)
    vfolder = await shared.gateway.vfolders.resolve(made["id"])
    lock = await shared.gateway.locks.acquire(
        vfolder, parse_text("doc"), principal_id="x", owner="Word", infinite=False, exclusive=True, timeout=60
    )
    (shown,) = (await client.get(f"{V1}/locks?vfolder={made['folder']}"))["locks"]
    assert (shown["token"], shown["path"], shown["owner"]) == (lock.token, "doc", "Word")
    problem = await client.refused(
        "POST", "/folder/file/upload", {"volume": "mem", "vfid": made["id"], "relpath": "doc", "size": 1}, 423
    )
    assert problem["error_code"].startswith("vfolder_")
    await client.ok("DELETE", f"{V1}/locks/{lock.token}", status=204)
    await client.refused("DELETE", f"{V1}/locks/{lock.token}", None, 404)


async def test_the_gateway_tells_about_itself(client: ManagerClient) -> None:
    """Its volumes, what else could be one, and what a doctor asks first; no secret."""
    (volume,) = (await client.get(f"{V1}/volumes"))["volumes"]
    assert (volume["name"], volume["backend"], volume["state"]) == ("mem", "memory", "healthy")
    one = await client.get(f"{V1}/volumes/mem")
    assert {**one, "vfolders": 0} == {**volume, "vfolders": 0}
    await client.refused("GET", f"{V1}/volumes/none", None, 404)
    assert {"memory", "vfs"} <= {backend["name"] for backend in (await client.get(f"{V1}/backends"))["backends"]}
    report = await client.get(f"{V1}/doctor")
    assert {finding["what"] for finding in report["findings"]} >= {"volume mem", "database database"}
    assert "some-shared-secret" not in str(report)
