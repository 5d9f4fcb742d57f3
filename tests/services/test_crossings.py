"""What usage has crossed, as a matter of arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from vfgateway.model import Limits, Usage
from vfgateway.services.crossings import GRACE, OVER, REFUSED, Changes, Policy, compare
from vfgateway.services.subjects import NO_SOFT, SOFT, SoftLimits, Subject

POLICY = Policy(thresholds=(80, 95, 100), hysteresis=5.0, quiet=3600.0)


def crossed(
    used: int,
    *marked: str,
    soft: SoftLimits = NO_SOFT,
    hard: int | None = 1000,
    since: float = 0.0,
    now: float = 0,
) -> Changes:
    """What changes at a limit of 1000 bytes when so much is used and these levels were told before."""
    marks: Mapping[tuple[str, str], float] = {("bytes", name): since for name in marked}
    return compare(
        Subject("vfolder:1", "vfolder data", Limits(bytes=hard), soft, now=now), Usage(used, 7), marks, POLICY, now
    )


def begun(changes: Changes) -> list[str]:
    return [crossing.level for crossing in changes.begun]


def told(changes: Changes) -> list[str]:
    return [crossing.level for crossing in changes.loudest()]


@pytest.mark.parametrize(
    ("used", "levels"), [(0, []), (799, []), (800, ["80"]), (950, ["80", "95"]), (1000, ["80", "95", "100"])]
)
def test_a_threshold_is_crossed_when_it_is_reached(used: int, levels: list[str]) -> None:
    """Not a byte earlier."""
    assert begun(crossed(used)) == levels


def test_of_several_at_once_only_the_highest_is_told() -> None:
    """The others are marked, so that they are not told later."""
    changes = crossed(1000)
    assert told(changes) == ["100"]
    assert begun(changes) == ["80", "95", "100"]


def test_what_was_told_is_not_told_again() -> None:
    """Whatever usage does above the threshold, and a little below it."""
    for used in (760, 799, 800, 940):
        assert not crossed(used, "80")


def test_below_the_margin_it_may_be_told_again() -> None:
    """Five percent of the limit below the threshold."""
    assert not crossed(750, "80")
    assert list(crossed(749, "80").ended) == [("bytes", "80")]


def test_more_than_the_limit() -> None:
    """It was lowered, or files came behind our back."""
    assert told(crossed(1001, "80", "95", "100")) == [OVER]


def test_a_limit_of_nothing_has_no_thresholds() -> None:
    """Percent of zero mean nothing; being over it does."""
    assert begun(crossed(0, hard=0)) == []
    assert begun(crossed(1, hard=0)) == [OVER]


def test_a_threshold_that_is_configured_no_more_is_forgotten() -> None:
    """So is one of a limit that is no more."""
    assert list(crossed(800, "80", "90").ended) == [("bytes", "90")]
    assert list(crossed(800, "80", "95", hard=None).ended) == [("bytes", "80"), ("bytes", "95")]


def test_a_soft_limit_and_the_end_of_its_grace() -> None:
    """It is told beside a threshold of the hard one, not instead."""
    soft = SoftLimits(bytes=500, grace=60.0)
    assert told(crossed(500, soft=soft)) == []
    changes = crossed(800, soft=soft)
    assert told(changes) == [SOFT, "80"]
    assert changes.moves_limits
    assert told(crossed(800, SOFT, "80", soft=soft, since=1000.0, now=1059.0)) == []
    assert told(crossed(800, SOFT, "80", soft=soft, since=1000.0, now=1060.0)) == [GRACE]
    back = crossed(500, SOFT, GRACE, soft=soft, since=1000.0, now=1100.0)
    assert sorted(back.ended) == [("bytes", GRACE), ("bytes", SOFT)]
    assert back.moves_limits


def test_a_refusal_is_told_again_only_later_and_with_room_in_between() -> None:
    """Either alone is not enough."""
    assert not crossed(990, REFUSED, "80", "95", since=0.0, now=7200.0).ended
    assert not crossed(100, REFUSED, since=0.0, now=3599.0).ended
    assert list(crossed(100, REFUSED, since=0.0, now=3600.0).ended) == [("bytes", REFUSED)]


def test_negative_figures_count_as_nothing() -> None:
    """They are, for a moment, after a crash."""
    assert begun(crossed(-10, hard=0)) == []
