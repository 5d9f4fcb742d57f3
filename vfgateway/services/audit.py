"""The audit of one process: takes in what was done and what was refused, and writes it a moment later, many entries in one write.

Nobody waits for the audit, and nobody can make it grow: what is alike, again and again within a minute, is counted on an entry that is there
already (whoever is refused then is told that one's identifier), and beyond :data:`ROWS` entries a minute only one of each kind is made. What is
not written yet is lost when the process is killed; entries of changes are not among that (:func:`vfgateway.services.audit_records.change`).
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vfgateway import requestcontext
from vfgateway.audit_settings import AuditSettings
from vfgateway.errors import AuthenticationFailed, GatewayError, LeavesFolder
from vfgateway.model import VFolder
from vfgateway.principals import Origin, Principal
from vfgateway.requestcontext import RequestContext
from vfgateway.services import audit_records as records
from vfgateway.services.audit_records import Entry, Filter, entry_now
from vfgateway.services.database import Database
from vfgateway.services.events import Events
from vfgateway.services.leading import WhileLeading
from vfgateway.services.metrics import Metrics
from vfgateway.services.operations import LoginsLocked, LoginSucceeded
from vfgateway.services.processes import Processes, wait

#: Seconds for which entries wait to be written together; after a write that failed.
FLUSH: Final = 0.5
RETRY: Final = 5.0
#: Entries that wait to be written, at most.
MOST: Final = 2000
#: Seconds after which counting begins anew; entries in that time of all, and of what is alike.
WINDOW: Final = 60.0
ROWS: Final = 600
ALIKE: Final = 20
#: Seconds within which requests of the same person from the same place are one login, and logins that are remembered for that.
ONE_LOGIN: Final = 900.0
LOGINS: Final = 10_000
#: Seconds between looks for entries whose time has passed, and between two removals.
SWEEP: Final = 600.0
BREATH: Final = 0.1
#: Seconds between looks for new entries by whoever follows them, and how far back a look goes for those that were committed late.
FOLLOW: Final = 1.0
LATE: Final = 500

#: What of an error is worth keeping.
_FACTS = (
    "subject",
    "resource",
    "limit",
    "used",
    "wanted",
    "owner",
    "until",
    "action",
    "needed",
    "had",
    "volume",
    "reason",
)


@attrs.define
class _Alike:
    """Entries of this window that are alike: how many were made, and the latest of them."""

    made: int = 0
    latest: str = ""


class Audit:
    """See the module.

    :param clock: tells the time in epoch seconds
    """

    log = Logger()

    def __init__(
        self,
        settings: AuditSettings,
        database: Database,
        clock: Any,
        processes: Processes,
        events: Events,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._waiting: list[Entry] = []
        self._folded: dict[str, tuple[int, float]] = {}
        self._windows: dict[tuple[Any, ...], _Alike] = {}
        self._window_ends = 0.0
        self._rows = 0
        self._logins: dict[tuple[Any, ...], float] = {}
        self._later: IDelayedCall | None = None
        self._writing = DeferredLock()
        self._sweeping = WhileLeading(clock, processes, SWEEP, self._sweep, "remove old entries of the audit")
        events.subscribe(LoginSucceeded, self._logged_in)
        events.subscribe(LoginsLocked, self._locked)

    # --- life ---

    def start(self) -> None:
        """Begin to remove what has been kept long enough."""
        self._sweeping.start()

    async def stop(self) -> None:
        """Write what waits. Idempotent."""
        await self._sweeping.stop()
        await self.flush()
        if self._later is not None and self._later.active():  # the write failed
            self._later.cancel()

    # --- taking in ---

    def refused(self, error: BaseException, context: RequestContext | None = None) -> None:
        """Somebody is told no: enter it, and give the error its identifier. Nothing for what is no refusal, or is entered already.

        :param context: who asked for what; by default what runs now
        """
        if not isinstance(error, GatewayError) or not error.refuser or error.decision is not None:
            return
        context = context or requestcontext.current() or RequestContext()
        entry = context.run(entry_now, "refusal", self._clock.seconds())
        kind = type(error).__name__
        facts = {name: value for name in _FACTS if (value := getattr(error, name, None)) not in (None, "")}
        facts |= {"error": kind, "said": str(error), "operation": context.operation}
        if error.vfolder_key is not None and (context.vfolder is None or context.vfolder.key != error.vfolder_key):
            facts["vfolder_key"] = error.vfolder_key
            entry = attrs.evolve(entry, volume=None, vfid=None)
        path = getattr(error, "path", "")
        target = path if entry.vfid or "vfolder_key" in facts else context.target or path
        entry = attrs.evolve(
            entry, outcome="refused", refuser=error.refuser, target=target[: records.LONGEST], facts=facts
        )
        self._metrics.refusal(error.refuser, entry.protocol)
        found = self._add(entry, kind)
        if not isinstance(error, LeavesFolder):  # which is answered like what is not there
            error.decision = found

    def login_refused(self, who: str, address: str, protocol: str) -> str:
        """A login failed in a protocol that keeps no context of requests; the identifier to be told."""
        error = AuthenticationFailed()
        context = RequestContext(Origin(protocol, address), who=who, operation="login")
        self.refused(error, context)
        return error.decision or ""

    def note(self, event: str, target: object = "", **facts: Any) -> None:
        """Something was done, by whoever runs now."""
        self._add(entry_now(event, self._clock.seconds(), target=str(target)[: records.LONGEST], facts=facts))

    def files(
        self, event: str, principal: Principal, origin: Origin, vfolder: VFolder, path: object, **facts: Any
    ) -> None:
        """Something was done to files: ``files_removed`` (to the trash, if a fact says so), ``files_restored``, ``files_purged``."""
        context = RequestContext(origin, vfolder=vfolder)
        context.identify(principal)
        about = {"target": str(path)[: records.LONGEST], "facts": facts}
        self._add(context.run(partial(entry_now, event, self._clock.seconds(), **about)))

    def came_in(self, method: str) -> None:
        """Whoever runs now has shown who they are, as every request over HTTP does: one entry for all that follow upon each other."""
        context = requestcontext.current()
        if context is None:
            return
        now = self._clock.seconds()
        key = (context.who, context.origin.address, context.origin.protocol, method)
        last = self._logins.get(key)
        if last is None and len(self._logins) >= LOGINS:
            self._logins.clear()
        if last is None or now - last >= ONE_LOGIN:
            self._logins[key] = now
            self._add(entry_now("login", now, facts={"method": method}))

    def _logged_in(self, event: LoginSucceeded) -> None:
        now = self._clock.seconds()
        entry = Entry(event="login", at=now, last=now, who=event.user, address=event.address, protocol=event.protocol)
        self._add(attrs.evolve(entry, facts={"method": event.method}))

    def _locked(self, event: LoginsLocked) -> None:
        facts = {"failures": event.failures, "seconds": round(event.seconds, 3)}
        target = " ".join(filter(None, (event.user, event.address)))
        self._add(entry_now("logins_locked", self._clock.seconds(), outcome="refused", target=target, facts=facts))

    def _add(self, entry: Entry, kind: str = "") -> str:
        """Take in an entry, or count it on one that is like it; the identifier of that."""
        if entry.at >= self._window_ends:
            self._windows.clear()
            self._rows, self._window_ends = 0, entry.at + WINDOW
        alike: tuple[Any, ...] = (entry.event, kind, entry.protocol, entry.who, entry.address, entry.vfid)
        window, most = self._windows.get(alike), ALIKE
        if window is None:
            if self._rows >= ROWS:
                alike, most = alike[:3], 1
            window = self._windows.setdefault(alike, _Alike())
        if window.made >= most or (window.made and self._rows >= ROWS):
            count, _ = self._folded.get(window.latest, (0, 0.0))
            self._folded[window.latest] = (count + 1, entry.at)
            self._write_soon(FLUSH)
            return window.latest
        window.made += 1
        self._rows += 1
        window.latest = secrets.token_hex(6)
        entry = attrs.evolve(entry, id=window.latest)
        if most == 1:  # it stands for many, of whom this is only the first
            entry = attrs.evolve(
                entry, who="", user_id=None, address="", target="", facts={**entry.facts, "various": True}
            )
        if len(self._waiting) >= MOST:
            self._metrics.audit_dropped()
        else:
            self._waiting.append(entry)
            self._write_soon(FLUSH)
        entry.tell()
        return window.latest

    # --- writing ---

    def _write_soon(self, seconds: float) -> None:
        if self._later is None or not self._later.active():
            self._later = self._clock.callLater(seconds, self._flush_unwaited)

    def _flush_unwaited(self) -> None:
        Deferred.fromCoroutine(self.flush()).addErrback(lambda failure: self.log.failure("could not write", failure))

    async def flush(self) -> None:
        """Write what waits, and see what is being written to its end. What cannot be written now is tried again."""
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        if not self._waiting and not self._folded:
            return
        entries, self._waiting = self._waiting, []
        folded, self._folded = self._folded, {}

        def write(connection: Any) -> None:
            records.add(connection, entries)
            records.count_up(connection, folded)

        try:
            await self._database.write(write, durable=False)
        except Exception as error:
            self.log.error("could not write {count} entries: {error}", count=len(entries), error=str(error))
            self._waiting = entries + self._waiting[: MOST - len(entries)]
            for entry_id, (count, last) in folded.items():
                self._folded[entry_id] = (self._folded.get(entry_id, (0, 0.0))[0] + count, last)
            self._write_soon(RETRY)

    async def _sweep(self) -> None:
        before = self._clock.seconds() - self._settings.keep
        while await self._database.write(
            lambda connection: records.strike(connection, before, self._settings.most), durable=False
        ):
            await wait(self._clock, BREATH)

    # --- asking ---

    async def find(self, wanted: Filter, limit: int) -> Sequence[Entry]:
        """The latest entries that fit, the oldest of them first; those of other processes are half a second behind."""
        await self.flush()
        return await self._database.read(lambda connection: records.some(connection, wanted, limit))

    async def get(self, entry_id: str) -> Entry | None:
        """One entry, also one that another process is about to write."""
        await self.flush()
        found = await self._database.read(lambda connection: records.by_id(connection, entry_id))
        if found is None:
            await wait(self._clock, 2 * FLUSH)
            found = await self._database.read(lambda connection: records.by_id(connection, entry_id))
        return found

    async def follow(self, wanted: Filter, back: int = 0) -> AsyncIterator[Sequence[Entry]]:
        """The latest ``back`` entries, then new ones as they come, of all processes, until whoever asks goes away."""
        await self.flush()
        begin = await self._database.read(records.newest)
        last, seen = begin, set[int]()
        if back and (entries := await self.find(wanted, back)):
            seen = {entry.number for entry in entries}
            yield entries
        while True:
            after = max(last - LATE, begin)
            newer = attrs.evolve(wanted, after=after)
            found = await self._database.read(lambda connection: records.some(connection, newer, MOST))  # noqa: B023
            fresh = [entry for entry in found if entry.number not in seen]
            seen = {entry.number for entry in found}
            if fresh:
                last = max(last, fresh[-1].number)
                yield fresh
            await wait(self._clock, FOLLOW)
