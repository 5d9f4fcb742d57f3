"""The time that a test has, for the coroutines that it waits for.

What pytest-timeout raises at the end of it is raised in the reactor, which logs it and turns on, while the test goes on waiting. So coroutines are
cancelled somewhat earlier: each cleans up after itself, and its traceback shows what it waited for. Fixtures, and each example of Hypothesis, have
that time anew: what fails is tried again, for some minutes, until it is as simple as can be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall

#: How much of the time of pytest-timeout it is.
PART: Final = 0.9
#: Seconds for which who is cancelled may wait for something else, to clean up.
GRACE: Final = 10.0


class TimeOver(BaseException):
    """What a test fails with. No ``Exception``: Hypothesis would look for simpler cases, of which each takes its time, too."""


class Deadline:
    """Of the test that runs, if it has any."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def set(self, seconds: float) -> None:
        """A test begins that pytest-timeout gives so long."""
        self._seconds = seconds * PART

    def keep(self, coroutine: Awaitable[Any]) -> Deferred[Any]:
        """Run it, but not for longer: then it is cancelled, and again while it waits for something else, and fails."""
        running: Deferred[Any] = ensureDeferred(coroutine)  # type: ignore[arg-type]  # a step of a generator will do
        if self._seconds is None or running.called:
            return running
        over = LoopingCall(running.cancel)
        timer = reactor.callLater(self._seconds, over.start, GRACE)

        def ended(result: Any) -> Any:
            if timer.active():
                timer.cancel()
                return result
            over.stop()
            raise TimeOver("it was still waiting when its time was over") from getattr(result, "value", None)

        return running.addBoth(ended)

    def keeping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same for each call of a function, or for each step of a generator that it makes."""

        @wraps(function)
        def call(*args: Any, **more: Any) -> Any:
            made = function(*args, **more)
            return _Steps(self, made) if isinstance(made, AsyncIterator) else self.keep(made)

        return call


class _Steps:
    def __init__(self, deadline: Deadline, generator: AsyncIterator[Any]) -> None:
        self._deadline = deadline
        self._generator = generator

    def __anext__(self) -> Deferred[Any]:
        return self._deadline.keep(self._generator.__anext__())


#: One test runs at a time.
DEADLINE: Final = Deadline()
