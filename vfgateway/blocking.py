"""The one place that owns threads: a bounded pool per volume, and its inline twin.

A thread hop costs 40 to 60 microseconds, so a pool also knows when a call may run in place: where the storage is known
not to stall (tmpfs, ext4, XFS, Btrfs), and only until a call takes longer than :data:`SLOW`; then everything goes to
threads again for :data:`PENALTY` seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds after which an inline call counts as slow.
SLOW = 0.005
#: Seconds for which a pool stays with threads after a slow inline call.
PENALTY = 10.0


class Pool:
    """Runs blocking calls for one volume or service: at most ``size`` at once, the rest queue.

    :param reactor: provides time and ``callFromThread``
    :param inline: whether :meth:`quick` calls may run in the reactor's thread
    """

    def __init__(self, reactor: Any, size: int, name: str, inline: bool = False) -> None:
        self._reactor = reactor
        self._clock = cast(IReactorTime, reactor)
        self._threads = ThreadPool(0, size, name)
        self.inline = inline
        self._threads_until = 0.0
        self._started = False

    def start(self) -> None:
        """Allow calls; threads come up as they are needed. Idempotent."""
        if not self._started:
            self._started = True
            self._threads.start()

    async def stop(self) -> None:
        """Wait, outside the reactor's thread, for calls under way. Idempotent."""
        if self._started:
            self._started = False
            done: Deferred[None] = Deferred()

            def finish() -> None:
                self._threads.stop()
                self._reactor.callFromThread(done.callback, None)

            threading.Thread(target=finish, name="pool-stop", daemon=True).start()
            await done

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Call in a thread. Cancelling abandons the answer, never the thread: it still finishes its call."""
        return deferToThreadPool(self._reactor, self._threads, function, *args, **kwargs)

    async def quick(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something short in place if that is allowed now, in a thread otherwise."""
        if self.inline and self._clock.seconds() >= self._threads_until:
            before = self._clock.seconds()
            try:
                return function(*args, **kwargs)
            finally:
                now = self._clock.seconds()
                if now - before > SLOW:
                    self._threads_until = now + PENALTY
        return await self.run(function, *args, **kwargs)


class InlinePool(Pool):
    """Runs everything in place: for tests, and for the memory volume."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor, 1, "inline", inline=True)

    def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        async def call() -> T:
            return function(*args, **kwargs)

        return Deferred.fromCoroutine(call())
