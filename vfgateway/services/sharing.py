"""One piece of work for all who ask for it at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Runs work by key, each key once at a time; whoever asks while it runs waits for the same answer."""

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[V]]] = {}

    def running(self, key: K) -> bool:
        """Whether somebody waits for that answer."""
        return key in self._waiting

    def run(self, key: K, start: Callable[[], Awaitable[V]]) -> Deferred[V]:
        """The answer of ``start``, begun now unless it runs already. Who is cancelled stops waiting; the work goes on."""
        waiter: Deferred[V] = Deferred()
        if key in self._waiting:
            self._waiting[key].append(waiter)
            return waiter
        self._waiting[key] = [waiter]

        async def call() -> V:
            return await start()

        def answer(outcome: V | Failure) -> None:
            for waiting in self._waiting.pop(key):
                if not waiting.called:
                    waiting.callback(outcome)  # a Failure becomes the error

        Deferred.fromCoroutine(call()).addBoth(answer)
        return waiter
