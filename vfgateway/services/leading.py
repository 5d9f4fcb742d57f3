"""What the one process that leads does again and again: look whether something is to be done, and do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway.services.processes import Processes


class WhileLeading:
    """Calls ``work`` every so many seconds for as long as this process leads, once at a time. What it raises is logged, and no end.

    :param seconds: from one call to the next
    :param what: what it does, for the log
    """

    log = Logger()

    def __init__(
        self, clock: Any, processes: Processes, seconds: float, work: Callable[[], Awaitable[object]], what: str
    ) -> None:
        self._processes = processes
        self._seconds = seconds
        self._work = work
        self._what = what
        self._loop = LoopingCall(self._begin)
        self._loop.clock = clock
        self._under_way: Deferred[None] | None = None

    def start(self, now: bool = True) -> None:
        """Begin, with a call ``now`` or after the first while."""
        self._loop.start(self._seconds, now)

    async def stop(self) -> None:
        """End, and cancel what is under way. Idempotent."""
        if self._loop.running:
            self._loop.stop()
        if self._under_way is not None:
            self._under_way.cancel()

    def _begin(self) -> Deferred[None] | None:
        if not self._processes.leads:
            return None
        self._under_way = Deferred.fromCoroutine(self._call())
        return self._under_way

    async def _call(self) -> None:
        try:
            await self._work()
        except CancelledError:
            return
        except Exception:
            self.log.failure("could not {what}", what=self._what)
