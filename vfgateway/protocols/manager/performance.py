"""Remembers for a moment what volumes measured, so that a dashboard with many viewers asks a vendor's API once."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from vfgateway.abilities import IPerformanceMetrics
from vfgateway.errors import Unsupported
from vfgateway.model import PerformanceMetric
from vfgateway.services.gateway import Gateway

#: Seconds for which a measurement is good.
FRESH = 10.0


@attrs.frozen
class Observed:
    """Rates, and when they were observed (epoch seconds)."""

    metric: PerformanceMetric
    at: float


class PerformanceCache:
    """Asks volumes for their rates, each at most once in :data:`FRESH` seconds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._observed: dict[str, Observed] = {}
        self._waiting: dict[str, list[Deferred[Observed]]] = {}

    async def get(self, name: str) -> Observed:
        """The rates of a volume. ``Unsupported``, ``UnknownVolume``, ``VolumeUnavailable``."""
        volume = self._gateway.volumes.get(name)
        if not IPerformanceMetrics.providedBy(volume):
            raise Unsupported(f"performance metrics of volume {name}")
        known = self._observed.get(name)
        if known is not None and self._gateway.reactor.seconds() < known.at + FRESH:
            return known
        waiter: Deferred[Observed] = Deferred()
        if name in self._waiting:
            self._waiting[name].append(waiter)
        else:
            self._waiting[name] = [waiter]
            Deferred.fromCoroutine(self._observe(name, volume)).addBoth(self._tell, name)
        return await waiter

    async def _observe(self, name: str, volume: IPerformanceMetrics) -> Observed:
        observed = Observed(await volume.performance(), self._gateway.reactor.seconds())
        self._observed[name] = observed
        return observed

    def _tell(self, outcome: Observed | Failure, name: str) -> None:
        for waiter in self._waiting.pop(name):
            if not waiter.called:
                waiter.callback(outcome)
