"""A clock that is set, and what the reactor makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import attrs
import pytest
from twisted.internet.selectreactor import SelectReactor

from vfgateway.steadytime import SteadyTime

HOUR = 3600.0


@attrs.define
class Machine:
    """A clock that can be set, and one that cannot."""

    reactor: Any
    steady: float = 100.0
    offset: float = 1_700_000_000.0

    def wall(self) -> float:
        return self.steady + self.offset

    def pass_time(self, seconds: float, rounds: int = 10) -> None:
        """Let time pass, with rounds of the loop."""
        for _ in range(rounds):
            self.steady += seconds / rounds
            self.reactor.runUntilCurrent()


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A reactor that does not run but for its timers."""
    reactor: Any = SelectReactor()
    machine = Machine(reactor)
    SteadyTime(reactor, machine.wall, lambda: machine.steady)
    SteadyTime(reactor)
    machine.pass_time(1)
    yield machine
    for call in reactor.getDelayedCalls():
        call.cancel()
    reactor.disconnectAll()


@pytest.mark.parametrize("set_by", [-2 * HOUR, -5.0, 5.0, 2 * HOUR])
def test_timers_run_as_long_as_they_should(machine: Machine, set_by: float) -> None:
    """Neither never nor at once; one that is begun later, or put off, too."""
    fired: list[str] = []
    machine.reactor.callLater(10, fired.append, "before")
    put_off = machine.reactor.callLater(1, fired.append, "put off")
    machine.offset += set_by
    machine.pass_time(0.5, 1)
    put_off.reset(10)
    machine.reactor.callLater(10, fired.append, "after")
    machine.pass_time(9, 90)
    assert fired == []
    machine.pass_time(12, 120)
    assert sorted(fired) == ["after", "before", "put off"]


def test_time_never_goes_back(machine: Machine) -> None:
    """It is slow until the clock has come up to it, and exact again from then on."""
    before = machine.reactor.seconds()
    machine.offset -= 100
    seen = [before]
    for _ in range(400):
        machine.pass_time(1, 1)
        seen.append(machine.reactor.seconds())
    assert all(0.4 < later - earlier < 1.1 for earlier, later in pairwise(seen))
    assert seen[100] == pytest.approx(before + 50, abs=2)
    assert seen[-1] == machine.wall()


def test_a_clock_that_is_set_forward_is_right(machine: Machine) -> None:
    """Tokens and locks end when they should."""
    machine.offset += 2 * HOUR
    machine.pass_time(1, 1)
    assert machine.reactor.seconds() == machine.wall()


def test_back_and_forth(machine: Machine) -> None:
    """Somebody notices the mistake."""
    fired: list[str] = []
    machine.reactor.callLater(10, fired.append, "one")
    machine.offset -= HOUR
    machine.pass_time(2, 2)
    machine.offset += HOUR
    machine.pass_time(1, 1)
    assert machine.reactor.seconds() == machine.wall()
    assert fired == []
    machine.pass_time(12, 12)
    assert fired == ["one"]


def test_a_loop_that_stood_still_is_no_jump(machine: Machine) -> None:
    """Time passed for both clocks."""
    fired: list[str] = []
    machine.reactor.callLater(10, fired.append, "late")
    machine.pass_time(500, 1)
    assert fired == ["late"]
