"""Limits that hold and usage that is true: reservations before bytes are accepted, settled with what was stored.

A vfolder's bytes count for itself, for its quota scope and for its owner (:mod:`vfgateway.services.holds`). Where one of them is
limited, a process leases headroom and gives it to reservations without a transaction (:mod:`vfgateway.services.headroom`); where none is,
nothing is held at all. Changes of usage are written together with the end of the intent that they came from, and with whatever else
waits to be written; a vfolder whose process died in between is recounted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vfgateway.errors import GatewayError, VFolderNotFound
from vfgateway.model import Limits, QuotaScopeId, Usage, VFolder
from vfgateway.services import folderusage, holds, slabs
from vfgateway.services.database import Database
from vfgateway.services.folderusage import FolderUsage
from vfgateway.services.headroom import Headroom, type_granted
from vfgateway.services.ledger import Ledger
from vfgateway.services.processes import SLAB, IsProcess
from vfgateway.services.remaining import Remaining
from vfgateway.services.reservations import Reservation, UploadReservation, type_also
from vfgateway.services.subjects import Subject, needs_of, owner_subject, scope_subject, subjects_of, vfolder_subject
from vfgateway.treeusage import LOOSE, TreeUsage

#: Seconds after which a change that nothing else carried is written.
FLUSH = 0.5
#: Seconds between sweeps for vfolders at rest, and how long they must have been.
SWEEP, REST = 60.0, 120.0

type_on_usage = Callable[[Collection[str]], object]
type_on_refusal = Callable[[Subject, str], object]

__all__ = ["Quota", "Remaining", "Reservation"]


@attrs.define(eq=False)
class _Known:
    """Who carries a vfolder's usage.

    :ivar limited: those that have a limit
    :ivar until: when one of their limits becomes tighter by itself
    :ivar stands_until: until then it is as it was when it was last looked at, as long as the database's :attr:`Database.looks` are ``looks``
    """

    stamp: tuple[int, ...]
    subjects: Sequence[Subject]
    limited: Sequence[Subject]
    until: float
    looks: int = -1
    stands_until: float = 0.0

    @classmethod
    def of(cls, stamp: tuple[int, ...], found: Sequence[Subject]) -> _Known:
        ends = [subject.until for subject in found if subject.until is not None]
        return cls(stamp, found, [subject for subject in found if subject.is_limited], min(ends, default=math.inf))


class Quota:
    """The ledger as one process sees it."""

    log = Logger()

    def __init__(self, database: Database, clock: Any, process: IsProcess) -> None:
        self._database = database
        self._clock = clock
        self._process = process
        self._ledger = Ledger(database, SLAB + process.id, self._write_soon, self._tell_usage)
        self.headroom = Headroom(database, self._ledger, clock, process, self._later, self._tell_refusal)
        self._on_usage: type_on_usage = lambda _: None
        self._on_refusal: type_on_refusal = lambda _subject, _resource: None
        self._subjects: dict[int, _Known] = {}
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

    def _tell_refusal(self, subject: Subject, resource: str) -> None:
        self._on_refusal(subject, resource)

    def _known(self, vfolder: int) -> Sequence[Subject]:
        return self._subjects[vfolder].subjects if vfolder in self._subjects else ()

    # --- reserving ---

    async def reserve(self, vfolder: VFolder, wanted: Usage, holder: str | None = None) -> Reservation:
        """Promise room for ``wanted`` more (negative parts need none). Raises ``QuotaExceeded``.

        :param holder: the identifier of an upload to which the room shall belong, durably
        """
        await self._process.dirty.mark(vfolder.key)
        reservation = Reservation(self, vfolder) if holder is None else UploadReservation(self, vfolder, holder, {})
        try:
            await reservation.ensure(wanted)
        except Exception as error:  # CancelledError is one
            if isinstance(error, GatewayError):
                error.vfolder_key = vfolder.key
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

    async def change(self, vfolder: VFolder, change: Usage, also: type_also = (), folder: bytes = LOOSE) -> None:
        """Count a change that needed no room beforehand, and run ``also`` in the same transaction.

        :param folder: whose share it is (:mod:`vfgateway.services.folderusage`)
        """
        await self._process.dirty.mark(vfolder.key)
        await self.settle_slabs(vfolder, change, {}, also, folder)

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
        if known is not None and known.stamp == stamp and now < known.until:
            return known.subjects
        found = await database.read(lambda connection: subjects_of(connection, vfolder.key, now))
        if not found:
            raise VFolderNotFound(vfolder.id)
        self._subjects[vfolder.key] = _Known.of(stamp, found)
        changed = [s.key for s in found if self._limits.get(s.key, s.limits) != s.limits]
        self._limits.update((subject.key, subject.limits) for subject in found)
        if changed:  # headroom under the old limit is no headroom
            await self._ledger.give_back(changed)
        return found

    async def find_room(self, vfolder: VFolder, wanted: Usage) -> bool:
        """See that this process has leased ``wanted``, without asking anybody to give something back, and without refusing it: whether that
        is so."""
        limited = [subject for subject in await self.subjects(vfolder) if subject.is_limited]
        return await self.headroom.lease_if_there(vfolder, needs_of(limited, wanted))

    def limited_now(self, vfolder: VFolder) -> Sequence[Subject] | None:
        """Those of :meth:`subjects` that have a limit, if that is known. Not a coroutine."""
        known = self._subjects.get(vfolder.key)
        if known is None:
            return None
        database, now = self._database, self._clock.seconds()
        if known.looks != database.looks or now >= known.stands_until:
            if known.stamp != database.at_hand("vfolders", "accounts") or now >= known.until:
                return None
            known.looks = database.looks
            known.stands_until = min(known.until, database.good_until("vfolders", "accounts"))
        return known.limited

    async def is_limited(self, vfolder: VFolder) -> bool:
        """Whether any limit applies, with limits as old as in :meth:`subjects`."""
        return any(subject.is_limited for subject in await self.subjects(vfolder))

    async def settle_slabs(
        self, vfolder: VFolder, change: Usage, covered: Mapping[str, Usage], also: type_also, folder: bytes
    ) -> None:
        """End a reservation of this process with the true change. All in memory has happened before the first wait."""
        self._ledger.change(vfolder.key, change, covered, folder=folder)
        if also:
            await self._ledger.write(partial(_run, also=also))
        elif change != Usage():
            self._write_soon()
        self.headroom.look_later()

    def settle_now(self, vfolder: VFolder, change: Usage, covered: Mapping[str, Usage], folder: bytes) -> None:
        """As :meth:`settle_slabs`, with nothing else to write. Not a coroutine."""
        self._ledger.change(vfolder.key, change, covered, folder=folder)
        if "flush" not in self._timers and (change.bytes or change.files):
            self._write_soon()
        if covered:
            self.headroom.look_later()
        if "sweep" not in self._timers:
            self._later("sweep", SWEEP, self._sweep)

    async def settle_holder(self, vfolder: VFolder, change: Usage, holder: str, also: type_also, folder: bytes) -> None:
        """End an upload's reservation with the true change."""
        # Whichever write comes next enters both, the change and the end of what was held for it: nobody must see one without the other.
        self._ledger.change(vfolder.key, change, upload=holder, folder=folder)
        # And once more in a write of its own, for what was granted in one that was on its way when the end came.
        await self._ledger.write(partial(_run, also=[partial(holds.drop_holds, holder=holder), *also]))

    def drop_hold(self, vfolder: VFolder, holder: str) -> None:
        """Room came to an upload whose reservation had ended: give it back."""
        self._ledger.change(vfolder.key, Usage(), upload=holder)
        self._write_soon()

    async def hold(self, vfolder: VFolder, holder: str, needs: Mapping[str, Usage], then: type_granted) -> None:
        """Have ``holder`` hold ``needs`` more. Raises ``QuotaExceeded``."""
        await self.headroom.hold(vfolder, holder, needs, then)
        self._tell_usage([vfolder.key])

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
            key: slabs.at_least_zero(published[key]) + taken[key] + self._ledger.slabs[key].held for key in published
        }
        return Remaining.of(found, used)

    async def folders(self, vfolder: VFolder) -> Sequence[FolderUsage]:
        """The shares of the directories at a vfolder's top, by name. Uploads under way are in none."""
        await self.flush()
        return await self._database.read(lambda connection: folderusage.shares(connection, vfolder.key))

    async def set_folders(self, vfolder: VFolder, before: Sequence[FolderUsage], counted: TreeUsage) -> bool:
        """Put the shares that were counted in place of those that were known ``before``, unless those have changed meanwhile; whether that
        was done. What the vfolder is charged stays."""

        def write(connection: Connection) -> bool:
            if folderusage.shares(connection, vfolder.key) != before:
                return False
            folderusage.replace(connection, vfolder.key, counted)
            return True

        return await self._ledger.write(write)

    async def set_usage(self, vfolder: VFolder, counted: Usage | TreeUsage, also: type_also = ()) -> None:
        """Replace a vfolder's figure by what was counted while nobody published, and correct the sums that it is part of; run ``also`` in
        the same transaction. Where the shares were not counted, what is new is nobody's until they are."""
        now = self._clock.seconds()

        def write(connection: Connection) -> None:
            holds.set_usage(connection, vfolder.key, counted, now)
            _run(connection, also)
            holds.recounted(connection, vfolder.key)

        await self._ledger.write(write, durable=True)
        self._tell_usage([vfolder.key])

    async def forget(self, vfolder: VFolder) -> None:
        """The vfolder was purged: take all it held off the sums. Repeating it is harmless."""
        await self._ledger.write(lambda connection: holds.forget_vfolder(connection, vfolder.key), durable=True)
        self._subjects.pop(vfolder.key, None)
        self._limits.pop(vfolder_subject(vfolder.key), None)
        self.headroom.forget(vfolder_subject(vfolder.key))

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
        if name not in self._timers:
            self._timers[name] = self._clock.callLater(seconds, self._due, name, call)

    def _due(self, name: str, call: Callable[[], object]) -> None:
        del self._timers[name]
        call()

    def _write_soon(self) -> None:
        if "flush" not in self._timers:
            self._later("flush", FLUSH, lambda: self._in_background(self.flush()))

    def _sweep(self) -> None:
        self._in_background(self._unmark())

    def _in_background(self, work: Any) -> None:
        running = Deferred.fromCoroutine(work)
        running.addErrback(lambda failure: self.log.failure("figures could not be written", failure=failure))

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
