"""Directories that were there before: made vfolders where they lie, through the manager API, seen by people, and given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.client_api import disk_volume
from tests.support.gateway import running_gateway
from tests.support.manager import Serving, serving_manager
from vfgateway.backends.vfs.adoption import Adoption
from vfgateway.errors import LeavesFolder, NotFound, PermissionDenied
from vfgateway.model import Permission, VFolderId
from vfgateway.paths import ROOT, parse_text
from vfgateway.principals import Origin
from vfgateway.services.tasks import TaskState


def dataset(tmp_path: Path) -> Path:
    """Something worth sharing, with a link that leads out."""
    place = tmp_path / "datasets/flowers"
    (place / "train").mkdir(parents=True)
    (place / "train/one").write_bytes(b"12345")
    (place / "out").symlink_to("/etc")
    return place


async def adopted(serving: Serving, place: Path, **more: Any) -> dict[str, Any]:
    """A vfolder of alice's."""
    body = {"owner": "alice", "name": "flowers", "volume": "disk", "place": str(place), **more}
    made: dict[str, Any] = await serving.client.post("/vfgateway/v1/vfolders/adopt", body, 201)
    return made


async def test_a_dataset_is_read_and_written_by_nobody(tmp_path: Path) -> None:
    """Not by its owner, not by the orchestrator; agents mount the place itself; deleting it leaves every byte."""
    place = dataset(tmp_path)
    before = sorted(str(path) for path in place.rglob("*"))
    volume = disk_volume(tmp_path / "volume", adoptable=[str(tmp_path / "datasets")])
    async with serving_manager(tmp_path, volumes=[volume]) as serving:
        gateway = serving.gateway
        user = await gateway.accounts.create_user("alice")
        made = await adopted(serving, place)
        assert (made["read_only"], made["name"]) == (True, "flowers")
        principal = await gateway.accounts.principal_of(user.id)
        folder = await gateway.session(principal, Origin("test")).folder_named("flowers")
        assert folder.access.permission is Permission.RO
        download = await folder.download(parse_text("train/one"))
        assert await download.file.read(0, 10) == b"12345"
        await download.close()
        with pytest.raises(LeavesFolder):
            await folder.download(parse_text("out/hostname"))
        with pytest.raises(PermissionDenied):
            await folder.make_dir(parse_text("new"))
        here = {"volume": "disk", "vfid": made["id"]}
        assert (await serving.client.get("/folder/mount", here))["path"] == str(place)
        mounted = await serving.client.get("/folder/mount", {**here, "principal": "alice"})
        assert mounted["permission"] == "ro"
        for task in await gateway.tasks.list():
            async for state in gateway.tasks.watch(task.id):
                assert state.state is not TaskState.FAILED, state.message
        usage = await gateway.quota.usage(folder.vfolder)
        assert (usage.bytes, usage.files) == (5, 3)
        await gateway.lifecycle.purge("disk", folder.vfolder.id)
        assert sorted(str(path) for path in place.rglob("*")) == before
        assert not await gateway.volumes.get("disk").folders()


async def test_what_is_adopted_to_be_written(tmp_path: Path) -> None:
    """Is written where it lies."""
    place = dataset(tmp_path)
    volume = disk_volume(tmp_path / "volume", adoptable=[str(tmp_path / "datasets")])
    async with serving_manager(tmp_path, volumes=[volume]) as serving:
        user = await serving.gateway.accounts.create_user("alice")
        await adopted(serving, place, read_only=False)
        principal = await serving.gateway.accounts.principal_of(user.id)
        folder = await serving.gateway.session(principal, Origin("test")).folder_named("flowers")
        async with await folder.upload(parse_text("new"), size=3) as upload:
            await upload.write([b"abc"])
            await upload.commit()
        assert (place / "new").read_bytes() == b"abc"
        await (await folder.list(ROOT)).close()


@pytest.mark.parametrize("where", ["/etc", "relative", "{0}/datasets/../secret", "{0}/datasets/link", "{0}/secret"])
async def test_what_cannot_be_adopted(tmp_path: Path, where: str) -> None:
    """Anything outside of what the configuration names, by whatever way it is told."""
    dataset(tmp_path)
    (tmp_path / "secret").mkdir()
    (tmp_path / "datasets/link").symlink_to(tmp_path / "secret")
    volume = disk_volume(tmp_path / "volume", adoptable=[str(tmp_path / "datasets")])
    async with serving_manager(tmp_path, volumes=[volume]) as serving:
        await serving.gateway.accounts.create_user("alice")
        body = {"owner": "alice", "name": "x", "volume": "disk", "place": where.format(tmp_path)}
        await serving.client.refused("POST", "/vfgateway/v1/vfolders/adopt", body, 400)
        assert await serving.gateway.vfolders.list() == []
        assert not await serving.gateway.volumes.get("disk").folders()


async def test_what_is_allowed_no_more_is_gone(tmp_path: Path) -> None:
    """The configuration has the last word, also about what was adopted before."""
    place = dataset(tmp_path)
    volume = disk_volume(tmp_path / "volume", adoptable=[str(tmp_path / "datasets")])
    async with serving_manager(tmp_path, volumes=[volume]) as serving:
        await serving.gateway.accounts.create_user("alice")
        made = await adopted(serving, place)
    async with running_gateway(tmp_path / "other", [disk_volume(tmp_path / "volume")]) as gateway:
        with pytest.raises(NotFound):
            await gateway.find_vfolder(VFolderId.parse(made["id"]), "disk")
    assert Adoption().target(tmp_path) is None
