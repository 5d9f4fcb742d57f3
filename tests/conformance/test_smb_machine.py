"""Random operations on a share, by smbprotocol, which answers without the reactor where its threads are none."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from hypothesis import settings
from twisted.internet.task import Clock

from tests.conformance.harness import NoState
from tests.conformance.machine import FolderMachine
from tests.conformance.test_machine import EFFORT
from tests.conformance.test_smb import running, samba
from vfgateway.backends.smb import SmbVolumeFactory
from vfgateway.blocking import InlinePool
from vfgateway.interfaces import IVolume
from vfgateway.runtime import Runtime

#: Used by name, by pytest.
__all__ = ["samba"]


class SmbMachine(FolderMachine):
    """With names that the protocol can have."""

    names = ("a", "b", "ü")
    # What is not to be had.
    make_link = hard_link = None  # type: ignore[assignment]

    def make_volume(self, directory: Path) -> IVolume:
        clock = Clock()

        def pool(size: int, inline: bool = False) -> InlinePool:
            return InlinePool(clock)

        runtime = Runtime(clock, pool, agent=None, spool=directory, state=NoState())
        table = running[0].settings(path=f"volumes/{uuid4().hex}", durability="none", connections=2)
        return SmbVolumeFactory().configure("share", table, runtime)


TestSmbMachine = SmbMachine.TestCase
TestSmbMachine.settings = settings(EFFORT, max_examples=10, stateful_step_count=25)
