"""Projects are never given twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.support.databases import lay_database, open_database
from tests.support.process import ROOT
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


#: Takes numbers from a database and tells them, in a process of its own; begins when its input ends.
TAKER = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from tests.support.databases import open_database
from vfgateway.backends.projectquota.numbers import ProjectNumbers
from vfgateway.services.state import DatabaseState

async def is_free(number):
    return True

async def take():
    async with open_database(Path(sys.argv[1])) as database:
        numbers = ProjectNumbers(DatabaseState(database, "disk"), 100, 1000)
        print("ready", flush=True)
        sys.stdin.read()
        print(*[await numbers.take(is_free) for _ in range(50)], flush=True)

def begin():
    Deferred.fromCoroutine(take()).addBoth(lambda _: reactor.stop())

reactor.callWhenRunning(begin)
reactor.run()
"""


def test_two_programs_at_once(tmp_path: Path) -> None:
    """Real processes, which the kernel runs as it likes."""
    place = tmp_path / "vfgateway.db"
    lay_database(place)
    command = [sys.executable, "-c", TAKER, str(place)]
    pipe = subprocess.PIPE
    takers = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        ends = [(taker.stdin, taker.stdout) for taker in takers if taker.stdin and taker.stdout]
        for _, output in ends:
            assert output.readline() == "ready\n"
        for start, _ in ends:
            start.close()
        told = [[int(number) for number in output.readline().split()] for _, output in ends]
        assert [taker.wait() for taker in takers] == [0, 0]
    finally:
        for taker in takers:
            taker.kill()
            taker.wait()
    assert sorted(told[0] + told[1]) == list(range(100, 200))


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
