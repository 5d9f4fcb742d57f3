"""Processes of the gateway for tests of services: several on one database, each with a life of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import attrs
from sqlalchemy import Connection, select
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from tests.support.databases import open_database
from vfgateway.model import Limits, QuotaScopeId, ScopeKind, Usage, VFolder, VFolderId
from vfgateway.services import holds, schema
from vfgateway.services.database import Database
from vfgateway.services.events import Events
from vfgateway.services.locks import Locks
from vfgateway.services.processes import Machine, Processes
from vfgateway.services.quota import Quota
from vfgateway.services.tasks import Tasks
from vfgateway.services.vfolders import VFolders

T = TypeVar("T")

ALICE = UUID("11111111-1111-4111-8111-111111111111")
BOB = UUID("22222222-2222-4222-8222-222222222222")
#: The scope of all vfolders made here.
SCOPE = QuotaScopeId(ScopeKind.USER, ALICE)


#: All processes that a test has running.
_started: list[Process] = []


@attrs.frozen
class FakeMachine(Machine):
    """A machine whose other processes are those of the test."""

    alive: set[int] = attrs.Factory(set)

    def birth(self, pid: int) -> int | None:
        return pid * 100 if pid in self.alive or pid == self.pid else None


@attrs.frozen(eq=False)
class Process:
    """The services of one process."""

    database: Database
    clock: Clock
    processes: Processes
    vfolders: VFolders
    quota: Quota
    locks: Locks
    events: Events
    tasks: Tasks

    async def vfolder(self, volume: str = "mem", limits: Limits = Limits()) -> VFolder:
        """A new vfolder of Alice's."""
        return await self.vfolders.create(volume, VFolderId(SCOPE, uuid4()), limits=limits)

    async def figure(self, subject: str) -> Usage:
        """What the table of usage says now, without asking this process."""
        return await self.database.read(lambda connection: holds.usage_of(connection, [subject])[subject])

    async def held(self) -> dict[tuple[str, str], Usage]:
        """The table of holds."""

        def read(connection: Connection) -> dict[tuple[str, str], Usage]:
            rows = connection.execute(select(schema.holds))
            return {(row.holder, row.subject): Usage(row.bytes, row.files) for row in rows}

        return await self.database.read(read)

    async def rows(self, table: Any) -> list[Any]:
        """All rows of a table."""
        return await self.database.read(lambda connection: list(connection.execute(select(table))))

    async def stop(self) -> None:
        """End cleanly."""
        await self.tasks.stop()
        await self.quota.stop()
        await self.processes.stop()

    def die(self) -> None:
        """End as by ``kill -9``: nothing more is written, and its timers are gone. Its row stays."""
        if self.processes._heartbeat.running:
            self.processes._heartbeat.stop()
        for timer in self.quota._timers.values():
            if timer.active():
                timer.cancel()


@asynccontextmanager
async def process(path: Path, clock: Clock, pid: int = 1, alive: set[int] | None = None) -> AsyncIterator[Process]:
    """A started process on the database in ``path``. Stopped at the end, unless it has died.

    :param alive: the numbers of the processes on its machine, which a test may change
    """
    alive = set() if alive is None else alive
    alive.add(pid)
    async with open_database(path, clock) as database:
        processes = Processes(database, clock, FakeMachine("here", "boot", pid, alive))
        events = Events(clock)
        made = Process(
            database,
            clock,
            processes,
            VFolders(database, clock),
            Quota(database, clock, processes),
            Locks(database, clock, processes),
            events,
            Tasks(database, clock, processes, events),
        )
        await processes.start()
        _started.append(made)
        try:
            yield made
        finally:
            _started.remove(made)
            if pid in alive:
                await made.stop()


def begin(work: Any) -> Deferred[Any]:
    """Run a coroutine beside the test."""
    return Deferred.fromCoroutine(work)


async def turn() -> None:
    """Let the reactor go round, so that threads can answer."""
    await deferLater(reactor, 0.001, lambda: None)


async def _until_databases_answered() -> None:
    """Let all that was asked of the databases be answered, and what that leads to, so that the clock does not run ahead of a busy machine."""
    for _ in range(2):
        for each in list(_started):
            await each.database.write(lambda _: None, durable=False)
            await each.database.read(lambda _: None)
        await turn()


async def while_time_passes(clock: Clock, work: Awaitable[T], step: float = 0.05, most: float = 60.0) -> T:
    """Wait for ``work`` while ``clock`` goes on by small steps. No writer of a database may be held up meanwhile."""
    running: Deferred[T] = work if isinstance(work, Deferred) else begin(work)
    answered: list[Any] = []
    running.addBoth(answered.append)
    passed = 0.0
    while not answered:
        await _until_databases_answered()
        clock.advance(step)
        passed += step
        assert passed < most, "it takes too long"
    done: Deferred[T] = Deferred()
    done.callback(answered[0])
    return await done


async def settled(work: Deferred[Any]) -> bool:
    """Whether ``work`` answers without any time passing."""
    for _ in range(100):
        if work.called:
            return True
        await turn()
    return False
