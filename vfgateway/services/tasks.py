"""Background tasks as durable records: they survive the process, show their progress, and can be cancelled.

A task runs at least once: after a crash it starts again from the beginning, so handlers may be repeated. Its record stays for
:data:`KEPT` seconds after it ended.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import attrs
from sqlalchemy import Connection
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, TimeoutError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway import requestcontext
from vfgateway.errors import DatabaseUnavailable, GatewayError, TaskNotFound, VolumeUnavailable
from vfgateway.principals import Origin
from vfgateway.requestcontext import RequestContext
from vfgateway.services import taskrecords as records
from vfgateway.services.database import Database
from vfgateway.services.events import Events, TaskChanged
from vfgateway.services.metrics import Metrics
from vfgateway.services.processes import Processes, wait
from vfgateway.services.taskrecords import FINISHED, Task, TaskState
from vfgateway.services.taskschedule import Schedule

#: Tasks of a lane that run at once in one process.
AT_ONCE = 4
#: The lane of tasks that say nothing else. Tasks wait only for those in their own lane: a message does not wait for a clone.
WORK = "work"
#: Seconds for which the record of a finished task is kept.
KEPT = 24 * 3600.0
#: Seconds between looks for tasks that are due, cancelled elsewhere, or to be struck.
LOOK = 2.0
#: Seconds between two writes of a task's progress.
PROGRESS = 0.5
#: Seconds before a task that failed is tried again, doubled each time up to the longest; and how often it is tried in all by default.
BACK_OFF, LONGEST_BACK_OFF, ATTEMPTS = 5.0, 600.0, 6

#: What passes by itself, whatever is done.
PASSING: tuple[type[Exception], ...] = (VolumeUnavailable, DatabaseUnavailable)

type_handler = Callable[..., Awaitable[None]]

__all__ = ["RunningTask", "Task", "TaskState", "Tasks"]


@attrs.frozen
class _Kind:
    handler: type_handler
    attempts: int
    passing: tuple[type[Exception], ...]
    lane: str


class RunningTask:
    """A task as its handler sees it."""

    def __init__(self, tasks: Tasks, task: Task) -> None:
        self._tasks = tasks
        self._written_at = float("-inf")
        self.task = task

    @property
    def id(self) -> str:
        """The task's identifier."""
        return self.task.id

    def is_tried_again_after(self, error: Exception) -> bool:
        """Whether ``error``, once raised, is not the end of it."""
        return self._tasks.is_tried_again(self.task, error)

    async def progress(self, done: int, total: int = 0, message: str = "") -> None:
        """Tell how far it is. Cheap: most calls write nothing. Raises ``CancelledError`` when the task was cancelled elsewhere."""
        self.task = attrs.evolve(self.task, done=done, total=total, message=message)
        now = self._tasks.clock.seconds()
        if not 0 <= now - self._written_at < PROGRESS:
            self._written_at = now
            await self._tasks.tell_progress(self.task)


class Tasks:
    """The background tasks of all processes, and those that run in this one.

    :ivar schedule: those that come again and again
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        clock: Any,
        process: Processes,
        events: Events,
        metrics: Metrics | None = None,
    ) -> None:
        self._database = database
        self._process = process
        self._events = events
        self._metrics = metrics or Metrics()
        self._kinds: dict[str, _Kind] = {}
        self._running: dict[str, Deferred[None]] = {}
        self._lane_of: dict[str, str] = {}
        self._cancelled: set[str] = set()
        self._look = LoopingCall(self._look_around)
        self._look.clock = clock
        self._claiming = DeferredLock()
        self._accepting = False
        self.schedule = Schedule(database, clock, process, lambda name: self._new(name, {}))
        self.clock = clock

    @property
    def running(self) -> int:
        """How many run in this process."""
        return len(self._running)

    def register(
        self,
        name: str,
        handler: type_handler,
        retriable: bool = False,
        attempts: int = ATTEMPTS,
        passing: tuple[type[Exception], ...] = PASSING,
        lane: str = WORK,
    ) -> None:
        """Have ``handler(task, **arguments)`` do the tasks called ``name``.

        :param retriable: whether any failure may pass, so that it is tried again
        :param attempts: how often in all
        :param passing: failures that may pass, where not all do
        :param lane: with which other tasks it shares room
        """
        self._kinds[name] = _Kind(handler, attempts, (Exception,) if retriable else passing, lane)

    def is_tried_again(self, task: Task, error: Exception) -> bool:
        """Whether a task that failed like that is tried once more."""
        kind = self._kinds[task.name]
        return isinstance(error, kind.passing) and task.attempt < kind.attempts

    # --- life ---

    async def resume(self) -> None:
        """Begin to run tasks: new ones, and what dead processes left."""
        self._accepting = True
        self._process.watch(self._take_over)
        self._look.start(LOOK, now=False)
        await self._take_over()

    async def stop(self) -> None:
        """Stop what runs; it starts again with the next process. Idempotent."""
        if not self._accepting:
            return
        self._accepting = False
        self._look.stop()
        running = list(self._running.values())
        for task in running:
            task.cancel()
        for task in running:
            await task
        await self._database.write(lambda connection: records.let_go(connection, self._process.id))

    async def _take_over(self) -> None:
        dead = await self._process.dead()
        await self._database.write(lambda connection: records.orphan(connection, dead))
        await self._run_due()

    async def _look_around(self) -> None:
        try:
            now = self.clock.seconds()
            cancelling = await self._database.read(lambda connection: records.cancelling(connection, self._running))
            for task_id in cancelling:
                self._cancel_here(task_id)
            await self.schedule.look()
            await self._run_due()
            if await self._database.read(lambda connection: records.has_old(connection, now - KEPT)):
                await self._database.write(lambda connection: records.strike_old(connection, now - KEPT), durable=False)
        except Exception:
            self.log.failure("could not look after tasks")

    # --- for callers ---

    async def start(self, name: str, arguments: Mapping[str, Any], *, delay: float = 0.0) -> str:
        """Enter a task, durably; its identifier. It runs in this process as soon as there is room.

        :param arguments: what JSON can hold
        :param delay: seconds to wait first
        """
        task = self._new(name, arguments, delay)
        await self._database.write(lambda connection: records.add(connection, task))
        self._publish(task)
        if self._accepting and not delay:
            running = Deferred.fromCoroutine(self._run_due())
            running.addErrback(lambda failure: self.log.failure("could not start tasks", failure=failure))
        return task.id

    def enter(self, connection: Connection, name: str, arguments: Mapping[str, Any]) -> None:
        """Enter a task within the caller's write. It runs soon after, in any process."""
        records.add(connection, self._new(name, arguments))

    def _new(self, name: str, arguments: Mapping[str, Any], delay: float = 0.0) -> Task:
        now = self.clock.seconds()
        context = requestcontext.current() or RequestContext()
        return Task(
            request_id=context.origin.request_id,
            who=context.who,
            id=str(uuid4()),
            name=name,
            arguments=json.loads(json.dumps(dict(arguments))),
            state=TaskState.QUEUED,
            created=now,
            not_before=now + delay if delay else None,
        )

    async def get(self, task_id: str) -> Task:
        """A task. ``TaskNotFound``; also some time after it ended."""
        task = await self._database.read(lambda connection: records.get(connection, task_id))
        if task is None:
            raise TaskNotFound(task_id)
        return task

    async def list(self, state: TaskState | None = None, name: str | None = None) -> Sequence[Task]:
        """All tasks that are remembered, or those in a state and of a name; the newest first."""
        return await self._database.read(lambda connection: records.some(connection, state, name))

    async def cancel(self, task_id: str) -> Task:
        """Have a task end soon, wherever it runs; one that has ended stays as it is. ``TaskNotFound``."""
        now = self.clock.seconds()
        task = await self._database.write(lambda connection: records.cancel(connection, task_id, now))
        if task is None:
            raise TaskNotFound(task_id)
        if task.state is TaskState.CANCELLED:
            self._publish(task)
        self._cancel_here(task_id)
        return task

    async def watch(self, task_id: str) -> AsyncIterator[Task]:
        """The task now, and whenever it has changed, until it has ended. ``TaskNotFound``."""
        changed: list[Deferred[None]] = [Deferred()]

        def on_change(event: TaskChanged) -> None:
            if event.task_id == task_id and not changed[0].called:
                changed[0].callback(None)

        unsubscribe = self._events.subscribe(TaskChanged, on_change)
        try:
            last: Task | None = None
            while True:
                changed[0] = Deferred()
                task = await self.get(task_id)
                if task != last:
                    yield task
                last = task
                if task.state in FINISHED:
                    return
                with suppress(TimeoutError):  # it may run in another process: look without being told, too
                    await changed[0].addTimeout(LOOK, self.clock)
        finally:
            unsubscribe()

    # --- running ---

    async def _run_due(self) -> None:
        async with self._claiming:
            for lane in sorted({kind.lane for kind in self._kinds.values()}):
                await self._run_due_in(lane)

    async def _run_due_in(self, lane: str) -> None:
        room = AT_ONCE - list(self._lane_of.values()).count(lane)
        if not self._accepting or room <= 0:
            return
        now, names = self.clock.seconds(), [name for name, kind in self._kinds.items() if kind.lane == lane]
        if not await self._database.read(lambda connection: records.is_due(connection, now, names)):
            return
        claimed = await self._database.write(
            lambda connection: records.claim(connection, self._process.id, now, names, room)
        )
        if self._accepting:  # else they are let go of by stop()
            for task in claimed:
                self._begin(task)

    def _begin(self, task: Task) -> None:
        self._lane_of[task.id] = self._kinds[task.name].lane
        origin = Origin("task", request_id=task.request_id)
        context = RequestContext(origin, who=task.who, operation=task.name, target=task.id)
        running = context.run(Deferred.fromCoroutine, self._run(task))
        if not running.called:
            self._running[task.id] = running
        running.addBoth(self._ended, task.id)

    def _ended(self, result: Any, task_id: str) -> None:
        self._running.pop(task_id, None)
        self._lane_of.pop(task_id, None)
        self._cancelled.discard(task_id)
        if result is not None:
            self.log.failure("could not run task {task_id}", failure=result, task_id=task_id)
        if self._accepting:
            running = Deferred.fromCoroutine(self._run_due())
            running.addErrback(lambda failure: self.log.failure("could not start tasks", failure=failure))

    async def _run(self, task: Task) -> None:
        kind = self._kinds[task.name]
        running = RunningTask(self, task)
        self._publish(task)
        self._metrics.task_began(task.name)
        again = False
        try:
            await kind.handler(running, **task.arguments)
            state, message = TaskState.DONE, ""
        except Exception as error:
            state, message = self._outcome(task, error)
            again = state is TaskState.FAILED and self.is_tried_again(task, error)
        self._metrics.task_ended(task.name, state.value)
        await self._finish(running.task, state, message, again)

    def _outcome(self, task: Task, error: Exception) -> tuple[TaskState, str]:
        if task.id in self._cancelled:  # by somebody, whatever the handler made of it
            return TaskState.CANCELLED, "cancelled"
        if isinstance(error, CancelledError):  # stopped with the process: it runs again
            return TaskState.QUEUED, ""
        if isinstance(error, GatewayError):
            return TaskState.FAILED, str(error)
        self.log.failure("task {task} {task_id} failed", task=task.name, task_id=task.id)
        return TaskState.FAILED, "internal error, see the log"

    async def _finish(self, task: Task, state: TaskState, message: str, again: bool) -> None:
        now = self.clock.seconds()
        if again:
            state = TaskState.QUEUED
        changed = attrs.evolve(
            task,
            state=state,
            message=message or task.message,
            done=task.total if state is TaskState.DONE else task.done,
            not_before=now + _back_off(task.attempt) if again else None,
            finished=now if state in FINISHED else None,
        )
        while True:
            try:
                await self._database.write(lambda connection: records.save(connection, changed))
                break
            except DatabaseUnavailable:  # else it would be taken to run for ever
                await wait(self.clock, LOOK)
        self._publish(changed)

    async def tell_progress(self, task: Task) -> None:
        """Write and tell a task's progress; for :class:`RunningTask`."""
        if await self._database.write(lambda connection: records.save_progress(connection, task), durable=False):
            self._cancelled.add(task.id)
            raise CancelledError
        self._publish(task)

    def _cancel_here(self, task_id: str) -> None:
        running = self._running.get(task_id)
        if running is not None and task_id not in self._cancelled:
            self._cancelled.add(task_id)
            running.cancel()

    def _publish(self, task: Task) -> None:
        self._events.publish(
            TaskChanged(
                task_id=task.id,
                task=task.name,
                state=task.state.value,
                done=task.done,
                total=task.total,
                message=task.message,
            )
        )


def _back_off(attempt: int) -> float:
    """Seconds to wait after an attempt that failed, counted from 1."""
    return min(LONGEST_BACK_OFF, BACK_OFF * 2.0 ** min(attempt - 1, 30))


async def until_finished(tasks: Tasks, task_id: str) -> Task:
    """Wait for the end of a task."""
    async for task in tasks.watch(task_id):
        if task.state in FINISHED:
            return task
    raise TaskNotFound(task_id)
