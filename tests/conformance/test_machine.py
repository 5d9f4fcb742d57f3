"""Random operations on every implementation that can be driven without the reactor."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from twisted.internet.task import Clock

from tests.conformance.harness import NoState
from tests.conformance.machine import FolderMachine
from vfgateway.backends.memory import MemoryVolume
from vfgateway.backends.vfs import VfsSettings, VfsVolume
from vfgateway.backends.vfs.resolve import KernelResolver, Resolver, WalkResolver
from vfgateway.blocking import InlinePool
from vfgateway.interfaces import IVolume
from vfgateway.runtime import Runtime

EFFORT = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)


class MemoryMachine(FolderMachine):
    def make_volume(self, directory: Path) -> IVolume:
        return MemoryVolume("mem", Clock())


class VfsMachine(FolderMachine):
    resolver: ClassVar[type[Resolver]] = KernelResolver

    def make_volume(self, directory: Path) -> IVolume:
        clock = Clock()

        def pool(size: int, inline: bool = False) -> InlinePool:
            return InlinePool(clock)

        runtime = Runtime(clock, pool, agent=None, spool=directory, state=NoState())
        settings = VfsSettings(path=directory / "volume", durability="none")
        return VfsVolume("disk", settings, runtime, self.resolver())


class VfsWalkMachine(VfsMachine):
    resolver = WalkResolver


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = EFFORT
TestVfsMachine = VfsMachine.TestCase
TestVfsMachine.settings = EFFORT
TestVfsWalkMachine = VfsWalkMachine.TestCase
TestVfsWalkMachine.settings = EFFORT
