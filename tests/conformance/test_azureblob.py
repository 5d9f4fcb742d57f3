"""Azure Blob Storage keeps every promise, on a real Azurite."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import pytest_twisted
from azure.storage.blob import BlobServiceClient
from hypothesis import HealthCheck, settings

from tests.conformance.harness import make_runtime
from tests.conformance.machine import FolderMachine
from tests.conformance.moving import MovePromises
from tests.conformance.suite import EveryPromise
from tests.support.azurite import KEY, Azurite
from vfgateway.abilities import IAdoption, IDescriptions, IModes, IResumableStaging, IServerSideCopy, IUsageWalk
from vfgateway.backends.azureblob import AzureBlobSettings, AzureBlobVolume, listing
from vfgateway.interfaces import IVolume


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    """One for all; each test has a prefix of its own for its containers."""
    with Azurite() as azurite:
        yield azurite


class TestAzureBlob(EveryPromise, MovePromises):
    """As it comes."""

    backend = "azureblob"
    abilities = frozenset({IAdoption, IDescriptions, IModes, IResumableStaging, IServerSideCopy, IUsageWalk})
    settings: ClassVar[dict[str, Any]] = {}
    many = 250
    url: ClassVar[str]

    def _container(self, tmp_path: Path) -> str:
        return f"adopt-{hashlib.sha256(bytes(tmp_path)).hexdigest()[:16]}"

    def foreign_place(self, tmp_path: Path) -> str:
        name = self._container(tmp_path)
        container = BlobServiceClient(self.url, KEY).get_container_client(name)
        if not container.exists():
            container.create_container()
            container.upload_blob("dir/file", b"content")
        return name

    def foreign_file(self, tmp_path: Path) -> str:
        return f"{self.foreign_place(tmp_path)}/dir/file"

    def missing_place(self, tmp_path: Path) -> str:
        return f"{self._container(tmp_path)}-nothing"

    def forbidden_place(self, tmp_path: Path) -> str:
        return "another-container"

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a directory that is quickly filled has several."""
        monkeypatch.setattr(listing, "PAGE", 100)

    @pytest_twisted.async_yield_fixture
    async def volume(self, tmp_path: Path, azurite: Azurite) -> AsyncIterator[IVolume]:
        prefix = f"t{uuid4().hex[:8]}-"
        chosen = AzureBlobSettings(**azurite.settings(container_prefix=prefix, adoptable=["adopt-*"], **self.settings))
        volume = AzureBlobVolume("blobs", chosen, make_runtime(tmp_path))
        await volume.start()
        try:
            yield volume
        finally:
            await volume.stop()


class AzureBlobMachine(FolderMachine):
    """Random operations; those that need links or random writes are left out."""

    azurite: ClassVar[Azurite]
    names = ("a", "a.", "\udcff")
    make_link = hard_link = write = truncate = None  # type: ignore[assignment]

    def make_volume(self, directory: Path) -> IVolume:
        chosen = AzureBlobSettings(**self.azurite.settings(container_prefix=f"m{uuid4().hex[:8]}-"))
        return AzureBlobVolume("blobs", chosen, make_runtime(directory))


@pytest.fixture(scope="module", autouse=True)
def machines_on_it(azurite: Azurite) -> None:
    """So that machines, and what is asked of a class without fixtures, find it."""
    AzureBlobMachine.azurite = azurite
    TestAzureBlob.url = azurite.url


TestAzureBlobMachine = AzureBlobMachine.TestCase
TestAzureBlobMachine.settings = settings(
    max_examples=5,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
