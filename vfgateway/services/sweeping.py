"""Removes what was left lying: uploads whose time has passed, and stages that belong to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from vfgateway.abilities import IResumableStaging, IStageOwners
from vfgateway.errors import GatewayError, UploadNotFound, VFolderNotFound
from vfgateway.model import Actor, VFolder, VFolderStatus
from vfgateway.services.processes import wait
from vfgateway.services.tasks import RunningTask

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway
    from vfgateway.services.staging import Staging

#: Seconds between sweeps for what has expired.
EXPIRY_EVERY = 60.0
#: Seconds between walks over all vfolders for stages that no upload knows.
LEFTOVERS_EVERY = 6 * 3600.0
#: Seconds from the start to the first of those walks.
FIRST_WALK = 10.0
#: Seconds for which a stage that belongs to nothing is left alone: a one-shot upload may still be writing to it.
LEFTOVER_AGE = 24 * 3600.0
#: Uploads removed in one go, and the pause in seconds between two vfolders, so that a walk over a large site stays unnoticed.
BATCH, BREATH = 100, 0.02


class Sweeper:
    """Sweeps every so often, by background tasks."""

    log = Logger()

    def __init__(self, gateway: Gateway, staging: Staging) -> None:
        self._gateway = gateway
        self._staging = staging
        gateway.tasks.register("expire_uploads", self._expire_task)
        gateway.tasks.register("collect_leftovers", self._leftovers_task)

    def start(self) -> None:
        """Begin; the first walk over the vfolders comes a little later."""
        schedule = self._gateway.tasks.schedule
        schedule.add("expire_uploads", EXPIRY_EVERY, is_due=self._has_expired)
        schedule.add("collect_leftovers", LEFTOVERS_EVERY, first=FIRST_WALK)

    async def _has_expired(self) -> bool:
        return bool(await self._staging.uploads.expired(1))

    async def _expire_task(self, task: RunningTask) -> None:
        await self.expire(task)

    async def _leftovers_task(self, task: RunningTask) -> None:
        await self.collect_leftovers(LEFTOVER_AGE, task)

    async def expire(self, task: RunningTask | None = None) -> int:
        """Remove all uploads whose time has passed; how many there were."""
        count = 0
        while True:
            if task is not None:
                await task.progress(count, message=f"{count} uploads removed")
            rows = await self._staging.uploads.expired(BATCH)
            removed = 0
            for row in rows:
                try:
                    vfolder = await self._gateway.vfolders.by_key(row.vfolder)
                    if not self._staging.leases.held(row.id):
                        await self._staging.remove(vfolder, row)
                        removed += 1
                except (UploadNotFound, VFolderNotFound):
                    removed += 1
                except GatewayError as error:
                    self.log.warn("could not remove expired upload {id}: {error}", id=row.id, error=str(error))
            count += removed
            if len(rows) < BATCH or not removed:
                break
        return count

    async def collect_leftovers(self, age: float = LEFTOVER_AGE, task: RunningTask | None = None) -> int:
        """Remove stages that no upload knows and that nobody has written to for ``age`` seconds; how many there were."""
        count = 0
        vfolders = await self._gateway.vfolders.list()
        for done, vfolder in enumerate(vfolders):
            if task is not None:
                await task.progress(done, len(vfolders), f"{count} stages removed")
            if vfolder.status is VFolderStatus.READY:
                try:
                    count += await self._collect_in(vfolder, age)
                except GatewayError as error:
                    self.log.warn(
                        "could not look for leftovers in {vfolder}: {error}", vfolder=vfolder.id, error=str(error)
                    )
                await wait(self._gateway.reactor, BREATH)
        return count

    async def _collect_in(self, vfolder: VFolder, age: float) -> int:
        count = await self.leftovers(vfolder, age, remove=True)
        if count:
            self.log.info("removed {count} leftover stages in {vfolder}", count=count, vfolder=vfolder.id)
        return count

    async def abandoned(self, vfolder: VFolder) -> int:
        """Remove the stages of one vfolder that belong to no upload and that no living process writes to; how many there were. None where
        the storage cannot tell: there they wait for :meth:`collect_leftovers`, as do those that cannot be removed now."""
        folder = await self._gateway.volumes.of(vfolder).folder(vfolder.id, Actor())
        if not IStageOwners.providedBy(folder) or not IResumableStaging.providedBy(folder):
            return 0
        tokens = await folder.abandoned()
        # To be asked in this order: an upload is entered while its stage is still open.
        known = await self._staging.uploads.known(tokens) if tokens else frozenset()
        count = 0
        for token in set(tokens) - known:
            try:
                await (await folder.resume(token)).discard()
                count += 1
            except UploadNotFound:
                continue
            except GatewayError as error:
                self.log.warn(
                    "could not remove stage {id} of {vfolder}: {error}", id=token, vfolder=vfolder.id, error=str(error)
                )
        if count:
            self.log.info("removed {count} stages of dead processes in {vfolder}", count=count, vfolder=vfolder.id)
        return count

    async def leftovers(self, vfolder: VFolder, age: float = LEFTOVER_AGE, remove: bool = False) -> int:
        """How many stages of one vfolder nobody knows and nobody has written to for ``age`` seconds; with ``remove`` they are gone."""
        folder = await self._gateway.volumes.of(vfolder).folder(vfolder.id, Actor())
        if not IResumableStaging.providedBy(folder):
            return 0
        before = (self._staging.now() - age) * 1e9
        old = [token for token, stat in await folder.stages() if stat.mtime_ns < before]
        known = await self._staging.uploads.known(old) if old else frozenset()
        count = 0
        for token in set(old) - known:
            try:
                if remove:
                    await (await folder.resume(token)).discard()
                count += 1
            except UploadNotFound:
                continue
        return count
