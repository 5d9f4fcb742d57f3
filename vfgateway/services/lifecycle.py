"""The life of a vfolder: made, found on disk, purged, recounted. Long work runs as background tasks that may be
repeated after a crash."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger

from vfgateway.abilities import IAdoption, IFastUsage, IMountable, IRemoteMount, IResumableStaging
from vfgateway.errors import (
    Conflict,
    GatewayError,
    InvalidPath,
    NotFound,
    QuotaScopeExists,
    Unsupported,
    VFolderExists,
    VFolderNotFound,
    VolumeUnavailable,
)
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import (
    Actor,
    FolderOptions,
    Limits,
    QuotaScopeId,
    RemoteMount,
    ScopeKind,
    Usage,
    VFolder,
    VFolderId,
    VFolderStatus,
)
from vfgateway.paths import ROOT, FolderPath, parse_text
from vfgateway.principals import INTERNAL, ORCHESTRATOR
from vfgateway.services import nativelimits, trees
from vfgateway.services.events import DeletionFinished
from vfgateway.services.folderusage import folded
from vfgateway.services.session import FolderSession
from vfgateway.services.sharing import Shared
from vfgateway.services.tasks import RunningTask
from vfgateway.treeusage import TreeUsage

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Vfolders that are recounted at once after processes died, or a database was restored.
AT_ONCE = 8
#: Seconds between attempts to recount vfolders whose volume is away.
RECOUNT_RETRY = 30.0


class Lifecycle:
    """Makes and unmakes vfolders."""

    log = Logger()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._recounts: Shared[int, Usage] = Shared()
        self._few = DeferredSemaphore(AT_ONCE)
        gateway.tasks.register("delete_vfolder", self._delete_task)
        gateway.tasks.register("delete_files", self._delete_files_task)
        gateway.tasks.register("count_vfolder", self._count_task, retriable=True)

    # --- making ---

    async def create(
        self,
        volume: str,
        vfid: VFolderId,
        options: FolderOptions = FolderOptions(),
        *,
        name: str | None = None,
        owner: UUID | None = None,
        kind: ScopeKind | None = None,
        limits: Limits = Limits(),
        expires: float | None = None,
        status: VFolderStatus = VFolderStatus.READY,
        most: int | None = None,
    ) -> VFolder:
        """Make an empty vfolder. ``VFolderExists``; ``Conflict`` while one of that identifier is being deleted, and if the owner has ``most``
        already."""
        gateway = self._gateway
        place = gateway.volumes.get(volume)
        await self.refuse_present(volume, vfid)
        vfolder = await gateway.vfolders.create(
            volume, vfid, name=name, owner=owner, kind=kind, limits=limits, expires=expires, status=status, most=most
        )
        try:
            await place.create_folder(vfid, options)
            if limits != Limits():
                await self._limit_new(place, vfid, limits)
        except BaseException:
            await gateway.vfolders.forget(vfolder.key, "vfolder_not_made")
            raise
        return vfolder

    async def _limit_new(self, place: IVolume, vfid: VFolderId, limits: Limits) -> None:
        try:
            await nativelimits.set_on_folder(place, vfid, limits)
        except BaseException:
            await place.delete_folder(vfid)
            raise

    async def refuse_present(self, volume: str, vfid: VFolderId) -> None:
        """``VFolderExists`` if there is a vfolder of that identifier; ``Conflict`` while it is being deleted."""
        try:
            present = await self._gateway.vfolders.get(vfid, volume)
        except VFolderNotFound:
            return
        if present.status is VFolderStatus.DELETING:
            raise Conflict("the vfolder is being deleted; try again when that is done")
        raise VFolderExists(vfid)

    async def adopt(self, volume: str, vfid: VFolderId) -> VFolder:
        """Register a vfolder that lies on the volume already, as it is described there, and count what is in it."""
        try:
            vfolder = await self._gateway.rebuilding.enter(volume, vfid)
        except VFolderExists:  # another request was quicker
            return await self._gateway.vfolders.get(vfid, volume)
        await self.recount(vfolder)
        self.log.info("adopted vfolder {vfid} found on volume {volume}", vfid=str(vfid), volume=volume)
        return vfolder

    async def adopt_place(
        self, volume: str, vfid: VFolderId, place: str, *, name: str, owner: UUID, kind: ScopeKind, read_only: bool
    ) -> tuple[VFolder, str]:
        """Make a vfolder of what lies at ``place``, where it lies, and begin to count it; the vfolder, and the identifier of that task.
        ``Unsupported``, ``VFolderExists``, ``Conflict``, and what the volume says of the place."""
        gateway = self._gateway
        storage = gateway.volumes.get(volume)
        if not IAdoption.providedBy(storage):
            raise Unsupported(f"adopting what lies on volume {volume}")
        await self.refuse_present(volume, vfid)
        vfolder = await gateway.vfolders.create(volume, vfid, name=name, owner=owner, kind=kind, found_at=place)
        try:
            if read_only:
                vfolder = await gateway.vfolders.update(vfolder.key, read_only=True)
            await storage.adopt_folder(vfid, place)
        except BaseException:
            await gateway.vfolders.forget(vfolder.key, "vfolder_not_made")
            raise
        return vfolder, await gateway.tasks.start("count_vfolder", {"volume": volume, "vfid": str(vfid)})

    async def _count_task(self, task: RunningTask, volume: str, vfid: str) -> None:
        await self.recount(await self._gateway.vfolders.get(VFolderId.parse(vfid), volume))

    async def create_scope(self, volume: str, scope: QuotaScopeId, limits: Limits, exist_ok: bool = False) -> None:
        """Make a quota scope on a volume. ``QuotaScopeExists`` unless ``exist_ok``, which then sets the limits."""
        place = self._gateway.volumes.get(volume)
        try:
            await place.create_scope(scope)
        except QuotaScopeExists:
            if not exist_ok:
                raise
        await nativelimits.set_there(place, scope, limits)  # if the storage refuses, nothing has changed
        await self._gateway.vfolders.set_scope_limits(volume, scope, limits)

    async def ensure_scope(self, volume: str, scope: QuotaScopeId) -> None:
        """Make a quota scope on a volume, unless it is there."""
        if not await self._gateway.volumes.get(volume).has_scope(scope):
            with contextlib.suppress(QuotaScopeExists):  # another request was quicker
                await self.create_scope(volume, scope, Limits())

    async def mount_path(self, vfolder: VFolder, subpath: FolderPath = ROOT) -> str:
        """Where agents find the vfolder. ``subpath`` must not lead out of it; it need not exist."""
        volume = self._gateway.volumes.of(vfolder)
        if not IMountable.providedBy(volume):
            raise Unsupported(f"mounting vfolders of volume {vfolder.volume}")
        folder = await volume.folder(vfolder.id, Actor())
        with contextlib.suppress(NotFound):
            await folder.stat(subpath, follow=True)
        return await volume.mount_path(vfolder.id)

    async def remote_mount(self, vfolder: VFolder) -> RemoteMount | None:
        """What a host needs to mount the vfolder's storage by itself; ``None`` where that cannot be."""
        volume = self._gateway.volumes.of(vfolder)
        return await volume.remote_mount(vfolder.id) if IRemoteMount.providedBy(volume) else None

    # --- counting ---

    async def recount(self, vfolder: VFolder) -> Usage:
        """Count a vfolder anew by walking, while writers wait, and correct the figures; stages that dead processes left go before. Callers at the
        same time share one count."""
        return await self._recounts.run(vfolder.key, lambda: self._recount(vfolder))

    async def _recount(self, vfolder: VFolder) -> Usage:
        gateway = self._gateway
        volume = gateway.volumes.of(vfolder)
        async with gateway.locks.publishing(vfolder, [(ROOT, True)], frozenset(), "internal", recount=True):
            # Before the figures are true again: what says that there is something to be put right ends with that.
            await gateway.staging.remove_abandoned(vfolder)
            folder = await volume.folder(vfolder.id, Actor())
            # What is staged belongs to its uploads, and a storage that counts by itself cannot tell it apart.
            counted: Usage | TreeUsage
            if IFastUsage.providedBy(volume) and not await _stages(folder):
                counted = await volume.fast_usage(vfolder.id)
            else:
                counted = folded(await trees.measure_by_folder(folder), volume.names)
            await gateway.quota.set_usage(vfolder, counted, also=await gateway.staging.stages.cut_off(vfolder, folder))
        return counted.total if isinstance(counted, TreeUsage) else counted

    async def recover(self) -> None:
        """Take over from processes that died: drop their intents and slabs, and begin to recount what they were changing."""
        gateway = self._gateway
        dead = await gateway.processes.dead()
        touched = set(await gateway.locks.recover(dead)) | set(await gateway.quota.recover(dead))
        await gateway.processes.forget(dead)
        for key in touched:
            self._few.run(self._recount_until_done, key)

    async def _recount_until_done(self, key: int) -> None:
        try:
            vfolder = await self._gateway.vfolders.by_key(key)
            await self.recount(vfolder)
        except VFolderNotFound:
            return
        except VolumeUnavailable:
            self._gateway.reactor.callLater(
                RECOUNT_RETRY, lambda: Deferred.fromCoroutine(self._recount_until_done(key))
            )
        except Exception:
            self.log.failure("could not recount vfolder {key}", key=key)

    # --- unmaking ---

    async def delete(self, volume: str, vfid: VFolderId) -> str:
        """Begin to purge a vfolder; the task's identifier. It is gone for everybody at once. Missing is success."""
        gateway = self._gateway
        gateway.volumes.get(volume)
        with contextlib.suppress(VFolderNotFound):
            vfolder = await self._find(volume, vfid)
            volume = vfolder.volume
            await gateway.vfolders.update(vfolder.key, status=VFolderStatus.DELETING)
        return await gateway.tasks.start("delete_vfolder", {"volume": volume, "vfid": str(vfid)})

    async def _find(self, volume: str, vfid: VFolderId) -> VFolder:
        """A vfolder that lies on a volume, or did before it moved. ``VFolderNotFound``."""
        try:
            return await self._gateway.vfolders.get(vfid, volume)
        except VFolderNotFound:
            moved = await self._gateway.relocation.find(volume, vfid)
            if moved is None:
                raise
            return moved

    async def purge(self, volume: str, vfid: VFolderId) -> None:
        """Remove a vfolder with all content, uploads, locks, grants and figures. Missing is success; may be repeated."""
        gateway = self._gateway
        try:
            vfolder = await gateway.vfolders.get(vfid, volume)
        except VFolderNotFound:
            await gateway.volumes.get(volume).delete_folder(vfid)
            return
        if vfolder.status is not VFolderStatus.DELETING:
            await gateway.vfolders.update(vfolder.key, status=VFolderStatus.DELETING)
        await gateway.staging.cancel_all(vfolder)
        await gateway.volumes.get(volume).delete_folder(vfid)
        await gateway.quota.forget(vfolder)
        await gateway.vfolders.forget(vfolder.key)

    async def _delete_task(self, task: RunningTask, volume: str, vfid: str) -> None:
        try:
            await self.purge(volume, VFolderId.parse(vfid))
        except GatewayError as error:
            if not task.is_tried_again_after(error):
                self._gateway.events.publish(DeletionFinished(vfid=vfid, error=str(error)))
            raise
        self._gateway.events.publish(DeletionFinished(vfid=vfid))

    # --- deleting files ---

    async def delete_files(self, vfolder: VFolder, paths: Sequence[FolderPath], recursive: bool) -> str:
        """Begin to remove files in the background; the task's identifier."""
        arguments = {
            "volume": vfolder.volume,
            "vfid": str(vfolder.id),
            "paths": [str(path) for path in paths],
            "recursive": recursive,
        }
        return await self._gateway.tasks.start("delete_files", arguments)

    async def _delete_files_task(
        self, task: RunningTask, volume: str, vfid: str, paths: Sequence[str], recursive: bool
    ) -> None:
        session = self._gateway.session(ORCHESTRATOR, INTERNAL)
        folder = await session.folder(VFolderId.parse(vfid), volume)
        for done, text in enumerate(paths):
            await task.progress(done, len(paths), text)
            await remove_any(folder, parse_text(text), recursive)


async def _stages(folder: IFolder) -> bool:
    """Whether anything is staged in a vfolder."""
    return IResumableStaging.providedBy(folder) and bool(await folder.stages())


async def remove_any(folder: FolderSession, path: FolderPath, recursive: bool) -> None:
    """Remove a file, a link, or, with ``recursive``, a directory. Missing is success. ``IsADirectory`` for a directory otherwise."""
    if path.is_root:
        raise InvalidPath(path, "the top of a vfolder cannot be removed")
    with contextlib.suppress(NotFound):
        if recursive and (await folder.stat(path)).is_dir:
            await folder.remove_tree(path)
        else:
            await folder.remove(path)
