"""What is deleted, or expires, lies in the trash for its time, and is then removed by a background task."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from tests.support.gateway import new_vfolder, orchestrator_in, running_gateway
from vfgateway.errors import Conflict, NotFound, VFolderExists, VFolderNotFound
from vfgateway.model import Usage, VFolderStatus
from vfgateway.paths import ROOT, parse_text
from vfgateway.services.audit_records import Filter
from vfgateway.services.gateway import Gateway
from vfgateway.services.sharing_tables import file_trash, vfolder_trash
from vfgateway.services.tasks import until_finished

DAY = 86400.0


async def age(gateway: Gateway, seconds: float) -> None:
    """As if that much time had passed since anything was deleted."""
    for table in (vfolder_trash, file_trash):
        later = update(table).values(purge_at=table.c.purge_at - seconds)
        await gateway.database.write(lambda connection, later=later: connection.execute(later).rowcount)  # type: ignore[misc]


async def test_the_trash_is_emptied_by_a_task(tmp_path: Path) -> None:
    """Not before its time; then nothing is left: no content, no row, no charge."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, name="data")
        folder = await orchestrator_in(gateway, vfolder)
        async with await folder.upload(parse_text("f"), size=5) as upload:
            await upload.write([b"12345"])
            await upload.commit()
        await gateway.trash.put(vfolder, "test")
        with pytest.raises(VFolderNotFound):
            await gateway.trash.put(vfolder, "again")
        await gateway.retention.look()
        assert [one.name for one in await gateway.trash.list()] == ["data"]
        assert (await gateway.quota.usage(vfolder)).bytes == 5
        await age(gateway, 8 * DAY)
        await gateway.retention.look()
        for task in await gateway.tasks.list():
            await until_finished(gateway.tasks, task.id)
        assert list(await gateway.trash.list()) == []
        assert list(await gateway.vfolders.list()) == []
        assert not await gateway.volumes.get("mem").folders()


async def test_a_temporary_vfolder_expires_into_the_trash(tmp_path: Path) -> None:
    """And whoever restores it has it for good."""
    async with running_gateway(tmp_path) as gateway:
        now = gateway.reactor.seconds()
        gone = await new_vfolder(gateway, name="gone", expires=now - 1)
        stays = await new_vfolder(gateway, name="stays", expires=now + DAY)
        await gateway.retention.look()
        assert (await gateway.vfolders.by_key(gone.key)).status is VFolderStatus.TRASHED
        assert (await gateway.vfolders.by_key(stays.key)).status is VFolderStatus.READY
        [entry] = await gateway.audit.find(Filter(event="vfolder_trashed"), 10)
        assert (entry.target, entry.facts["by"], entry.vfid) == ("gone", "its expiry", str(gone.id))
        back = await gateway.trash.restore(gone.key, "test")
        assert (back.name, back.expires) == ("gone", None)
        await gateway.retention.look()
        assert (await gateway.vfolders.by_key(gone.key)).status is VFolderStatus.READY


async def test_a_name_is_free_while_its_vfolder_lies_in_the_trash(tmp_path: Path) -> None:
    """It may be used, and then the old one comes back only under another."""
    async with running_gateway(tmp_path) as gateway:
        old = await new_vfolder(gateway, name="data")
        await gateway.trash.put(old, "test")
        await new_vfolder(gateway, name="data")
        with pytest.raises(VFolderExists):
            await gateway.trash.restore(old.key, "test")
        assert (await gateway.trash.get(old.key)).name == "data"
        assert (await gateway.trash.restore(old.key, "test", "data of old")).name == "data of old"
        with pytest.raises(VFolderNotFound):
            await gateway.trash.restore(old.key, "test")
        copying = await new_vfolder(gateway, name="copying", status=VFolderStatus.CLONING)
        with pytest.raises(Conflict):
            await gateway.trash.put(copying, "test")


async def test_deleted_files_are_swept(tmp_path: Path) -> None:
    """When their time has passed, and then they are charged no more; a trash without retention keeps nothing."""
    async with running_gateway(tmp_path) as gateway:
        vfolder = await new_vfolder(gateway, name="data")
        folder = await orchestrator_in(gateway, vfolder)
        await folder.make_dir(parse_text("d/e"), parents=True)
        async with await folder.upload(parse_text("d/f"), size=5) as upload:
            await upload.write([b"12345"])
            await upload.commit()
        item = await gateway.file_trash.discard(folder, parse_text("d"))
        assert item is not None
        assert (await gateway.quota.usage(vfolder)).bytes == 5
        with pytest.raises(NotFound):
            await folder.stat(parse_text(f".trash/{item.id}"))
        await gateway.retention.look()
        assert len(await gateway.file_trash.list(folder)) == 1
        await age(gateway, 8 * DAY)
        await gateway.retention.look()
        assert list(await gateway.file_trash.list(folder)) == []
        assert await gateway.quota.usage(vfolder) == await gateway.lifecycle.recount(vfolder)
        assert (await gateway.quota.usage(vfolder)).bytes == 0
        gateway.file_trash.retention = 0.0
        await folder.make_dir(parse_text("x"))
        assert await gateway.file_trash.discard(folder, parse_text("x")) is None
        listing = await folder.list(ROOT)
        assert list(await listing.read(10)) == []
        await listing.close()
        assert await gateway.quota.usage(vfolder) == Usage(0, 1)  # the directory in which deleted files lie
