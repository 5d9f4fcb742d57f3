"""Room under limits, as one process gets it from the database, passes it on to its reservations, and gives it back to the other processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vfgateway.errors import QuotaExceeded, VolumeUnavailable
from vfgateway.model import Usage, VFolder
from vfgateway.services import holds
from vfgateway.services.database import Database
from vfgateway.services.holds import Short
from vfgateway.services.ledger import Ledger
from vfgateway.services.processes import IsProcess, wait
from vfgateway.services.subjects import Subject

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

type_granted = Callable[[Mapping[str, Usage]], None]


class Headroom:
    """The slabs of one process, grown and given back.

    :param later: ``later(name, seconds, call)`` calls once; does nothing while that is to come already
    :param refused: told the subject and the resource of each refusal
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        clock: Any,
        process: IsProcess,
        later: Callable[[str, float, Callable[[], object]], object],
        refused: Callable[[Subject, str], object],
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._process = process
        self._later = later
        self._refused = refused
        self._used_at: dict[str, float] = {}
        self._modest_until: dict[str, float] = {}
        self._will_look = False
        self._leasing: list[Deferred[None]] | None = None  # who waits for the lease under way

    # --- getting ---

    def take(self, vfolder: VFolder, needs: Mapping[str, Usage]) -> bool:
        """Take from the slabs if all is there, and see that there will be some for the next."""
        if not needs:
            return True
        low, slabs = False, self._ledger.slabs
        for key, need in needs.items():
            slab = slabs[key]
            if not slab.take(need):
                self._put_back(needs, key)
                return False
            low = low or slab.is_low
        if low and self._leasing is None:
            self._lease_ahead(vfolder, needs)
        return True

    def _put_back(self, needs: Mapping[str, Usage], short: str) -> None:
        """Undo what was taken before it was found that there is too little of ``short``."""
        for key, need in needs.items():
            if key == short:
                return
            self._ledger.slabs[key].settle(need, Usage())

    async def lease(self, vfolder: VFolder, needs: Mapping[str, Usage]) -> None:
        """Have the slabs grow by what is missing of ``needs``. Raises ``QuotaExceeded``."""
        await self._persist(partial(self._attempt, vfolder, needs), needs)

    async def lease_if_there(self, vfolder: VFolder, needs: Mapping[str, Usage]) -> bool:
        """As :meth:`lease`, but nobody is asked to give anything back, and nothing is refused: whether there was enough."""
        return await self._attempt(vfolder, needs) is None

    async def _attempt(self, vfolder: VFolder, needs: Mapping[str, Usage]) -> Short | None:
        while missing := self._missing(needs):
            if self._leasing is None:
                return await self._grow(vfolder, missing)
            growing: Deferred[None] = Deferred()
            self._leasing.append(growing)
            await growing
        return None

    def _lease_ahead(self, vfolder: VFolder, needs: Mapping[str, Usage]) -> None:
        """Lease before all is used, so that nobody has to wait for it; nothing that others have asked for."""
        now = self._clock.seconds()
        wanted = {
            key: Usage(min(need.bytes, 1), min(need.files, 1))
            for key, need in needs.items()
            if self._ledger.slabs[key].is_low and self._modest_until.get(key, 0.0) <= now
        }
        if wanted:
            leasing = Deferred.fromCoroutine(self._lease_what_is_there(vfolder, wanted))
            leasing.addErrback(lambda failure: self.log.failure("headroom could not be leased ahead", failure=failure))

    async def _lease_what_is_there(self, vfolder: VFolder, wanted: Mapping[str, Usage]) -> None:
        leased = False
        try:
            leased = await self._grow(vfolder, wanted) is None
        finally:
            if not leased:  # not at once again
                until = self._clock.seconds() + MODESTY
                self._modest_until.update(dict.fromkeys(wanted, until))

    def _missing(self, needs: Mapping[str, Usage]) -> Mapping[str, Usage]:
        missing = {key: self._ledger.slabs[key].missing(need) for key, need in needs.items()}
        return {key: amount for key, amount in missing.items() if amount != Usage()}

    async def _grow(self, vfolder: VFolder, missing: Mapping[str, Usage]) -> Short | None:
        """Lease for one; the others go on afterwards one by one, not each within the one before: they may be hundreds."""
        waiting = self._leasing = []
        try:
            return await self._grant(vfolder, self._ledger.holder, missing, partial(self._leased, missing))
        finally:
            self._leasing = None
            for growing in waiting:
                if not growing.called:
                    growing.callback(None)

    async def hold(self, vfolder: VFolder, holder: str, needs: Mapping[str, Usage], then: type_granted) -> None:
        """Have ``holder`` hold ``needs`` more. Raises ``QuotaExceeded``."""

        async def attempt() -> Short | None:
            short = await self._grant(vfolder, holder, needs, then)
            if short is not None and self._ledger.slabs[short.subject.key].free != Usage():
                await self._ledger.give_back([short.subject.key])
                short = await self._grant(vfolder, holder, needs, then)
            return short

        await self._persist(attempt, needs)

    async def _persist(self, attempt: Callable[[], Awaitable[Short | None]], needs: Mapping[str, Usage]) -> None:
        """Try until it succeeds, or until it is certain that it does not fit."""
        deadline = self._clock.seconds() + PATIENCE
        rounds = 0
        while True:
            before = self._free_of(needs)
            short = await attempt()
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
        return [self._ledger.slabs[key].free for key in needs]

    def _refusal(self, short: Short, wanted: Usage) -> QuotaExceeded:
        limits, resource = short.subject.limits, short.resource
        limit = limits.bytes if resource == "bytes" else limits.files
        taken = short.taken - self._ledger.slabs[short.subject.key].free
        used, more = (getattr(amount, resource) for amount in (taken, wanted))
        self._refused(short.subject, resource)
        return QuotaExceeded(short.subject.words, resource, limit or 0, used, more)

    async def _grant(
        self,
        vfolder: VFolder,
        holder: str,
        needs: Mapping[str, Usage],
        then: type_granted,
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

    def _leased(self, asked: Mapping[str, Usage], added: Mapping[str, Usage]) -> None:
        now = self._clock.seconds()
        for key, amount in added.items():
            self._ledger.slabs[key].grow(amount, amount - asked[key])
            self._used_at[key] = now
        self.look_later()

    def forget(self, subject: str) -> None:
        """The subject is gone."""
        for table in (self._ledger.slabs, self._used_at, self._modest_until):
            table.pop(subject, None)

    # --- giving back ---

    def look_later(self) -> None:
        """Look soon whether others want what this process has, if it has anything."""
        if self._will_look:
            return
        slabs = self._ledger.slabs
        if slabs and not all(slab.is_empty for slab in slabs.values()):
            self._will_look = True
            self._later("look", LOOK, self._look)

    def _look(self) -> None:
        self._will_look = False
        answering = Deferred.fromCoroutine(self._answer_recalls())
        answering.addErrback(lambda failure: self.log.failure("headroom could not be given back", failure=failure))

    async def _answer_recalls(self) -> None:
        """Give back what others ask for, and what has not been used for a while."""
        try:
            asked = [row[0] for row in await self._database.look(holds.RECALLED, slab=self._ledger.holder)]
            now = self._clock.seconds()
            for key in asked:
                self._modest_until[key] = now + MODESTY
            for key, slab in self._ledger.slabs.items():
                if slab.stirred:
                    self._used_at[key], slab.stirred = now, False
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
            self.look_later()
