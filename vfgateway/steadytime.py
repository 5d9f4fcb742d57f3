"""Time that never goes back, whatever is done to the machine's clock.

Twisted's timers, and all times that the gateway keeps, are in the time of the machine's clock. Were that set back by an hour, every timer would wait for an
hour longer: nothing would be written, renewed or given up meanwhile. So when it is set back, the reactor's time goes on at half the speed until the clock has come up to
it; when it is set forward, the reactor's time follows, but timers run as long as they should have. ``tests/test_steadytime.py`` pins what the private names
of Twisted used here mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

#: Seconds by which the clock has to differ from what passed to have been set.
JUMP = 1.0


class SteadyTime:
    """Keeps the time of one reactor; a second one of the same does nothing. It looks at the clock once in each round of the reactor's loop; between, nothing costs more than before.

    :param wall: what the machine's clock says, in epoch seconds; by default what the reactor has taken for the time so far
    :param steady: seconds since some moment, which nobody sets
    """

    log = Logger()

    def __init__(
        self, reactor: Any, wall: Callable[[], float] | None = None, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._reactor = reactor
        if isinstance(getattr(reactor.runUntilCurrent, "__self__", None), SteadyTime):
            return
        self._wall: Callable[[], float] = wall or reactor.seconds
        self._steady = steady
        self._last, self._last_steady = self._wall(), steady()
        reactor.seconds = self._wall
        self._run = reactor.runUntilCurrent
        reactor.runUntilCurrent = self._run_until_current

    def _run_until_current(self) -> None:
        now, steady = self._reactor.seconds(), self._steady()
        jump = now - self._last - (steady - self._last_steady)
        if not -JUMP < jump < JUMP and (jump > 0 or self._reactor.seconds is self._wall):
            self.log.warn("the clock was set by {jump:+.0f} seconds", jump=jump)
            if jump > 0:
                self._shift(jump)
            else:
                self._slow_down()
                now = self._reactor.seconds()
        elif self._reactor.seconds is not self._wall and self._wall() >= now:
            self._reactor.seconds = self._wall
        self._last, self._last_steady = now, steady
        self._run()

    def _calls(self) -> list[Any]:
        return [*self._reactor._pendingTimedCalls, *self._reactor._newTimedCalls]

    def _shift(self, jump: float) -> None:
        for call in self._calls():
            call.time += jump  # all by the same, so their order stays

    def _slow_down(self) -> None:
        """From here on, time passes at half the speed until the clock says as much."""
        wall, steady, began, at = self._wall, self._steady, self._last, self._last_steady

        def seconds() -> float:
            return max(wall(), began + (steady() - at) / 2)

        self._reactor.seconds = seconds
        for call in self._calls():
            call.seconds = seconds
