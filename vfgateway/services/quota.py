"""Limits that hold and usage that is true: reservations before bytes are accepted, settled with what was stored.

A vfolder's bytes count for itself, for its quota scope and for its owner (:mod:`vfgateway.services.holds`). Where one of them is
limited, a process leases headroom and gives it to reservations without a transaction (:mod:`vfgateway.services.slabs`); where none is,
nothing is held at all. Changes of usage are written together with the end of the intent that they came from, and with whatever else
waits to be written; a vfolder whose process died in between is recounted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, cast

from sqlalchemy import Connection
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vfgateway.errors import QuotaExceeded, VFolderNotFound, VolumeUnavailable
from vfgateway.model import Limits, QuotaScopeId, Usage, VFolder
from vfgateway.services import holds, slabs
from vfgateway.services.database import Database
from vfgateway.services.holds import Short
from vfgateway.services.ledger import Ledger
from vfgateway.services.processes import SLAB, IsProcess, wait
from vfgateway.services.remaining import Remaining
from vfgateway.services.reservations import Reservation, UploadReservation, type_also
from vfgateway.services.subjects import Subject, owner_subject, scope_subject, subjects_of, vfolder_subject

#: Seconds after which a change that nothing else carried is written.
FLUSH = 0.5
#: Seconds between looks for recalls by other processes, while there is something to give back.
LOOK = 0.05
#: Seconds after which headroom that nobody used is given back.
IDLE = 10.0
#: Seconds for which a process that was asked to give back leases no more than it needs.
MODESTY = 2.0
#: Seconds for which a reservation waits for others' answers, or for a recount, before it is refused.
PATIENCE = 10.0
#: How often others are asked before a refusal.
ROUNDS = 2
#: Seconds between sweeps for vfolders at rest, and how long they must have been.
SWEEP, REST = 60.0, 120.0

type_on_usage = Callable[[Collection[str]], object]
type_on_refusal = Callable[[Subject, str], object]

__all__ = ["Quota", "Remaining", "Reservation"]


class Quota:
    """The ledger as one process sees it."""

    log = Logger()

    def __init__(self, database: Database, clock: Any, process: IsProcess) -> None:
        self._database = database
        self._clock = clock
        self._process = process
        self._ledger = Ledger(database, SLAB + process.id, self._write_soon, self._tell_usage)
        self._on_usage: type_on_usage = lambda _: None
        self._on_refusal: type_on_refusal = lambda _subject, _resource: None
        self._used_at: dict[str, float] = {}
        self._modest_until: dict[str, float] = {}
        self._leasing = DeferredLock()
        self._subjects: dict[int, tuple[tuple[int, int], Sequence[Subject]]] = {}
        self._limits: dict[str, Limits] = {}
        self._open: Counter[int] = Counter()
        self._timers: dict[str, IDelayedCall] = {}

    def observe(self, on_usage: type_on_usage, on_refusal: type_on_refusal) -> None:
        """Have ``on_usage(keys)`` told of the subjects with limits whose usage has been written, and ``on_refusal(subject, resource)`` of each
        refusal."""
        self._on_usage, self._on_refusal = on_usage, on_refusal

    def _tell_usage(self, changed: Collection[int]) -> None:
        keys = {s.key for vfolder in changed for s in self._known(vfolder) if s.has_limits}
        if keys:
            self._on_usage(keys)

    def _known(self, vfolder: int) -> Sequence[Subject]:
        return self._subjects[vfolder][1] if vfolder in self._subjects else ()

    # --- reserving ---

    async def reserve(self, vfolder: VFolder, wanted: Usage, holder: str | None = None) -> Reservation:
        """Promise room for ``wanted`` more (negative parts need none). Raises ``QuotaExceeded``.

        :param holder: the identifier of an upload to which the room shall belong, durably
        """
        await self._process.dirty.mark(vfolder.key)
        reservation = Reservation(self, vfolder) if holder is None else UploadReservation(self, vfolder, holder, {})
        try:
            await reservation.ensure(wanted)
        except Exception:  # CancelledError is one
            await reservation.release()
            raise
        return reservation

    async def begin(self, vfolder: VFolder) -> Reservation:
        """A reservation of nothing, to grow as it is needed."""
        await self._process.dirty.mark(vfolder.key)
        return Reservation(self, vfolder)

    async def resume(self, vfolder: VFolder, holder: str) -> Reservation:
        """The room that belongs to an upload, whichever process reserved it."""
        await self._process.dirty.mark(vfolder.key)
        present = await self._database.read(lambda connection: holds.held_by(connection, holder))
        return UploadReservation(self, vfolder, holder, present)

    async def change(self, vfolder: VFolder, change: Usage, also: type_also = ()) -> None:
        """Count a change that needed no room beforehand, and run ``also`` in the same transaction."""
        await self._process.dirty.mark(vfolder.key)
        await self.settle_slabs(vfolder, change, {}, also)

    # --- for reservations ---

    def opened(self, vfolder: int) -> None:
        """A reservation began."""
        self._open[vfolder] += 1
        self._later("sweep", SWEEP, self._sweep)

    def closed(self, vfolder: int) -> None:
        """A reservation ended."""
        self._open[vfolder] -= 1
        if not self._open[vfolder]:
            del self._open[vfolder]

    async def subjects(self, vfolder: VFolder) -> Sequence[Subject]:
        """Who carries the vfolder's usage, with limits at most as old as a generation number may be."""
        database = self._database
        stamp = (await database.generation("vfolders"), await database.generation("accounts"))
        now = self._clock.seconds()
        known = self._subjects.get(vfolder.key)
        if known is not None and known[0] == stamp and all(s.until is None or now < s.until for s in known[1]):
            return known[1]
        found = await database.read(lambda connection: subjects_of(connection, vfolder.key, now))
        if not found:
            raise VFolderNotFound(vfolder.id)
        self._subjects[vfolder.key] = (stamp, found)
        changed = [s.key for s in found if self._limits.get(s.key, s.limits) != s.limits]
        self._limits.update((subject.key, subject.limits) for subject in found)
        if changed:  # headroom under the old limit is no headroom
            await self._ledger.give_back(changed)
        return found

    async def is_limited(self, vfolder: VFolder) -> bool:
        """Whether any limit applies, with limits as old as in :meth:`subjects`."""
        return any(subject.is_limited for subject in await self.subjects(vfolder))

    def take_from_slabs(self, needs: Mapping[str, Usage]) -> bool:
        """Take from the slabs if all is there."""
        if any(self._ledger.slab(key).missing(need) != Usage() for key, need in needs.items()):
            return False
        now = self._clock.seconds()
        for key, need in needs.items():
            self._ledger.slab(key).held += need
            self._used_at[key] = now
        return True

    async def settle_slabs(
        self, vfolder: VFolder, change: Usage, covered: Mapping[str, Usage], also: type_also
    ) -> None:
        """End a reservation of this process with the true change. All in memory has happened before the first wait."""
        self._ledger.change(vfolder.key, change, covered)
        if also:
            await self._ledger.write(partial(_run, also=also))
        elif change != Usage():
            self._write_soon()
        self._look_later()

    async def settle_holder(self, vfolder: VFolder, change: Usage, holder: str, also: type_also) -> None:
        """End an upload's reservation with the true change."""
        # Whichever write comes next enters both, the change and the end of what was held for it: nobody must see one without the other.
        self._ledger.change(vfolder.key, change, upload=holder)
        await self._ledger.write(partial(_run, also=also))

    async def lease(self, vfolder: VFolder, needs: Mapping[str, Usage]) -> None:
        """Have the slabs grow by what is missing of ``needs``. Raises ``QuotaExceeded``."""

        async def attempt() -> Short | None:
            async with self._leasing:
                missing = {key: self._ledger.slab(key).missing(need) for key, need in needs.items()}
                missing = {key: amount for key, amount in missing.items() if amount != Usage()}
                return await self._grant(vfolder, self._ledger.holder, missing, self._leased) if missing else None

        await self._persist(attempt, needs)

    async def hold(
        self, vfolder: VFolder, holder: str, needs: Mapping[str, Usage], then: Callable[[Mapping[str, Usage]], None]
    ) -> None:
        """Have ``holder`` hold ``needs`` more. Raises ``QuotaExceeded``."""

        async def attempt() -> Short | None:
            short = await self._grant(vfolder, holder, needs, then)
            if short is not None and self._ledger.slab(short.subject.key).free != Usage():
                await self._ledger.give_back([short.subject.key])
                short = await self._grant(vfolder, holder, needs, then)
            return short

        await self._persist(attempt, needs)
        self._tell_usage([vfolder.key])

    async def _persist(self, attempt: Callable[[], Any], needs: Mapping[str, Usage]) -> None:
        """Try until it succeeds, or until it is certain that it does not fit."""
        deadline = self._clock.seconds() + PATIENCE
        rounds = 0
        while True:
            before = self._free_of(needs)
            short: Short | None = await attempt()
            if short is None:
                return
            key = short.subject.key
            if self._free_of(needs) != before:  # something was given back meanwhile
                continue
            late = self._clock.seconds() >= deadline
            if not short.others and rounds < ROUNDS:
                rounds += 1
                if not await self._ledger.write(partial(holds.recall, subject=key, holder=self._ledger.holder)):
                    rounds = ROUNDS
                    if not short.recounting:
                        raise self._refusal(short, needs[key])
            elif late and short.recounting:
                raise VolumeUnavailable("", f"the usage of {short.subject.words} is being counted; try again")
            elif late or not (short.others or short.recounting):
                raise self._refusal(short, needs[key])
            await wait(self._clock, LOOK)

    def _free_of(self, needs: Mapping[str, Usage]) -> Sequence[Usage]:
        return [self._ledger.slab(key).free for key in needs]

    def _refusal(self, short: Short, wanted: Usage) -> QuotaExceeded:
        limits, resource = short.subject.limits, short.resource
        limit = limits.bytes if resource == "bytes" else limits.files
        taken = short.taken - self._ledger.slab(short.subject.key).free
        used, more = (getattr(amount, resource) for amount in (taken, wanted))
        self._on_refusal(short.subject, resource)
        return QuotaExceeded(short.subject.words, resource, limit or 0, used, more)

    async def _grant(
        self,
        vfolder: VFolder,
        holder: str,
        needs: Mapping[str, Usage],
        then: Callable[[Mapping[str, Usage]], None],
    ) -> Short | None:
        now = self._clock.seconds()
        modest = frozenset(key for key, until in self._modest_until.items() if until > now)

        def write(connection: Connection) -> Mapping[str, Usage] | Short:
            return holds.grant(connection, vfolder.key, holder, self._process.id, needs, now, modest)

        def granted(outcome: Mapping[str, Usage] | Short) -> None:
            if not isinstance(outcome, Short):
                then(outcome)

        # Durable, so that after a power loss usage and slabs together are never less than what was stored.
        outcome = await self._ledger.write(write, durable=True, then=granted)
        return outcome if isinstance(outcome, Short) else None

    def _leased(self, added: Mapping[str, Usage]) -> None:
        now = self._clock.seconds()
        for key, amount in added.items():
            self._ledger.slab(key).leased += amount
            self._used_at[key] = now
        self._look_later()

    # --- figures ---

    async def usage(self, vfolder: VFolder) -> Usage:
        """What a vfolder holds: published, and promised to uploads under way."""
        return await self._usage_of(vfolder_subject(vfolder.key))

    async def settled(self, vfolder: VFolder) -> Usage:
        """What is charged for what a vfolder holds, without what is promised to anybody. What this process has not written is written."""
        await self.flush()
        subject = vfolder_subject(vfolder.key)
        return (await self._database.read(lambda connection: holds.usage_of(connection, [subject])))[subject]

    async def scope_usage(self, volume: str, scope: QuotaScopeId) -> Usage:
        """What the vfolders of a quota scope hold together."""
        return await self._usage_of(scope_subject(volume, scope))

    async def owner_usage(self, vfolder: VFolder) -> Usage:
        """What all vfolders of the same owner hold together; zero if there is none."""
        if vfolder.owner is None:
            return Usage()
        return await self._usage_of(owner_subject(vfolder.owner, vfolder.kind))

    async def _usage_of(self, subject: str) -> Usage:
        await self.flush()

        def read(connection: Connection) -> Usage:
            published = slabs.at_least_zero(holds.usage_of(connection, [subject])[subject])
            return published + holds.taken_of(connection, [subject], uploads_only=True)[subject]

        return await self._database.read(read)

    async def remaining(self, vfolder: VFolder) -> Remaining:
        """The tightest limits of a vfolder and what they leave. What other processes leased without needing it counts as free."""
        await self.flush()
        now = self._clock.seconds()

        def read(connection: Connection) -> tuple[Sequence[Subject], Mapping[str, Usage], Mapping[str, Usage]]:
            found = subjects_of(connection, vfolder.key, now)
            keys = [subject.key for subject in found]
            taken = holds.taken_of(connection, keys, uploads_only=True)
            return found, holds.usage_of(connection, keys), taken

        found, published, taken = await self._database.read(read)
        if not found:
            raise VFolderNotFound(vfolder.id)
        used = {
            key: slabs.at_least_zero(published[key]) + taken[key] + self._ledger.slab(key).held for key in published
        }
        return Remaining.of(found, used)

    async def set_usage(self, vfolder: VFolder, counted: Usage, also: type_also = ()) -> None:
        """Replace a vfolder's figure by what was counted while nobody published, and correct the sums that it is part of; run ``also`` in
        the same transaction."""

        def write(connection: Connection) -> None:
            holds.set_usage(connection, vfolder.key, counted)
            _run(connection, also)
            holds.recounted(connection, vfolder.key)

        await self._ledger.write(write, durable=True)
        self._tell_usage([vfolder.key])

    async def forget(self, vfolder: VFolder) -> None:
        """The vfolder was purged: take all it held off the sums. Repeating it is harmless."""
        await self._ledger.write(lambda connection: holds.forget_vfolder(connection, vfolder.key), durable=True)
        self._subjects.pop(vfolder.key, None)
        for table in (self._ledger.slabs, self._used_at, self._modest_until, self._limits):
            cast(dict[str, Any], table).pop(vfolder_subject(vfolder.key), None)

    # --- life ---

    async def recover(self, dead: Sequence[str]) -> Sequence[int]:
        """Take over from dead processes; the keys of the vfolders that have to be recounted, those that still wait from an earlier time
        included. Until :meth:`set_usage` has come for them, their dead processes' headroom counts as used, so no limit is exceeded;
        a reservation that this would refuse waits."""
        return await self._ledger.write(lambda connection: holds.mark_dead(connection, dead), durable=True)

    async def flush(self) -> None:
        """Return when all changes up to now are in the database."""
        await self._ledger.flush()

    async def stop(self) -> None:
        """Write everything and give all headroom back. Idempotent."""
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()
        if self._ledger.touched:
            await self._ledger.write(lambda connection: holds.drop_holds(connection, self._ledger.holder), durable=True)
            self._ledger.slabs.clear()
            self._ledger.touched = False
        await self._process.dirty.clear()

    # --- timers ---

    def _later(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        timer = self._timers.get(name)
        if timer is None or not timer.active():
            self._timers[name] = self._clock.callLater(seconds, call)

    def _look_later(self) -> None:
        if not all(slab.is_empty for slab in self._ledger.slabs.values()):
            self._later("look", LOOK, self._look)

    def _look(self) -> None:
        self._in_background(self._answer_recalls())

    def _write_soon(self) -> None:
        self._later("flush", FLUSH, lambda: self._in_background(self.flush()))

    def _sweep(self) -> None:
        self._in_background(self._unmark())

    def _in_background(self, work: Any) -> None:
        running = Deferred.fromCoroutine(work)
        running.addErrback(lambda failure: self.log.failure("figures could not be written", failure=failure))

    async def _answer_recalls(self) -> None:
        """Give back what others ask for, and what has not been used for a while."""
        try:
            asked = await self._database.read(lambda connection: holds.recalled(connection, self._ledger.holder))
            now = self._clock.seconds()
            for key in asked:
                self._modest_until[key] = now + MODESTY
            idle = [
                key
                for key, slab in self._ledger.slabs.items()
                if slab.free != Usage() and self._used_at.get(key, 0.0) + IDLE < now
            ]
            if asked or idle:
                await self._ledger.give_back([*asked, *idle])
        finally:
            for key in [key for key, slab in self._ledger.slabs.items() if slab.is_empty]:
                del self._ledger.slabs[key]
            self._look_later()

    async def _unmark(self) -> None:
        """Vfolders at rest need no recount if this process dies."""
        await self.flush()
        busy = self._open.keys() | self._ledger.waiting
        resting = [key for key in self._process.dirty.at_rest(REST) if key not in busy]
        if resting:
            await self._process.dirty.unmark(resting)
        for key in resting:
            self._subjects.pop(key, None)
        self._later("sweep", SWEEP, self._sweep)


def _run(connection: Connection, also: type_also) -> None:
    for function in also:
        function(connection)
