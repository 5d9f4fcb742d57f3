"""Processes that look out for limits, for tests of alerts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.web.client import Agent

from tests.support.databases import ThreadsOf
from tests.support.processes import Process, process, turn
from vfgateway.alert_settings import AlertSettings
from vfgateway.model import Limits, Usage, VFolder
from vfgateway.services.alerts import ALL_OVER, SOON, Alerts
from vfgateway.services.database import FRESH
from vfgateway.services.events import QuotaAlert
from vfgateway.services.metrics import Metrics
from vfgateway.services.notifications import Notifications
from vfgateway.services.subjects import NO_SOFT, SoftLimits, set_hard, set_soft, vfolder_subject

DEFAULTS = AlertSettings()


@attrs.frozen(eq=False)
class LookOut:
    """A process with its alerts.

    :ivar told: the alerts that it has told
    """

    at: Process
    alerts: Alerts
    metrics: Metrics
    told: list[QuotaAlert]

    @property
    def levels(self) -> list[str]:
        """What was crossed, in the order in which it was told."""
        return [event.crossed for event in self.told]

    async def looked(self) -> None:
        """Let it look at what has changed."""
        await self.at.quota.flush()
        self.at.clock.advance(SOON)
        await self._settled()

    async def looked_all_over(self) -> None:
        """Let it look at everything."""
        self.at.clock.advance(ALL_OVER)
        await self._settled()

    async def _settled(self) -> None:
        while self.alerts._work:
            await turn()

    async def store(self, vfolder: VFolder, amount: Usage) -> None:
        """Publish, and let it be noticed."""
        async with await self.at.quota.reserve(vfolder, amount) as reservation:
            await reservation.settle(amount)
        await self.looked()

    async def remove(self, vfolder: VFolder, amount: Usage) -> None:
        """Remove, and let it be noticed."""
        await self.at.quota.change(vfolder, -amount)
        await self.looked()

    async def limit(self, vfolder: VFolder, hard: Limits = Limits(), soft: SoftLimits = NO_SOFT) -> None:
        """Set other limits."""
        key = vfolder_subject(vfolder.key)

        def write(connection: Any) -> None:
            set_hard(connection, key, hard, 0.0)
            set_soft(connection, key, soft)

        await self.at.database.change("vfolders", write)
        self.at.clock.advance(FRESH)


@asynccontextmanager
async def looking_out(
    path: Path, clock: Clock, pid: int = 1, settings: AlertSettings = DEFAULTS, alive: set[int] | None = None
) -> AsyncIterator[LookOut]:
    """A process on the database in ``path`` that tells of limits. Its tasks run once they are resumed."""
    async with process(path, clock, pid, alive) as at:
        metrics, outside = Metrics(), ThreadsOf(reactor, clock)
        notifications = Notifications(settings, at.tasks, outside, Agent(reactor))
        alerts = Alerts(
            settings, at.database, clock, at.processes, at.quota, at.events, at.tasks, metrics, notifications
        )
        told: list[QuotaAlert] = []
        at.events.subscribe(QuotaAlert, told.append)
        alerts.start()
        made = LookOut(at, alerts, metrics, told)
        try:
            await made._settled()
            yield made
        finally:
            await alerts.stop()


def levels_of(*them: LookOut) -> Collection[str]:
    """What all of them have told together, sorted."""
    return sorted(level for each in them for level in each.levels)
