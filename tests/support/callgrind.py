"""Valgrind's callgrind around ``twistd``: how many instructions of the processor a piece of work takes, outside of the kernel."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.support.process import TWISTD

_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
#: What every Python does alike, however it was built.
_MEASURE = "f = lambda: None\nfor _ in range({times}): f()"
#: ``twistd`` by whose clock no call is slow: which of them go by threads must not depend on what else the machine does.
_PATIENT = """import runpy, sys
from vfgateway import blocking
blocking.SLOW = blocking.STALLED = float("inf")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Callgrind:
    """See the module.

    :param folder: takes what it writes
    :ivar twistd: to be started in the place of ``twistd``. It counts nothing before :meth:`begin`
    """

    def __init__(self, folder: Path) -> None:
        self._out = folder / "callgrind"
        self._numbers = count(1)
        self.twistd = [*_command(self._out, "--instr-atstart=no"), sys.executable, "-c", _PATIENT, str(TWISTD)]

    def begin(self, pid: int) -> None:
        """Count, from here on."""
        self._pid = pid
        self._control("--instr=on")

    def taken(self, work: Callable[[], int]) -> float:
        """By all threads of the process, while ``work`` is done, for each time that it says."""
        self._dump()
        times = work()
        return self._dump() / times

    def _dump(self) -> int:
        """Since the last time."""
        self._control("--dump")
        return _total(Path(f"{self._out}.{next(self._numbers)}"))

    def _control(self, order: str) -> None:
        subprocess.run(["callgrind_control", order, str(self._pid)], check=True, capture_output=True, text=True)


def unit(folder: Path) -> float:
    """Instructions that calling a function that does nothing takes, in a loop: to measure by, since Pythons differ in how they were built."""
    found = []
    for times in (10_000, 60_000):
        out = folder / f"unit-{times}"
        subprocess.run([*_command(out), sys.executable, "-IS", "-c", _MEASURE.format(times=times)], check=True)
        found.append(_total(out))
    return (found[1] - found[0]) / 50_000


def _command(out: Path, *options: str) -> list[str]:
    return ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", *options]


def _total(out: Path) -> int:
    found = _TOTAL.search(out.read_text())
    assert found is not None, out
    return int(found[1])
