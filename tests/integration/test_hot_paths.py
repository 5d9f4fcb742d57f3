"""What is done most often calls no more functions than it did: speed's guard, which no busy machine disturbs.

``python -m tests.integration.test_hot_paths`` prints what each path calls now. A bound has about a seventh of room; where a path was made quicker, lower its bound.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.counting import BEGIN, Counter
from tests.support.databases import lay_database
from tests.support.hot_paths import Paths, hot_site
from tests.support.process import GatewayProcess, eventually

#: How often each is measured; the least counts, since timers only ever add.
ROUNDS = 8
#: Calls, at most: of one request, one entry (with or without the thread that scans, as it began to run), or a MiB. Large files have more room: the
#: busier the machine, the smaller the pieces that come.
BOUNDS = {
    "http-get": 70,
    "http-range": 70,
    "http-ordinary": 1080,
    "http-put": 218,
    "http-download": 110,
    "http-upload": 450,
    "tus-patch": 650,
    "dav-put": 193,
    "dav-look": 70,
    "dav-entry": 9,
    "sftp-get": 510,
    "sftp-put": 570,
    "sftp-download": 650,
    "sftp-upload": 1700,
    "sftp-entry": 16,
}


@contextmanager
def measured() -> Iterator[Callable[[str], float]]:
    """A warmed gateway, and what says how many calls a path takes."""
    with tempfile.TemporaryDirectory(prefix="vfgateway-calls-", dir="/dev/shm") as name:
        counter = Counter(Path(name) / "calls")
        site = hot_site(Path(name))
        counting = [sys.executable, "-m", "tests.support.counting", f"{name}/calls"]
        lay_database(site.database)
        with GatewayProcess(site, twistd=counting) as gateway:
            paths = Paths(site, site.populate())
            os.kill(gateway.pid, BEGIN)
            eventually(lambda: counter.value, "it counts")

            def calls(name: str) -> float:
                work, prepare = paths.by_name(name)
                taken = []
                for _ in range(ROUNDS + 1):
                    prepare()
                    before = counter.value
                    times = work()
                    taken.append((counter.value - before) / times)
                return min(taken[1:])

            yield calls


@pytest.fixture(scope="module")
def calls() -> Iterator[Callable[[str], float]]:
    """One gateway for all paths."""
    with measured() as asked:
        yield asked


@pytest.mark.parametrize("path", BOUNDS)
def test_a_path_calls_no_more_than_it_did(calls: Callable[[str], float], path: str) -> None:
    """A request more to the database, a thread, a coroutine or a line for each entry would show."""

    def holds() -> bool:
        found = calls(path)
        print(f"{path}: {found:.0f} of {BOUNDS[path]}")
        return found <= BOUNDS[path]

    # Where a busy machine made a call look slow, all go by threads for some seconds.
    eventually(holds, f"{path} calls at most {BOUNDS[path]} functions")


if __name__ == "__main__":
    with measured() as asked:
        for each in BOUNDS:
            print(f'    "{each}": {asked(each):.0f},', flush=True)
