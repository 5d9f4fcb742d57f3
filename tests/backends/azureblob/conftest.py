"""A real Azurite for all tests here, and volumes on it, each with containers of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_twisted

from tests.conformance.harness import make_runtime
from tests.support.azure_proxy import AzureProxy
from tests.support.azurite import Azurite
from vfgateway.backends.azureblob import AzureBlobSettings, AzureBlobVolume

#: Starts a volume with these settings beside those of Azurite's account.
type_make = Callable[..., Awaitable[AzureBlobVolume]]


@pytest.fixture(scope="package")
def azurite() -> Iterator[Azurite]:
    with Azurite() as azurite:
        yield azurite


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[AzureProxy]:
    with AzureProxy(azurite) as proxy:
        yield proxy


@pytest.fixture
def fetching(azurite: Azurite) -> Iterator[AzureProxy]:
    """One that does what the service does and Azurite does not."""
    with AzureProxy(azurite, fetches=True) as proxy:
        yield proxy


@pytest_twisted.async_yield_fixture
async def make(tmp_path: Path, azurite: Azurite) -> AsyncIterator[type_make]:
    made: list[AzureBlobVolume] = []
    prefix = f"t{uuid4().hex[:8]}-"

    async def make(url: str | None = None, start: bool = True, **more: Any) -> AzureBlobVolume:
        settings = azurite.settings(url, **{"container_prefix": prefix, "block_size": 256 << 10, **more})
        if "sas_token" in more or "sas_token_file" in more:
            settings = {key: value for key, value in settings.items() if key != "account_key"}
        volume = AzureBlobVolume("blobs", AzureBlobSettings.model_validate(settings), make_runtime(tmp_path))
        made.append(volume)
        if start:
            await volume.start()
        return volume

    yield make
    for volume in made:
        await volume.stop()
