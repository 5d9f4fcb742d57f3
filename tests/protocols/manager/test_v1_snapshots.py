"""Our own routes about snapshots."""

from __future__ import annotations

from typing import Any

from tests.protocols.manager.test_v1_accounts import V1
from tests.protocols.manager.test_v1_vfolders import owned
from tests.support.gateway import orchestrator_in
from tests.support.manager import ManagerClient, Serving
from vfgateway.paths import parse_text
from vfgateway.services.session import FolderSession
from vfgateway.services.tasks import until_finished


async def _begun(shared: Serving) -> tuple[str, FolderSession]:
    made: dict[str, Any] = await owned(shared.client)
    folder = await orchestrator_in(shared.gateway, await shared.gateway.vfolders.resolve(made["folder"]))
    await folder.make_dir(parse_text("dir"))
    return f"{V1}/vfolders/{made['folder']}", folder


async def test_taken_listed_put_back_and_removed(shared: Serving) -> None:
    """With when, why and by whom."""
    client, (one, folder) = shared.client, await _begun(shared)
    assert await client.get(f"{one}/snapshots") == {"snapshots": []}
    made = await client.post(f"{one}/snapshots", {"label": "first"}, 201)
    assert (made["label"], made["reason"], made["made_by"]) == ("first", "hand", "manager")
    unnamed = await client.post(f"{one}/snapshots", {}, 201)
    assert unnamed["label"].endswith("Z")
    assert (await client.get(f"{one}/snapshots"))["snapshots"] == [made, unnamed]
    await client.refused("POST", f"{one}/snapshots", {"label": "first"}, 409)
    for label in ("", "a/b", ".x", "a b"):
        await client.refused("POST", f"{one}/snapshots", {"label": label}, 400)
    await folder.remove_dir(parse_text("dir"))
    order = {"path": "dir", "target": "back"}
    assert await client.post(f"{one}/snapshots/first/restore", order, 200) == {"name": "back"}
    assert (await folder.stat(parse_text("back"))).is_dir
    await client.refused("POST", f"{one}/snapshots/first/restore", order, 409)
    await client.refused("POST", f"{one}/snapshots/none/restore", order, 404)
    await client.refused("POST", f"{one}/snapshots/first/restore", {"path": "../x"}, 400)
    await client.refused("POST", f"{one}/snapshots/first/restore", {"path": ""}, 400)
    await client.refused("POST", f"{one}/snapshots/first/restore", {"target": "x"}, 400)
    whole = await client.post(f"{one}/snapshots/first/restore", {}, 202)
    await until_finished(shared.gateway.tasks, whole["task"])
    assert (await folder.stat(parse_text("dir"))).is_dir
    assert [each["reason"] for each in (await client.get(f"{one}/snapshots"))["snapshots"]] == [
        "hand",
        "hand",
        "restore",
    ]
    await client.ok("DELETE", f"{one}/snapshots/first", None, 204)
    await client.refused("DELETE", f"{one}/snapshots/first", None, 404)
    await client.refused("DELETE", f"{one}/snapshots/%ff", None, 400)


async def test_schedules(client: ManagerClient) -> None:
    """Are set, shown and ended; one that keeps nothing is none."""
    one = f"{V1}/vfolders/{(await owned(client))['folder']}/snapshot-schedule"
    none = {"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "due": None}
    assert await client.get(one) == none
    made = await client.ok("PUT", one, {"hourly": 24, "daily": 7})
    assert made["due"] is not None
    assert made | {"due": None} == none | {"hourly": 24, "daily": 7}
    assert await client.get(one) == made
    for wrong in ({}, {"daily": 0}, {"daily": -1}, {"daily": 1001}, {"daily": "7"}, {"yearly": 1}):
        await client.refused("PUT", one, wrong, 400)
    await client.ok("DELETE", one, None, 204)
    assert await client.get(one) == none
