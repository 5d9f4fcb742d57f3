"""What the orchestrator expects to hear, in the words of its versions: pure functions from events to Redis commands.

A current manager waits for the end of a deletion or a clone as an *anycast* event, an entry of a stream that one manager takes; it follows
tasks by *broadcast* events, messages on a channel that are also kept for those who come late. The body has been JSON since 26.9 and was
MessagePack before; both are sent, since each reads its own field and leaves the other alone.

The 23.09 line, and 24.x after it, has one stream for everything, MessagePack bodies, and a hash for each task that tells how it stands.
"""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Sequence
from typing import Any

import attrs
import msgpack  # type: ignore[import-untyped]

from vfgateway.services.events import CloneFinished, DeletionFinished, Event, TaskChanged

#: Who the orchestrator takes us for.
SOURCE = "storage"
#: Seconds for which a current manager finds the last event of a task.
CACHED = 300
#: Seconds for which a manager of the 23.09 line finds the state of a task.
TRACKED = 24 * 3600
#: About how many entries the stream keeps.
STREAM_LENGTH = 128

type_command = tuple[str | bytes | int, ...]


class Dialect(enum.Enum):
    """A version of the orchestrator."""

    CURRENT = "current"
    LINE_23_09 = "23.09"


@attrs.frozen
class Message:
    """An event in the orchestrator's words.

    :ivar fields: in the order in which MessagePack bodies have them
    :ivar task: the task that it tells of; ``None`` for one that a single manager takes
    """

    name: str
    fields: dict[str, Any]
    task: TaskChanged | None = None

    @property
    def packed(self) -> bytes:
        """The body as versions before 26.9 read it."""
        packed: bytes = msgpack.packb(tuple(self.fields.values()))
        return packed


def translate(event: Event) -> Message | None:
    """The event in the orchestrator's words; ``None`` if it has none for it."""
    match event:
        case DeletionFinished(vfid=vfid, error=None):
            return Message("vfolder_deletion_success", {"vfid": vfid})
        case DeletionFinished(vfid=vfid, error=error):
            return Message("vfolder_deletion_failure", {"vfid": vfid, "message": error})
        case CloneFinished(vfid=vfid, to_vfid=to_vfid, error=None):
            return Message("vfolder_clone_success", {"vfid": vfid, "dst_vfid": to_vfid})
        case CloneFinished(vfid=vfid, to_vfid=to_vfid, error=error):
            return Message("vfolder_clone_failure", {"vfid": vfid, "dst_vfid": to_vfid, "message": error})
        case TaskChanged():
            return _task_message(event)
    return None


def _task_message(event: TaskChanged) -> Message:
    if event.state in ("done", "failed", "cancelled"):
        return Message(f"bgtask_{event.state}", {"task_id": event.task_id, "message": event.message}, event)
    fields = {
        "task_id": event.task_id,
        "current_progress": event.done,
        "total_progress": event.total,
        "message": event.message or "Task started",
    }
    return Message("bgtask_updated", fields, event)


def commands(message: Message, dialect: Dialect, stream: str, channel: str, now: float) -> Sequence[type_command]:
    """The Redis commands that tell it.

    :param stream: the key of the stream
    :param channel: the name of the channel
    :param now: epoch seconds
    """
    if dialect is Dialect.LINE_23_09:
        # Untrimmed, as by its own producers: the stream carries everybody's events, some of them perhaps unread.
        told: type_command = ("XADD", stream, "*", *_entry(message))
        return [told] if message.task is None else [*_track(message.task, now), told]
    if message.task is None:
        fields = (*_entry(message), "payload", json.dumps(message.fields))
        return [("XADD", stream, "MAXLEN", "~", STREAM_LENGTH, "*", *fields)]
    text = json.dumps(
        {
            "name": message.name,
            "source": SOURCE,
            "payload": json.dumps(message.fields),
            "args": base64.b64encode(message.packed).decode("ascii"),
        }
    )
    return [("SET", _task_key(message.task), text, "EX", CACHED), ("PUBLISH", channel, text)]


def _entry(message: Message) -> type_command:
    return ("name", message.name, "source", SOURCE, "args", message.packed)


def _task_key(task: TaskChanged) -> str:
    return f"bgtask.{task.task_id}"


def _track(task: TaskChanged, now: float) -> Sequence[type_command]:
    running = task.state in ("queued", "running")
    state: type_command = (
        *("status", "started" if running else task.state),
        *("current", task.done, "total", task.total, "msg", task.message),
        *("last_update", str(now)),
    )
    key = _task_key(task)
    return [("HSETNX", key, "started_at", str(now)), ("HSET", key, *state), ("EXPIRE", key, TRACKED)]
