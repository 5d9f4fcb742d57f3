"""Moves vfolders to other storage while they are in use.

A background task copies the vfolder and brings the copy after it (:mod:`vfgateway.services.mirroring`), by the log of changes that is kept of a
vfolder that somebody follows. Then it holds writers off, for seconds, while it copies what has changed last, and enters the new place in the
registry: one transaction, before which the old place is whole and after which the new one is. Writers wait until every process has forgotten the
old place, and go on in the new one (:mod:`vfgateway.services.following`). What was left is removed some time later, so that what was being read
can be read to its end.

Nothing outside of the registry knows a vfolder by its place, apart from the orchestrator and tokens that were minted: those find it by any place
in which it ever was.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger, LogLevel

from vfgateway.abilities import IModes, ISnapshots
from vfgateway.blocking import Pool
from vfgateway.errors import Conflict, GatewayError, NoSpace, Unsupported, VFolderExists, VFolderNotFound
from vfgateway.interfaces import IVolume
from vfgateway.model import Actor, FolderOptions, VFolder, VFolderId, VFolderStatus
from vfgateway.paths import ROOT, FolderPath, parse_bytes
from vfgateway.services import audit_records, nativelimits
from vfgateway.services import relocation_records as records
from vfgateway.services.changes import Mark
from vfgateway.services.database import FRESH
from vfgateway.services.events import Event
from vfgateway.services.mirroring import Mirror, OutOfTime
from vfgateway.services.processes import wait
from vfgateway.services.relocation_index import Index
from vfgateway.services.relocation_records import Place, State
from vfgateway.services.tasks import RunningTask
from vfgateway.services.trees import Walk
from vfgateway.services.vfolders import GENERATION
from vfgateway.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds for which writers are held off at most, while what changed last is copied; after that it is copied without holding them off, and
#: tried again, so many times.
HOLD: Final = 8.0
ATTEMPTS: Final = 10
#: Seconds for which writers are held off after the step: until nobody believes in the old place any more.
SETTLED: Final = 2 * FRESH
#: Seconds between looks whether uploads under way have ended.
LOOK: Final = 1.0
#: Seconds for which what was left is kept for those who are reading it, and how often is looked for what can go.
LEFT: Final = 3600.0
SWEEP: Final = 300.0
#: Seconds after the step in which a change in the old place may still be one of before, by the clock of the storage.
SLACK: Final = 5.0


@attrs.frozen(kw_only=True)
class LeftBehindChanged(Event):
    """What a vfolder left in its old place was changed there after it moved, past the gateway; it is not removed."""

    name: ClassVar[str] = "left_behind_changed"
    level: ClassVar[Any] = LogLevel.error

    volume: str
    vfid: str
    path: str


class Relocation:
    """See the module."""

    log = Logger()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        gateway.tasks.register("move_vfolder", self._task)
        gateway.tasks.register("remove_left_behind", self._sweep)
        gateway.tasks.schedule.add("remove_left_behind", SWEEP, first=SWEEP, is_due=self._is_due)

    # --- for others ---

    async def begin(
        self, vfolder: VFolder, volume: str, *, cancel_uploads: bool = False, drop_snapshots: bool = False
    ) -> str:
        """Begin to move a vfolder; the task's identifier. ``Conflict`` if it is being moved, cloned or deleted, if it is there already, and if
        it has snapshots, which stay behind; ``UnknownVolume``, ``VolumeUnavailable``.

        :param cancel_uploads: cancel what is being uploaded when all else is there; otherwise the move waits for its end
        :param drop_snapshots: lose its snapshots, since they stay in the old place
        """
        gateway = self._gateway
        gateway.volumes.get(volume)
        if vfolder.volume == volume:
            raise Conflict(f"the vfolder is on volume {volume} already")
        await self._refuse(vfolder, drop_snapshots)
        if await gateway.database.read(lambda connection: records.moving(connection, vfolder.key)):
            raise Conflict("the vfolder is being moved already")
        wishes = {"cancel_uploads": cancel_uploads, "drop_snapshots": drop_snapshots}
        return await gateway.tasks.start("move_vfolder", {"key": vfolder.key, "to": volume, **wishes})

    async def _refuse(self, vfolder: VFolder, drop_snapshots: bool) -> None:
        if vfolder.status is not VFolderStatus.READY:
            raise Conflict(f"the vfolder is {vfolder.status.value}")
        storage = self._gateway.volumes.of(vfolder)
        if ISnapshots.providedBy(storage) and not drop_snapshots:
            with suppress(Unsupported):
                if await storage.snapshots(vfolder.id):
                    raise Conflict("the vfolder has snapshots, which cannot move along; say that they may be dropped")

    async def find(self, volume: str, vfid: VFolderId) -> VFolder | None:
        """The vfolder that once lay in a place, or is coming there; ``None`` if none ever did. ``VFolderNotFound`` if it is gone altogether."""
        place = await self._gateway.database.read(lambda connection: records.place_at(connection, volume, vfid))
        return None if place is None else await self._gateway.vfolders.by_key(place.vfolder)

    async def occupied(self, volume: str) -> frozenset[VFolderId]:
        """Under which identifiers something lies on a volume that no vfolder there is registered for, and that belongs to one elsewhere."""
        return frozenset(await self._gateway.database.read(lambda connection: records.occupied(connection, volume)))

    # --- the task ---

    async def _task(self, task: RunningTask, key: int, to: str, cancel_uploads: bool, drop_snapshots: bool) -> None:
        try:
            vfolder = await self._gateway.vfolders.by_key(key)
            if vfolder.volume != to:  # else it was done in the moment of a crash
                await self._refuse(vfolder, drop_snapshots)
                await self._move(task, vfolder, to, cancel_uploads)
        except CancelledError:
            if self._gateway.running:  # else the next process goes on
                await uninterrupted(self._undo(key, to, task.id))
            raise
        except GatewayError as error:
            if not task.is_tried_again_after(error):
                await self._undo(key, to, task.id)
            raise
        except Exception:
            await self._undo(key, to, task.id)
            raise
        self._index_file(task.id).unlink(missing_ok=True)

    async def _undo(self, key: int, to: str, task: str) -> None:
        """Remove what was copied, unless the vfolder lies there by now."""
        gateway = self._gateway

        def read(connection: Any) -> Sequence[Place]:
            return [place for place in records.coming(connection, key) if place.volume == to and place.task == task]

        for place in await gateway.database.read(read):
            await self._remove(place)
        self._index_file(task).unlink(missing_ok=True)

    async def _move(self, task: RunningTask, vfolder: VFolder, to: str, cancel_uploads: bool) -> None:
        gateway = self._gateway
        target = gateway.volumes.get(to)
        total = (await gateway.quota.usage(vfolder)).files
        pool = Pool(gateway.reactor, 1, "relocation")
        pool.start()
        try:
            index = Index(self._index_file(task.id), pool)
            await self._prepare(task.id, vfolder, target)
            await index.open()
            try:

                async def tell(count: int) -> None:
                    await task.progress(min(count, total), total, f"copying to volume {to}")

                source = await gateway.volumes.of(vfolder).folder(vfolder.id, Actor())
                mirror = Mirror(source, target, vfolder.id, index, gateway.reactor, tell)
                await _Run(gateway, task, vfolder, target, mirror, index, cancel_uploads).run()
            finally:
                await index.close()
        finally:
            await pool.stop()

    def _index_file(self, task: str) -> Path:
        return self._gateway.data_dir / "spool" / "relocation" / f"{task}.db"

    async def _prepare(self, task: str, vfolder: VFolder, target: IVolume) -> None:
        """Make the vfolder in its new place, unless this task did before and knows what it has copied since."""
        gateway, volume, vfid = self._gateway, target.name, vfolder.id

        def known(connection: Any) -> Place | None:
            return records.place_at(connection, volume, vfid)

        if await gateway.database.read(known) is None:
            with suppress(VFolderNotFound):
                await target.folder(vfid, Actor())
                raise VFolderExists(vfid)
        now = gateway.reactor.seconds()
        before = await gateway.database.write(lambda connection: records.claim(connection, vfolder, volume, task, now))
        resumed = before is not None and before.task == task and before.state is State.COMING
        if resumed and self._index_file(task).exists():
            return
        self._index_file(task).unlink(missing_ok=True)
        if before is not None:
            await target.delete_folder(vfid)
        if vfid.scope is not None:
            await gateway.lifecycle.ensure_scope(volume, vfid.scope)
        wanted, space = await gateway.quota.usage(vfolder), await target.space()
        if 0 <= space.available < wanted.bytes:
            raise NoSpace(f"volume {volume} has {space.available} bytes left, {wanted.bytes} are needed")
        source = await gateway.volumes.of(vfolder).folder(vfid, Actor())
        mode = (await source.stat(ROOT)).mode if IModes.providedBy(source) else None
        await target.create_folder(vfid, FolderOptions(mode))

    # --- what is left behind ---

    async def _is_due(self) -> bool:
        return bool(await self._due())

    async def _due(self) -> Sequence[Place]:
        before = self._gateway.reactor.seconds() - LEFT
        return await self._gateway.database.read(lambda connection: records.due(connection, before))

    async def _sweep(self, task: RunningTask) -> None:
        """Remove what was left long enough ago, and what moves that came to nothing have copied."""
        for place in await self._due():
            try:
                changed = await self._changed(place) if place.state is State.LEFT else None
                if changed is None:
                    await self._remove(place)
                else:
                    await self._keep(place, changed)
            except GatewayError as error:
                self.log.warn(
                    "cannot remove what vfolder {vfid} left on volume {volume}: {error}",
                    vfid=str(place.vfid),
                    volume=place.volume,
                    error=error,
                )
        await self._gateway.database.write(records.forget_gone, durable=False)

    async def _changed(self, place: Place) -> FolderPath | None:
        """A file that somebody changed in the old place after all had moved; ``None`` if there is none."""
        try:
            folder = await self._gateway.volumes.get(place.volume).folder(place.vfid, Actor())
        except VFolderNotFound:
            return None
        walk = Walk(folder, ROOT)
        latest = (place.since + SLACK) * 1e9
        try:
            while entries := await walk.read():
                for entry in entries:
                    if not entry.stat.is_dir and entry.stat.ctime_ns > latest:
                        return entry.path
        finally:
            await walk.close()
        return None

    async def _keep(self, place: Place, changed: FolderPath) -> None:
        set_state = partial(records.set_state, place=place, state=State.KEPT)
        if await self._gateway.database.write(set_state):
            told = LeftBehindChanged(volume=place.volume, vfid=str(place.vfid), path=str(changed))
            self._gateway.events.publish(told)

    async def _remove(self, place: Place) -> None:
        database = self._gateway.database
        if not await database.write(partial(records.set_state, place=place, state=State.GOING)):
            return
        going = attrs.evolve(place, state=State.GOING)
        await self._gateway.volumes.get(place.volume).delete_folder(place.vfid)
        await database.write(partial(records.set_state, place=going, state=State.GONE))


class _Run:
    """One move, from the first file to the step."""

    def __init__(
        self,
        gateway: Gateway,
        task: RunningTask,
        vfolder: VFolder,
        target: IVolume,
        mirror: Mirror,
        index: Index,
        cancel_uploads: bool,
    ) -> None:
        self._gateway = gateway
        self._task = task
        self._vfolder = vfolder
        self._source = gateway.volumes.of(vfolder)
        self._target = target
        self._mirror = mirror
        self._index = index
        self._cancel_uploads = cancel_uploads

    async def run(self) -> None:
        """Copy, catch up, and take the step. ``Conflict`` if writers do not leave the time for it."""
        followed = await self._is_followed()
        try:
            mark = await self._pass(None)
            if self._source.shared:  # what came behind our back meanwhile is in no log
                mark = await self._pass(None)
            for _ in range(ATTEMPTS):
                mark = await self._pass(mark)
                while not await self._uploads_have_ended():
                    mark = await self._pass(mark)
                if await uninterrupted(self._switch(mark)):
                    return
        except BaseException:
            if not followed:
                key = self._vfolder.key
                await self._gateway.database.write(lambda connection: records.untrack(connection, key), durable=False)
            raise
        raise Conflict("so much is written to the vfolder that the copy does not catch up; try again at a quieter time")

    async def _is_followed(self) -> bool:
        return await self._gateway.database.read(partial(records.is_tracked, vfolder=self._vfolder.key))

    async def _pass(self, mark: Mark | None) -> Mark:
        """Copy what has changed since ``mark``, or else all that differs; the moment up to which that is all."""
        changes = self._gateway.changes
        begun = await changes.now(self._vfolder)
        await self._catch_up(mark)
        return begun

    async def _catch_up(self, mark: Mark | None) -> None:
        logged = None
        if mark is not None and not self._source.names.case_folding:  # folded paths are not what files are called
            logged = await self._gateway.changes.since(self._vfolder, mark, ROOT)
        if mark is None or logged is None:
            await self._mirror.walk()
        else:
            await self._mirror.catch_up(logged[1], mark.serial)

    async def _uploads_have_ended(self) -> bool:
        gateway, key = self._gateway, self._vfolder.key
        count = await gateway.database.read(lambda connection: records.unfinished(connection, key))
        if not count:
            return True
        if self._cancel_uploads:
            await gateway.staging.cancel_all(self._vfolder)
            return True
        told = self._task.task
        words = (
            f"all is copied; waiting for {count} uploads to end (vfgateway upload list {self._vfolder.display_name})"
        )
        await self._task.progress(told.done, told.total, words)
        await wait(gateway.reactor, LOOK)
        return False

    async def _switch(self, mark: Mark) -> bool:
        """Take the step, unless it would take too long."""
        gateway, vfolder, clock = self._gateway, self._vfolder, self._gateway.reactor
        async with gateway.locks.publishing(vfolder, [(ROOT, True)], frozenset(), "internal", recount=True):
            self._mirror.until = clock.seconds() + HOLD
            try:
                await self._catch_up(mark)
            except OutOfTime:
                return False
            finally:
                self._mirror.until = None
            if await gateway.database.read(lambda connection: records.unfinished(connection, vfolder.key)):
                return False
            await nativelimits.set_on_folder(self._target, vfolder.id, vfolder.limits)
            await gateway.quota.flush()
            await self._enter()
            gateway.locks.changes += 1  # announcements and claims of this process are for the old place
            await wait(clock, SETTLED)
        return True

    async def _enter(self) -> None:
        gateway, vfolder, task = self._gateway, self._vfolder, self._task.id
        now, to = gateway.reactor.seconds(), self._target.name
        names = await self._names()

        def write(connection: Any) -> VFolder:
            records.rename_paths(connection, vfolder.key, names)
            return records.switch(connection, vfolder, to, task, now)

        about: dict[str, Any] = {
            "source": vfolder.volume,
            "files": self._mirror.copied,
            "bytes": self._mirror.copied_bytes,
        }
        database, key = gateway.database, vfolder.key
        await audit_records.change(database, GENERATION, write, "vfolder_moved", now, vfolder=key, **about)

    async def _names(self) -> dict[bytes, bytes]:
        """How the new place folds the paths that locks and properties know."""
        before, after = self._source.names, self._target.names
        if before.case_folding == after.case_folding:
            return {}
        key = self._vfolder.key
        paths = set(await self._gateway.database.read(lambda connection: records.paths_of(connection, key)))
        found = dict(await self._index.names(paths, before.fold_path)) if before.case_folding else {p: p for p in paths}
        return {old: bytes(after.fold_path(parse_bytes(new))) for old, new in found.items()}
