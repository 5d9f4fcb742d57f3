"""``twistd`` that counts what it calls: ``python -m tests.support.counting FILE ARGUMENTS``. FILE has eight bytes, the number so far.

Calls of functions, those written in C included, by the reactor and by threads that start later. Unlike seconds they hardly depend on what else the
machine does, and in Python they are most of what anything costs. It begins when it is told: to count how a gateway starts takes long.
"""

from __future__ import annotations

import mmap
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.scripts.twistd import run

_CALLS = frozenset({"call", "c_call"})
#: Tells a process to begin.
BEGIN = signal.SIGUSR2


class Counter:
    """The number in a file, as another process has it.

    :param path: is made
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        self._cell = _cell(path)

    @property
    def value(self) -> int:
        return self._cell[0]


def _cell(path: Path) -> memoryview[int]:
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")


def count_into(path: Path) -> None:
    """When :data:`BEGIN` comes."""
    cell = _cell(path)

    def hook(frame: object, event: str, argument: Any) -> None:
        if event in _CALLS:
            cell[0] += 1

    def begin(number: int, frame: object) -> None:
        threading.setprofile(hook)
        sys.setprofile(hook)

    signal.signal(BEGIN, begin)


if __name__ == "__main__":
    count_into(Path(sys.argv.pop(1)))
    run()
