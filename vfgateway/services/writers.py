"""Announcements that in-place writers of one process share.

A writer's window (:mod:`vfgateway.services.inplace`) has its turn in this process by its path. To the other processes one announcement
speaks for all windows in a directory, for as long as :data:`LIFE`: it costs a write or two, not two for each small file. At its end they
end, too. Whoever goes on with the same file after that has it announced by itself, so that several processes may write large files into one
directory side by side. What locks there
are is read with the announcement; no other process can add one before its end, and one added in this process makes it out of date.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vfgateway.errors import DatabaseUnavailable, VFolderMoved
from vfgateway.model import Usage, VFolder
from vfgateway.paths import FolderPath
from vfgateway.services import locktable
from vfgateway.services.locks import Intent, Lock
from vfgateway.services.sharing import Shared

if TYPE_CHECKING:
    from vfgateway.services.context import FolderContext
    from vfgateway.services.gateway import Gateway

#: Seconds after which an announcement and its windows end: what a LOCK waits at most, and how often what was written is settled.
LIFE = 0.1

#: A vfolder, a path in it (folded), and whether all below that is meant.
type_key = tuple[int, FolderPath, bool]
_NO_GUARDS: Mapping[FolderPath, Lock] = {}


@attrs.define(eq=False)
class Announcement:
    """One announcement.

    :ivar locks: all there are in the vfolder
    :ivar changes: of locks by this process, when they were read
    :ivar users: windows in it, and about to be
    :ivar over: it takes in no more
    """

    vfolder: VFolder
    intent: Intent
    locks: Sequence[Lock]
    changes: int
    users: int = 0
    over: bool = False
    _late: dict[object, Callable[[], object]] = attrs.Factory(dict)

    def when_over(self, window: object, call: Callable[[], object], clock: Any) -> None:
        """Have ``call()`` called when the announcement takes in no more, unless ``window`` has left before."""
        if self.over:
            clock.callLater(0, call)
        else:
            self._late[window] = call

    def leave(self, window: object) -> None:
        """``window`` has ended."""
        self.users -= 1
        self._late.pop(window, None)

    def close(self) -> None:
        """Take in no more."""
        self.over = True
        late, self._late = list(self._late.values()), {}
        for call in late:
            call()

    def check(self, context: FolderContext, path: FolderPath, now: float) -> Intent:
        """``Locked`` if somebody else holds a lock over ``path`` (folded), ``VFolderMoved``. Otherwise what to ask before names come and go."""
        if self.vfolder.volume != context.vfolder.volume:
            raise VFolderMoved(context.vfolder.volume)
        guards: Mapping[FolderPath, Lock] = _NO_GUARDS
        if self.locks:
            live = [lock for lock in self.locks if lock.expires is None or lock.expires > now]
            locktable.check(live, [(path, False)], context.lock_tokens, context.principal_id)
            guards = locktable.guards(live, {path.parent}, context.lock_tokens, context.principal_id)
        about = (self.vfolder.key, [(path, False)], now)
        return Intent("", False, self.intent.standing, guards, *about)


class Writers:
    """The announcements of this process."""

    log = Logger()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: dict[type_key, Announcement] = {}
        self._beginning: Shared[type_key, Announcement] = Shared()
        self._ending: set[Deferred[Any]] = set()

    async def enter(self, context: FolderContext, path: FolderPath, again: bool) -> Announcement:
        """An announcement for a window on ``path`` (folded), whose turn it is. Give it back with :meth:`leave`.

        :param again: whether there was a window on the same file just before
        """
        vfolder = context.vfolder.key
        key = (vfolder, path, False) if again else (vfolder, path.parent, True)
        while True:
            present = self._open.get(key)
            if present is None or present.over or present.changes != self._gateway.locks.changes:
                if present is not None:
                    self._close(key, present)
                present = await self._beginning.run(key, lambda: self._begin(context.vfolder, key))
            if not present.over:
                present.users += 1
                return present

    async def _begin(self, vfolder: VFolder, key: type_key) -> Announcement:
        locks = self._gateway.locks
        changes = locks.changes
        intent, found = await locks.announce(vfolder, [key[1:]])
        made = Announcement(vfolder, intent, found, changes)
        self._open[key] = made
        self._gateway.reactor.callLater(LIFE, self._close, key, made)
        return made

    def leave(self, announcement: Announcement, window: object = None) -> None:
        """A window has ended, or did not come about."""
        announcement.leave(window)
        if announcement.over and not announcement.users:
            self._end(announcement)

    def _close(self, key: type_key, announcement: Announcement) -> None:
        if self._open.get(key) is announcement:
            del self._open[key]
        if not announcement.over:
            announcement.users += 1  # so that it ends here, once
            announcement.close()
            self.leave(announcement)

    def _end(self, announcement: Announcement) -> None:
        """Strike it, in the same write as all figures that were settled under it."""
        ending: Deferred[Any] = Deferred.fromCoroutine(self._struck(announcement))
        self._ending.add(ending)
        ending.addErrback(lambda failure: self.log.failure("could not end an announcement", failure=failure))
        ending.addBoth(lambda _: self._ending.discard(ending))

    async def _struck(self, announcement: Announcement) -> None:
        try:
            await self._gateway.quota.change(announcement.vfolder, Usage(), also=[announcement.intent.end])
        except DatabaseUnavailable:
            await self._gateway.locks.end(announcement.intent)

    async def stop(self) -> None:
        """End what is open. Idempotent."""
        for key, announcement in list(self._open.items()):
            self._close(key, announcement)
        for ending in list(self._ending):
            await ending
