"""The mount call for a principal, and the trash, as an orchestrator meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.client_api import disk_volume
from tests.support.manager import serving_manager
from vfgateway.model import Permission


async def test_a_mount_is_as_much_as_its_principal_may(tmp_path: Path) -> None:
    """The permission comes with the path; who may not enter is told what is told of a vfolder that is not there."""
    volume = disk_volume(tmp_path / "volume")
    async with serving_manager(tmp_path, volumes=[volume]) as serving:
        client, gateway = serving.client, serving.gateway
        for name in ("alice", "bob", "eve"):
            await client.post("/vfgateway/v1/users", {"name": name}, 201)
        made = await client.post("/vfgateway/v1/vfolders", {"owner": "alice", "name": "data"}, 201)
        vfolder = await gateway.vfolders.resolve("alice/data")
        bob = await gateway.accounts.user("bob")
        here = {"volume": "disk", "vfid": made["id"]}
        plain = await client.get("/folder/mount", here)
        assert set(plain) == {"path"}
        alice = await client.get("/folder/mount", {**here, "principal": "alice"})
        assert alice == {"path": plain["path"], "permission": "rwd"}
        for permission in (Permission.RO, Permission.RW):
            await gateway.vfolders.grant(vfolder.key, "user", bob.id, permission)
            mounted = await client.get("/folder/mount", {**here, "principal": str(bob.id)})
            assert mounted["permission"] == str(permission)
        absent = made["id"][:-1] + ("0" if made["id"].endswith("f") else "f")
        missing = await client.refused("GET", "/folder/mount", {**here, "vfid": absent}, 400)
        for nobody in ("eve", "no such user"):
            told = await client.refused("GET", "/folder/mount", {**here, "principal": nobody}, 400)
            assert (told["type"], told["msg"]) == (missing["type"], missing["msg"])
        await gateway.accounts.update_user(bob.id, active=False)
        await client.refused("GET", "/folder/mount", {**here, "principal": "bob"}, 400)
        await gateway.vfolders.update(vfolder.key, read_only=True)
        assert (await client.get("/folder/mount", {**here, "principal": "alice"}))["permission"] == "ro"


@pytest.mark.parametrize("purge", ["true", "false"])
async def test_deleting(tmp_path: Path, purge: str) -> None:
    """Into the trash, where it can be neither mounted nor made anew, or for good; the reference's own call knows no trash."""
    async with serving_manager(tmp_path) as serving:
        client = serving.client
        await client.post("/vfgateway/v1/users", {"name": "alice"}, 201)
        made = await client.post("/vfgateway/v1/vfolders", {"owner": "alice", "name": "data"}, 201)
        one = f"/vfgateway/v1/vfolders/{made['folder']}"
        status = 202 if purge == "true" else 200
        answer = await client.call("DELETE", f"{one}?purge={purge}")
        assert answer.status == status
        listed = (await client.get("/vfgateway/v1/vfolders"))["vfolders"]
        assert not [one for one in listed if one["status"] != "deleting"]
        trashed = (await client.get("/vfgateway/v1/trash"))["vfolders"]
        assert [each["name"] for each in trashed] == ([] if purge == "true" else ["data"])
        if trashed:
            await client.refused("GET", "/folder/mount", {"volume": "mem", "vfid": made["id"]}, 400)
            await client.refused("POST", "/folder/create", {"volume": "mem", "vfid": made["id"]}, 409)
            await client.post("/folder/delete", {"volume": "mem", "vfid": made["id"]}, 202)
            for task in await serving.gateway.tasks.list():
                async for _ in serving.gateway.tasks.watch(task.id):
                    pass
            assert (await client.get("/vfgateway/v1/trash"))["vfolders"] == []
