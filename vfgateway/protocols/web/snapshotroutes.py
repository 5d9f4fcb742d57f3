"""Snapshots of a vfolder, as both APIs offer them; what lies in one is read below ``.snapshots`` by the ways on which all files are read."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from vfgateway.errors import InvalidPath
from vfgateway.paths import json_name
from vfgateway.protocols.web.fields import WHOLE, Answer, Closed, Flag, RelPath
from vfgateway.protocols.web.routing import NO_CONTENT, NOTHING, NoParameters, Reply, Routes, type_reply_body
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession
from vfgateway.services.snapshotplans import MOST, PERIODS, Plan
from vfgateway.services.snapshotrecords import Scheduled
from vfgateway.services.snapshots import Taken

#: How a snapshot is called.
type_label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
_Count = Annotated[int, Field(strict=True, ge=0, le=MOST), WHOLE]


class SnapshotOrder(Closed):
    """How a snapshot shall be called; without a label it is called by the time, as ``2026-11-21T22-00-00Z``."""

    label: type_label | None = None


class SnapshotInfo(Answer):
    """A snapshot: when it was taken (epoch seconds), why, and by whom; ``storage`` is one that was taken without the gateway."""

    label: str
    created: float
    reason: Literal["hand", "schedule", "restore", "storage"]
    made_by: str


class SnapshotList(Answer):
    """Snapshots, the oldest first."""

    snapshots: list[SnapshotInfo]


class RestoreOrder(Closed):
    """What to put back: the file or directory at ``path``, where it was or at ``target``, over what is there with ``replace``; without a path the
    whole vfolder."""

    path: RelPath | None = None
    target: RelPath | None = None
    replace: Flag = False


class Restored(Answer):
    """Where it is now. ``name_b64`` has the path's bytes where they are not UTF-8."""

    sparse = True

    name: str
    name_b64: str | None = None


class RestoreTask(Answer):
    """The task that puts a vfolder back."""

    task: str


class PlanOrder(Closed):
    """How many snapshots are kept of the latest hours, days, weeks and months; they are taken as often as the shortest of these."""

    hourly: _Count = 0
    daily: _Count = 0
    weekly: _Count = 0
    monthly: _Count = 0


class PlanInfo(Answer):
    """A schedule. ``due`` is when the next one is taken (epoch seconds); ``null`` where none are taken by themselves."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    due: float | None = None


class SnapshotRoutes(Routes):
    """See the module. Each API says whose hands are meant.

    :param one: the path of a vfolder
    """

    def __init__(self, gateway: Gateway, one: str) -> None:
        super().__init__(gateway, f"/vfgateway/v1{one}", tag="snapshots")
        single = "/snapshots/{label}"
        restored: dict[int, type_reply_body] = {200: Restored, 202: RestoreTask}
        self.add("GET", "/snapshots", self.snapshot_list, NoParameters, {200: SnapshotList}, 404, 409)
        self.add("POST", "/snapshots", self.snapshot_create, SnapshotOrder, {201: SnapshotInfo}, 404, 409, 507)
        self.add("DELETE", single, self.snapshot_delete, NoParameters, {204: NOTHING}, 404, 409)
        self.add("POST", f"{single}/restore", self.snapshot_restore, RestoreOrder, restored, 404, 409, 423, 507)
        self.add("GET", "/snapshot-schedule", self.schedule_show, NoParameters, {200: PlanInfo}, 404, 409)
        self.add("PUT", "/snapshot-schedule", self.schedule_set, PlanOrder, {200: PlanInfo}, 404, 409)
        self.add("DELETE", "/snapshot-schedule", self.schedule_delete, NoParameters, {204: NOTHING}, 404, 409)

    @abstractmethod
    async def hands(self, call: Any) -> FolderSession:
        """The caller's, in the vfolder that the path names."""

    async def snapshot_list(self, call: Any, params: NoParameters) -> Reply:
        """List the snapshots of a vfolder."""
        found = await self.gateway.snapshots.list(await self.hands(call))
        return Reply(body=SnapshotList(snapshots=[_info(taken) for taken in found]))

    async def snapshot_create(self, call: Any, params: SnapshotOrder) -> Reply:
        """Take a snapshot. For those who administer the vfolder, where the storage keeps snapshots."""
        taken = await self.gateway.snapshots.create(await self.hands(call), params.label)
        return Reply(201, _info(taken))

    async def snapshot_delete(self, call: Any, params: NoParameters) -> Reply:
        """Remove a snapshot. For those who administer the vfolder."""
        await self.gateway.snapshots.drop(await self.hands(call), call.path["label"])
        return NO_CONTENT

    async def snapshot_restore(self, call: Any, params: RestoreOrder) -> Reply:
        """Put a file, a directory or the whole vfolder back.

        A file or directory for those who may write it. The whole for those who may delete in it, by a task: what the vfolder holds until
        then becomes a snapshot before.
        """
        folder, label = await self.hands(call), call.path["label"]
        if params.path is not None:
            path = await self.gateway.snapshots.restore(folder, label, params.path, params.target, params.replace)
            return Reply(body=Restored(**json_name(str(path))))
        if params.target is not None:
            raise InvalidPath(params.target, "the whole of a vfolder is put back where it was")
        return Reply(202, RestoreTask(task=await self.gateway.snapshots.restore_all(folder, label)))

    async def schedule_show(self, call: Any, params: NoParameters) -> Reply:
        """Show when snapshots are taken by themselves, and how many are kept."""
        return Reply(body=_plan(await self.gateway.snapshots.schedule_of(await self.hands(call))))

    async def schedule_set(self, call: Any, params: PlanOrder) -> Reply:
        """Have snapshots taken by themselves, the first one soon. For those who administer the vfolder."""
        folder = await self.hands(call)
        return Reply(body=_plan(await self.gateway.snapshots.set_schedule(folder, Plan(**params.model_dump()))))

    async def schedule_delete(self, call: Any, params: NoParameters) -> Reply:
        """Have no more snapshots taken by themselves; those that were taken stay."""
        await self.gateway.snapshots.set_schedule(await self.hands(call), None)
        return NO_CONTENT


def _info(taken: Taken) -> SnapshotInfo:
    return SnapshotInfo(
        label=taken.label, created=taken.created, reason=taken.reason.value, made_by=json_name(taken.made_by)["name"]
    )


def _plan(scheduled: Scheduled | None) -> PlanInfo:
    if scheduled is None:
        return PlanInfo()
    return PlanInfo(**{period: getattr(scheduled.plan, period) for period in PERIODS}, due=scheduled.due)
