"""Background tasks: they finish, or say why not, and a dead process is no reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.support.processes import Process, begin, process, settled, turn, while_time_passes
from vfgateway import requestcontext
from vfgateway.errors import Conflict, NoSpace, TaskNotFound, VFolderExists, VolumeUnavailable
from vfgateway.principals import Origin
from vfgateway.requestcontext import RequestContext
from vfgateway.services.events import TaskChanged
from vfgateway.services.tasks import AT_ONCE, ATTEMPTS, KEPT, LOOK, RunningTask, TaskState, until_finished


@pytest_twisted.async_yield_fixture
async def alone(tmp_path: Path, clock: Clock) -> AsyncIterator[Process]:
    async with process(tmp_path / "db", clock) as made:
        yield made


class Work:
    """A handler that stays in the middle until it is told how to end. ``runs`` holds one Deferred for each time it was begun."""

    def __init__(self) -> None:
        self.runs: list[Deferred[None]] = []
        self.arguments: list[dict[str, Any]] = []
        self.tasks: list[RunningTask] = []
        self.cancelled = 0

    async def __call__(self, task: RunningTask, **arguments: Any) -> None:
        go_on: Deferred[None] = Deferred()
        self.runs.append(go_on)
        self.tasks.append(task)
        self.arguments.append(arguments)
        try:
            await go_on
        except CancelledError:
            self.cancelled += 1
            raise

    async def begun(self, count: int = 1) -> None:
        """Wait until it was begun that often."""
        while len(self.runs) < count:
            await turn()


def told(at: Process) -> list[tuple[str, int, int, str]]:
    """The events of tasks from now on."""
    events: list[tuple[str, int, int, str]] = []
    at.events.subscribe(TaskChanged, lambda event: events.append((event.state, event.done, event.total, event.message)))
    return events


async def test_a_task_runs_and_is_done(alone: Process) -> None:
    """It gets its arguments, and everybody can see how it goes."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    events = told(alone)
    task_id = await alone.tasks.start("work", {"vfid": "abc", "paths": ["a", "b"]})
    await work.begun()
    assert work.arguments == [{"vfid": "abc", "paths": ["a", "b"]}]
    assert (await alone.tasks.get(task_id)).state is TaskState.RUNNING
    await work.tasks[0].progress(3, 10, "copying")
    assert (await alone.tasks.get(task_id)).done == 3
    work.runs[0].callback(None)
    task = await until_finished(alone.tasks, task_id)
    assert (task.state, task.done, task.total) == (TaskState.DONE, 10, 10)
    assert task.finished == alone.clock.seconds()
    assert events == [
        ("queued", 0, 0, ""),
        ("running", 0, 0, ""),
        ("running", 3, 10, "copying"),
        ("done", 10, 10, "copying"),
    ]


async def test_a_task_started_before_anything_runs(alone: Process) -> None:
    """It waits for the start of the service."""
    work = Work()
    alone.tasks.register("work", work)
    task_id = await alone.tasks.start("work", {})
    assert (await alone.tasks.get(task_id)).state is TaskState.QUEUED
    await alone.tasks.resume()
    await work.begun()
    work.runs[0].callback(None)
    assert (await until_finished(alone.tasks, task_id)).state is TaskState.DONE


async def test_a_failure_says_why(alone: Process) -> None:
    """An error of the family is told in its own words."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    await work.begun()
    work.runs[0].errback(NoSpace("volume full has 3 bytes left, 4 are needed"))
    task = await until_finished(alone.tasks, task_id)
    assert (task.state, task.message) == (TaskState.FAILED, "volume full has 3 bytes left, 4 are needed")


async def test_names_that_are_no_text(alone: Process) -> None:
    """In what a task tells on its way and at its end they are shown by escapes; the task ends."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    await work.begun()
    await work.tasks[0].progress(1, 2, "copying d/\udcff")
    assert (await alone.tasks.get(task_id)).message == "copying d/\\xff"
    work.runs[0].errback(Conflict("this is no file: d/\udcff"))
    task = await until_finished(alone.tasks, task_id)
    assert (task.state, task.message) == (TaskState.FAILED, "this is no file: d/\\xff")


async def test_a_bug_is_logged_and_not_told(alone: Process) -> None:
    """What is outside the family goes to the log with its traceback; who asked learns no detail."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    await work.begun()
    with capturedLogs() as logs:
        work.runs[0].errback(RuntimeError("secret detail"))
        task = await until_finished(alone.tasks, task_id)
    assert task.state is TaskState.FAILED
    assert "secret" not in task.message
    assert any("log_failure" in event for event in logs)


async def test_a_retriable_task_is_tried_again_later_and_not_for_ever(alone: Process) -> None:
    """What may pass is waited for, longer each time; in the end it has failed."""
    work = Work()
    alone.tasks.register("work", work, retriable=True)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    for attempt in range(1, ATTEMPTS + 1):
        await while_time_passes(alone.clock, work.begun(attempt), step=LOOK, most=1000.0)
        task = await alone.tasks.get(task_id)
        assert task.attempt == attempt
        work.runs[-1].errback(NoSpace())
        while alone.tasks.running:
            await turn()
    assert (await alone.tasks.get(task_id)).state is TaskState.FAILED


async def test_only_so_many_at_once(alone: Process) -> None:
    """The rest waits its turn, the oldest first."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    starting = []
    for number in range(AT_ONCE + 2):
        starting.append(begin(alone.tasks.start("work", {"number": number})))
        alone.clock.advance(0.001)
    await gatherResults(starting)
    await work.begun(AT_ONCE)
    await turn()
    assert len(await alone.tasks.list(TaskState.QUEUED)) == 2
    work.runs[1].callback(None)
    await work.begun(AT_ONCE + 1)
    assert work.arguments[-1] == {"number": AT_ONCE}
    for run in work.runs:
        if not run.called:
            run.callback(None)
    await work.begun(AT_ONCE + 2)
    work.runs[-1].callback(None)


async def test_tasks_wait_only_for_their_own_kind(alone: Process) -> None:
    """A message goes out though all room for long work is taken, and the other way round."""
    long, short = Work(), Work()
    alone.tasks.register("long", long)
    alone.tasks.register("short", short, lane="messages")
    for _ in range(AT_ONCE + 1):
        await alone.tasks.start("long", {})
    await alone.tasks.resume()
    await long.begun(AT_ONCE)
    await alone.tasks.start("short", {})
    await short.begun()
    assert len(long.runs) == AT_ONCE
    for run in [*long.runs, *short.runs]:
        run.callback(None)
    await long.begun(AT_ONCE + 1)
    long.runs[-1].callback(None)


async def test_cancelling(alone: Process) -> None:
    """A running task is interrupted, a waiting one never begins, a finished one stays as it is."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    running = await alone.tasks.start("work", {})
    await work.begun()
    waiting = await alone.tasks.start("work", {}, delay=60.0)
    for task_id in (running, waiting):
        await alone.tasks.cancel(task_id)
        task = await until_finished(alone.tasks, task_id)
        assert (task.state, task.message) == (TaskState.CANCELLED, "cancelled")
        assert (await alone.tasks.cancel(task_id)).state is TaskState.CANCELLED
    assert (work.cancelled, len(work.runs)) == (1, 1)


async def test_cancelling_what_calls_it_a_failure(alone: Process) -> None:
    """Libraries wrap the cancellation into errors of their own; it is not tried again for that."""

    async def work(task: RunningTask) -> None:
        begun.callback(None)
        try:
            await Deferred()
        except CancelledError:
            raise NoSpace() from None

    begun: Deferred[None] = Deferred()
    alone.tasks.register("work", work, retriable=True)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    await begun
    await alone.tasks.cancel(task_id)
    assert (await until_finished(alone.tasks, task_id)).state is TaskState.CANCELLED


async def test_unknown_tasks(alone: Process) -> None:
    """There is an error for them."""
    for call in (alone.tasks.get, alone.tasks.cancel):
        with pytest.raises(TaskNotFound):
            await call("no-such-task")


async def test_a_watcher_sees_each_change_to_the_end(alone: Process) -> None:
    """What a progress bar shows."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    seen: list[tuple[TaskState, int]] = []

    async def watch() -> None:
        async for task in alone.tasks.watch(task_id):
            seen.append((task.state, task.done))

    watching = begin(watch())
    await work.begun()
    await settled(watching)
    await work.tasks[0].progress(1, 2)
    await settled(watching)
    work.runs[0].callback(None)
    await watching
    assert seen[-3:] == [(TaskState.RUNNING, 0), (TaskState.RUNNING, 1), (TaskState.DONE, 2)]


async def test_progress_is_not_written_more_often_than_anybody_looks(alone: Process) -> None:
    """A task that reports each of a million files costs next to nothing."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    await alone.tasks.start("work", {})
    await work.begun()
    events = told(alone)
    for done in range(1000):
        await work.tasks[0].progress(done, 1000)
    assert len(events) == 1
    work.runs[0].callback(None)


async def test_a_stop_leaves_tasks_for_the_next_start(tmp_path: Path, clock: Clock) -> None:
    """An interrupted task begins again with the next process."""
    first, again = Work(), Work()
    async with process(tmp_path / "db", clock, 1) as here:
        here.tasks.register("work", first)
        await here.tasks.resume()
        task_id = await here.tasks.start("work", {"a": 1})
        await first.begun()
    assert first.cancelled == 1
    async with process(tmp_path / "db", clock, 2) as there:
        there.tasks.register("work", again)
        await there.tasks.resume()
        await again.begun()
        assert again.arguments == [{"a": 1}]
        again.runs[0].callback(None)
        assert (await until_finished(there.tasks, task_id)).attempt == 2


async def test_tasks_of_a_process_that_dies_go_on_in_another(tmp_path: Path, clock: Clock) -> None:
    """They begin again where somebody lives, once that is known; one that was being cancelled does not."""
    alive: set[int] = set()
    first, again = Work(), Work()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        here.tasks.register("work", again)
        async with process(tmp_path / "db", clock, 2, alive) as there:
            there.tasks.register("work", first)
            await there.tasks.resume()
            task_id = await there.tasks.start("work", {})
            cancelled = await there.tasks.start("work", {"cancelled": True})
            await first.begun(2)
            await here.tasks.resume()
            assert not again.runs, "its process lives"
            await here.tasks.cancel(cancelled)
            there.die()
            alive.discard(2)
        await here.processes.beat()
        await again.begun()
        again.runs[0].callback(None)
        assert (await until_finished(here.tasks, task_id)).state is TaskState.DONE
        assert (await here.tasks.get(cancelled)).state is TaskState.CANCELLED
        assert len(again.runs) == 1


async def test_cancelling_from_another_process(tmp_path: Path, clock: Clock) -> None:
    """The process that runs it hears of it."""
    work = Work()
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        here.tasks.register("work", work)
        await here.tasks.resume()
        task_id = await here.tasks.start("work", {})
        await work.begun()
        await there.tasks.cancel(task_id)
        task = await while_time_passes(clock, until_finished(there.tasks, task_id))
        assert task.state is TaskState.CANCELLED
        assert work.cancelled == 1


async def test_a_task_nobody_here_can_do_waits(tmp_path: Path, clock: Clock) -> None:
    """A process that lacks the handler (an older version, say) leaves the task to others."""
    async with process(tmp_path / "db", clock, 1) as here:
        await here.tasks.resume()
        task_id = await here.tasks.start("of the future", {})
        for _ in range(3):
            clock.advance(LOOK)
            await turn()
        assert (await here.tasks.get(task_id)).state is TaskState.QUEUED


async def test_only_what_passes_is_tried_again(alone: Process) -> None:
    """A volume that is away comes back; a name that is taken stays taken. The handler knows which it is, before anybody is told."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    await work.begun()
    away, taken = VolumeUnavailable("local", "no answer"), VFolderExists("data")
    assert work.tasks[0].is_tried_again_after(away)
    assert not work.tasks[0].is_tried_again_after(taken)
    work.runs[0].errback(away)
    await while_time_passes(alone.clock, work.begun(2), step=LOOK)
    assert (await alone.tasks.get(task_id)).attempt == 2
    work.runs[1].errback(taken)
    task = await until_finished(alone.tasks, task_id)
    assert (task.state, task.message) == (TaskState.FAILED, "vfolder already exists: data")


async def test_what_comes_again_and_again(tmp_path: Path, clock: Clock) -> None:
    """It runs in its time, not twice at once, not again because of a restart, and only while there is something to do."""
    work, rare = Work(), Work()
    something_to_do = False

    async def is_due() -> bool:
        return something_to_do

    async with process(tmp_path / "db", clock, 1) as first:
        first.tasks.register("rare", rare)
        first.tasks.register("work", work)
        await first.tasks.resume()
        first.tasks.schedule.add("work", 60.0, is_due=is_due)
        first.tasks.schedule.add("rare", 3600.0, first=10.0)
        await while_time_passes(clock, rare.begun(), step=LOOK)
        assert await first.tasks.list(name="work") == []
        something_to_do = True
        await while_time_passes(clock, work.begun(), step=LOOK, most=200.0)
        for _ in range(60):  # it takes longer than it should
            clock.advance(LOOK)
            await turn()
        assert len(work.runs) == 1
        work.runs[0].callback(None)
        rare.runs[0].callback(None)
        await while_time_passes(clock, work.begun(2), step=LOOK, most=200.0)
        work.runs[1].callback(None)
        while first.tasks.running:
            await turn()
        something_to_do = False
    async with process(tmp_path / "db", clock, 2) as second:
        second.tasks.register("rare", rare)
        await second.tasks.resume()
        second.tasks.schedule.add("rare", 3600.0, first=10.0)
        began = (await second.tasks.list(name="rare"))[0].created
        await while_time_passes(clock, rare.begun(2), step=60.0, most=7200.0)
        assert (await second.tasks.list(name="rare"))[0].created >= began + 3600.0
        rare.runs[1].callback(None)


async def test_a_task_knows_whose_request_it_belongs_to(alone: Process) -> None:
    """Whoever asks for something in the background finds it in the log by the identifier of the request."""
    seen: list[RequestContext | None] = []

    async def look(task: RunningTask) -> None:
        seen.append(requestcontext.current())

    alone.tasks.register("look", look)
    await alone.tasks.resume()
    asked = RequestContext(Origin("manager", "192.0.2.1", "0123456789abcdef"), who="root", operation="folder_delete")
    task_id = await asked.run(Deferred.fromCoroutine, alone.tasks.start("look", {}))
    task = await until_finished(alone.tasks, task_id)
    assert (task.request_id, task.who) == ("0123456789abcdef", "root")
    (context,) = seen
    assert context is not None
    assert (context.origin.request_id, context.who, context.operation) == ("0123456789abcdef", "root", "look")


async def test_finished_tasks_are_forgotten_after_a_day(alone: Process) -> None:
    """The list does not grow for ever."""
    work = Work()
    alone.tasks.register("work", work)
    await alone.tasks.resume()
    task_id = await alone.tasks.start("work", {})
    await work.begun()
    work.runs[0].callback(None)
    await until_finished(alone.tasks, task_id)
    alone.clock.advance(KEPT - 1)
    await turn()
    assert (await alone.tasks.get(task_id)).state is TaskState.DONE

    async def gone() -> None:
        while True:
            try:
                await alone.tasks.get(task_id)
            except TaskNotFound:
                return

    await while_time_passes(alone.clock, gone(), step=LOOK)
