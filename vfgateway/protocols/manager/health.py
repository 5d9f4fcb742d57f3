"""How the gateway is: looked at now and then, told at once (reference 2.2). A volume that hangs delays nobody who asks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import attrs
from sqlalchemy import text
from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway import __version__
from vfgateway.model import Health, HealthState
from vfgateway.protocols.manager.wire import Check, Connectivity, HealthReport, Status
from vfgateway.protocols.web.routing import Call, NoParameters, Raw, Reply, Routes
from vfgateway.services.gateway import Gateway
from vfgateway.services.metrics import CONTENT_TYPE

#: Seconds between looks.
EVERY = 30.0
#: Seconds after which a look that has not ended counts as failed.
PATIENCE = 5.0


@attrs.frozen
class Looked:
    """What was found: ``group`` is ``volume`` or ``database``; ``at`` in epoch seconds; ``error`` says why it is not healthy."""

    group: str
    name: str
    at: float
    error: str | None

    @property
    def healthy(self) -> bool:
        return self.error is None


class HealthMonitor:
    """Looks at the database and every volume."""

    log = Logger()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._looked: dict[tuple[str, str], Looked] = {}
        self._loop = LoopingCall(self._begin_look)
        self._loop.clock = gateway.reactor

    def start(self) -> None:
        """Begin to look. Idempotent."""
        if not self._loop.running:
            self._loop.start(EVERY, now=True)

    def stop(self) -> None:
        """Look no more. Idempotent."""
        if self._loop.running:
            self._loop.stop()

    def _begin_look(self) -> None:
        # Not waited for: one that hangs must not keep the others from being looked at again.
        Deferred.fromCoroutine(self.look()).addErrback(
            lambda failure: self.log.failure("could not look at the gateway's health", failure)
        )

    async def look(self) -> None:
        """Look at everything now, at the same time."""
        looks = [self._look_at("volume", name, self._volume(name)) for name in self._gateway.volumes]
        looks.append(self._look_at("database", "database", self._database()))
        await gatherResults([Deferred.fromCoroutine(look) for look in looks])

    async def _look_at(self, group: str, name: str, looking: Any) -> None:
        found: Deferred[str | None] = Deferred.fromCoroutine(looking)
        try:
            error = await found.addTimeout(PATIENCE, self._gateway.reactor)
        except TimeoutError:
            error = f"no answer within {PATIENCE:.0f} seconds"
            if group == "volume":
                self._gateway.metrics.volume_health(name, HealthState.UNAVAILABLE)
        except Exception:
            self.log.failure("could not look at {group} {name}", group=group, name=name)
            error = "internal error, see the log"
        self._looked[group, name] = Looked(group, name, self._gateway.reactor.seconds(), error)

    async def _volume(self, name: str) -> str | None:
        health: Health = await self._gateway.volumes.health(name)
        self._gateway.metrics.volume_health(name, health.state)
        if health.state is not HealthState.UNAVAILABLE:
            self._gateway.metrics.volume_space(name, await self._gateway.volumes.get(name).space())
        return None if health.state is HealthState.HEALTHY else health.info or health.state.value

    async def _database(self) -> str | None:
        await self._gateway.database.read(lambda connection: connection.execute(text("SELECT 1")).scalar())
        return None

    @property
    def found(self) -> Sequence[Looked]:
        """The outcome of the last look at each; what has not been looked at yet is left out."""
        return list(self._looked.values())

    @property
    def ready(self) -> bool:
        """Whether requests can be answered. A dead volume does not count: the others are served."""
        return self._gateway.running and all(look.healthy for look in self.found if look.group == "database")


class HealthRoutes(Routes):
    """What is answered to anybody, and the metrics."""

    def __init__(self, gateway: Gateway, monitor: HealthMonitor, public_metrics: bool) -> None:
        super().__init__(gateway, reference=True, tag="health")
        self._monitor = monitor
        report, failed = {200: HealthReport}, {200: HealthReport, 503: HealthReport}
        self.add("GET", "/", self.root, NoParameters, {200: Status}, public=True)
        self.add("GET", "/status", self.status, NoParameters, {200: Status}, public=True)
        self.add("GET", "/health", self.health, NoParameters, report, public=True)
        self.add("GET", "/livez", self.livez, NoParameters, report, public=True)
        self.add("GET", "/readyz", self.readyz, NoParameters, failed, public=True)
        metrics = {200: Raw("text/plain", "Metrics in Prometheus' form")}
        self.add("GET", "/metrics", self.metrics, NoParameters, metrics, public=public_metrics)

    async def root(self, call: Call, params: NoParameters) -> Reply:
        """Give a sign of life."""
        return Reply(body=Status(storage_proxy=__version__))

    async def status(self, call: Call, params: NoParameters) -> Reply:
        """Give a sign of life."""
        return Reply(body=Status(storage_proxy=__version__))

    async def health(self, call: Call, params: NoParameters) -> Reply:
        """Tell how the database and each volume were when they were last looked at. Always 200."""
        return Reply(body=self._report("ok" if all(look.healthy for look in self._monitor.found) else "degraded"))

    async def livez(self, call: Call, params: NoParameters) -> Reply:
        """Say that the process answers: it should not be restarted."""
        return Reply(body=self._report("ok"))

    async def readyz(self, call: Call, params: NoParameters) -> Reply:
        """Say whether requests can be answered. A dead volume does not change that: the others are served."""
        ready = self._monitor.ready
        return Reply(200 if ready else 503, self._report("ok" if ready else "error"))

    async def metrics(self, call: Call, params: NoParameters) -> Reply:
        """Tell the metrics."""
        self.gateway.metrics.uploads(await self.gateway.staging.uploads.count_open())
        return Reply(body=self.gateway.metrics.render(), media_type=CONTENT_TYPE)

    def _report(self, status: Literal["ok", "degraded", "error"]) -> HealthReport:
        found = self._monitor.found
        checks = [
            Check(
                service_group=look.group,
                component_id=look.name,
                is_healthy=look.healthy,
                last_checked_at=_when(look.at),
                error_message=look.error,
            )
            for look in found
        ]
        return HealthReport(
            status=status,
            version=__version__,
            component="storage-proxy",
            connectivity=Connectivity(
                overall_healthy=all(look.healthy for look in found),
                connectivity_checks=checks,
                timestamp=_when(self.gateway.reactor.seconds()),
            ),
        )


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
