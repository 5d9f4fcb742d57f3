"""Tells of limits that are reached, passed, or met by a refusal: as an event, in the log, in the metrics, and, where that is configured, by a
webhook and by mail. Starts and ends times of grace on the way.

Usage is looked at soon after it has changed, in the process that changed it, and now and then all over by the process that leads, so that nothing is
missed when a process dies in between, when a limit was changed, or when a time of grace has run out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import uuid4

import attrs
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway.alert_settings import AlertSettings
from vfgateway.services.crossings import (
    REFUSED,
    Changes,
    Crossing,
    Policy,
    compare_all,
    figures,
    mark,
    marked_keys,
    unmark,
)
from vfgateway.services.database import Database, bump
from vfgateway.services.events import Events, QuotaAlert
from vfgateway.services.metrics import Metrics
from vfgateway.services.notifications import Notifications
from vfgateway.services.processes import Processes
from vfgateway.services.quota import Quota
from vfgateway.services.subjects import Subject, limited_keys, subjects
from vfgateway.services.tasks import Tasks

#: Seconds from a change of usage to the look at it.
SOON = 1.0
#: Seconds between looks at all limits.
ALL_OVER = 60.0
#: Subjects looked at in one read.
BATCH = 500


class Alerts:
    """The look-out of one process.

    :param clock: tells the time in epoch seconds
    :param notifications: what carries alerts out of the gateway
    """

    log = Logger()

    def __init__(
        self,
        settings: AlertSettings,
        database: Database,
        clock: Any,
        process: Processes,
        quota: Quota,
        events: Events,
        tasks: Tasks,
        metrics: Metrics,
        notifications: Notifications,
    ) -> None:
        self._policy = Policy(settings.thresholds, settings.hysteresis, settings.quiet)
        self._database = database
        self._clock = clock
        self._process = process
        self._quota = quota
        self._events = events
        self._tasks = tasks
        self._metrics = metrics
        self._notifications = notifications
        self._touched: set[str] = set()
        self._soon: IDelayedCall | None = None
        self._refused: dict[tuple[str, str], float] = {}
        self._work: set[Deferred[Any]] = set()
        self._looking = False
        self._all_over = LoopingCall(self._look_all_over)
        self._all_over.clock = clock

    def start(self) -> None:
        """Begin to look. ``ConfigurationError`` if a secret cannot be read."""
        self._notifications.start()
        self._looking = True
        self._quota.observe(self._usage_changed, self._was_refused)
        self._all_over.start(ALL_OVER)

    async def stop(self) -> None:
        """End; what was touched last is looked at by another process, or at the next start. Idempotent."""
        self._looking = False
        if self._all_over.running:
            self._all_over.stop()
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        for work in list(self._work):
            await work

    # --- what to look at ---

    def _usage_changed(self, keys: Collection[str]) -> None:
        if not self._looking:  # the last figures of a process are written when it looks no more
            return
        self._touched.update(keys)
        if self._touched and (self._soon is None or not self._soon.active()):
            self._soon = self._clock.callLater(SOON, self._look_soon)

    def _look_soon(self) -> None:
        touched, self._touched = sorted(self._touched), set()
        self._in_background(self.look(touched))

    def _look_all_over(self) -> None:
        if self._process.leads:
            self._in_background(self.look_all_over())

    def _in_background(self, work: Any) -> None:
        running = Deferred.fromCoroutine(work)
        self._work.add(running)
        running.addErrback(lambda failure: self.log.failure("could not look at limits", failure=failure))
        running.addBoth(lambda _: self._work.discard(running))

    async def look_all_over(self) -> None:
        """Look at all that has limits, now."""
        keys = await self._database.read(lambda connection: {*limited_keys(connection), *marked_keys(connection)})
        await self.look(sorted(keys))

    async def look(self, keys: Sequence[str]) -> None:
        """Look at some subjects, now."""
        for at in range(0, len(keys), BATCH):
            await self._look(keys[at : at + BATCH], self._clock.seconds())

    async def _look(self, keys: Sequence[str], now: float) -> None:
        changed = await self._database.read(lambda connection: compare_all(connection, keys, self._policy, now))
        if changed:
            await self._enter(list(changed), now)

    async def _enter(self, keys: Sequence[str], now: float) -> None:
        def write(connection: Connection) -> Sequence[Crossing]:
            changed = compare_all(
                connection, keys, self._policy, now
            )  # once more, for another process may have been quicker
            told = [one for key, changes in changed.items() for one in _write_marks(connection, key, changes, now)]
            if any(changes.moves_limits for changes in changed.values()):
                bump(connection, "vfolders")
            self._enter_notices(connection, told, now)
            return told

        told = await self._database.write(write)
        self._database.forget_generations()
        for crossing in told:
            self._publish(crossing)

    # --- refusals ---

    def _was_refused(self, subject: Subject, resource: str) -> None:
        """Called with every refusal, of which there may be many: few reach the database."""
        now = self._clock.seconds()
        if not self._looking or self._refused.get((subject.key, resource), float("-inf")) + ALL_OVER > now:
            return
        self._refused = {key: at for key, at in self._refused.items() if at + ALL_OVER > now}
        self._refused[subject.key, resource] = now
        self._in_background(self._tell_refusal(subject.key, resource, now))

    async def _tell_refusal(self, key: str, resource: str, now: float) -> None:
        def write(connection: Connection) -> Crossing | None:
            found = subjects(connection, [key], now)
            limit = getattr(found[0].limits, resource) if found else None
            if limit is None or not mark(connection, key, resource, REFUSED, now):
                return None
            used = getattr(figures(connection, [key])[key], resource)
            crossing = Crossing(found[0], resource, REFUSED, used, limit)
            self._enter_notices(connection, [crossing], now)
            return crossing

        crossing = await self._database.write(write)
        if crossing is not None:
            self._publish(crossing)

    # --- telling ---

    def _enter_notices(self, connection: Connection, told: Sequence[Crossing], now: float) -> None:
        for crossing in told:
            notice = {"id": uuid4().hex, "at": now, **attrs.asdict(_event(crossing))}
            for task in self._notifications.tasks:
                self._tasks.enter(connection, task, {"notice": notice})

    def _publish(self, crossing: Crossing) -> None:
        self._metrics.quota_alert(crossing.resource, crossing.level)
        self._events.publish(_event(crossing))


def _write_marks(connection: Connection, key: str, changes: Changes, now: float) -> Sequence[Crossing]:
    """Write what was crossed; what is to be told of it."""
    for resource, level in changes.ended:
        unmark(connection, key, resource, level)
    changes.begun = [one for one in changes.begun if mark(connection, key, one.resource, one.level, now)]
    return list(changes.loudest())


def _event(crossing: Crossing) -> QuotaAlert:
    return QuotaAlert(
        subject=crossing.subject.key,
        words=crossing.subject.words,
        resource=crossing.resource,
        crossed=crossing.level,
        used=crossing.used,
        limit=crossing.limit,
    )
