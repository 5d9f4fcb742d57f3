"""Projects are never given twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.support.databases import open_database
from tests.support.state import MemoryState
from vfgateway.backends.projectquota.numbers import ProjectNumbers
from vfgateway.errors import StorageFailure
from vfgateway.services.state import DatabaseState


def unless(*known: int) -> Callable[[int], Awaitable[bool]]:
    """What a file system says that knows some projects."""

    async def is_free(number: int) -> bool:
        return number not in known

    return is_free


async def test_two_processes_at_once(tmp_path: Path) -> None:
    """Each with its own connection to one database: every number is given once."""
    place = tmp_path / "vfgateway.db"
    async with open_database(place) as one, open_database(place) as other:
        numbers = [ProjectNumbers(DatabaseState(database, "disk"), 100, 1000) for database in (one, other)]
        taking = [Deferred.fromCoroutine(each.take(unless())) for _ in range(20) for each in numbers]
        assert sorted(await gatherResults(taking)) == list(range(100, 140))


async def test_what_the_file_system_knows_is_passed_over() -> None:
    """As when the database was lost; and found again quickly, however many there are."""
    asked = []
    known = unless(*range(100, 700))

    async def is_free(number: int) -> bool:
        asked.append(number)
        return await known(number)

    numbers = ProjectNumbers(MemoryState(), 100, 10000)
    number = await numbers.take(is_free)
    assert number >= 700
    assert len(asked) < 20
    assert await numbers.take(unless()) == number + 1


async def test_there_is_an_end() -> None:
    """It is told, and nothing is given twice instead."""
    state = MemoryState()
    numbers = ProjectNumbers(state, 5, 6)
    assert [await numbers.take(unless()) for _ in range(2)] == [5, 6]
    for each in (numbers, ProjectNumbers(state, 1, 6)):
        with pytest.raises(StorageFailure, match="last_project"):
            await each.take(unless())
