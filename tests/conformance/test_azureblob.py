"""Azure Blob Storage keeps every promise, on a real Azurite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import pytest_twisted

from tests.conformance.harness import make_runtime
from tests.conformance.suite import EveryPromise
from tests.support.azurite import Azurite
from vfgateway.backends.azureblob import AzureBlobSettings, AzureBlobVolume, listing
from vfgateway.interfaces import IModes, IResumableStaging, IServerSideCopy, IUsageWalk, IVolume


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    """One for all; each test has a prefix of its own for its containers."""
    with Azurite() as azurite:
        yield azurite


class TestAzureBlob(EveryPromise):
    """As it comes."""

    backend = "azureblob"
    abilities = frozenset({IModes, IResumableStaging, IServerSideCopy, IUsageWalk})
    settings: ClassVar[dict[str, Any]] = {}
    many = 250

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a directory that is quickly filled has several."""
        monkeypatch.setattr(listing, "PAGE", 100)

    @pytest_twisted.async_yield_fixture
    async def volume(self, tmp_path: Path, azurite: Azurite) -> AsyncIterator[IVolume]:
        prefix = f"t{uuid4().hex[:8]}-"
        settings = AzureBlobSettings(**azurite.settings(container_prefix=prefix, **self.settings))
        volume = AzureBlobVolume("blobs", settings, make_runtime(tmp_path))
        await volume.start()
        try:
            yield volume
        finally:
            await volume.stop()
