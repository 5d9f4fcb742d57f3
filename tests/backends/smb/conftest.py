"""A real Samba for all tests here, and volumes on it, each in a directory of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_twisted

from tests.conformance.harness import make_runtime
from tests.support.samba import Samba
from vfgateway.backends.smb import SmbVolume, SmbVolumeFactory, links

#: A volume on a server, with these settings beside those of the server; started, unless ``start=False``.
type_make = Callable[..., Awaitable[SmbVolume]]
#: What has to be said to have each driver.
DRIVERS = {"smbprotocol": {}, "pysmb": {"driver": "pysmb", "encrypt": False}}


@pytest.fixture(scope="package")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    with Samba(tmp_path_factory.mktemp("samba") / "server") as samba:
        yield samba


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that were lost are made again soon."""
    monkeypatch.setattr(links, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(links, "LONGEST_PAUSE", 0.05)


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that choose a driver: the test is run for each."""
    return DRIVERS[request.param]


@pytest_twisted.async_yield_fixture
async def make(tmp_path: Path) -> AsyncIterator[type_make]:
    made: list[SmbVolume] = []

    async def make(samba: Samba, start: bool = True, **more: Any) -> SmbVolume:
        settings = samba.settings(**{"path": f"volumes/{uuid4().hex}", "durability": "none", **more})
        settings = {key: value for key, value in settings.items() if value is not None}
        volume = SmbVolumeFactory().configure("share", settings, make_runtime(tmp_path))
        assert isinstance(volume, SmbVolume)
        made.append(volume)
        if start:
            await volume.start()
        return volume

    yield make
    for volume in made:
        await volume.stop()
