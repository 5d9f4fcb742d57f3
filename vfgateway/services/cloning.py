"""A vfolder is copied to a new one, on the same volume or another, by the fastest way that there is: by the storage itself, file by file within it, or
through us. In the background; a clone that a dead process began is thrown away and begun anew."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vfgateway.abilities import IFastClone
from vfgateway.errors import GatewayError, NoSpace, VFolderExists, VFolderNotFound
from vfgateway.model import Actor, Limits, Usage, VFolder, VFolderId, VFolderStatus
from vfgateway.paths import ROOT
from vfgateway.principals import INTERNAL, ORCHESTRATOR
from vfgateway.services import folderusage, trees
from vfgateway.services.events import CloneFinished
from vfgateway.services.folderusage import folded
from vfgateway.services.names import checked_vfolder_name
from vfgateway.services.tasks import RunningTask

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway


class Cloning:
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        gateway.tasks.register("clone_vfolder", self._task)

    async def begin(self, source: VFolder, volume: str, vfid: VFolderId, name: str | None = None) -> str:
        """Begin to copy ``source`` to a new vfolder, on any volume; the task's identifier. ``VFolderExists``.

        The copy belongs to its scope. One whose ``name`` its owner gives to another meanwhile fails in the task.
        """
        self._gateway.volumes.get(volume)
        await self._gateway.lifecycle.refuse_present(volume, vfid)
        arguments = {"volume": source.volume, "vfid": str(source.id), "to_volume": volume, "to_vfid": str(vfid)}
        if name is not None:
            arguments["name"] = checked_vfolder_name(name)
        return await self._gateway.tasks.start("clone_vfolder", arguments)

    async def _task(
        self, task: RunningTask, volume: str, vfid: str, to_volume: str, to_vfid: str, name: str | None = None
    ) -> None:
        publish = self._gateway.events.publish
        try:
            source = await self._gateway.find_vfolder(VFolderId.parse(vfid), volume)
            await self._clone(task, source, to_volume, VFolderId.parse(to_vfid), name)
        except GatewayError as error:
            if not task.is_tried_again_after(error):
                publish(CloneFinished(vfid=vfid, to_vfid=to_vfid, error=str(error)))
            raise
        publish(CloneFinished(vfid=vfid, to_vfid=to_vfid))

    async def _clone(self, task: RunningTask, source: VFolder, volume: str, vfid: VFolderId, name: str | None) -> None:
        gateway = self._gateway
        await self._remove_unfinished(volume, vfid)
        total = await gateway.quota.usage(source)
        space = await gateway.volumes.get(volume).space()
        if 0 <= space.available < total.bytes:
            raise NoSpace(f"volume {volume} has {space.available} bytes left, {total.bytes} are needed")
        if vfid.scope is not None and not await gateway.volumes.get(volume).has_scope(vfid.scope):
            await gateway.lifecycle.create_scope(volume, vfid.scope, Limits(), exist_ok=True)
        place = gateway.volumes.get(volume)
        if volume == source.volume and IFastClone.providedBy(place):
            await self._clone_at_once(source, vfid, name)
            return
        target = await gateway.lifecycle.create(volume, vfid, name=name, status=VFolderStatus.CLONING)
        try:
            await self._copy_content(task, source, target, total)
        except BaseException:
            await gateway.lifecycle.purge(volume, vfid)
            raise
        await gateway.vfolders.update(target.key, status=VFolderStatus.READY)

    async def _remove_unfinished(self, volume: str, vfid: VFolderId) -> None:
        """A clone that a dead process began is thrown away; anything else in the way is an error."""
        try:
            present = await self._gateway.vfolders.get(vfid, volume)
        except VFolderNotFound:
            return
        if present.status is not VFolderStatus.CLONING:
            raise VFolderExists(vfid)
        await self._gateway.lifecycle.purge(volume, vfid)

    async def _clone_at_once(self, source: VFolder, vfid: VFolderId, name: str | None) -> None:
        gateway = self._gateway
        target = await gateway.vfolders.create(source.volume, vfid, name=name, status=VFolderStatus.CLONING)
        try:
            wanted = await gateway.quota.usage(source)
            async with await gateway.quota.reserve(target, wanted) as reservation:
                volume: Any = gateway.volumes.get(source.volume)
                await volume.clone_folder(source.id, vfid)
                usage = await trees.measure_by_folder(await volume.folder(vfid, Actor()))
                await reservation.ensure(usage.total)
                shares = folded(usage, volume.names)
                await reservation.settle(usage.total, [partial(folderusage.replace, vfolder=target.key, usage=shares)])
        except BaseException:
            await gateway.lifecycle.purge(source.volume, vfid)
            raise
        await gateway.vfolders.update(target.key, status=VFolderStatus.READY)

    async def _copy_content(self, task: RunningTask, source: VFolder, target: VFolder, total: Usage) -> None:
        session = self._gateway.session(ORCHESTRATOR, INTERNAL)
        here = await session.folder(source.id, source.volume)
        there = await session.folder(target.id, target.volume)
        listing = await here.list(ROOT)
        done = 0
        try:
            while entries := await listing.read(trees.BATCH):
                for entry in entries:
                    base = done

                    async def tell(count: int, base: int = base) -> None:
                        await task.progress(base + count, total.files, "copying")

                    path = ROOT.child(entry.name)
                    await here.copy(path, path, into=there, progress=tell)
                    done += 1
        finally:
            await listing.close()
