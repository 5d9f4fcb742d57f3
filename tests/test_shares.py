"""The table by which processes leave connections to each other."""

from __future__ import annotations

import os

from vfgateway.shares import Share, create, mark_away


def table(processes: int) -> tuple[int, list[Share]]:
    """A table, and the places of all processes in it."""
    number = create(processes)
    return number, [Share(os.dup(number), place) for place in range(processes)]


def test_whoever_has_more_than_another_leaves_the_next_one() -> None:
    """And takes it where it has as few as all others."""
    _, (first, second) = table(2)
    first.come()
    second.come()
    assert not first.is_largest()
    first.opened()
    assert first.is_largest()
    assert not second.is_largest()
    second.opened()
    assert not first.is_largest()
    second.closed()
    assert first.is_largest()


def test_those_who_accept_nothing_do_not_count() -> None:
    """One that has not come yet, one that is leaving with connections open, and one that died."""
    number, (first, second, third) = table(3)
    first.come()
    first.opened()
    assert not first.is_largest()
    second.come()
    assert first.is_largest()
    second.opened()
    second.leave()
    second.closed()
    assert not first.is_largest()
    third.come()
    assert first.is_largest()
    mark_away(number, 2)
    assert not first.is_largest()
