"""What is kept of vfolders in a storage account."""

from __future__ import annotations

from pathlib import Path

from azure.storage.blob import BlobServiceClient

from tests.backends.azureblob.conftest import type_make
from tests.conformance.harness import new_vfid
from tests.support.azurite import KEY, Azurite
from tests.support.rebuilding import check_rebuilding
from vfgateway.interfaces import IVolume
from vfgateway.model import FolderOptions


async def test_the_registry_is_made_again(make: type_make, tmp_path: Path) -> None:
    """Without the database, from the account alone."""

    async def again() -> IVolume:
        return await make(start=False)

    await check_rebuilding(tmp_path, again)


async def test_lies_where_no_signed_access_leads(make: type_make, azurite: Azurite) -> None:
    """A container for all of them: none of a vfolder's own."""
    volume = await make()
    vfid = new_vfid()
    await volume.create_folder(vfid, FolderOptions())
    await volume.describe(vfid, b"{}")
    account = BlobServiceClient(azurite.url, KEY, api_version="2022-11-02")
    own = account.get_container_client(f"{volume.settings.container_prefix}{vfid.folder.hex}")
    assert list(own.list_blobs()) == []
    for_all = account.get_container_client(f"{volume.settings.container_prefix}descriptions")
    assert [blob.name for blob in for_all.list_blobs()] == [f"{vfid.folder.hex}.json"]
