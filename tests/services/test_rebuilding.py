"""Without its database the gateway makes its registry again from what lies on the volumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from twisted.internet import reactor

from tests.cli.command import Command, administered
from tests.support.gateway import new_vfolder, running_gateway
from tests.upkeep.test_backup import vfs_volume
from vfgateway.model import Permission, VFolder, VFolderStatus
from vfgateway.services.gateway import Gateway
from vfgateway.services.processes import wait


def described(folder: Path, vfolder: VFolder) -> dict[str, object]:
    """What lies beside a vfolder on the disk."""
    assert vfolder.id.scope is not None
    file = folder / "volume" / vfolder.id.scope.uuid.hex / ".vfolders" / f"{vfolder.id.folder.hex}.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    found: dict[str, object] = json.loads(file.read_text())
    return found


async def furnish(vfgateway: Command) -> None:
    """Alice, Bob, a group, and what they share."""
    await vfgateway("user", "add", "alice", "--no-password")
    await vfgateway("user", "add", "bob", "--no-password")
    await vfgateway("group", "add", "lab")
    await vfgateway("vfolder", "create", "alice/data", "--quota", "10MiB", "--expires", "2040-01-01")
    await vfgateway("grant", "add", "alice/data", "--user", "bob", "--permission", "ro")
    await vfgateway("grant", "add", "alice/data", "--group", "lab", "--permission", "rwd", "--expires", "2039-01-01")
    await vfgateway("vfolder", "create", "lab/common")
    await vfgateway("vfolder", "edit", "lab/common", "--read-only")
    await vfgateway("vfolder", "create", "alice/old")
    await vfgateway("vfolder", "delete", "alice/old", "--yes")


async def facts(vfgateway: Command) -> object:
    """All that people would notice of the registry."""
    shown = [await vfgateway.json("vfolder", "show", name) for name in ("alice/data", "lab/common")]
    for one in shown:
        one.pop("grants", None)
    grants = [
        {key: value for key, value in grant.items() if key not in ("id", "created")}
        for grant in await vfgateway.json("grant", "list", "alice/data")
    ]
    trash = await vfgateway.json("trash", "list")
    return shown, sorted(grants, key=str), [one["name"] for one in trash]


async def test_the_registry_is_made_again_without_the_database(tmp_path: Path) -> None:
    """Names, owners, limits, grants and the trash; with the accounts' names, if asked; and files are counted."""
    async with administered(tmp_path, [vfs_volume(tmp_path)]) as vfgateway:
        await furnish(vfgateway)
        data = await vfgateway.gateway.vfolders.resolve("alice/data")
        place = Path(await vfgateway.gateway.lifecycle.mount_path(data))
        (place / "file").write_bytes(b"12345")
        await vfgateway.gateway.lifecycle.recount(data)
        before = await facts(vfgateway)
        assert await vfgateway.gateway.descriptions.write()
    shutil.rmtree(tmp_path / "var")
    async with administered(tmp_path, [vfs_volume(tmp_path)]) as vfgateway:
        found = await vfgateway.json("db", "rebuild", "--dry-run")
        assert {(one["owner"], one["name"], one["entered"]) for one in found} == {
            ("alice", "data", False),
            ("lab", "common", False),
            ("alice", "old", False),
        }
        assert await vfgateway.json("vfolder", "list") == [], "asking changes nothing"
        done = await vfgateway.json("db", "rebuild", "--accounts", "--yes")
        assert all(one["entered"] and not one["problem"] for one in done), done
        again = await vfgateway.gateway.vfolders.resolve("alice/data")
        assert again.created == data.created
        while (await vfgateway.gateway.quota.usage(again)).bytes != 5:
            await wait(reactor, 0.02)
        assert await facts(vfgateway) == before
        assert await vfgateway.json("db", "rebuild", "--yes") == []


async def test_what_changes_is_described_anew(tmp_path: Path) -> None:
    """By whoever it was changed; what has not changed is left alone, and what is deleted takes its description along."""
    async with administered(tmp_path, [vfs_volume(tmp_path)]) as vfgateway:
        gateway = vfgateway.gateway
        await furnish(vfgateway)
        await gateway.descriptions.write()
        vfolder = await gateway.vfolders.resolve("alice/data")
        first = described(tmp_path, vfolder)
        assert first["owner"] == {"id": str(vfolder.owner), "name": "alice"}
        await vfgateway("vfolder", "edit", "alice/data", "--name", "renamed", "--quota", "20MiB", "--owner", "bob")
        await gateway.descriptions.write()
        second = described(tmp_path, vfolder)
        assert (second["name"], second["limit_bytes"]) == ("renamed", 20 << 20)
        assert second["owner"] != first["owner"]
        await vfgateway("user", "edit", "bob", "--name", "robert")
        await gateway.descriptions.write()
        assert described(tmp_path, vfolder)["owner"] == {
            "id": str((await gateway.accounts.user("robert")).id),
            "name": "robert",
        }
        volume = gateway.volumes.get("disk")
        await volume.describe(vfolder.id, b"{}")  # type: ignore[attr-defined]
        await gateway.descriptions.write()
        assert described(tmp_path, vfolder) == {}, "nothing had changed"
        await vfgateway("vfolder", "delete", "robert/renamed", "--yes", "--purge")
        names = [path.name for path in (tmp_path / "volume").rglob(".vfolders/*")]
        assert f"{vfolder.id.folder.hex}.json" not in names


async def _two(gateway: Gateway) -> tuple[VFolder, VFolder]:
    alice = await gateway.accounts.create_user("alice")
    first = await new_vfolder(gateway, "disk", alice.id, name="data")
    second = await new_vfolder(gateway, "disk", alice.id, name="other")
    await gateway.vfolders.grant(first.key, "user", alice.id, Permission.RO)
    await gateway.descriptions.write()
    return first, second


async def test_what_cannot_be_taken_over_is_told_and_loses_no_file(tmp_path: Path) -> None:
    """A description that is damaged, and a name that the owner has given to another: the vfolder is there, by its digits."""
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        first, second = await _two(gateway)
        volume = gateway.volumes.get("disk")
        await volume.describe(second.id, b"damaged")  # type: ignore[attr-defined]
    shutil.rmtree(tmp_path / "var")
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        assert first.owner is not None
        await new_vfolder(gateway, "disk", first.owner, name="data")
        done = {one.vfid: one for one in await gateway.rebuilding.rebuild(accounts=False)}
        assert done[first.id].entered
        assert "another vfolder data" in done[first.id].problem
        assert done[second.id].entered
        assert done[second.id].description is None
        assert (await gateway.vfolders.get(first.id)).name is None
        assert (await gateway.vfolders.get(second.id)).status is VFolderStatus.READY


async def test_one_that_is_asked_for_comes_back_by_itself(tmp_path: Path) -> None:
    """As an orchestrator does: whoever adopts takes the description over, too."""
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        first, _ = await _two(gateway)
    shutil.rmtree(tmp_path / "var")
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        found = await gateway.find_vfolder(first.id, "disk")
        assert (found.name, found.owner) == ("data", first.owner)
        assert [grant.permission for grant in await gateway.vfolders.grants(found.key)] == [Permission.RO]


async def test_the_gateway_describes_by_itself(tmp_path: Path) -> None:
    """Within seconds, without being asked."""
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        vfolder = (await _two(gateway))[0]
        await gateway.vfolders.update(vfolder.key, name="by-itself")
        while described(tmp_path, vfolder)["name"] != "by-itself":
            await wait(reactor, 0.1)
