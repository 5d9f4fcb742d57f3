"""Counts the shares of directories that are known to be wrong (:mod:`vfgateway.services.folderusage`), in the background and without holding
anybody off: what was counted while nobody wrote is entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfgateway.errors import GatewayError
from vfgateway.model import Actor, VFolder, VFolderStatus
from vfgateway.services import folderusage, trees
from vfgateway.services.folderusage import folded
from vfgateway.services.processes import wait
from vfgateway.services.scanning import throttled
from vfgateway.services.tasks import RunningTask

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds between looks for what is to be counted.
LOOK = 30.0
#: Seconds in which every process has written what it knows of changes.
WRITTEN = 1.0
#: Where somebody writes all the time, the next count begins after so many times the seconds that the last one took, and so many at least.
REST, LEAST_REST = 50, 60.0


class FolderCounts:
    """See the module. The tasks run in the process that leads."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._not_before: dict[int, float] = {}
        gateway.tasks.register("count_folders", self._task)
        gateway.tasks.schedule.add("count_folders", LOOK, is_due=self._is_due)

    async def _is_due(self) -> bool:
        return bool(await self._due())

    async def _due(self) -> list[int]:
        now = self._gateway.reactor.seconds()
        stale = await self._gateway.database.read(folderusage.stale_vfolders)
        self._not_before = {key: until for key, until in self._not_before.items() if key in stale and now < until}
        return [key for key in stale if key not in self._not_before]

    async def _task(self, task: RunningTask) -> None:
        due = await self._due()
        for done, key in enumerate(due):
            await task.progress(done, len(due))
            began = self._gateway.reactor.seconds()
            try:
                vfolder = await self._gateway.vfolders.by_key(key)
                counted = vfolder.status is VFolderStatus.READY and await self.count(vfolder, task)
            except GatewayError:  # its volume is away
                counted = False
            if not counted:
                took = max(0.0, self._gateway.reactor.seconds() - began)
                self._not_before[key] = self._gateway.reactor.seconds() + max(LEAST_REST, REST * took)

    async def count(self, vfolder: VFolder, task: RunningTask | None = None) -> bool:
        """Count one vfolder; whether nobody wrote meanwhile, so that the shares are right now."""
        gateway = self._gateway
        before = await gateway.quota.folders(vfolder)

        async def tell(_: int) -> None:
            if task is not None:
                await task.progress(task.task.done, task.task.total)

        volume = gateway.volumes.of(vfolder)
        progress = throttled(gateway.reactor, gateway.settings.scans.rate, tell)
        counted = await trees.measure_by_folder(await volume.folder(vfolder.id, Actor()), progress=progress)
        await wait(gateway.reactor, WRITTEN)
        return await gateway.quota.set_folders(vfolder, before, folded(counted, volume.names))
