"""The short times in which an in-place writer has its file to itself; see :mod:`vfgateway.services.inplace`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from vfgateway.model import Usage
from vfgateway.paths import FolderPath
from vfgateway.services.context import FolderContext, type_write
from vfgateway.services.locks import Intent
from vfgateway.services.quota import Reservation
from vfgateway.services.turns import Turn
from vfgateway.services.writers import Announcement


@attrs.define(eq=False)
class Window:
    """A short time in which one handle changes its file. It ends with its announcement at the latest.

    :ivar path: of its file
    :ivar began_with: bytes of the file when the window began
    :ivar size: bytes of the file now
    :ivar made: 1 if the file was made in this window
    :ivar also: what is to be written with its end
    :ivar unnamed: bytes that are charged of a file that has no name any more; ``None`` while it has one
    :ivar users: calls under way
    :ivar over: no further call may begin in it
    """

    _context: FolderContext
    path: FolderPath
    intent: Intent
    reservation: Reservation
    _turn: Turn
    _announcement: Announcement
    began_with: int = 0
    size: int = 0
    made: int = 0
    also: Sequence[type_write] = ()
    unnamed: int | None = None
    users: int = 0
    over: bool = False
    _idle: Deferred[None] | None = None
    _left: bool = False

    @classmethod
    async def begin(cls, context: FolderContext, path: FolderPath, again: bool = False) -> Window:
        """Take a turn, announce, check locks, and prepare to reserve.

        :param again: whether the file had a window just before
        """
        gateway, folded = context.gateway, context.lock_path(path)
        turn = await gateway.locks.take_turn(context.vfolder, folded)
        try:
            announcement = await gateway.writers.enter(context, folded, again)
            try:
                intent = announcement.check(context, folded, gateway.reactor.seconds())
                reservation = await gateway.quota.begin(context.vfolder)
            except BaseException:
                gateway.writers.leave(announcement)
                raise
        except BaseException:
            gateway.locks.leave_turn(context.vfolder, turn)
            raise
        return cls(context, path, intent, reservation, turn, announcement)

    def when_late(self, call: Callable[[], Any]) -> None:
        """Have ``call()`` called when the window has to end; before that at most once."""
        self._announcement.when_over(self, call, self._context.gateway.reactor)

    def has_room(self, size: int) -> bool:
        """Whether the file can become ``size`` bytes long without asking for more."""
        return size <= self.size or size - self.began_with <= self.reservation.held.bytes

    async def make_room(self, size: int) -> None:
        """Reserve for the file to become ``size`` bytes long. ``QuotaExceeded``."""
        await self.reservation.stretch(size - self.began_with)

    def leave(self) -> None:
        """A call has ended."""
        self.users -= 1
        if not self.users and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    async def end(self) -> None:
        """Once the calls under way have ended, settle what has changed and let others in. Idempotent."""
        self.over = True
        if self.users:
            self._idle = Deferred()
            await self._idle
        if self._left:
            return
        self._left = True
        try:
            also = [*self.also, self.intent.record] if self.intent.standing.tracked else self.also
            change, folder = Usage(self._growth(), self.made), self._context.folder_of(self.path)
            await self.reservation.settle(change, also=also, folder=folder)
        finally:
            gateway = self._context.gateway
            gateway.writers.leave(self._announcement, self)
            gateway.locks.leave_turn(self._context.vfolder, self._turn)

    def _growth(self) -> int:
        """The bytes to be charged. Those of a file without a name were given back when it lost that; it can only grow from there."""
        grown = self.size - self.began_with
        if self.unnamed is None:
            return grown
        before, self.unnamed = self.unnamed, max(0, self.unnamed + grown)
        return self.unnamed - before
