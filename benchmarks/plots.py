"""The report's plots, small PNG files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: What of a line belongs to us, and to peers.
OURS, THEIRS = "#1f5fa8", "#b8b8b8"


def draw(records: Mapping[str, Any], place: Path) -> list[tuple[str, str]]:
    """Title and name of each file that was written. Plots of what was not measured are left out."""
    matplotlib: Any = importlib.import_module("matplotlib")  # only ``make bench`` installs it
    matplotlib.use("Agg")
    figures: Any = importlib.import_module("matplotlib.figure")
    place.mkdir(parents=True, exist_ok=True)
    kinds: list[tuple[str, str, Callable[[Any, Mapping[str, Any]], bool]]] = [
        ("Speed beside peers, and aims", "ratios.png", _ratios),
        ("Processor time of large transfers", "processor-time.png", _costs),
        ("Latency beside a volume that hangs", "latency.png", _latency),
    ]
    drawn = []
    for title, name, plot in kinds:
        figure = figures.Figure(layout="constrained", dpi=80)
        if plot(figure, records):
            figure.suptitle(title, fontsize=11)
            figure.savefig(place / name)
            _pack(place / name)
            drawn.append((title, name))
    return drawn


def _pack(path: Path) -> None:
    """A quarter of its size: few colours are enough, and nothing is said of the program."""
    images: Any = importlib.import_module("PIL.Image")
    with images.open(path) as image:
        image.convert("RGB").quantize(24).save(path, optimize=True)


def _rows(records: Mapping[str, Any]) -> list[Any]:
    return [row for record in records.values() for row in record["rows"]]


def _label(row: Mapping[str, Any]) -> str:
    peer = " ".join(row["peer_title"].split(" ")[:2]).removesuffix(" serve")
    where = row["setting"].replace("memory (tmpfs)", "memory")
    return f"{row['title']}, {where}: {peer}"


def _ratios(figure: Any, records: Mapping[str, Any]) -> bool:
    """Medians with their range, on a logarithmic scale, and a mark at the aim."""
    rows = [row for row in _rows(records) if row["aim"]][::-1]
    if not rows:
        return False
    figure.set_size_inches(9, 1.2 + 0.22 * len(rows))
    axes = figure.subplots()
    for at, row in enumerate(rows):
        axes.plot([min(row["ratios"]), max(row["ratios"])], [at, at], color=OURS, linewidth=1)
        axes.plot(row["ratio"], at, "o", color=OURS if row["ratio"] >= row["aim"] else "#c0392b", markersize=5)
        axes.plot(row["aim"], at, "|", color="black", markersize=11)
    axes.axvline(1, color=THEIRS, linewidth=1)
    axes.margins(y=0.02)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=7)
    axes.set_xlabel("times as fast as the peer: median and range; the bar is the aim, red is below it", fontsize=8)
    return True


def _costs(figure: Any, records: Mapping[str, Any]) -> bool:
    """Seconds per GiB, ours and theirs."""
    rows = [row for row in _rows(records) if row["cost_unit"] == "s/GiB"][::-1]
    if not rows:
        return False
    figure.set_size_inches(9, 1.2 + 0.26 * len(rows))
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh([at + 0.2 for at in places], [row["gateway"]["cost"] for row in rows], 0.4, color=OURS, label="gateway")
    axes.margins(y=0.02)
    axes.barh([at - 0.2 for at in places], [row["peer"]["cost"] for row in rows], 0.4, color=THEIRS, label="peer")
    axes.set_yticks(places, [_label(row) for row in rows], fontsize=7)
    axes.set_xlabel("seconds of processor time per GiB", fontsize=8)
    axes.legend(fontsize=8)
    return True


def _latency(figure: Any, records: Mapping[str, Any]) -> bool:
    """How many answers came within which time."""
    series = records.get("latency", {}).get("series", {})
    if not series:
        return False
    figure.set_size_inches(8, 4)
    axes = figure.subplots()
    for name, values in series.items():
        ours = name.startswith("gateway")
        style = ":" if "hangs" in name else "--" if "sleeps" in name else "-"
        shares = [100 * (at + 1) / len(values) for at in range(len(values))]
        axes.plot(sorted(values), shares, style, color=OURS if ours else THEIRS, label=name, linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds", fontsize=8)
    axes.set_ylabel("% of answers", fontsize=8)
    axes.legend(fontsize=7)
    return True
