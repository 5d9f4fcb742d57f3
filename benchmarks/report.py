"""Figures as a page for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from typing import Any

import attrs

from benchmarks.contest import MIB, Figures, Outcome

_HOW = """# Performance

*Written by `make bench`; do not edit.*

{machine}, {when}. {sizes}

This gateway and a peer do the same task on the same storage in turn: both servers run all the time, the order alternates (A B B A), each
pair of neighbours gives a ratio, and the median of {rounds} pairs is told with the extremes behind it. Ratios hardly depend on the machine or on what else it
does; speeds do. One process each. Processor time is that of the server and its children, user and system together, per unit of work; memory is the
highest resident size while the task ran. Bytes are checked in the same run: every upload is compared with its source, downloads and archives before the
rounds that count. The client costs little (`sendfile` to send, one buffer to receive, wrk for small requests), but it shares the machine.

Like for like:

- *synced* means that the answer comes when storage has the bytes and the name. The gateway does that with `durability = "sync"`. Its peers never do, so
  their client syncs the file and its directory after each upload, within the time that is measured; it has to, to know as much.
- *not synced* compares `durability = "none"` with the peers as they come.
- In memory (`tmpfs`) there is nothing to sync: these figures show the software alone.
- The gateway checks a password and permission, locks, quota and conditions with each request, and keeps its ledger; the peers are open to anybody.
  The gateway and nginx write an access log. nginx runs with `sendfile`, `tcp_nopush` and its temporary files on the storage of the target; @tus/server and copyparty as their manuals start them.
"""

_COLUMNS = "| task | storage | peer | ratio | aim | gateway | peer | CPU: gateway | peer | memory: gateway | peer |"
_RULE = "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"


@attrs.frozen
class Crowd:
    """What many large transfers at once did to the gateway's memory.

    :ivar title: in words
    :ivar peak: bytes
    :ivar moved: bytes
    """

    title: str
    peak: int
    moved: int
    seconds: float
    cpu: float


@attrs.frozen
class Section:
    """What was found out about one protocol.

    :ivar about: how it was, in words
    :ivar notes: what no ratio can say
    """

    title: str
    about: str
    outcomes: Sequence[Outcome]
    notes: Sequence[str] = ()

    def page(self) -> str:
        """Markdown."""
        return "\n\n".join([f"## {self.title}", self.about, table(self.outcomes), *self.notes])


@attrs.frozen
class Report:
    """Everything that one run found out.

    :ivar sizes: in words
    """

    outcomes: Sequence[Outcome]
    crowds: Sequence[Crowd]
    rounds: int
    sizes: str
    when: str
    sections: Sequence[Section] = ()

    def page(self) -> str:
        """Markdown."""
        how = _HOW.format(machine=machine(), when=self.when, sizes=self.sizes, rounds=self.rounds)
        parts = [how, table(self.outcomes)]
        parts += [
            f"{crowd.title}: {crowd.peak / MIB:.0f} MiB at most, in {crowd.seconds:.0f} s, {crowd.cpu / crowd.moved * 2**30:.2f} s/GiB"
            " of processor time."
            for crowd in self.crowds
        ]
        parts += [section.page() for section in self.sections]
        return "\n\n".join(parts) + "\n"

    def data(self) -> str:
        """JSON."""
        found = {
            "machine": machine(),
            "when": self.when,
            "rounds": self.rounds,
            "outcomes": [_outcome(outcome) for outcome in self.outcomes],
            "memory": [attrs.asdict(crowd) for crowd in self.crowds],
            "sections": {section.title: list(map(_outcome, section.outcomes)) for section in self.sections},
        }
        return json.dumps(found, indent=1) + "\n"


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, a line for each."""
    return "\n".join([_COLUMNS, _RULE, *map(_row, outcomes)])


def _row(outcome: Outcome) -> str:
    contest, ours, theirs = outcome.contest, outcome.ours, outcome.theirs
    unit = contest.unit
    cells = [
        contest.title,
        contest.setting,
        theirs.title,
        f"**{outcome.ratio:.2f}** ({min(outcome.ratios):.2f} to {max(outcome.ratios):.2f})",
        f"{contest.aim:.2f}" if contest.aim else "",
        f"{ours.rate / unit.scale:,.0f} {unit.rate}",
        f"{theirs.rate / unit.scale:,.0f}",
        f"{_cost(outcome, ours):.2f} {unit.cost}",
        f"{_cost(outcome, theirs):.2f}",
        f"{ours.peak / MIB:.0f} MiB",
        f"{theirs.peak / MIB:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _cost(outcome: Outcome, figures: Figures) -> float:
    return figures.cpu / figures.amount * outcome.contest.unit.cost_scale


def _outcome(outcome: Outcome) -> dict[str, Any]:
    contest = outcome.contest
    return {
        "name": contest.name,
        "setting": contest.setting,
        "aim": contest.aim,
        "ratio": round(outcome.ratio, 3),
        "ratios": [round(ratio, 3) for ratio in outcome.ratios],
        "unit": contest.unit.rate,
        "cpu_unit": contest.unit.cost,
        **{
            side: {
                "title": figures.title,
                "rates": [round(rate / contest.unit.scale, 1) for rate in figures.rates],
                "cpu": round(_cost(outcome, figures), 4),
                "peak_bytes": figures.peak,
            }
            for side, figures in (("gateway", outcome.ours), ("peer", outcome.theirs))
        },
    }


def machine() -> str:
    """This machine in a few words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"Linux {platform.release()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {python}"
