"""What a process and its children cost, as the kernel counts it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import attrs

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Meter:
    """Reads ``/proc`` for one process and all below it, those that have ended included."""

    pid: int

    def cpu(self) -> float:
        """Seconds of processor time so far, user and system together."""
        return sum(_cpu(pid) for pid in self._family())

    def peak(self) -> int:
        """The largest resident memory since :meth:`forget_peak`, in bytes, summed over the processes that live."""
        return sum(_peak(pid) for pid in self._family())

    def forget_peak(self) -> None:
        """Let :meth:`peak` begin anew (proc(5), ``clear_refs``)."""
        for pid in self._family():
            with suppress(FileNotFoundError, ProcessLookupError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _family(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    found.extend(map(int, task.read_text().split()))
        return found


def _cpu(pid: int) -> float:
    try:
        # clock_getcpuclockid(3), which Python has for threads alone: to the nanosecond, where /proc has hundredths.
        own = time.clock_gettime(~pid << 3 | 2)
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0.0
    # proc(5): the name in brackets may hold anything; cutime and cstime are fields 16 and 17.
    return own + sum(map(int, text.rpartition(")")[2].split()[13:15])) * _TICK


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
