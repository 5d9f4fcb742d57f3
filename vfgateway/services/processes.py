"""Which processes of the gateway are alive, and what the dead ones left to be put right.

A process is known to be dead when its operating system says so (same machine, same boot, and no process of that number and birth),
when an SQLite database, which one machine has for itself, was used before the last boot, or when it has not been heard of for
:data:`SILENT_BEATS` heartbeats of the observer. Heartbeats are counted, not timed, so a clock that jumps kills nobody.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from sqlalchemy import Connection, Row, delete, insert, select, union, update
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway.services.database import Database
from vfgateway.services.dirty import DirtyMarks
from vfgateway.services.schema import dirty, holds, intents, processes

#: Seconds between heartbeats.
BEAT = 5.0
#: Own heartbeats after which a process on another host that was not heard of is dead.
SILENT_BEATS = 6
#: Seconds between looks at the others while somebody waits for one of them.
SUSPICION = 1.0
#: What the slab of a process is called among holders (``schema.holds``).
SLAB = "slab:"

_UNKNOWN = "unknown-"

type_death = Callable[[], Awaitable[object]]


class IsProcess(Protocol):
    """What other services need to know of the process that they run in."""

    id: str
    dirty: DirtyMarks

    def suspect(self) -> None:
        """See :meth:`Processes.suspect`."""


@attrs.frozen
class Machine:
    """What the operating system says of this process and others: replaced in tests.

    :ivar host: the machine's name with its space of process numbers, so that numbers are compared only where they mean the same
        (containers have spaces of their own, and sometimes one name)
    :ivar boot_id: changes with every boot
    """

    host: str
    boot_id: str
    pid: int

    @classmethod
    def here(cls) -> Machine:
        """The real one."""
        try:
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:  # no Linux: every process is a boot of its own, and heartbeats decide
            boot_id = f"{_UNKNOWN}{secrets.token_hex(8)}"
        try:
            space = str(Path("/proc/self/ns/pid").readlink())
        except OSError:
            space = ""
        return cls(f"{socket.gethostname()} {space}".strip(), boot_id, os.getpid())

    def birth(self, pid: int) -> int | None:
        """When process ``pid`` began, in clock ticks since boot; 0 if that cannot be known, ``None`` if there is no such process."""
        try:
            # proc(5): the command in brackets may hold anything, so count fields from its end.
            return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
        except FileNotFoundError:
            return None if Path("/proc/self/stat").exists() else 0
        except (OSError, ValueError, IndexError):
            return 0


class Processes:
    """This process's entry among all, and the look-out for dead ones.

    :param clock: provides time
    :ivar id: 32 hexadecimal digits, new with every start
    :ivar boot_id: names this boot of the machine: staged bytes that were not synced are lost when it changes
    :ivar dirty: the vfolders that this process changes
    :ivar leads: whether this process does what is done by one alone, such as sweeps: it is the oldest that lives, as far as its last look
        tells. For moments two may think so, or none
    :ivar alone: whether no other lives, as far as its last look tells
    """

    log = Logger()

    def __init__(self, database: Database, clock: Any, machine: Machine | None = None) -> None:
        self._database = database
        self._clock = clock
        self._machine = machine or Machine.here()
        self._heartbeat = LoopingCall(self.beat)
        self._heartbeat.clock = clock
        self._beats = 0
        self._observed: dict[str, tuple[int, int]] = {}
        self._watchers: list[type_death] = []
        self._reported: set[str] = set()
        self._suspected = 0.0
        self.id = secrets.token_hex(16)
        self.boot_id = self._machine.boot_id
        self.leads = False
        self.alone = True
        self.dirty = DirtyMarks(database, clock, self.id)

    async def start(self) -> None:
        """Register, and begin to beat."""
        await self._register()
        self._see_who_leads(await self._database.read(_all))
        self._heartbeat.start(BEAT, now=False)

    async def stop(self) -> None:
        """Strike this process from the list. What it could not settle is found by the next start. Idempotent."""
        self.leads = False
        if self._heartbeat.running:
            self._heartbeat.stop()
            await self._database.write(
                lambda connection: connection.execute(delete(processes).where(processes.c.id == self.id))
            )

    def watch(self, on_death: type_death) -> None:
        """Have ``on_death()`` called when a process was found dead; it asks :meth:`dead` which."""
        self._watchers.append(on_death)

    async def _register(self) -> None:
        row = {
            "id": self.id,
            "host": self._machine.host,
            "pid": self._machine.pid,
            "boot_id": self.boot_id,
            "birth": self._machine.birth(self._machine.pid) or 0,
            "started": self._clock.seconds(),
            "heartbeat": self._beats,
        }
        await self._database.write(lambda connection: connection.execute(insert(processes).values(row)))

    async def beat(self) -> None:
        """Show that this process lives, and look whether the others do; called every :data:`BEAT` seconds."""
        try:
            self._beats += 1
            if not await self._database.write(self._count_up, durable=False):
                # Somebody thought us dead (a suspended machine) and has taken over what we held.
                self.log.critical("this process was taken for dead; registering it again")
                await self._register()
            await self._look()
        except Exception:
            if self._heartbeat.running:
                self.log.failure("heartbeat failed")

    def suspect(self) -> None:
        """Somebody has to wait for another process, which may be dead: look now, not at the next heartbeat, unless that was done a moment ago.
        Not a coroutine."""
        now = self._clock.seconds()
        if self._heartbeat.running and not 0 <= now - self._suspected < SUSPICION:
            self._suspected = now
            looking: Deferred[None] = Deferred.fromCoroutine(self._look())
            looking.addErrback(lambda failure: self.log.failure("could not look for dead processes", failure=failure))

    async def _look(self) -> None:
        rows = await self._database.read(_all)
        self._observe(rows)
        self._see_who_leads(rows)
        fresh = [row.id for row in rows if self._is_dead(row)]
        if set(fresh) - self._reported:
            self._reported.update(fresh)
            await self._report(fresh)

    def _count_up(self, connection: Connection) -> bool:
        beat = update(processes).where(processes.c.id == self.id).values(heartbeat=self._beats)
        return connection.execute(beat).rowcount > 0

    def _see_who_leads(self, rows: Sequence[Row[Any]]) -> None:
        alive = [(row.started, row.id) for row in rows if not self._is_dead(row)]
        self.alone = all(process == self.id for _, process in alive)
        self.leads = bool(alive) and min(alive)[1] == self.id

    def _observe(self, rows: Sequence[Row[Any]]) -> None:
        seen = {}
        for row in rows:
            last, since = self._observed.get(row.id, (None, self._beats))
            seen[row.id] = (row.heartbeat, since if last == row.heartbeat else self._beats)
        self._observed = seen

    async def _report(self, dead: Sequence[str]) -> None:
        self.log.warn("found dead processes: {dead}", dead=", ".join(dead))
        for watcher in self._watchers:
            try:
                await watcher()
            except Exception:
                self.log.failure("could not take over from dead processes")

    async def dead(self) -> Sequence[str]:
        """The processes that are dead, with those that left something behind without being in the list any more."""
        rows = await self._database.read(_all)
        known = {row.id for row in rows}
        orphans = set(await self._database.read(_mentioned)) - known - {self.id}
        return sorted({row.id for row in rows if self._is_dead(row)} | orphans)

    def _is_dead(self, row: Row[Any]) -> bool:
        here = self._machine
        if row.id == self.id:
            return False
        if row.host == here.host and row.boot_id == here.boot_id:
            birth = here.birth(row.pid)
            return birth is None or (birth != row.birth and bool(birth and row.birth))
        if self._database.is_sqlite and row.boot_id != here.boot_id and not here.boot_id.startswith(_UNKNOWN):
            return True
        last, since = self._observed.get(row.id, (None, self._beats))
        return last == row.heartbeat and self._beats - since >= SILENT_BEATS

    async def forget(self, dead: Sequence[str]) -> None:
        """Strike processes from the list, when all they left has been taken over."""
        strike = delete(processes).where(processes.c.id.in_(dead))
        await self._database.write(lambda connection: connection.execute(strike))
        self._reported.difference_update(dead)


def _all(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(processes)).all()


def _mentioned(connection: Connection) -> Sequence[str]:
    """Every process that something belongs to."""
    mentioned = union(select(dirty.c.process), select(intents.c.process), select(holds.c.process).where(_is_slab))
    return [str(process) for process in connection.execute(mentioned).scalars()]


_is_slab = holds.c.holder.startswith(SLAB, autoescape=True)


async def wait(clock: Any, seconds: float) -> None:
    """Let time pass."""
    passed: Deferred[None] = Deferred(lambda _: call.cancel())
    call = clock.callLater(seconds, passed.callback, None)
    await passed
