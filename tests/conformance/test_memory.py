"""The memory volume keeps every promise, as itself and as a double of SMB."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor

from tests.conformance.suite import EveryPromise
from vfgateway.abilities import (
    IAttributes,
    IDescriptions,
    IFastClone,
    IFastUsage,
    ILinks,
    IModes,
    IRandomWrite,
    IResumableStaging,
    IServerSideCopy,
    ISnapshots,
)
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.memory.volume import SMB_FORBIDDEN
from vfgateway.interfaces import IVolume


class TestMemory(EveryPromise):
    """As it comes."""

    backend = "memory"
    abilities = frozenset(
        {
            IAttributes,
            IDescriptions,
            IFastClone,
            IFastUsage,
            ILinks,
            IModes,
            IRandomWrite,
            IResumableStaging,
            IServerSideCopy,
            ISnapshots,
        }
    )

    async def make_volume(self, tmp_path: Path) -> IVolume:
        return MemoryVolume("mem", reactor)


class TestMemoryFoldingCase(TestMemory):
    """With the names of an SMB share."""

    async def make_volume(self, tmp_path: Path) -> IVolume:
        return MemoryVolume("mem", reactor, case_folding=True, forbidden=SMB_FORBIDDEN)
