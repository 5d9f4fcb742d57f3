"""Two servers and one task: A B B A, so that what else the machine does meets both."""

from __future__ import annotations

import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import attrs

from benchmarks.wire import Work

MIB = 1 << 20
GIB = 1 << 30


#: A contest that took so many seconds ends, if it had that many rounds.
ENOUGH, FEWEST = 45.0, 3


class Gauge(Protocol):
    """What a contestant costs: see :class:`benchmarks.meter.Meter`."""

    def cpu(self) -> float: ...

    def peak(self) -> int: ...

    def forget_peak(self) -> None: ...


class Server(Protocol):
    """What is measured of a server."""

    title: str

    @property
    def meter(self) -> Gauge: ...


@attrs.frozen
class Unit:
    """How amounts are told.

    :ivar rate: words for a speed
    :ivar scale: of how many (bytes, requests, files) the speed is told
    :ivar cost: words for what processor time is told per
    :ivar cost_scale: of how many that is
    """

    rate: str
    scale: float
    cost: str
    cost_scale: float


BYTES = Unit("MiB/s", MIB, "s/GiB", GIB)
REQUESTS = Unit("requests/s", 1, "µs/request", 1e6)
FILES = Unit("files/s", 1, "s/10,000 files", 1e4)


@attrs.frozen
class Entrant:
    """A server at a task.

    :ivar run: does the task once; is given the number of the round
    :ivar after: what happens off the clock after each: bytes are compared, files removed
    :ivar before: what happens off the clock before each that counts
    """

    server: Server
    run: Callable[[int], Work]
    after: Callable[[int], None] = lambda _: None
    before: Callable[[], None] = lambda: None


@attrs.frozen
class Contest:
    """A task for us and one peer.

    :ivar name: short, for ``--only``
    :ivar setting: storage and durability, in words
    :ivar aim: the ratio that the project wants, if it named one
    :ivar cost_aim: the processor time per unit that it wants at most
    """

    name: str
    title: str
    setting: str
    unit: Unit
    ours: Entrant
    theirs: Entrant
    aim: float | None = None
    cost_aim: float | None = None


@attrs.define
class Figures:
    """What one server did over all rounds."""

    title: str
    rates: list[float] = attrs.field(factory=list)
    costs: list[float] = attrs.field(factory=list)
    peak: int = 0

    @property
    def rate(self) -> float:
        """The median, in units of amount per second."""
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        """The median, in seconds of processor time per unit of amount."""
        return statistics.median(self.costs)


@attrs.frozen
class Outcome:
    """A contest that was held."""

    contest: Contest
    ours: Figures
    theirs: Figures

    @property
    def ratios(self) -> list[float]:
        """Our speed to theirs, round by round."""
        return [mine / other for mine, other in zip(self.ours.rates, self.theirs.rates, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)


def hold(contest: Contest, rounds: int, told: Callable[[str], None]) -> Outcome:
    """Warm both up, then let them run ``rounds`` times in alternating order; fewer times if that takes long."""
    sides = [(contest.ours, Figures(contest.ours.server.title)), (contest.theirs, Figures(contest.theirs.server.title))]
    for entrant, _ in sides:
        entrant.run(0)
        entrant.after(0)
        entrant.server.meter.forget_peak()
    begun = time.monotonic()
    for number in range(1, rounds + 1):
        if number > FEWEST and time.monotonic() - begun > ENOUGH:
            break
        for entrant, figures in sides if number % 2 else reversed(sides):
            _once(entrant, figures, number)
        ours, theirs = (figures.rates[-1] / contest.unit.scale for _, figures in sides)
        told(f"  {ours:8,.0f} to {theirs:8,.0f} {contest.unit.rate}   {ours / theirs:.2f}")
    return Outcome(contest, sides[0][1], sides[1][1])


def hold_all(
    contests: Iterable[Contest], rounds: int, only: Sequence[str] | None = None
) -> tuple[list[Outcome], list[str]]:
    """Hold those that ``only`` names, or all; and what became of those that failed, in words."""
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for contest in contests:
        if only and contest.name not in only:
            continue
        print(f"{contest.title}, {contest.setting}, {contest.theirs.server.title}", flush=True)
        try:
            outcomes.append(hold(contest, rounds, lambda line: print(line, flush=True)))
        except Exception as failure:  # one that fails shall not cost the others
            traceback.print_exc()
            failures.append(f"Not measured: {contest.title}, {contest.setting} ({type(failure).__name__}: {failure}).")
    return outcomes, failures


def _once(entrant: Entrant, figures: Figures, number: int) -> None:
    entrant.before()
    meter = entrant.server.meter
    begun = meter.cpu()
    work = entrant.run(number)
    figures.costs.append((meter.cpu() - begun) / work.amount)
    figures.rates.append(work.amount / work.seconds)
    figures.peak = max(figures.peak, meter.peak())
    entrant.after(number)
