"""Events: told to all who want to know, and put into the orchestrator's words."""

from __future__ import annotations

import base64
import json

import msgpack  # type: ignore[import-untyped]
import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from vfgateway.errors import ConfigurationError
from vfgateway.services.dialects import Dialect, commands, translate, type_command
from vfgateway.services.events import GATHER, CloneFinished, DeletionFinished, Event, Events, TaskChanged
from vfgateway.services.operations import FileOperation
from vfgateway.services.redis_events import QUEUED, Address, RedisEvents

VFID = "user:11111111-1111-4111-8111-111111111111/0123456789abcdef0123456789abcdef"
OTHER = "user:11111111-1111-4111-8111-111111111111/fedcba9876543210fedcba9876543210"
TASK = "33333333-3333-4333-8333-333333333333"


def test_subscribers_get_the_kinds_that_they_asked_for() -> None:
    """One kind, or all; until they have enough."""
    events = Events(Clock())
    deletions: list[Event] = []
    everything: list[Event] = []
    unsubscribe = events.subscribe(DeletionFinished, deletions.append)
    events.subscribe(Event, everything.append)
    deleted, cloned = DeletionFinished(vfid=VFID), CloneFinished(vfid=VFID, to_vfid=OTHER)
    events.publish(deleted)
    events.publish(cloned)
    unsubscribe()
    unsubscribe()
    events.publish(deleted)
    assert deletions == [deleted]
    assert everything == [deleted, cloned, deleted]


def test_a_subscriber_that_fails_hurts_nobody() -> None:
    """The publisher goes on, and so do the others."""
    events = Events(Clock())
    seen: list[Event] = []

    def fail(event: Event) -> None:
        raise RuntimeError(event)

    events.subscribe(Event, fail)
    events.subscribe(Event, seen.append)
    with capturedLogs() as logs:
        events.publish(DeletionFinished(vfid=VFID))
    assert len(seen) == 1
    assert any("log_failure" in entry for entry in logs)


def test_what_is_told_soon_keeps_its_place() -> None:
    """It comes before whatever is published after it, at the latest when the log is written; what fails of it hurts nobody."""
    clock = Clock()
    events = Events(clock)
    seen: list[Event] = []
    events.subscribe(Event, seen.append)
    first, second = (
        FileOperation(user="alice", address="::1", protocol="sftp", action="read", path=path) for path in "ab"
    )
    deleted = DeletionFinished(vfid=VFID)
    events.soon(lambda: events.publish(first))
    assert seen == []
    events.publish(deleted)
    assert seen == [first, deleted]
    with capturedLogs() as logs:
        events.soon(lambda: 1 // 0)
        events.soon(lambda: events.publish(second))
        clock.advance(GATHER)
    assert seen == [first, deleted, second]
    assert any("log_failure" in entry for entry in logs)
    assert sum("requests" in entry for entry in logs) == 1
    assert clock.getDelayedCalls() == []


def test_every_event_is_one_structured_line_of_the_log() -> None:
    """With its name and its fields, for those who collect logs; and a sentence for those who read them."""
    with capturedLogs() as logs:
        Events(Clock()).publish(DeletionFinished(vfid=VFID, error="no {luck}"))
    (entry,) = logs
    assert (entry["log_event"], entry["vfid"], entry["error"]) == ("vfolder_deletion", VFID, "no {luck}")
    assert formatEvent(entry) == f"vfolder_deletion: vfid={VFID} error=no {{luck}}"


def test_events_that_come_by_the_thousand_are_logged_together() -> None:
    """A line for each, a moment later or when the gateway stops, with all facts; subscribers hear of each at once."""
    clock = Clock()
    events = Events(clock)
    seen: list[Event] = []
    events.subscribe(FileOperation, seen.append)
    with capturedLogs() as logs:
        for name in ("one {1}", "two"):
            operation = FileOperation(user="alice", address="::1", protocol="sftp", action="read", path=f"/data/{name}")
            events.publish(operation)
        assert (len(seen), logs) == (2, [])
        clock.advance(GATHER)
        (entry,) = logs
        assert [line["path"] for line in entry["requests"]] == ["/data/one {1}", "/data/two"]
        first, second = (formatEvent(entry) or "").splitlines()
        assert first.startswith("file_operation: user=alice address=::1 protocol=sftp action=read path=/data/one {1} ")
        assert "path=/data/two" in second
        events.publish(operation)
        events.flush()
        events.flush()
    assert len(logs) == 2


def told(event: Event, dialect: Dialect = Dialect.CURRENT) -> list[type_command]:
    message = translate(event)
    assert message is not None
    return list(commands(message, dialect, "events", "events_all", 5.0))


@pytest.mark.parametrize(
    ("event", "name", "fields"),
    [
        (DeletionFinished(vfid=VFID), "vfolder_deletion_success", {"vfid": VFID}),
        (
            DeletionFinished(vfid=VFID, error="no"),
            "vfolder_deletion_failure",
            {"vfid": VFID, "message": "no"},
        ),
        (CloneFinished(vfid=VFID, to_vfid=OTHER), "vfolder_clone_success", {"vfid": VFID, "dst_vfid": OTHER}),
        (
            CloneFinished(vfid=VFID, to_vfid=OTHER, error="no"),
            "vfolder_clone_failure",
            {"vfid": VFID, "dst_vfid": OTHER, "message": "no"},
        ),
    ],
)
def test_what_one_manager_takes_from_the_stream(event: Event, name: str, fields: dict[str, str]) -> None:
    """One entry that current managers and those before 26.9 both understand."""
    ((*head, _, _, _, _, _, packed, _, payload),) = told(event)
    ((*_, name_, _, source, _, _, _, _),) = told(event)
    assert head == ["XADD", "events", "MAXLEN", "~", 128, "*"]
    assert (name_, source) == (name, "storage")
    assert json.loads(payload) == fields  # type: ignore[arg-type]
    assert msgpack.unpackb(packed) == list(fields.values())


@pytest.mark.parametrize(
    ("state", "name", "fields"),
    [
        (
            "queued",
            "bgtask_updated",
            {"task_id": TASK, "current_progress": 1, "total_progress": 2, "message": "Task started"},
        ),
        ("done", "bgtask_done", {"task_id": TASK, "message": ""}),
        ("failed", "bgtask_failed", {"task_id": TASK, "message": ""}),
        ("cancelled", "bgtask_cancelled", {"task_id": TASK, "message": ""}),
    ],
)
def test_what_all_managers_hear_of_tasks(state: str, name: str, fields: dict[str, object]) -> None:
    """A message on the channel, kept for those who come late."""
    event = TaskChanged(task_id=TASK, task="clone_vfolder", state=state, done=1, total=2)
    keep, publish = told(event)
    assert (keep[0], keep[1], keep[3:]) == ("SET", f"bgtask.{TASK}", ("EX", 300))
    assert publish[:2] == ("PUBLISH", "events_all")
    assert keep[2] == publish[2]
    message = json.loads(publish[2])  # type: ignore[arg-type]
    assert (message["name"], message["source"]) == (name, "storage")
    assert json.loads(message["payload"]) == fields
    assert msgpack.unpackb(base64.b64decode(message["args"])) == list(fields.values())


def test_the_old_line_has_one_stream_and_a_hash() -> None:
    """For a 23.09 manager: MessagePack, and the state of the task where it looks for it."""
    event = TaskChanged(task_id=TASK, task="clone_vfolder", state="done", message="well")
    *track, entry = told(event, Dialect.LINE_23_09)
    assert [command[0] for command in track] == ["HSETNX", "HSET", "EXPIRE"]
    assert "status" in track[1]
    assert track[1][track[1].index("status") + 1] == "done"
    assert entry[:3] == ("XADD", "events", "*")
    assert msgpack.unpackb(entry[-1]) == [TASK, "well"]


def test_events_of_our_own_are_not_told() -> None:
    """What the orchestrator has no word for stays here."""
    assert translate(Event()) is None


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", Address("cache")),
        ("redis://:p%40ss@cache:7000/0", Address("cache", 7000, 0, None, "p@ss")),
        ("rediss://us:pw@[::1]:1/4", Address("::1", 1, 4, "us", "pw", True)),
        ("unix:///run/redis.sock?db=2", Address("/run/redis.sock", 6379, 2)),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    """The usual forms; the database of managers by default."""
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "url", ["cache:6379", "http://:secret@cache", "redis://:secret@cache/x", "redis://:secret@c:x"]
)
def test_an_address_that_cannot_be_read_is_not_shown(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError) as refusal:
        Address.parse(url)
    assert refusal.value.key == "events.redis.url"
    assert "secret" not in str(refusal.value)


def test_passwords_do_not_show() -> None:
    """Nor does an address in a traceback."""
    assert "pw" not in repr(Address("cache", password="pw"))


def test_the_queue_has_an_end() -> None:
    """While Redis is away, the oldest are given up rather than memory; what is under way is not."""
    clock = Clock()
    events = Events(clock)
    redis = RedisEvents(events, Address("nowhere"), clock)
    for number in range(QUEUED + 5):
        events.publish(DeletionFinished(vfid=str(number)))
    assert len(redis._queue) == QUEUED
    assert '"0"' in str(redis._queue[0])
    assert f'"{QUEUED + 4}"' in str(redis._queue[-1])
