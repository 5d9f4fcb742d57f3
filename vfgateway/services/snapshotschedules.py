"""Snapshots that are taken by themselves, by a task of the process that leads, and removed when their time is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from sqlalchemy import Connection
from twisted.logger import Logger

from vfgateway.errors import GatewayError, NotFound
from vfgateway.model import VFolder, VFolderStatus
from vfgateway.services import snapshotrecords as records
from vfgateway.services.snapshotrecords import Reason, Scheduled
from vfgateway.services.snapshots import Snapshots
from vfgateway.services.tasks import RunningTask

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds between looks whether one is due.
LOOK: Final = 5.0
#: Seconds after which a vfolder is tried again whose snapshot could not be taken.
AGAIN: Final = 600.0
#: Who has them taken, in words.
MADE_BY: Final = "its schedule"


class SnapshotSchedules:
    """See the module.

    :param kept: seconds for which the state before a restore is kept; 0: until somebody removes it
    """

    log = Logger()

    def __init__(self, gateway: Gateway, snapshots: Snapshots, kept: float) -> None:
        self._gateway = gateway
        self._snapshots = snapshots
        self._kept = kept
        gateway.tasks.register("take_snapshots", self._task)
        gateway.tasks.schedule.add("take_snapshots", LOOK, is_due=self._is_due)

    async def _is_due(self) -> bool:
        now = self._gateway.reactor.seconds()
        return await self._gateway.database.read(
            lambda connection: bool(records.due(connection, now) or self._old(connection, now))
        )

    def _old(self, connection: Connection, now: float) -> list[tuple[int, str]]:
        return list(records.made_for_restores_before(connection, now - self._kept)) if self._kept else []

    async def _task(self, task: RunningTask) -> None:
        now = self._gateway.reactor.seconds()
        database = self._gateway.database
        due = await database.read(lambda connection: records.due(connection, now))
        old = await database.read(lambda connection: self._old(connection, now))
        for number, scheduled in enumerate(due):
            await self._serve(scheduled, now)
            await task.progress(number + 1, len(due) + len(old))
        for key, label in old:
            vfolder = await self._gateway.vfolders.by_key(key)
            await self._remove(vfolder, label)

    async def _serve(self, scheduled: Scheduled, now: float) -> None:
        """Take one and remove what is over; put the next off to its time, or for a while if that failed."""
        due = scheduled.plan.next_after(now)
        try:
            vfolder = await self._gateway.vfolders.by_key(scheduled.vfolder)
            if vfolder.status is VFolderStatus.READY:
                await self._snapshots.take(vfolder, None, Reason.SCHEDULE, MADE_BY)
                await self._prune(vfolder, scheduled)
        except GatewayError as error:
            self.log.warn("no snapshot of vfolder {key}: {error}", key=scheduled.vfolder, error=str(error))
            due = min(due, now + AGAIN)
        later = attrs.evolve(scheduled, due=due)
        await self._gateway.database.write(lambda connection: records.put_off(connection, later))

    async def _prune(self, vfolder: VFolder, scheduled: Scheduled) -> None:
        known = await self._gateway.database.read(lambda connection: records.all_of(connection, vfolder.key))
        own = {label for label, record in known.items() if record.reason is Reason.SCHEDULE}
        there = await self._snapshots.storage(vfolder).snapshots(vfolder.id)
        for snapshot in scheduled.plan.superfluous([each for each in there if each.label in own]):
            await self._remove(vfolder, snapshot.label)

    async def _remove(self, vfolder: VFolder, label: str) -> None:
        try:
            await self._snapshots.remove(vfolder, label)
        except NotFound:
            return  # somebody else did
        except GatewayError as error:
            self.log.warn(
                "snapshot {label} of {vfid} stays: {error}", label=label, vfid=str(vfolder.id), error=str(error)
            )
