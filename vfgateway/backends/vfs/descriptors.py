"""Descriptors and calls that survive being cancelled.

Cancelling a caller does not stop its thread. So a descriptor is closed by its last user, whoever that is, and what a
thread obtained for a caller that has gone is disposed of.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger

from vfgateway.backends.vfs.faults import faults, translate
from vfgateway.backends.vfs.publish import Busy
from vfgateway.blocking import Pool
from vfgateway.errors import StorageFailure, VolumeUnavailable

P = ParamSpec("P")
T = TypeVar("T")

_log = Logger()


class Descriptor:
    """One descriptor, counted: open until it was closed *and* every borrower gave it back. Safe in any thread.

    :param before: called just before the descriptor is closed
    """

    def __init__(self, number: int, before: Callable[[], object] | None = None) -> None:
        self._number = number
        self._before = before
        self._lock = threading.Lock()
        self._users = 1
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether new borrowers are refused."""
        return self._closed

    def borrow(self) -> int:
        """The descriptor, sure to stay what it is until :meth:`give_back`. ``StorageFailure`` after :meth:`close`."""
        with self._lock:
            if self._closed:
                raise StorageFailure("the file is closed")
            self._users += 1
            return self._number

    def give_back(self) -> None:
        """End one :meth:`borrow`; the last one closes."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            if self._before is not None:
                self._before()
            try:
                os.close(self._number)
            except OSError as error:
                raise translate(error) from error

    def close(self) -> None:
        """Refuse new borrowers, and close once the present ones are done. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.give_back()


class _Handover(Generic[T]):
    """Carries what a thread makes to a caller who may leave before it arrives."""

    def __init__(self, make: Callable[[], T], dispose: Callable[[T], object]) -> None:
        self._make = make
        self._dispose = dispose
        self._lock = threading.Lock()
        self._left = False
        self._made: list[T] = []

    def make(self) -> T:
        value = self._make()
        with self._lock:
            self._made.append(value)
            left = self._left
        if left:
            self._dispose(value)
        return value

    def leave(self) -> Callable[[], object] | None:
        """The caller has gone; what is left to do in a thread, if the thing is made already."""
        with self._lock:
            self._left = True
            made = list(self._made)
        return (lambda: self._dispose(made[0])) if made else None


class Calls:
    """How one volume calls the storage: through its pool, while it runs.

    :param name: of the volume, for errors
    :param make_pool: a pool serves from one start to the next stop
    """

    def __init__(self, name: str, make_pool: Callable[[], Pool]) -> None:
        self._name = name
        self._make_pool = make_pool
        self._pool: Pool | None = None

    def start(self) -> None:
        """Allow calls. Idempotent."""
        if self._pool is None:
            self._pool = self._make_pool()
            self._pool.start()

    async def stop(self) -> None:
        """Refuse new calls and wait for those under way. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.stop()

    def check(self) -> Pool:
        """The pool; ``VolumeUnavailable`` unless the volume is started: a stopped pool would never answer."""
        if self._pool is None:
            raise VolumeUnavailable(self._name, "it has not started, or was stopped")
        return self._pool

    def allow_inline(self) -> None:
        """Say that the storage does not stall."""
        self.check().inline = True

    def by_path(self, function: Callable[P, T]) -> Callable[P, T]:
        """How ``function`` is called where it begins at the top of the volume. For subclasses: as it is."""
        return function

    def on_open(self, function: Callable[P, T]) -> Callable[P, T]:
        """How ``function`` is called on what is open already. For subclasses: as it is."""
        return function

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread: for what may take long."""
        return await self.check().run(self.by_path(function), *args, **kwargs)

    async def quick(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something short, in place where the storage allows."""
        return await self.check().quick(self.by_path(function), *args, **kwargs)

    async def obtain(self, make: Callable[[], T], dispose: Callable[[T], object], short: bool = True) -> T:
        """Call ``make``; if the caller is cancelled meanwhile, what was made goes to ``dispose``, in a thread."""
        pool = self.check()
        make = self.by_path(make)
        if short and pool.in_place:
            return pool.call(make)
        handover = _Handover(make, dispose)
        try:
            return await pool.run(handover.make)
        except (CancelledError, GeneratorExit):
            left = handover.leave()
            if left is not None:
                self._afterwards(left)
            raise

    async def with_descriptor(
        self,
        descriptor: Descriptor,
        short: bool,
        function: Callable[Concatenate[int, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call ``function(number, ...)``; the descriptor stays open for as long as the call runs, cancelled or not."""
        pool = self.check()
        function = self.on_open(function)
        number = descriptor.borrow()
        if short and pool.in_place:
            try:
                return pool.call(function, number, *args, **kwargs)
            except OSError as error:
                raise translate(error) from error
            finally:
                descriptor.give_back()

        def job() -> T:
            try:
                with faults():
                    return function(number, *args, **kwargs)
            finally:
                descriptor.give_back()

        return await pool.run(job)

    def now(
        self, descriptor: Descriptor, function: Callable[Concatenate[int, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """As :meth:`with_descriptor`, in place, or ``None`` where that is not allowed now. Not a coroutine."""
        pool = self.check()
        number = descriptor.borrow()
        try:
            return pool.at_once(self.on_open(function), number, *args, **kwargs)
        except OSError as error:
            raise translate(error) from error
        finally:
            descriptor.give_back()

    async def publish(self, short: bool, function: Callable[[bool], T]) -> T:
        """Call ``function(wait)``, which may have to wait for another publisher; it never does so in place."""
        if short:
            try:
                return await self.quick(function, False)
            except Busy:
                pass
        return await self.run(function, True)

    async def close(self, descriptor: Descriptor) -> None:
        """Close in a thread where closing may take time (NFS writes then); works after the volume was stopped, too."""
        if self._pool is not None:
            await self._pool.quick(descriptor.close)
        else:
            descriptor.close()

    def _afterwards(self, function: Callable[[], object]) -> None:
        def complain(failure: Any) -> None:
            _log.failure("cleaning up after a cancelled call on volume {name}", failure, name=self._name)

        done: Deferred[object] = ensureDeferred(self.run(function))
        done.addErrback(complain)


class Line:
    """The calls on one descriptor, one after the other in the order in which they were made, on whichever thread is free.

    A caller that was cancelled keeps its place: its thread may still be working.
    """

    def __init__(self, calls: Calls, descriptor: Descriptor) -> None:
        self._calls = calls
        self._descriptor = descriptor
        self._turn = threading.Condition()
        self._issued = 0
        self._served = 0

    async def call(
        self, short: bool, function: Callable[Concatenate[int, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function(number, ...)`` when all earlier calls have ended; in place only if none is under way."""
        pool = self._calls.check()
        function = self._calls.on_open(function)
        number = self._descriptor.borrow()
        ticket = self._issued
        self._issued += 1

        def job() -> T:
            with self._turn:
                self._turn.wait_for(lambda: self._served == ticket)
            try:
                with faults():
                    return function(number, *args, **kwargs)
            finally:
                with self._turn:
                    self._served += 1
                    self._turn.notify_all()
                self._descriptor.give_back()

        if short and self._served == ticket:
            return await pool.quick(job)
        return await pool.run(job)
