"""Requests side by side."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

T = TypeVar("T")


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """The outcomes of all, in their order. Every one has ended when this returns, or raises what the first of them raised; cancelling
    cancels all."""
    outcomes = await DeferredList([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)
    for succeeded, outcome in outcomes:
        if not succeeded:
            outcome.raiseException()
    return [outcome for _, outcome in outcomes]


class Shared(Generic[T]):
    """Work that several wait for. It goes on when one of them gives up, and ends early only by :meth:`cancel`.

    :ivar done: whether it has ended
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._waiting: list[Deferred[None]] = []
        self._outcome: Any = None
        self.done = False
        self._running = Deferred.fromCoroutine(work)
        self._running.addBoth(self._ended)

    def _ended(self, outcome: Any) -> None:
        self._outcome, self.done = outcome, True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)

    @property
    def failed(self) -> bool:
        """Whether it has ended badly."""
        return isinstance(self._outcome, Failure)

    async def get(self) -> T:
        """The outcome."""
        if not self.done:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        if isinstance(self._outcome, Failure):
            self._outcome.raiseException()
        outcome: T = self._outcome
        return outcome

    def cancel(self) -> None:
        """Give it up; whoever waits is told so."""
        if not self.done:
            self._running.cancel()
