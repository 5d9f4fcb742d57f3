"""Vfolders in which this process makes many small changes, announced once for all of them.

Every change is announced in the database, so that of two processes one waits for the other, and so that locks are checked in the
same step (:mod:`vfgateway.services.locks`). Where one process is alone, and nobody has locked or marked anything, that costs a hundred times
what a small change does. So it announces a change of everything, a claim, and keeps that for as long as changes come: others wait for it as
for any change, and it is given up when somebody waits. What was found when it was made (no locks, no properties, nobody who
follows the vfolder) stays so while it is held: other processes cannot change it, and what this one changes shows in the stamp.

Where there are several processes, they may claim a vfolder together, for changes that go along with each other: whole files that are
stored in one step (:mod:`vfgateway.services.storing`). A change of any other kind waits for all of them.

If the process dies, its claims are taken for changes under way, and the vfolders are recounted.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs
from sqlalchemy import Connection, func, select
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vfgateway.errors import DatabaseUnavailable, GatewayError
from vfgateway.model import VFolder
from vfgateway.paths import ROOT, FolderPath
from vfgateway.services import locktable
from vfgateway.services.database import Database, counter
from vfgateway.services.locks import Locks
from vfgateway.services.processes import IsProcess
from vfgateway.services.properties import LOCKED, SET
from vfgateway.services.schema import intents, processes

#: Seconds between looks for others who wait.
LOOK: Final = 0.05
#: Seconds after which a claim that was not used is given up.
IDLE: Final = 2.0
#: Seconds after a look for which its outcome is believed: far less than after which a silent process is taken for dead.
BELIEVED: Final = 5.0
#: Seconds for which none is sought after it was refused or had to be given up: once, and at most where that happens again and again.
REFUSED_ONCE: Final = 0.25
REFUSED: Final = 10.0
#: Claims at once.
MOST: Final = 256

_ANNOUNCED: Final = select(intents.c.intent, intents.c.process, intents.c.vfolder, intents.c.shared)
_NEVER: Final = (-math.inf, 0.0)

type_stamp = tuple[int, ...]


@attrs.define(eq=False)
class _Claim:
    intent: str
    volume: str
    alone: bool
    stamp: type_stamp
    used: float
    looks: int = -1  # of the database, when the stamp was last compared
    stands_until: float = 0.0
    users: int = 0  # changes under way
    unused: list[Deferred[None]] = attrs.Factory(list)  # fire when there are none

    def in_the_way(self, vfolder: int, others: Container[tuple[int, bool]]) -> bool:
        """Whether another process waits, of all that have announced something: for which vfolder, and whether it is shared."""
        return (vfolder, False) in others or (self.alone and (vfolder, True) in others)


class Claims:
    """See the module.

    :param flush: returns when all figures that were changed up to now are in the database
    """

    log = Logger()

    def __init__(
        self, database: Database, clock: Any, process: IsProcess, locks: Locks, flush: Callable[[], Awaitable[object]]
    ) -> None:
        self._database = database
        self._clock = clock
        self._process = process
        self._locks = locks
        self._flush = flush
        self._held: dict[int, _Claim] = {}
        self._owed: list[str] = []  # intents that are to be ended
        self._refused: dict[int, tuple[float, float]] = {}  # until when, and for how long
        self._seeking: set[int] = set()
        self._looked = 0.0
        self._timer: IDelayedCall | None = None
        self._running: set[Deferred[Any]] = set()
        self._stopped = False

    def covers(self, vfolder: VFolder, path: FolderPath, together: bool = False) -> bool:
        """Whether ``path`` (folded) can be changed now, in this turn of the reactor, without announcing it; if not, that is seen to for next
        time. Not a coroutine.

        :param together: whether the change goes along with such changes of other processes; see :meth:`is_alone`
        """
        now = self._clock.seconds()
        held = self._held.get(vfolder.key)
        if held is None:
            self._seek(vfolder, now, together)
            return False
        if not (held.alone or together):
            return False
        if held.volume != vfolder.volume:  # who asks has entered it before it moved
            return False
        if not 0 <= now - self._looked < BELIEVED:
            return False
        database = self._database
        if held.looks != database.looks or now >= held.stands_until or self._locks.changes != held.stamp[0]:
            stamp = database.at_hand(SET, LOCKED)
            if stamp is None:
                return False
            if (self._locks.changes, *stamp) != held.stamp:
                self._begin(self._give_up([vfolder.key]))
                return False
            held.looks, held.stands_until = database.looks, database.good_until(SET, LOCKED)
        held.used = now
        return self._locks.is_free(vfolder, path)

    def is_alone(self, vfolder: VFolder) -> bool:
        """Whether the claim, which has just been found to cover something, is shared with nobody."""
        return self._held[vfolder.key].alone

    @contextmanager
    def kept(self, vfolder: VFolder) -> Iterator[None]:
        """Have the claim, which has just been found to cover what is to be changed, last meanwhile."""
        held = self._held[vfolder.key]
        held.users += 1
        try:
            yield
        finally:
            held.users -= 1
            held.used = self._clock.seconds()
            while held.unused and not held.users:
                held.unused.pop().callback(None)

    # --- getting one ---

    def _seek(self, vfolder: VFolder, now: float, together: bool) -> None:
        if self._stopped or vfolder.key in self._seeking or self._refused.get(vfolder.key, _NEVER)[0] > now:
            return
        if len(self._held) + len(self._seeking) >= MOST:
            return
        self._seeking.add(vfolder.key)
        self._begin(self._claim(vfolder, together))

    async def _claim(self, vfolder: VFolder, together: bool) -> None:
        intent, begun, changes = secrets.token_hex(16), self._clock.seconds(), self._locks.changes
        alone, process = True, self._process.id

        def write(connection: Connection) -> type_stamp | None:
            nonlocal alone
            there = locktable.enter(connection, vfolder, process)
            alone = self._is_alone(connection)
            if there.locks or there.properties or there.tracked or not (alone or together):
                return None
            everything = (vfolder.key, [(ROOT, True)], process)
            locktable.insert_intent(connection, intent, *everything, begun, shared=not alone)
            if there.others and locktable.must_wait(connection, intent, *everything, shared=not alone):
                locktable.delete_intent(connection, intent)
                return None
            return changes, counter(connection, SET), counter(connection, LOCKED)

        stamp = None
        try:
            await self._process.dirty.mark(vfolder.key)
            stamp = await self._database.write(write, durable=False)
        except GatewayError:
            pass  # the vfolder is gone
        finally:
            self._seeking.discard(vfolder.key)
            now = self._clock.seconds()
            if stamp is None:
                self._refuse(vfolder.key, now)
        if stamp is not None:
            if not self._held:
                self._looked = begun
            self._held[vfolder.key] = _Claim(intent, vfolder.volume, alone, stamp, now)
            self._look_later()

    def _is_alone(self, connection: Connection) -> bool:
        """Whether no other process is there that would often have to wait."""
        others = select(func.count()).select_from(processes).where(processes.c.id != self._process.id)
        return not connection.execute(others).scalar()

    def _refuse(self, vfolder: int, now: float) -> None:
        if len(self._refused) >= MOST:
            self._refused.clear()
        until, before = self._refused.get(vfolder, _NEVER)
        pause = min(2 * before, REFUSED) if now < until + REFUSED else REFUSED_ONCE
        self._refused[vfolder] = now + pause, pause

    # --- giving it up ---

    def _look_later(self) -> None:
        if self._timer is None and (self._held or self._owed) and not self._stopped:
            self._timer = self._clock.callLater(LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        self._begin(self._answer())

    async def _answer(self) -> None:
        """Give up what others wait for, and what is no longer used."""
        begun = self._clock.seconds()

        try:
            rows, mine = await self._database.look(_ANNOUNCED), self._process.id
            others = {(vfolder, bool(shared)) for _, process, vfolder, shared in rows if process != mine}
            kept = {intent for intent, process, _, _ in rows if process == mine}
            self._looked = begun
            claims = self._held.items()
            lost = [key for key, held in claims if held.in_the_way(key, others) or held.intent not in kept]
            for key in lost:
                self._refuse(key, begun)
            idle = [key for key, held in self._held.items() if held.used < begun - IDLE]
            await self._give_up(list({*lost, *idle}))
        finally:
            self._look_later()

    async def _give_up(self, keys: Sequence[int]) -> None:
        claims = [self._held.pop(key) for key in keys if key in self._held]
        for claim in claims:
            if claim.users:
                ended_use: Deferred[None] = Deferred()
                claim.unused.append(ended_use)
                await ended_use
        self._owed += [claim.intent for claim in claims]
        if self._owed:
            # Whoever comes next may count what lies there: what was changed under the claim has to be in the figures.
            await self._flush()
            ended, self._owed = self._owed, []

            def write(connection: Connection) -> None:
                for intent in ended:
                    locktable.delete_intent(connection, intent)

            try:
                await self._database.write(write, durable=False)
            except DatabaseUnavailable:
                self._owed += ended
                raise
            finally:
                self._look_later()

    async def stop(self) -> None:
        """Give up all. Idempotent."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        while self._running:
            await next(iter(self._running))
        await self._give_up(list(self._held))

    def _begin(self, work: Any) -> None:
        running: Deferred[Any] = Deferred.fromCoroutine(work)
        running.addErrback(lambda failure: self.log.failure("a claim could not be made or given up", failure=failure))
        self._running.add(running)
        running.addBoth(lambda _: self._running.discard(running))
