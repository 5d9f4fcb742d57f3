"""How the storage of a volume is, and how fast: asked in a thread of its own, however busy the others are, since storage need not answer at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import TimeoutError, ensureDeferred
from twisted.internet.task import deferLater

from vfgateway.backends.vfs.descriptors import Calls
from vfgateway.backends.vfs.hardware import MountPoint, health_of, mount_of
from vfgateway.backends.vfs.performance import Counters, counters, rates
from vfgateway.errors import GatewayError, Unsupported
from vfgateway.model import Health, HealthState, PerformanceMetric

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

#: Seconds over which performance is measured: at least, and at most since the last time somebody asked.
LEAST: Final = 1.0
MOST: Final = 60.0
#: Seconds after which storage that does not answer counts as unavailable.
PATIENCE: Final = 5.0
_NO_ANSWER: Final = f"the storage does not answer within {PATIENCE:.0f} seconds"


class Watch:
    """See the module.

    :param look: says how the storage is; called in the thread, where it may wait for ever
    """

    def __init__(self, name: str, runtime: Runtime, look: Callable[[], Health]) -> None:
        self._name = name
        self._reactor = runtime.reactor
        self._calls = Calls(name, lambda: runtime.pool(1))
        self._look = look
        self._overdue = threading.Event()
        self._overdue.set()
        self._counted: Counters | None = None

    def start(self) -> None:
        """From now on anything may be asked. Again after :meth:`stop`."""
        self._calls.start()

    async def stop(self) -> None:
        """Let the thread go."""
        await self._calls.stop()

    async def health(self) -> Health:
        """As of ``IVolume.health``."""
        if not self._overdue.is_set():  # one thread that waits for dead storage is enough
            return Health(HealthState.UNAVAILABLE, _NO_ANSWER)
        answered = threading.Event()
        asking = ensureDeferred(self._calls.run(self._ask, answered))
        asking.addTimeout(PATIENCE, self._reactor)
        try:
            return await asking
        except TimeoutError:
            self._overdue = answered
            return Health(HealthState.UNAVAILABLE, _NO_ANSWER)
        except GatewayError as error:
            return Health(HealthState.UNAVAILABLE, str(error))

    def _ask(self, answered: threading.Event) -> Health:
        try:
            return self._look()
        finally:
            answered.set()

    async def hardware(self, mount: MountPoint | None) -> Health:
        """What the kernel tells of what lies below ``mount``, if the storage is healthy otherwise."""
        health = await self.health()
        if mount is None or health.state is not HealthState.HEALTHY:
            return health
        return await self._calls.run(lambda: health_of(mount_of(mount.place) or mount))

    async def performance(self, mount: MountPoint | None) -> PerformanceMetric:
        """As of ``IPerformanceMetrics.performance``."""
        before = self._counted
        if before is None or not LEAST <= self._reactor.seconds() - before.at <= MOST:
            before = await self._count(mount)
            await deferLater(self._reactor, LEAST, lambda: None)
        self._counted = after = await self._count(mount)
        return rates(before, after)

    async def _count(self, mount: MountPoint | None) -> Counters:
        counted = None if mount is None else await self._calls.run(counters, mount, self._reactor.seconds())
        if counted is None:
            raise Unsupported(f"performance metrics of volume {self._name}: the kernel counts nothing of its storage")
        return counted
