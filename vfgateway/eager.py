"""Coroutines without a detour: most that serve a small request never have to wait, and then need no ``Deferred`` either.

``Deferred.fromCoroutine`` costs about as much as all else that such a request needs. Here a coroutine runs at once, as far as it comes;
only one that has to wait is given a ``Deferred``, for the rest of its way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T]) -> T | Deferred[T]:
    """Run ``work`` now: its outcome, returned or raised, if it never has to wait, and a ``Deferred`` of it otherwise."""
    try:
        awaited: Deferred[Any] = work.send(None)
    except StopIteration as ended:
        outcome: T = ended.value
        return outcome
    return Deferred.fromCoroutine(_rest(work, awaited))


def in_background(work: Coroutine[Any, Any, object], failed: Callable[[], object]) -> Deferred[None] | None:
    """Run ``work`` with nobody waiting for it. ``failed`` is called while the exception that ended it is being handled. What comes
    back fires once it is over, and never fails; ``None`` if it is over already."""

    async def guarded() -> None:
        try:
            await work
        except Exception:
            failed()

    return begin(guarded())


def _rest(work: Coroutine[Any, Any, T], awaited: Deferred[Any]) -> Generator[Deferred[Any], Any, T]:
    """``work`` from where it waits for ``awaited``."""
    while True:
        try:
            try:
                value = yield awaited
            except BaseException as error:
                awaited = work.throw(error)
            else:
                awaited = work.send(value)
        except StopIteration as ended:
            outcome: T = ended.value
            return outcome
