"""What the table of tasks says; each function runs within one read or write of the database."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update

from vfgateway.plaintext import storable
from vfgateway.services.schema import processes, tasks


class TaskState(enum.Enum):
    """The life of a task."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States in which a task stays.
FINISHED = frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED})


@attrs.frozen(kw_only=True)
class Task:
    """One background task.

    :ivar id: a UUID
    :ivar name: what is done
    :ivar arguments: with what; JSON values
    :ivar message: one sentence: what is being done, or why it failed
    :ivar done: of ``total``, in a unit of the task's own; 0 of 0 while that is not known
    :ivar attempt: how often it was begun
    :ivar created: epoch seconds, like the following
    :ivar not_before: when it is to be (re)tried, if not at once
    :ivar request_id: of the request that began it, and ``who`` asked for that; empty for what the gateway does by itself
    """

    id: str
    name: str
    arguments: dict[str, Any]
    state: TaskState
    message: str = ""
    done: int = 0
    total: int = 0
    attempt: int = 0
    created: float
    not_before: float | None = None
    started: float | None = None
    finished: float | None = None
    request_id: str = ""
    who: str = ""


def _task_of(row: Row[Any]) -> Task:
    values = {field.name: getattr(row, field.name) for field in attrs.fields(Task)}
    return Task(**{**values, "arguments": json.loads(row.arguments), "state": TaskState(row.state)})


def _row_of(task: Task) -> dict[str, Any]:
    return {
        **attrs.asdict(task, recurse=False),
        "arguments": json.dumps(task.arguments),
        "message": storable(task.message),
        "state": task.state.value,
    }


_WAITING = tasks.c.state == TaskState.QUEUED.value
_RUNNING = tasks.c.state == TaskState.RUNNING.value


def add(connection: Connection, task: Task) -> None:
    """Enter a task that no process has yet."""
    connection.execute(insert(tasks).values(**_row_of(task), cancelling=False))


def get(connection: Connection, task_id: str) -> Task | None:
    """One task."""
    row = connection.execute(select(tasks).where(tasks.c.id == task_id)).first()
    return None if row is None else _task_of(row)


def some(connection: Connection, state: TaskState | None, name: str | None = None) -> Sequence[Task]:
    """Tasks in a state and of a name, or all; the newest first."""
    query = select(tasks).order_by(tasks.c.created.desc())
    if state is not None:
        query = query.where(tasks.c.state == state.value)
    if name is not None:
        query = query.where(tasks.c.name == name)
    return [_task_of(row) for row in connection.execute(query)]


def last_begun(connection: Connection, name: str) -> float | None:
    """When the latest task of a name was entered."""
    return connection.execute(select(func.max(tasks.c.created)).where(tasks.c.name == name)).scalar()


def is_active(connection: Connection, name: str) -> bool:
    """Whether a task of that name waits or runs."""
    query = select(tasks.c.id).where(tasks.c.name == name, or_(_WAITING, _RUNNING)).limit(1)
    return connection.execute(query).first() is not None


def _due(now: float, names: Sequence[str]) -> ColumnElement[bool]:
    due = or_(tasks.c.not_before.is_(None), tasks.c.not_before <= now)
    return and_(_WAITING, due, tasks.c.name.in_(names))


def is_due(connection: Connection, now: float, names: Sequence[str]) -> bool:
    """Whether any task of these names waits to be run."""
    return connection.execute(select(tasks.c.id).where(_due(now, names)).limit(1)).first() is not None


def claim(connection: Connection, process: str, now: float, names: Sequence[str], room: int) -> Sequence[Task]:
    """Give up to ``room`` due tasks to a process, the oldest first."""
    query = select(tasks).where(_due(now, names)).order_by(tasks.c.created).limit(room)
    found = [_task_of(row) for row in connection.execute(query.with_for_update(skip_locked=True))]
    claimed = [
        attrs.evolve(task, state=TaskState.RUNNING, attempt=task.attempt + 1, started=now, not_before=None)
        for task in found
    ]
    for task in claimed:
        values = {**_row_of(task), "process": process}
        connection.execute(update(tasks).where(tasks.c.id == task.id).values(values))
    return claimed


def save(connection: Connection, task: Task) -> None:
    """Write a task that its process has let go of."""
    values = {**_row_of(task), "process": None}
    connection.execute(update(tasks).where(tasks.c.id == task.id).values(values))


def save_progress(connection: Connection, task: Task) -> bool:
    """Write how far a running task is; whether somebody has cancelled it."""
    values = {"done": task.done, "total": task.total, "message": storable(task.message)}
    connection.execute(update(tasks).where(tasks.c.id == task.id, _RUNNING).values(values))
    return bool(connection.execute(select(tasks.c.cancelling).where(tasks.c.id == task.id)).scalar())


def cancel(connection: Connection, task_id: str, now: float) -> Task | None:
    """End a task that waits; ask the process of one that runs to end it. The task as it is then."""
    at = tasks.c.id == task_id
    ended = {"state": TaskState.CANCELLED.value, "message": "cancelled", "finished": now}
    connection.execute(update(tasks).where(at, _WAITING).values(ended))
    connection.execute(update(tasks).where(at, _RUNNING).values(cancelling=True))
    return get(connection, task_id)


def cancelling(connection: Connection, task_ids: Iterable[str]) -> Sequence[str]:
    """Those of the tasks that somebody has cancelled."""
    query = select(tasks.c.id).where(tasks.c.id.in_(list(task_ids)), tasks.c.cancelling)
    return list(connection.execute(query).scalars())


def let_go(connection: Connection, process: str) -> None:
    """Tasks that a process has no more wait again."""
    _requeue(connection, tasks.c.process == process)


def orphan(connection: Connection, dead: Sequence[str]) -> None:
    """Tasks that dead processes ran wait again, unless they were cancelled."""
    alive = select(processes.c.id).where(processes.c.id.not_in(dead))
    _requeue(connection, or_(tasks.c.process.is_(None), tasks.c.process.not_in(alive)))


def _requeue(connection: Connection, whose: ColumnElement[bool]) -> None:
    theirs = and_(_RUNNING, whose)
    ended = {"state": TaskState.CANCELLED.value, "message": "cancelled", "process": None}
    connection.execute(update(tasks).where(theirs, tasks.c.cancelling).values(ended))
    connection.execute(update(tasks).where(theirs).values(state=TaskState.QUEUED.value, process=None))


def has_old(connection: Connection, before: float) -> bool:
    """Whether any task ended before that time."""
    return connection.execute(select(tasks.c.id).where(tasks.c.finished < before).limit(1)).first() is not None


def strike_old(connection: Connection, before: float) -> None:
    """Forget tasks that ended before that time."""
    connection.execute(delete(tasks).where(tasks.c.finished < before))
