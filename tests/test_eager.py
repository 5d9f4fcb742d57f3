"""Coroutines that are run at once: the same outcome, whether or not they have to wait."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from vfgateway.eager import begin, in_background


async def steps(*waits: Deferred[int]) -> int:
    """The sum of what is waited for."""
    return sum([await wait for wait in waits])


def ready(value: int) -> Deferred[int]:
    """Nothing to wait for."""
    fired: Deferred[int] = Deferred()
    fired.callback(value)
    return fired


def test_what_never_waits_has_its_outcome_at_once() -> None:
    """No Deferred comes back, but the value or the error itself."""

    async def fails() -> None:
        raise KeyError("x")

    assert begin(steps()) == 0
    assert begin(steps(ready(2), ready(3))) == 5
    with pytest.raises(KeyError):
        begin(fails())


async def test_what_waits_goes_on_where_it_stopped() -> None:
    """Each further wait is waited for, in order."""
    first, second = Deferred[int](), Deferred[int]()
    running = begin(steps(ready(1), first, second))
    assert isinstance(running, Deferred)
    first.callback(10)
    assert not running.called
    second.callback(100)
    assert await running == 111


async def test_errors_and_cancelling_arrive_where_it_waits() -> None:
    """What is waited for fails inside the coroutine, which may go on after it; so does cancelling."""
    met: list[BaseException] = []

    async def patient(wait: Deferred[int]) -> str:
        try:
            await wait
        except (ValueError, CancelledError) as error:
            met.append(error)
        return "went on"

    for end in _fail, _cancel:
        wait: Deferred[int] = Deferred()
        running = begin(patient(wait))
        assert isinstance(running, Deferred)
        end(wait, running)
        assert await running == "went on"
    assert [type(error) for error in met] == [ValueError, CancelledError]


def _fail(wait: Deferred[int], running: Deferred[str]) -> None:
    wait.errback(ValueError("x"))


def _cancel(wait: Deferred[int], running: Deferred[str]) -> None:
    running.cancel()


@pytest.mark.parametrize("fails", [False, True])
async def test_nobody_waits_for_the_background(fails: bool) -> None:
    """It is told when it is over, and hears of a failure by a call alone."""
    failures: list[str] = []
    at_once = in_background(steps(ready(1)), lambda: failures.append("x"))
    assert at_once is None
    wait: Deferred[int] = Deferred()
    running = in_background(steps(wait), lambda: failures.append("x"))
    assert running is not None
    if fails:
        wait.errback(ValueError("x"))
    else:
        wait.callback(1)
    await running
    assert failures == (["x"] if fails else [])
