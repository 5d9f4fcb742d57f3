"""How often a server that is away is asked to let us in."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from vfgateway.backends.smb.faults import LoginRefused, Lost
from vfgateway.backends.smb.links import Links


class Away:
    """A driver that reaches nobody."""

    alive = False

    def __init__(self, error: Lost) -> None:
        self._error = error

    async def connect(self) -> None:
        raise self._error

    async def close(self) -> None:
        """There is nothing to end."""


def attempts(error: Lost, seconds: float) -> list[float]:
    """When it is tried, while somebody asks four times a second."""
    clock, tried = Clock(), list[float]()

    def make() -> Any:
        tried.append(clock.seconds())
        return Away(error)

    links = Links("share", clock, make, 1)
    links.start()
    while clock.seconds() < seconds:
        failed: list[Any] = []
        Deferred.fromCoroutine(links.names()).addErrback(failed.append)
        assert failed, "whoever asks is answered at once"
        clock.advance(0.25)
    return tried


@pytest.mark.parametrize(
    ("error", "first", "longest"), [(Lost("nobody is there"), 0.25, 30.0), (LoginRefused("not you"), 5.0, 300.0)]
)
def test_ever_less_often(error: Lost, first: float, longest: float) -> None:
    """Twice as long after each attempt, up to a limit; a login that was refused far less often, since servers lock accounts."""
    tried = attempts(error, 4 * longest)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    expected = first
    for pause in pauses:
        assert pause == expected
        expected = min(2 * expected, longest)
    assert pauses[-1] == longest
