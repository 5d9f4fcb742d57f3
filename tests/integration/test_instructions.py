"""What is done most often takes no more instructions than it did: the other guard of speed (:mod:`tests.integration.test_hot_paths` has the first), which also sees
what C does within one call, as copying all that has come for each piece.

``python -m tests.integration.test_instructions`` prints what each path takes now. Counted is what the processor does outside of the kernel, in calls of a function
that does nothing: Pythons differ by half in how many instructions the same takes them. A bound has a third of room. Valgrind knows no ``openat2``, so files are opened
by the way of kernels that have none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.callgrind import Callgrind, unit
from tests.support.databases import lay_database
from tests.support.hot_paths import Paths, hot_site
from tests.support.process import GatewayProcess, eventually

#: How often each is measured; the least counts, since timers only ever add.
ROUNDS = 5
#: Calls of a function that does nothing, at most: for one request, one entry of a listing, or a MiB.
BOUNDS = {
    "http-get": 700,
    "http-range": 550,
    "http-ordinary": 2000,
    "http-put": 1050,
    "http-download": 400,
    "http-upload": 700,
    "tus-patch": 1600,
    "dav-put": 720,
    "dav-look": 560,
    "dav-entry": 44,
    "sftp-get": 1450,
    "sftp-put": 2450,
    "sftp-download": 6000,
    "sftp-upload": 11500,
    "sftp-entry": 42,
}


@contextmanager
def measured() -> Iterator[Callable[[str], float]]:
    """A warmed gateway under valgrind, and what says how much a path takes."""
    with tempfile.TemporaryDirectory(prefix="vfgateway-instructions-", dir="/dev/shm") as name:
        callgrind, site = Callgrind(Path(name)), hot_site(Path(name))
        one = unit(Path(name))
        lay_database(site.database)
        with GatewayProcess(site, twistd=callgrind.twistd) as gateway:
            paths = Paths(site, site.populate())
            for path in BOUNDS:  # what is made once
                work, prepare = paths.by_name(path)
                prepare()
                work()
            callgrind.begin(gateway.pid)

            def taken(path: str) -> float:
                paths.connect()
                work, prepare = paths.by_name(path)
                found = []
                for _ in range(ROUNDS):
                    prepare()
                    found.append(callgrind.taken(work) / one)
                return min(found)

            yield taken


@pytest.fixture(scope="module")
def taken() -> Iterator[Callable[[str], float]]:
    """One gateway for all paths."""
    with measured() as asked:
        yield asked


@pytest.mark.parametrize("path", BOUNDS)
def test_a_path_takes_no_more_instructions_than_it_did(taken: Callable[[str], float], path: str) -> None:
    """What C is asked to do counts, too."""

    def holds() -> bool:
        found = taken(path)
        print(f"{path}: {found:.0f} of {BOUNDS[path]}")
        return found <= BOUNDS[path]

    # On a busy machine timers run in all rounds for a while.
    eventually(holds, f"{path} takes at most {BOUNDS[path]}")


if __name__ == "__main__":
    with measured() as asked:
        for each in BOUNDS:
            print(f'    "{each}": {asked(each):.0f},', flush=True)
