"""An area of the benchmarks: what is measured together, on its own command line, with what it found kept until the report is written."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from benchmarks import report


@attrs.frozen
class Area:
    """One of them.

    :ivar section: measures; is given the effort and which cases alone are wanted
    :ivar whole: how much is done; has ``rounds``
    :ivar quick: how much is enough to see whether it runs
    """

    name: str
    section: Callable[[Any, Sequence[str] | None], report.Section]
    whole: Any
    quick: Any

    def run(self, quick: bool, rounds: int | None, only: Sequence[str] | None) -> report.Section:
        """Measure, tell, and keep."""
        effort = self.quick if quick else self.whole
        if rounds:
            effort = attrs.evolve(effort, rounds=rounds)
        found = self.section(effort, only)
        report.keep(self.name, found, quick)
        print("\n" + found.page() + "\n", flush=True)
        return found

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Entry point of the module that measures."""
        parser = argparse.ArgumentParser(description=f"Measure {self.name}; see docs/performance.md.")
        add_options(parser)
        options = parser.parse_args(arguments)
        end_in_order()
        found = self.run(options.quick, options.rounds, options.only)
        if found.failures:
            raise SystemExit(1)


def end_in_order() -> None:
    """When this process is told to end, let what it started end, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that every area has."""
    parser.add_argument("--quick", action="store_true", help="little and two rounds: whether it runs, not how fast")
    parser.add_argument("--rounds", type=int, help="pairs for each ratio")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="only these; what is kept of the others stays")
