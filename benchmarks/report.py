"""What was found out: kept as JSON area by area, and written as a page for people when everything is there."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.contest import MIB, Figures, Outcome
from tests.support.process import ROOT

#: Where areas keep what they found, each in a file of its own.
KEPT = ROOT / "build/benchmarks"

_HOW = """# Performance

*Written by `make bench`; do not edit. What was tried and dropped is in [performance-notes](performance-notes.md).*

{machine}. {when}.

This gateway and a peer do the same task on the same storage in turn: both servers run all the time, the order alternates (A B B A), each
pair of neighbours gives a ratio, and the median of the pairs (nine of what is small, five of what is large, or three where a pair takes long) is told with the extremes behind it. Ratios hardly depend on the
machine or on what else it does; speeds do. One process each, unless it is said otherwise. Processor time is that of the server and its children, user and system together, per unit of
work, the median; memory is the highest resident size while the task ran. Bytes are checked in the same run. The client costs little (`sendfile` to send, one buffer to receive, wrk for
small requests), but it shares the machine. Memory is a tmpfs with pages as large as files allow (`huge=within_size`), as ext4 and XFS have them: in one with pages of 4 KiB, storing a GiB costs every server
0.3 s more.

The gateway checks a password and permission, locks, quota and conditions with each request, keeps its ledger, and writes an access log; the peers are open to anybody, but for Apache and rclone."""

_COLUMNS = "| task | storage | peer | ratio | aim | gateway | peer | CPU: gateway | peer | memory: gateway | peer |"
_RULE = "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"


@attrs.frozen
class Finding:
    """What no ratio can say: one figure, with the most that it may be.

    :ivar name: short, for ``--only``
    :ivar beside: what it is compared with, in words
    """

    name: str
    title: str
    figure: float
    unit: str
    most: float | None = None
    beside: str = ""


@attrs.frozen
class Section:
    """What was found out about one area.

    :ivar about: how it was, in words
    :ivar notes: what neither ratio nor figure can say
    :ivar series: samples for a plot, by the name of their line
    :ivar failures: what could not be measured, in words
    """

    title: str
    about: str
    outcomes: Sequence[Outcome] = ()
    notes: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    series: Mapping[str, Sequence[float]] = attrs.field(factory=dict)
    failures: Sequence[str] = ()

    def record(self) -> dict[str, Any]:
        """For :func:`keep`."""
        return {
            "title": self.title,
            "about": self.about,
            "rows": list(map(_row, self.outcomes)),
            "findings": [attrs.asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
            "series": {name: [round(value, 3) for value in values] for name, values in self.series.items()},
            "failures": list(self.failures),
        }

    def page(self) -> str:
        """Markdown."""
        return _section(self.record())


# --- kept until the report is written ---


def keep(area: str, found: Section, quick: bool) -> None:
    """Write what was found beside that of other areas; what was kept of this one and was not measured again stays."""
    path = _place(quick) / f"{area}.json"
    record = found.record()
    if path.exists():
        before = json.loads(path.read_text())
        record["rows"] = _renewed(before["rows"], record["rows"], "name", "setting", "peer_title")
        record["findings"] = _renewed(before["findings"], record["findings"], "name", "title")
        record["notes"] = record["notes"] or before["notes"]
        record["series"] = {**before["series"], **record["series"]}
    record.update(machine=machine(), when=time.strftime("%d %B %Y"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def _renewed(before: Sequence[Any], now: Sequence[Any], *keys: str) -> list[Any]:
    found = {tuple(each[key] for key in keys): each for each in (*before, *now)}
    return list(found.values())


def _place(quick: bool) -> Path:
    return KEPT / "quick" if quick else KEPT


def kept(areas: Sequence[str], quick: bool) -> dict[str, Any]:
    """What there is, in this order."""
    files = {area: _place(quick) / f"{area}.json" for area in areas}
    return {area: json.loads(file.read_text()) for area, file in files.items() if file.exists()}


# --- the page ---


def page(records: Mapping[str, Any], plots: Sequence[tuple[str, str]]) -> str:
    """Markdown. ``plots`` have a title and a path each."""
    first = next(iter(records.values()))
    dates = sorted({record["when"] for record in records.values()})
    parts = [_HOW.format(machine=first["machine"], when=", ".join(dates)), _aims(records)]
    parts += [f"![{title}]({path})" for title, path in plots]
    parts += map(_section, records.values())
    return "\n\n".join(parts) + "\n"


def _aims(records: Mapping[str, Any]) -> str:
    """Everything that has an aim, and whether it is reached."""
    lines = ["## What it is to reach", "", "| what | beside | aim | reached | |", "| --- | --- | ---: | ---: | --- |"]
    for record in records.values():
        for row in record["rows"]:
            where = f"{row['title']}, {row['setting']}"
            if row["aim"]:
                met = row["ratio"] >= row["aim"]
                lines.append(f"| {where} | {row['peer_title']} | {row['aim']:.2f} | {row['ratio']:.2f} | {_met(met)} |")
            if row.get("cost_aim"):
                cost, most = row["gateway"]["cost"], row["cost_aim"]
                told = f"at most {most:.2f} {row['cost_unit']} | {cost:.2f}"
                lines.append(f"| {where}, processor time | | {told} | {_met(cost <= most)} |")
        for finding in record["findings"]:
            if finding["most"] is not None:
                told = f"at most {finding['most']:g} {finding['unit']} | {finding['figure']:.2f}"
                met = finding["figure"] <= finding["most"]
                lines.append(f"| {finding['title']} | {finding['beside']} | {told} | {_met(met)} |")
    return "\n".join(lines)


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def _section(record: Mapping[str, Any]) -> str:
    parts = [f"## {record['title']}", record["about"]]
    if record["rows"]:
        parts.append("\n".join([_COLUMNS, _RULE, *map(_line, record["rows"])]))
    if record["findings"]:
        lines = ["| what | figure | aim | beside |", "| --- | ---: | ---: | --- |"]
        for found in record["findings"]:
            aim = f"{found['most']:g}" if found["most"] is not None else ""
            lines.append(f"| {found['title']} | {found['figure']:,.2f} {found['unit']} | {aim} | {found['beside']} |")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *record["notes"], *record["failures"]])


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, a line for each."""
    return "\n".join([_COLUMNS, _RULE, *(_line(_row(outcome)) for outcome in outcomes)])


def _line(row: Mapping[str, Any]) -> str:
    ours, theirs = row["gateway"], row["peer"]
    cells = [
        row["title"],
        row["setting"],
        row["peer_title"],
        f"**{row['ratio']:.2f}** ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})",
        f"{row['aim']:.2f}" if row["aim"] else "",
        f"{ours['rate']:,.0f} {row['unit']}",
        f"{theirs['rate']:,.0f}",
        f"{ours['cost']:.2f} {row['cost_unit']}",
        f"{theirs['cost']:.2f}",
        f"{ours['peak'] / MIB:.0f} MiB",
        f"{theirs['peak'] / MIB:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _row(outcome: Outcome) -> dict[str, Any]:
    contest = outcome.contest
    return {
        "name": contest.name,
        "title": contest.title,
        "setting": contest.setting,
        "aim": contest.aim,
        "cost_aim": contest.cost_aim,
        "ratio": round(outcome.ratio, 3),
        "ratios": [round(ratio, 3) for ratio in outcome.ratios],
        "unit": contest.unit.rate,
        "cost_unit": contest.unit.cost,
        "gateway_title": outcome.ours.title,
        "peer_title": outcome.theirs.title,
        "gateway": _side(outcome, outcome.ours),
        "peer": _side(outcome, outcome.theirs),
    }


def _side(outcome: Outcome, figures: Figures) -> dict[str, Any]:
    unit = outcome.contest.unit
    return {
        "rate": round(figures.rate / unit.scale, 1),
        "rates": [round(rate / unit.scale, 1) for rate in figures.rates],
        "cost": round(figures.cost * unit.cost_scale, 4),
        "peak": figures.peak,
    }


def machine() -> str:
    """This machine in a few words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = (
        f"Python {platform.python_version()} {'of the distribution' if sys.base_prefix == '/usr' else 'built here'}"
    )
    return f"Linux {platform.release()}, {os.cpu_count()} cores, {memory:.0f} GiB, {python}"
