"""Work that goes on to its end when its caller is cancelled: a client that vanishes must not tear a write in two."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

T = TypeVar("T")
P = ParamSpec("P")


async def uninterrupted(
    work: Coroutine[Any, Any, T], on_cancel: Callable[[], object] = lambda: None, wait: bool = True
) -> T:
    """The outcome of ``work``, which runs to its end in any case. When the caller is cancelled, ``on_cancel()`` is told, so that
    the work can come to an early end by itself; the caller gets its ``CancelledError`` after that.

    :param wait: whether the caller waits for that end, or leaves at once
    """
    outcome: list[T | Failure] = []
    waiters: list[Deferred[None]] = []

    def ended(result: T | Failure) -> None:
        outcome.append(result)
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)

    Deferred.fromCoroutine(work).addBoth(ended)
    cancelled: CancelledError | None = None
    while not outcome:
        waiter: Deferred[None] = Deferred()
        waiters.append(waiter)
        try:
            await waiter
        except CancelledError as error:
            cancelled = error
            on_cancel()
            if not wait:
                break
    if cancelled is not None:
        raise cancelled
    result = outcome[0]
    if isinstance(result, Failure):
        result.raiseException()
        raise AssertionError("unreachable")
    return result


def whole(verb: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A verb that is done to its end once it has begun: what it changed is also settled, and told to those who follow it."""

    @wraps(verb)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return await uninterrupted(verb(*args, **kwargs))

    return call
