"""Events over a real Redis, heard as managers hear them: with consumer groups and subscriptions, through loss and return."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import msgpack  # type: ignore[import-untyped]
import pytest_twisted
import txredisapi  # type: ignore[import-untyped]
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.task import deferLater

from vfgateway.services.dialects import Dialect
from vfgateway.services.events import CloneFinished, DeletionFinished, Events, TaskChanged
from vfgateway.services.redis_events import Address, RedisEvents

VFID = "user:11111111-1111-4111-8111-111111111111/0123456789abcdef0123456789abcdef"
TASK = "33333333-3333-4333-8333-333333333333"
PASSWORD = "open sesame"
DATABASE = 4


async def pause() -> None:
    await deferLater(reactor, 0.01, lambda: None)


@attrs.define(eq=False)
class Redis:
    """A Redis server behind a Unix socket that asks for a password, and a manager's connections to it."""

    folder: Path
    server: subprocess.Popen[bytes] | None = None
    factories: list[Any] = attrs.Factory(list)

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def address(self) -> Address:
        return Address.parse(f"unix://:{PASSWORD.replace(' ', '%20')}@{self.socket}?db={DATABASE}")

    async def start(self) -> None:
        command = shutil.which("redis-server")
        assert command is not None, "redis-server is missing: apt-get install redis-server"
        options = [
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--requirepass",
            PASSWORD,
            "--dir",
            str(self.folder),
        ]
        self.server = subprocess.Popen([command, *options], stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        while not self.socket.exists():
            await pause()

    def kill(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server.wait()
        self.socket.unlink(missing_ok=True)

    async def connect(self) -> Any:
        factory = txredisapi.RedisFactory("test", DATABASE, 1, isLazy=True, charset=None, password=PASSWORD)
        factory.convertNumbers = False
        factory.startConnecting(UNIXClientEndpoint(reactor, str(self.socket)))
        self.factories.append(factory)
        return factory.handler

    async def stop(self) -> None:
        for factory in self.factories:
            await factory.disconnect()
        self.kill()


@pytest_twisted.async_yield_fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    server = Redis(tmp_path)
    await server.start()
    yield server
    await server.stop()


def telling(events: Events, redis: Redis, dialect: Dialect = Dialect.CURRENT) -> RedisEvents:
    made = RedisEvents(events, redis.address, reactor, dialect=dialect)
    made.start()
    return made


def fields(entry: list[bytes]) -> dict[str, bytes]:
    """The fields of a stream's entry."""
    return {entry[at].decode(): entry[at + 1] for at in range(0, len(entry), 2)}


async def take(manager: Any, count: int) -> list[dict[str, bytes]]:
    """Take ``count`` entries as one of a group of managers does."""
    taken: list[dict[str, bytes]] = []
    while len(taken) < count:
        command = ("XREADGROUP", "GROUP", "manager", "me", "COUNT", 10, "STREAMS", "events", ">")
        for _, entries in await manager.execute_command(*command) or ():
            for identifier, entry in entries:
                taken.append(fields(entry))
                await manager.execute_command("XACK", "events", "manager", identifier)
        await pause()
    return taken


async def test_one_manager_takes_the_end_of_a_deletion(redis: Redis) -> None:
    """What a current manager waits for before it forgets the vfolder, once for each run."""
    manager = await redis.connect()
    await manager.execute_command("XGROUP", "CREATE", "events", "manager", "$", "MKSTREAM")
    events = Events(reactor)
    gateway = telling(events, redis)
    events.publish(DeletionFinished(vfid=VFID))
    events.publish(CloneFinished(vfid=VFID, to_vfid=VFID, error="no space"))
    deleted, cloned = await take(manager, 2)
    assert deleted["name"] == b"vfolder_deletion_success"
    assert deleted["source"] == b"storage"
    assert json.loads(deleted["payload"]) == {"vfid": VFID}
    assert cloned["name"] == b"vfolder_clone_failure"
    assert json.loads(cloned["payload"]) == {"vfid": VFID, "dst_vfid": VFID, "message": "no space"}
    await gateway.stop()


class Listener(txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """A manager that listens on the channel."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.heard: list[bytes] = []
        self.transport.write(self._build_command("AUTH", PASSWORD))
        self.subscribe("events_all")

    def messageReceived(self, pattern: object, channel: object, message: bytes) -> None:
        self.heard.append(message)


async def test_all_managers_hear_of_tasks_also_late(redis: Redis) -> None:
    """One that listens hears it at once; one that comes late finds the last word of the task for five minutes."""
    factory = txredisapi.SubscriberFactory()
    factory.protocol = Listener
    listener = await UNIXClientEndpoint(reactor, str(redis.socket)).connect(factory)
    late = await redis.connect()
    events = Events(reactor)
    gateway = telling(events, redis)
    while not int((await late.execute_command("PUBSUB", "NUMSUB", "events_all"))[1]):
        await pause()
    events.publish(TaskChanged(task_id=TASK, task="clone_vfolder", state="running", done=1, total=2, message="copying"))
    events.publish(TaskChanged(task_id=TASK, task="clone_vfolder", state="done", done=2, total=2))
    while len(listener.heard) < 2:
        await pause()
    names = [json.loads(message)["name"] for message in listener.heard]
    assert names == ["bgtask_updated", "bgtask_done"]
    kept = await late.execute_command("GET", f"bgtask.{TASK}")
    assert json.loads(kept) == json.loads(listener.heard[1])
    assert 290 < await late.execute_command("TTL", f"bgtask.{TASK}") <= 300
    await gateway.stop()
    listener.transport.loseConnection()


async def test_an_older_manager_takes_everything_from_the_stream(redis: Redis) -> None:
    """The 23.09 line: MessagePack in the stream, and the hash in which it looks for the task."""
    manager = await redis.connect()
    await manager.execute_command("XGROUP", "CREATE", "events", "manager", "$", "MKSTREAM")
    events = Events(reactor)
    gateway = telling(events, redis, Dialect.LINE_23_09)
    events.publish(TaskChanged(task_id=TASK, task="delete_vfolder", state="running", done=1, total=2, message="going"))
    events.publish(TaskChanged(task_id=TASK, task="delete_vfolder", state="done", done=2, total=2))
    updated, done = await take(manager, 2)
    assert updated["name"] == b"bgtask_updated"
    assert msgpack.unpackb(updated["args"]) == [TASK, 1, 2, "going"]
    assert msgpack.unpackb(done["args"]) == [TASK, ""]
    tracked = fields(await manager.execute_command("HGETALL", f"bgtask.{TASK}"))
    assert (tracked["status"], tracked["current"], tracked["total"]) == (b"done", b"2", b"2")
    await gateway.stop()


async def test_what_happened_while_redis_was_away_is_told_in_order(redis: Redis) -> None:
    """Nobody waits for Redis; when it is back, everything follows."""
    events = Events(reactor)
    gateway = telling(events, redis)
    events.publish(DeletionFinished(vfid="before"))
    while gateway._queue:
        await pause()
    redis.kill()
    for number in range(20):
        events.publish(DeletionFinished(vfid=str(number)))
    await redis.start()
    manager = await redis.connect()
    while gateway._queue:
        await pause()
    entries = await manager.execute_command("XRANGE", "events", "-", "+")
    assert [json.loads(fields(entry)["payload"])["vfid"] for _, entry in entries] == [str(n) for n in range(20)]
    await gateway.stop()


async def test_one_refused_event_does_not_stop_the_others(redis: Redis) -> None:
    """Somebody keeps another kind of value where the stream should be: the rest is told all the same."""
    manager = await redis.connect()
    await manager.execute_command("SET", "events", "a text")
    events = Events(reactor)
    gateway = telling(events, redis)
    events.publish(DeletionFinished(vfid=VFID))
    events.publish(TaskChanged(task_id=TASK, task="delete_vfolder", state="done"))
    while not await manager.execute_command("GET", f"bgtask.{TASK}"):
        await pause()
    await gateway.stop()


async def test_a_stop_does_not_wait_for_a_redis_that_is_away(tmp_path: Path) -> None:
    """The gateway stops within seconds."""
    events = Events(reactor)
    gateway = RedisEvents(events, Address(str(tmp_path / "nobody.sock")), reactor)
    gateway.start()
    events.publish(DeletionFinished(vfid=VFID))
    await gateway.stop()
    await gateway.stop()
