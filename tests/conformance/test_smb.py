"""The volume on a share keeps every promise, by either driver, on a real Samba."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from tests.conformance.harness import make_runtime
from tests.conformance.suite import EveryPromise
from tests.support.samba import Samba
from vfgateway.backends.smb import SmbVolumeFactory
from vfgateway.interfaces import IRandomWrite, IResumableStaging, IServerSideCopy, IVolume

_running: list[Samba] = []


@pytest.fixture(scope="module", autouse=True)
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One server for all of them."""
    with Samba(tmp_path_factory.mktemp("samba") / "server") as samba:
        _running[:] = [samba]
        yield


class TestSmb(EveryPromise):
    """By smbprotocol, encrypted."""

    backend = "smb"
    abilities = frozenset({IRandomWrite, IResumableStaging, IServerSideCopy})
    settings: ClassVar[dict[str, Any]] = {"durability": "none"}

    async def make_volume(self, tmp_path: Path) -> IVolume:
        settings = _running[0].settings(path=f"volumes/{uuid4().hex}", **self.settings)
        return SmbVolumeFactory().configure("share", settings, make_runtime(tmp_path))
