"""Snapshots of vfolders, where the storage can keep them: taken and dropped by those who administer a vfolder, read by those who may read it, put
back by those who may write.

What a snapshot holds counts against no limit of ours: only what is published does. What it costs, the storage knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from vfgateway.abilities import ISnapshots
from vfgateway.errors import (
    AlreadyExists,
    Conflict,
    GatewayError,
    InvalidPath,
    NotFound,
    PermissionDenied,
    Unsupported,
)
from vfgateway.model import ABSENT, Permission, Snapshot, VFolder, VFolderId
from vfgateway.paths import ROOT, FolderPath, checked_label
from vfgateway.principals import INTERNAL, ORCHESTRATOR
from vfgateway.services import copying, puttingback
from vfgateway.services import snapshotrecords as records
from vfgateway.services.database import Database
from vfgateway.services.session import FolderSession
from vfgateway.services.snapshotplans import Plan, label_at
from vfgateway.services.snapshotrecords import Reason, Record, Scheduled
from vfgateway.services.snapshotview import place_in
from vfgateway.services.tasks import RunningTask

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: The most that one vfolder can have.
MOST: Final = 2000
#: How the snapshots are called in which the state before a restore is kept, before their time.
BEFORE: Final = "before-restore-"


@attrs.frozen
class Taken:
    """A snapshot, and what is known of it.

    :ivar made_by: who had it taken, in words
    """

    label: str
    created: float
    reason: Reason
    made_by: str


class Snapshots:
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        gateway.tasks.register("restore_snapshot", self._restore_task)

    @property
    def _database(self) -> Database:
        return self._gateway.database

    def storage(self, vfolder: VFolder) -> Any:
        """The volume, as ``ISnapshots``. ``Unsupported`` where it keeps none."""
        volume = self._gateway.volumes.of(vfolder)
        if not ISnapshots.providedBy(volume):
            raise Unsupported(f"snapshots on volume {vfolder.volume}")
        return volume

    # --- for whoever administers a vfolder ---

    def _administering(self, folder: FolderSession, action: str) -> VFolder:
        self.storage(folder.vfolder)
        if not folder.access.administer:
            error = PermissionDenied("", action, "to be the vfolder's owner or administrator")
            error.vfolder_key = folder.vfolder.key
            raise error
        return folder.vfolder

    async def create(self, folder: FolderSession, label: str | None = None) -> Taken:
        """Take one, called ``label`` or by the time. ``AlreadyExists``, ``InvalidPath``; ``Conflict`` if there are too many."""
        vfolder = self._administering(folder, "take snapshots")
        taken = await self.take(vfolder, label, Reason.HAND, folder.principal.name)
        folder.context.note("snapshot_created", place_in(taken.label))
        return taken

    async def drop(self, folder: FolderSession, label: str) -> None:
        """Remove one. ``NotFound``."""
        await self.remove(self._administering(folder, "remove snapshots"), checked_label(label))
        folder.context.note("snapshot_deleted", place_in(label))

    async def schedule_of(self, folder: FolderSession) -> Scheduled | None:
        """By which snapshots are taken by themselves."""
        vfolder = self._administering(folder, "see when snapshots are taken")
        return await self._database.read(lambda connection: records.schedule_of(connection, vfolder.key))

    async def set_schedule(self, folder: FolderSession, plan: Plan | None) -> Scheduled | None:
        """Have snapshots taken by themselves, the first one soon; ``None``: no more of them, while those that were taken stay."""
        vfolder = self._administering(folder, "schedule snapshots")
        scheduled = None if plan is None else Scheduled(vfolder.key, plan, self._gateway.reactor.seconds())
        if scheduled is None:
            await self._database.write(lambda connection: records.drop_schedule(connection, vfolder.key))
        else:
            await self._database.write(lambda connection: records.set_schedule(connection, scheduled))
        folder.context.note("snapshots_scheduled", ROOT, schedule=str(plan or "none"))
        return scheduled

    # --- for whoever may read or write it ---

    async def list(self, folder: FolderSession) -> Sequence[Taken]:
        """All there are, the oldest first."""
        storage = self.storage(folder.vfolder)
        folder.context.allow(Permission.RO, ROOT, "list snapshots")
        found: Sequence[Snapshot] = await storage.snapshots(folder.vfolder.id)
        known = await self._database.read(lambda connection: records.all_of(connection, folder.vfolder.key))
        return [_told(snapshot, known.get(snapshot.label)) for snapshot in found]

    async def restore(
        self,
        folder: FolderSession,
        label: str,
        path: FolderPath,
        target: FolderPath | None = None,
        replace: bool = False,
    ) -> FolderPath:
        """Put a file or directory of a snapshot back where it was, or at ``target``; where it is now. Missing directories are made.
        ``AlreadyExists`` if something is there, unless it is to be replaced: then a directory becomes all of what it was, and what has come
        into it since goes."""
        self.storage(folder.vfolder)
        source, place = place_in(checked_label(label), path), target or path
        if place.is_root:
            raise InvalidPath(place, "the whole of a vfolder is put back by itself")
        folder.context.allow(Permission.RW, place, "write this")
        await folder.stat(source)
        if not place.parent.is_root:
            await folder.make_dir(place.parent, parents=True, exist_ok=True)
        if replace:
            await puttingback.put_back(folder, source, place)
        else:
            await copying.copy(folder, source, folder, place, expect=ABSENT)
        folder.context.note("snapshot_restored", place, snapshot=label)
        return place

    async def restore_all(self, folder: FolderSession, label: str) -> str:
        """Begin to make a vfolder all of what it was, in a task: its identifier. What it is now becomes a snapshot before."""
        vfolder = folder.vfolder
        storage = self.storage(vfolder)
        folder.context.allow(Permission.RWD, ROOT, "put back the whole of this vfolder")
        await storage.open_snapshot(vfolder.id, checked_label(label))
        before = BEFORE + label_at(self._gateway.reactor.seconds())
        arguments = {"volume": vfolder.volume, "vfid": str(vfolder.id), "label": label, "before": before}
        task = await self._gateway.tasks.start("restore_snapshot", {**arguments, "by": folder.principal.name})
        folder.context.note("snapshot_restored", ROOT, snapshot=label, task=task)
        return task

    async def _restore_task(self, task: RunningTask, volume: str, vfid: str, label: str, before: str, by: str) -> None:
        folder = await self._gateway.session(ORCHESTRATOR, INTERNAL).folder(VFolderId.parse(vfid), volume)
        with contextlib.suppress(AlreadyExists):  # this task began once before
            await self.take(folder.vfolder, before, Reason.RESTORE, by)
        await puttingback.put_back(folder, place_in(label), ROOT, task.progress)

    # --- for all of these, and for schedules ---

    async def take(self, vfolder: VFolder, label: str | None, reason: Reason, made_by: str) -> Taken:
        """Take one, without asking who wants it."""
        storage = self.storage(vfolder)
        now = self._gateway.reactor.seconds()
        wanted = label_at(now) if label is None else checked_label(label)
        present = await storage.snapshots(vfolder.id)
        if any(snapshot.label == wanted for snapshot in present):
            raise AlreadyExists(place_in(wanted))
        if len(present) >= MOST:
            raise Conflict(f"the vfolder has {len(present)} snapshots: remove some first")
        record = Record(reason, made_by, now)
        # Before it is there: what a crash leaves of a schedule's is then known to be its own.
        await self._database.write(lambda connection: records.keep(connection, vfolder.key, wanted, record))
        try:
            snapshot = await storage.snapshot(vfolder.id, wanted)
        except AlreadyExists:  # somebody was quicker, and that it is theirs we do not know
            raise AlreadyExists(place_in(wanted)) from None
        except GatewayError:
            await self._database.write(lambda connection: records.forget(connection, vfolder.key, wanted))
            raise
        return _told(snapshot, record)

    async def remove(self, vfolder: VFolder, label: str) -> None:
        """Remove one, without asking who wants it. ``NotFound``."""
        gone: NotFound | None = None
        try:
            await self.storage(vfolder).drop_snapshot(vfolder.id, label)
        except NotFound as error:
            gone = error
        await self._database.write(lambda connection: records.forget(connection, vfolder.key, label))
        if gone is not None:
            raise gone


def _told(snapshot: Snapshot, record: Record | None) -> Taken:
    if record is None:
        return Taken(snapshot.label, snapshot.created, Reason.STORAGE, "")
    return Taken(snapshot.label, snapshot.created, record.reason, record.made_by)
