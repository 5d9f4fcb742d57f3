"""Locks, for all protocols, users and processes; and the intents under which changes become visible.

A lock is shaped like WebDAV's: a path, a depth, shared or exclusive, an owner, a time. Whoever makes a change visible does
so under an intent (:meth:`Locks.publishing`): the locks are checked in the same write that announces it, and neither a lock nor another change
comes between until it is over. A writer that began under a lock carries the lock's number, its fence, and is refused when
that lock is gone at the end.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import uuid4

import attrs
from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from vfgateway.errors import DatabaseUnavailable, LockLost, PathError, QuotaExceeded, TooLarge, Unsupported
from vfgateway.model import FileStat, VFolder
from vfgateway.paths import FolderPath
from vfgateway.services import changes as changelog
from vfgateway.services import locktable
from vfgateway.services.changes import Change
from vfgateway.services.database import Database, bump
from vfgateway.services.locktable import Lock, Standing
from vfgateway.services.processes import IsProcess, wait
from vfgateway.services.schema import dirty, intents, locks
from vfgateway.services.turns import Turn, Turns, type_change

T = TypeVar("T")
type_act = Callable[[Connection, Standing], T]

#: Seconds between looks at the announcements of other processes: the first and the longest.
FIRST_LOOK, LONGEST_LOOK = 0.005, 0.1

#: Seconds until a change whose end could not be written is ended again.
AGAIN = 1.0
#: Errors that a change is refused with before anything of it is done; after others it may have happened.
REFUSALS = (PathError, QuotaExceeded, TooLarge, Unsupported)

__all__ = ["Intent", "Lock", "Locks"]


@attrs.define(eq=False)
class Intent:
    """A change that is about to become visible.

    :ivar standing: what there was in the vfolder when it was announced
    :ivar guards: directories in which somebody else's lock lets no name come or go
    :ivar vfolder: the key of the vfolder
    :ivar announced: what it was announced for
    :ivar at: when, in epoch seconds
    :ivar changes: what has changed, or may have; ``None``: all that was announced
    :ivar more: what has changed beside that
    :ivar unclear: a file changed that has other names, nobody knows which
    """

    id: str
    ended: bool = False
    standing: Standing = attrs.Factory(lambda: Standing(True, True, True))
    guards: Mapping[FolderPath, Lock] = {}
    vfolder: int = 0
    announced: Sequence[type_change] = ()
    at: float = 0.0
    changes: Sequence[Change] | None = None
    more: list[Change] = attrs.Factory(list)
    unclear: bool = False

    def names(self, path: FolderPath) -> None:
        """Tell that the name ``path`` (folded) comes or goes. ``Locked`` if that changes a collection that somebody else has locked."""
        if path.parent in self.guards and not path.is_root:
            raise self.guards[path.parent].blame(path)

    def end(self, connection: Connection) -> None:
        """End it within the caller's write: hand this to ``Reservation.settle`` or ``Quota.change``."""
        locktable.delete_intent(connection, self.id)
        self.record(connection)
        self.ended = True

    def record(self, connection: Connection) -> None:
        """Enter what has changed, if the vfolder is tracked."""
        if not self.standing.tracked:
            return
        if self.unclear:
            changelog.begin_epoch(connection, [self.vfolder])
            return
        happened = self.changes
        if happened is None:
            happened = [Change(path, tree, lost=tree) for path, tree in self.announced]
        changelog.record(connection, self.vfolder, [*self.more, *happened], self.at)

    def touches(self, stat: FileStat | None) -> None:
        """Tell which file is changed: if it has other names, it is changed under those, too."""
        if stat is not None and stat.is_file and stat.nlink > 1:
            self.unclear = True


class Locks:
    """The one lock table. Paths are folded by the caller (``NameRules.fold``).

    :ivar changes: counts the locks that this process has granted and released
    """

    log = Logger()

    def __init__(self, database: Database, clock: Any, process: IsProcess) -> None:
        self._database = database
        self._clock = clock
        self._process = process
        self._turns = Turns()
        self.changes = 0

    # --- locks ---

    async def acquire(
        self,
        vfolder: VFolder,
        path: FolderPath,
        *,
        principal_id: str,
        owner: str,
        infinite: bool,
        exclusive: bool,
        timeout: float | None,
        description: str = "",
    ) -> Lock:
        """Lock ``path`` for ``timeout`` seconds (``None``: until released), once changes under way there are over. ``Locked`` if a
        lock that cannot stand beside it is there; ``QuotaExceeded`` for who has too many."""
        changes = [(path, infinite)]
        token = f"opaquelocktoken:{uuid4()}"

        def write(connection: Connection, _standing: Standing) -> Lock:
            now = self._clock.seconds()
            connection.execute(delete(locks).where(locks.c.expires <= now))
            found = locktable.locks_over(connection, vfolder.key, changes, now)
            locktable.refuse_overlapping(found, exclusive)
            locktable.refuse_too_many(connection, vfolder.key, principal_id, owner)
            fence = bump(connection, "fence")
            expires = None if timeout is None else now + timeout
            about = (principal_id, owner, fence, now, expires, description)
            lock = Lock(token, vfolder.key, path, infinite, exclusive, *about)
            row = attrs.asdict(lock, recurse=False)
            row["principal"] = row.pop("principal_id")
            connection.execute(insert(locks).values({**row, "path": bytes(path)}))
            return lock

        try:
            # Announced for all below, since a lock on a collection waits for changes of its members, whatever its depth.
            async with self._announced(vfolder, [(path, True)], write, durable=True) as (_, lock):
                self._database.forget_generations()
                self.changes += 1
                return lock
        except CancelledError:  # nobody will ever learn the token
            await self.release(token)
            raise

    async def refresh(self, token: str, timeout: float | None) -> Lock:
        """Let the lock live for ``timeout`` seconds from now. ``LockLost`` if it is gone."""

        def write(connection: Connection) -> Lock:
            now = self._clock.seconds()
            lock = locktable.by_token(connection, token, now)
            if lock is None:
                raise LockLost("", "no such lock, or it has expired")
            expires = None if timeout is None else now + timeout
            connection.execute(update(locks).where(locks.c.token == token).values(expires=expires))
            return attrs.evolve(lock, expires=expires)

        return await self._database.write(write)

    async def release(self, token: str) -> bool:
        """End a lock; whether there was one."""
        strike = delete(locks).where(locks.c.token == token)
        try:
            return await self._database.write(lambda connection: connection.execute(strike).rowcount > 0)
        finally:
            self.changes += 1

    async def break_lock(self, token: str) -> bool:
        """End somebody else's lock, for an administrator; what was begun under it cannot be published. Whether there was one."""
        broken = await self.release(token)
        if broken:
            self.log.info("lock broken", log_event="lock_broken")
        return broken

    async def get(self, token: str) -> Lock | None:
        """The lock of that token, if it lives."""
        now = self._clock.seconds()
        return await self._database.read(lambda connection: locktable.by_token(connection, token, now))

    async def find(self, vfolder: VFolder, path: FolderPath, below: bool = False) -> Sequence[Lock]:
        """The locks that cover ``path``, and, with ``below``, those on what lies below it."""
        now = self._clock.seconds()
        changes = [(path, below)]
        return await self._database.read(lambda connection: locktable.locks_over(connection, vfolder.key, changes, now))

    async def list(self, vfolder: VFolder | None = None) -> Sequence[Lock]:
        """All locks, or those of one vfolder; the oldest first."""
        now = self._clock.seconds()
        key = None if vfolder is None else vfolder.key
        return await self._database.read(lambda connection: locktable.all_locks(connection, now, key))

    # --- writers ---

    async def fence(
        self,
        vfolder: VFolder,
        path: FolderPath,
        tokens: frozenset[str],
        principal: str | None = None,
        name: FolderPath | None = None,
    ) -> int:
        """The number under which a writer begins, for :meth:`publishing` at the end. ``Locked`` if somebody else holds a lock now.

        :param principal: who writes; ``None`` is whoever holds ``tokens``
        :param name: a name that will come, which a lock on the collection above it forbids
        """
        now, changes = self._clock.seconds(), [(path, False)]
        around = changes if name is None else [*changes, (name.parent, False)]

        def read(connection: Connection) -> Sequence[Lock]:
            if not locktable.is_locked(connection, vfolder.key):
                return ()
            return locktable.locks_over(connection, vfolder.key, around, now)

        found = await self._database.read(read)
        locktable.check(found, changes, tokens, principal)
        held = [lock for lock in found if lock.token in tokens and principal in (None, lock.principal_id)]
        if name is not None:
            here = [lock for lock in found if lock.path == name.parent]
            if here and not any(lock in held for lock in here):
                raise here[0].blame(name)
        return max((lock.fence for lock in held), default=0)

    @asynccontextmanager
    async def publishing(
        self,
        vfolder: VFolder,
        paths: Sequence[type_change],
        tokens: frozenset[str],
        principal: str,
        *,
        fence: int | None = None,
        recount: bool = False,
        shared: bool = False,
    ) -> AsyncIterator[Intent]:
        """The time in which changes become visible.

        :param paths: folded paths, each with whether all below it changes too
        :param tokens: the locks that ``principal`` says it holds
        :param fence: what :meth:`fence` returned when the writer began
        :param recount: nothing is changed, so locks do not matter; others are held off alike
        :param shared: other processes may make changes at the same time that are shared, too: files that are stored whole, each of which is
            told what it has replaced
        :raises Locked: somebody else holds a lock
        :raises LockLost: the lock under which the writer began is gone
        """
        parents = {path.parent for path, _ in paths}

        def check(connection: Connection, standing: Standing) -> tuple[Standing, Mapping[FolderPath, Lock]]:
            if recount or not (standing.locks or fence):
                return standing, {}
            around = [*paths, *((parent, False) for parent in parents)]
            found = locktable.locks_over(connection, vfolder.key, around, self._clock.seconds())
            locktable.check(found, paths, tokens, principal, fence)
            return standing, locktable.guards(found, parents, tokens, principal)

        async with self._announced(vfolder, paths, check, durable=False, shared=shared) as (intent, outcome):
            intent.standing, intent.guards = outcome
            if recount:
                intent.changes = ()
            try:
                yield intent
            except REFUSALS:
                intent.changes = ()
                raise

    async def take_turn(self, vfolder: VFolder, path: FolderPath) -> Turn:
        """The turn of an in-place writer on one file, in this process alone; see :mod:`vfgateway.services.writers`."""
        return await self._turns.take(vfolder.key, [(path, False)])

    def is_free(self, vfolder: VFolder, path: FolderPath) -> bool:
        """Whether nobody in this process changes ``path`` now, or waits to."""
        return self._turns.is_free(vfolder.key, (path, False))

    def leave_turn(self, vfolder: VFolder, turn: Turn) -> None:
        """Give it back. Idempotent."""
        self._turns.leave(vfolder.key, turn)

    async def announce(self, vfolder: VFolder, changes: Sequence[type_change]) -> tuple[Intent, Sequence[Lock]]:
        """Announce changes to the other processes, for writers that have their turns; and all locks of the vfolder. Whoever asks ends
        the intent."""
        intent = Intent(secrets.token_hex(16), changes=())

        def look(connection: Connection, standing: Standing) -> tuple[Standing, Sequence[Lock]]:
            found = locktable.all_locks(connection, self._clock.seconds(), vfolder.key) if standing.locks else ()
            return standing, found

        await self._process.dirty.mark(vfolder.key)
        try:
            intent.standing, found = await self._announce(intent, vfolder, changes, look, durable=False)
        except BaseException:
            await self.end(intent)
            raise
        return intent, found

    async def end(self, intent: Intent) -> None:
        """End a change by itself. Where that fails it is done as soon as it can be: others wait for it. ``DatabaseUnavailable``."""
        try:
            # Queued behind the announcement, so it also strikes one whose answer was not waited for.
            await self._database.write(intent.end, durable=False)
        except DatabaseUnavailable:
            self._clock.callLater(AGAIN, self._end_again, intent)
            raise

    def _end_again(self, intent: Intent) -> None:
        # The database is closed if the gateway stops meanwhile: then the next start finds it.
        Deferred.fromCoroutine(self.end(intent)).addErrback(
            lambda failure: failure.trap(DatabaseUnavailable, RuntimeError)
        )

    @asynccontextmanager
    async def _announced(
        self, vfolder: VFolder, changes: Sequence[type_change], act: type_act[T], durable: bool, shared: bool = False
    ) -> AsyncIterator[tuple[Intent, T]]:
        """Announce changes and run ``act(connection, standing)`` in the same write, once nothing earlier is in the way."""
        intent = Intent(secrets.token_hex(16), vfolder=vfolder.key, announced=changes, at=self._clock.seconds())
        turn: Turn = await self._turns.take(vfolder.key, changes)
        try:
            # Here, not before the turn: a mark that was not used for minutes is taken away.
            await self._process.dirty.mark(vfolder.key)
            outcome = await self._announce(intent, vfolder, changes, act, durable, shared)
            yield intent, outcome
        except DatabaseUnavailable:
            intent.ended = False  # what was to be written with its end may have been undone
            raise
        finally:
            try:
                if not intent.ended:
                    await self.end(intent)
            finally:
                self._turns.leave(vfolder.key, turn)

    async def _announce(
        self,
        intent: Intent,
        vfolder: VFolder,
        changes: Sequence[type_change],
        act: type_act[T],
        durable: bool,
        shared: bool = False,
    ) -> T:
        process = self._process.id
        announced = False

        def write(connection: Connection) -> tuple[T] | None:
            standing = locktable.enter(connection, vfolder, process)
            if not announced:
                now = self._clock.seconds()
                locktable.insert_intent(connection, intent.id, vfolder.key, changes, process, now, shared)
            if standing.others and locktable.must_wait(connection, intent.id, vfolder.key, changes, process, shared):
                return None
            return (act(connection, standing),)

        pause = FIRST_LOOK
        while True:
            outcome = await self._database.write(write, durable)
            if outcome is not None:
                return outcome[0]
            announced = True
            await wait(self._clock, pause)
            pause = min(pause * 2, LONGEST_LOOK)
            if pause == LONGEST_LOOK:  # far longer than most changes take
                self._process.suspect()

    async def recover(self, dead: Sequence[str]) -> Sequence[int]:
        """Drop what dead processes had announced; the keys of the vfolders that they may have changed, now to be recounted."""

        def write(connection: Connection) -> Sequence[int]:
            theirs = intents.c.process.in_(dead)
            left = connection.execute(select(intents.c.process, intents.c.vfolder).where(theirs).distinct()).all()
            for process, vfolder in left:
                mark = (dirty.c.process == process) & (dirty.c.vfolder == vfolder)
                if not connection.execute(update(dirty).where(mark).values(recount=True)).rowcount:
                    connection.execute(insert(dirty).values(process=process, vfolder=vfolder, recount=True))
            connection.execute(delete(intents).where(theirs))
            marked = select(dirty.c.vfolder).where(dirty.c.process.in_(dead)).distinct()
            changelog.begin_epoch(connection, connection.execute(marked).scalars().all())
            return sorted({vfolder for _, vfolder in left})

        return await self._database.write(write) if dead else ()
