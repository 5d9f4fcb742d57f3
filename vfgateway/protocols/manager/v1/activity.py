"""What goes on: uploads, background tasks, locks."""

from __future__ import annotations

import json

from vfgateway.errors import UnknownAccount
from vfgateway.model import VFolder
from vfgateway.protocols.manager.faults import shown
from vfgateway.protocols.manager.v1.things import (
    LockInfo,
    LockList,
    TaskFilter,
    TaskInfo,
    TaskList,
    UploadInfo,
    UploadList,
    VFolderChoice,
)
from vfgateway.protocols.web.routing import (
    EVENT_STREAM,
    NO_CONTENT,
    NOTHING,
    Call,
    Events,
    NoParameters,
    Reply,
    Routes,
    Source,
)
from vfgateway.services.gateway import Gateway
from vfgateway.services.locktable import Lock
from vfgateway.services.staging import UploadInfo as Staged
from vfgateway.services.tasks import Task, TaskState


class ActivityRoutes(Routes):
    """Everything about what is under way."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, "/vfgateway/v1", tag="activity")
        query = {"source": Source.QUERY}
        events = {200: Events(TaskInfo, ("progress", "done", "failed", "cancelled"))}
        self.add("GET", "/uploads", self.upload_list, VFolderChoice, {200: UploadList}, 404, 409, **query)
        self.add("DELETE", "/uploads/{upload}", self.upload_cancel, NoParameters, {204: NOTHING}, 404, 409)
        self.add("GET", "/tasks", self.task_list, TaskFilter, {200: TaskList}, **query)
        self.add("GET", "/tasks/{task}", self.task_show, NoParameters, {200: TaskInfo}, 404)
        self.add("DELETE", "/tasks/{task}", self.task_cancel, NoParameters, {204: NOTHING}, 404)
        self.add("GET", "/tasks/{task}/events", self.task_watch, NoParameters, events, 404)
        self.add("GET", "/locks", self.lock_list, VFolderChoice, {200: LockList}, 404, 409, **query)
        self.add("DELETE", "/locks/{token}", self.lock_break, NoParameters, {204: NOTHING}, 404)

    async def _chosen(self, params: VFolderChoice) -> VFolder | None:
        return None if params.vfolder is None else await self.gateway.vfolders.resolve(params.vfolder)

    async def _folders(self) -> dict[int, VFolder]:
        return {vfolder.key: vfolder for vfolder in await self.gateway.vfolders.list()}

    # --- uploads ---

    async def upload_list(self, call: Call, params: VFolderChoice) -> Reply:
        """List uploads under way, oldest first."""
        uploads = await self.gateway.staging.list(await self._chosen(params))
        folders = await self._folders()
        return Reply(
            body=UploadList(uploads=[_upload(one, folders[one.vfolder]) for one in uploads if one.vfolder in folders])
        )

    async def upload_cancel(self, call: Call, params: NoParameters) -> Reply:
        """Cancel an upload; nothing is left of it."""
        await self.gateway.staging.cancel(call.path["upload"])
        self.gateway.audit.note("upload_cancelled", call.path["upload"])
        return NO_CONTENT

    # --- tasks ---

    async def task_list(self, call: Call, params: TaskFilter) -> Reply:
        """List background tasks, the newest first."""
        state = None if params.state is None else TaskState(params.state)
        return Reply(body=TaskList(tasks=[_task(task) for task in await self.gateway.tasks.list(state, params.name)]))

    async def task_show(self, call: Call, params: NoParameters) -> Reply:
        """Show a background task."""
        return Reply(body=_task(await self.gateway.tasks.get(call.path["task"])))

    async def task_cancel(self, call: Call, params: NoParameters) -> Reply:
        """Cancel a background task. One that has ended stays as it is."""
        await self.gateway.tasks.cancel(call.path["task"])
        self.gateway.audit.note("task_cancelled", call.path["task"])
        return NO_CONTENT

    async def task_watch(self, call: Call, params: NoParameters) -> None:
        """Watch a background task.

        Each event carries the task as JSON. It is called ``progress`` until the task has ended, then ``done``, ``failed`` or
        ``cancelled``, and the stream ends.
        """
        request = call.request
        begun = False
        async for task in self.gateway.tasks.watch(call.path["task"]):
            if not begun:
                request.setHeader("content-type", EVENT_STREAM)
                request.setHeader("cache-control", "no-store")
                begun = True
            active = task.state in (TaskState.QUEUED, TaskState.RUNNING)
            name = "progress" if active else task.state.value
            data = json.dumps(_task(task).model_dump())
            request.write(f"event: {name}\ndata: {data}\n\n".encode("ascii"))

    # --- locks ---

    async def lock_list(self, call: Call, params: VFolderChoice) -> Reply:
        """List locks, oldest first."""
        locks = await self.gateway.locks.list(await self._chosen(params))
        folders = await self._folders()
        return Reply(body=LockList(locks=[_lock(one, folders[one.vfolder]) for one in locks if one.vfolder in folders]))

    async def lock_break(self, call: Call, params: NoParameters) -> Reply:
        """Break a lock. What was begun under it cannot be published any more."""
        if not await self.gateway.locks.break_lock(call.path["token"]):
            raise UnknownAccount("lock", call.path["token"])
        self.gateway.audit.note("lock_broken", call.path["token"])
        return NO_CONTENT


def _upload(upload: Staged, vfolder: VFolder) -> UploadInfo:
    return UploadInfo(
        id=upload.id,
        vfolder=vfolder.id.folder.hex,
        volume=vfolder.volume,
        path=shown(str(upload.target)),
        size=upload.size,
        offset=upload.offset,
        state=upload.state.value,
        owner_id=upload.principal,
        created=upload.created,
        expires=upload.expires,
    )


def _task(task: Task) -> TaskInfo:
    return TaskInfo(
        id=task.id,
        name=task.name,
        state=task.state.value,
        message=shown(task.message),
        done=task.done,
        total=task.total,
        attempt=task.attempt,
        created=task.created,
        not_before=task.not_before,
        started=task.started,
        finished=task.finished,
        request_id=task.request_id,
        user=shown(task.who),
    )


def _lock(lock: Lock, vfolder: VFolder) -> LockInfo:
    return LockInfo(
        token=lock.token,
        vfolder=vfolder.id.folder.hex,
        volume=vfolder.volume,
        path=shown(str(lock.path)),
        infinite=lock.infinite,
        exclusive=lock.exclusive,
        owner=shown(lock.owner),
        created=lock.created,
        expires=lock.expires,
    )
