"""The one place that owns threads: a bounded pool per volume, and its inline twin.

A thread hop costs 40 to 60 microseconds, so a pool also knows when a call may run in place: where the storage is known
not to stall (tmpfs, ext4, XFS, Btrfs), and only until calls have to wait for it longer than :data:`SLOW`; then everything goes
to threads again for :data:`PENALTY` seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from resource import RUSAGE_THREAD, getrusage
from typing import Any, ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from vfgateway.errors import VolumeUnavailable

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds after which an inline call that waited for the storage counts as slow. The first one has calls watched for a while, and a
#: second one then goes for threads, since only of a watched call is it known what it waited for.
SLOW = 0.005
#: Seconds after which a call that was not watched goes for threads by itself.
STALLED = 0.25
#: Seconds between two calls of which it is found out what they waited for: finding out costs more than most of them.
SAMPLE = 0.005
#: Seconds of processor time that are no company.
ALONE = 0.0005
#: Seconds for which a pool stays with threads after a slow inline call.
PENALTY = 10.0
#: Seconds for which :meth:`Pool.stop` waits for calls under way; a dead mount may never let them go.
PATIENCE = 10.0


class Pool:
    """Runs blocking calls for one volume or service: at most ``size`` at once, the rest queue.

    :param reactor: provides time and ``callFromThread``
    :param inline: whether :meth:`quick` calls may run in the reactor's thread
    """

    log = Logger()

    def __init__(self, reactor: Any, size: int, name: str, inline: bool = False) -> None:
        self._reactor = reactor
        self._clock = cast(IReactorTime, reactor)
        self._size = size
        self._name = name
        self._threads: ThreadPool | None = None
        self.inline = inline
        self._watched_until = self._threads_until = self._sampled = 0.0
        self._moved = 0.0

    def start(self) -> None:
        """Allow calls; threads come up as they are needed. Idempotent, also after :meth:`stop`."""
        if self._threads is None:
            threads = ThreadPool(0, self._size, self._name)
            # A thread that hangs on a dead mount must not keep the process from ending.
            threads.threadFactory = _DaemonThread
            threads.start()
            self._threads = threads

    async def stop(self) -> None:
        """Refuse new calls and wait for those under way, but not for ever. Idempotent."""
        threads, self._threads = self._threads, None
        if threads is None:
            return
        done: Deferred[None] = Deferred()

        def finish() -> None:
            threads.stop()
            self._reactor.callFromThread(lambda: None if done.called else done.callback(None))

        threading.Thread(target=finish, name="pool-stop", daemon=True).start()
        try:
            await done.addTimeout(PATIENCE, self._clock)
        except TimeoutError:
            self.log.error("calls of {name} do not come back; leaving them behind", name=self._name)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Call in a thread; ``VolumeUnavailable`` unless started. Cancelling abandons the answer, never the thread: it still finishes
        its call."""
        if self._threads is None:
            return fail(VolumeUnavailable(self._name, "it is not running"))
        return deferToThreadPool(self._reactor, self._threads, partial(self._moving, function, *args, **kwargs))

    def _moving(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._moved = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            self._moved = time.monotonic()

    def stalled(self, seconds: float) -> bool:
        """Whether all threads have been waiting for the storage for so long, without one call that ended or began."""
        if self._threads is None or time.monotonic() - self._moved < seconds:
            return False
        return len(self._threads.working) >= self._size

    async def quick(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something short in place if that is allowed now, in a thread otherwise."""
        if self.in_place:
            return self.call(function, *args, **kwargs)
        return await self.run(function, *args, **kwargs)

    @property
    def in_place(self) -> bool:
        """Whether short calls may run in place now."""
        return self.inline and self._clock.seconds() >= self._threads_until

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something short in place; ask :attr:`in_place` before. Not a coroutine."""
        return self._timed(self._clock.seconds(), function, *args, **kwargs)

    def at_once(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """As :meth:`call`, if :attr:`in_place`; else ``None``."""
        began = self._clock.seconds()
        if not self.inline or began < self._threads_until:
            return None
        return self._timed(began, function, *args, **kwargs)

    def over_again(self, function: Callable[[], T | None]) -> Callable[[], T | None]:
        """What calls ``function`` as :meth:`at_once` would, as often as it is called, by fewer steps; ``None`` also once this has stopped."""

        def call() -> T | None:
            began = self._clock.seconds()
            if began < self._threads_until or not self.inline or self._threads is None:
                return None
            if began < self._watched_until and began - self._sampled >= SAMPLE:
                return self._watched(began, function)
            called = function()
            if self._clock.seconds() - began > SLOW:
                self._was_slow(began)
            return called

        return call

    def _timed(self, began: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if began < self._watched_until and began - self._sampled >= SAMPLE:
            return self._watched(began, function, *args, **kwargs)
        try:
            return function(*args, **kwargs)
        finally:
            if self._clock.seconds() - began > SLOW:
                self._was_slow(began)

    def _was_slow(self, began: float) -> None:
        now = self._clock.seconds()
        self._watched_until = now + PENALTY
        if now - began > STALLED:
            self._threads_until = now + PENALTY

    def _watched(self, began: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`call`, looking for what a slow one waited for. A busy machine also makes calls long; only one that waited by itself, and
        for no other thread of ours, speaks against the storage."""
        self._sampled = began
        waits, others, (ran, queued) = _waits(), _others(), _scheduled()
        try:
            return function(*args, **kwargs)
        finally:
            ended = self._clock.seconds()
            ran_until, queued_until = _scheduled()
            took = ended - began - (queued_until - queued)
            alone = _waits() > waits and _others() - others < ALONE
            if took > STALLED or (took - (ran_until - ran) > SLOW and alone):
                self._threads_until = ended + PENALTY


class _DaemonThread(threading.Thread):
    """A thread that the interpreter does not wait for when it ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)


def _waits() -> int:
    """How often this thread has given up the processor of its own accord."""
    return getrusage(RUSAGE_THREAD).ru_nvcsw


def _others() -> float:
    """Seconds of processor time that the other threads of this process have used."""
    return time.process_time() - time.thread_time()


class _Local(threading.local):
    """The file in which the kernel counts for how long this thread ran, and was ready to run and was not let; -1 where it does not."""

    def __init__(self) -> None:
        try:
            self.schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.schedstat = -1


_local = _Local()


def _scheduled() -> tuple[float, float]:
    """Seconds for which this thread has run, and for which it has waited for a processor."""
    if _local.schedstat < 0:
        return 0.0, 0.0
    ran, queued, _ = os.pread(_local.schedstat, 100, 0).split()
    return int(ran) / 1e9, int(queued) / 1e9


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
