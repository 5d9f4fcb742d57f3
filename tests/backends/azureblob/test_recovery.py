"""What outlives a process, on either side: uploads, renames that were cut, a storage that goes away and comes back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobLeaseClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.backends.azureblob.conftest import type_make
from tests.backends.azureblob.test_faults import BEFORE, bare, furnish, leftovers, tree_of
from tests.conformance.harness import at, content_of, names_in, new_vfid
from tests.support.azure_proxy import Asked, AzureProxy, Refusal
from tests.support.azurite import Azurite
from vfgateway.backends.azureblob import AzureBlobVolume
from vfgateway.errors import GatewayError, VolumeUnavailable
from vfgateway.model import ABSENT, ANY, Actor, FolderOptions, HealthState

CONTENT = random.Random(5).randbytes((2 << 20) + 99)


async def folder_on(volume: AzureBlobVolume, vfid: Any) -> Any:
    return await volume.folder(vfid, Actor())


async def test_the_storage_goes_away_in_the_middle(tmp_path: Path, make: type_make) -> None:
    """An upload waits for it and goes on; what was acknowledged is there afterwards, for another process, too."""
    with Azurite(tmp_path / "azurite") as azurite:
        volume = await make(azurite.url, parallel=1)
        vfid = new_vfid()
        await volume.create_folder(vfid, FolderOptions())
        folder = await folder_on(volume, vfid)
        kept = await folder.stage(at("kept"), None)
        await kept.append([CONTENT[:700_000]])
        await kept.close()
        staged = await folder.stage(at("file"), None)
        await staged.append([CONTENT[: 1 << 20]])
        azurite.stop()
        sending = Deferred.fromCoroutine(staged.append([CONTENT[1 << 20 :]]))
        assert (await volume.health()).state is HealthState.UNAVAILABLE
        azurite.start()
        await sending
        await staged.commit(at("file"), ABSENT)
        assert (await volume.health()).state is HealthState.HEALTHY
        other = await folder_on(await make(azurite.url), vfid)
        assert await content_of(other, "file") == CONTENT
        resumed = await other.resume(kept.token, 700_000)
        await resumed.append([CONTENT[700_000:]])
        await resumed.commit(at("kept"), ABSENT)
        assert await content_of(other, "kept") == CONTENT
        assert leftovers(azurite, other) == []
        await volume.stop()


async def test_storage_that_is_not_there(make: type_make) -> None:
    """A volume whose storage does not answer does not start, and says why."""
    with Azurite() as azurite:
        url = azurite.url
    volume = await make(url, start=False, patience=0.2)
    with pytest.raises(VolumeUnavailable, match="refused"):
        await volume.start()
    assert (await volume.health()).state is HealthState.UNAVAILABLE


@pytest.mark.parametrize("from_request", [2, 4, 6, 8, 11])
async def test_a_rename_that_was_cut(make: type_make, azurite: Azurite, proxy: AzureProxy, from_request: int) -> None:
    """Another process brings the rename of a directory to an end, forwards or back, once nobody works on it any more."""
    volume, vfid = await make(proxy.url, patience=0.2), new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder = await folder_on(volume, vfid)
    await furnish(folder)
    seen = 0

    def dead(asked: Asked) -> Refusal | None:
        nonlocal seen
        seen += asked.changes
        return Refusal(503, "ServerBusy") if seen > from_request else None

    proxy.rule = dead
    try:
        await folder.rename(at("dir"), at("moved"), ABSENT)
        acknowledged = True
    except GatewayError:
        acknowledged = False
    proxy.rule = lambda asked: None
    notes = [name for name in leftovers(azurite, folder) if name.startswith(".upload/move-")]
    assert len(notes) == 1
    # As if the time of the lease had passed, which is a minute.
    BlobLeaseClient(bare(azurite, folder).get_blob_client(notes[0])).break_lease(0)
    mended = await folder_on(await make(), vfid)
    found = await tree_of(mended)
    after = {name.replace("dir", "moved", 1): content for name, content in BEFORE.items()}
    assert found == (after if acknowledged else BEFORE)
    assert leftovers(azurite, mended) == []


async def test_a_rename_under_way_is_left_alone(make: type_make, proxy: AzureProxy, azurite: Azurite) -> None:
    """A process that comes later does not mend what another one is at."""
    volume, vfid = await make(proxy.url), new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder = await folder_on(volume, vfid)
    await furnish(folder)
    proxy.once_at(5, Refusal(503, "ServerBusy", {"Retry-After": "1"}), lambda asked: asked.changes)
    moving = Deferred.fromCoroutine(folder.rename(at("dir"), at("moved"), ABSENT))
    while not proxy.met:
        await deferLater(reactor, 0.01)
    await folder_on(await make(), vfid)
    await moving
    assert await names_in(folder) == ["file", "moved"]
    assert await content_of(folder, "moved/sub/deep") == b"deeper"
    assert leftovers(azurite, folder) == []


async def test_cancelling_leaves_all_or_nothing(make: type_make, azurite: Azurite) -> None:
    """Whoever gives up waiting for a publish finds the file whole, or the stage as it was."""
    volume, vfid = await make(), new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    folder = await folder_on(volume, vfid)
    staged = await folder.stage(at("file"), None)
    await staged.append([CONTENT])
    committing = Deferred.fromCoroutine(staged.commit(at("file"), ANY))
    committing.cancel()
    committing.addErrback(lambda _: None)
    await committing
    published = await names_in(folder) == ["file"]
    assert published == (await staged.commit(at("file"), ANY) is not None)
    assert await content_of(folder, "file") == CONTENT
    assert leftovers(azurite, folder) == []
