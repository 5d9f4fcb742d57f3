"""How long snapshots that are taken by themselves are kept: so many of the latest hours, days, weeks and months that have any. Pure.

One series serves all periods: it is taken as often as the shortest asks, and of each hour, day, week and month its last one stands for it. All
periods are those of UTC, weeks begin on Monday.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from vfgateway.errors import InvalidArgument
from vfgateway.model import Snapshot

#: The most that can be kept of one period.
MOST: Final = 1000
#: How snapshots are called that nobody has named.
LABEL: Final = "%Y-%m-%dT%H-%M-%SZ"


def _number(plan: Plan, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 <= value <= MOST:
        raise InvalidArgument(attribute.name, f"expected a number from 0 to {MOST}")


@attrs.frozen
class Plan:
    """How many are kept of each period; 0 for none."""

    hourly: int = attrs.field(default=0, validator=_number)
    daily: int = attrs.field(default=0, validator=_number)
    weekly: int = attrs.field(default=0, validator=_number)
    monthly: int = attrs.field(default=0, validator=_number)

    def __attrs_post_init__(self) -> None:
        if not any(getattr(self, period) for period in PERIODS):
            raise InvalidArgument("hourly", "a schedule keeps at least one snapshot of some period")

    def __str__(self) -> str:
        counts = {period: getattr(self, period) for period in PERIODS}
        return " ".join(f"{period}={count}" for period, count in counts.items() if count)

    def next_after(self, now: float) -> float:
        """When the next one is to be taken: at the beginning of the next of the shortest periods. Epoch seconds."""
        shortest = next(period for period in PERIODS if getattr(self, period))
        return PERIODS[shortest](datetime.fromtimestamp(now, UTC))[1].timestamp()

    def superfluous(self, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
        """Those that stand for no period that is to be kept, the oldest first."""
        newest_first = sorted(snapshots, key=lambda snapshot: (snapshot.created, snapshot.label), reverse=True)
        kept: set[str] = set()
        for period, bounds in PERIODS.items():
            left, begun = getattr(self, period), None
            for snapshot in newest_first:
                begins = bounds(datetime.fromtimestamp(snapshot.created, UTC))[0]
                if begins != begun and left:
                    left -= 1
                    begun = begins
                    kept.add(snapshot.label)
        return [snapshot for snapshot in reversed(newest_first) if snapshot.label not in kept]


type_bounds = Callable[[datetime], tuple[datetime, datetime]]


def _hour(at: datetime) -> tuple[datetime, datetime]:
    begins = at.replace(minute=0, second=0, microsecond=0)
    return begins, begins + timedelta(hours=1)


def _day(at: datetime) -> tuple[datetime, datetime]:
    begins = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return begins, begins + timedelta(days=1)


def _week(at: datetime) -> tuple[datetime, datetime]:
    begins = _day(at)[0] - timedelta(days=at.weekday())
    return begins, begins + timedelta(days=7)


def _month(at: datetime) -> tuple[datetime, datetime]:
    begins = _day(at)[0].replace(day=1)
    return begins, _day(begins + timedelta(days=31))[0].replace(day=1)


#: Beginning and end of each period around a moment, the shortest first.
PERIODS: Final[Mapping[str, type_bounds]] = {"hourly": _hour, "daily": _day, "weekly": _week, "monthly": _month}


def label_at(now: float) -> str:
    """How a snapshot is called that is taken at ``now`` and that nobody names."""
    return datetime.fromtimestamp(now, UTC).strftime(LABEL)
