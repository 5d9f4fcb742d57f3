"""The runner: measures area by area, keeps what each found, and writes the report of what there is. All of it takes less than half an hour."""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Sequence

from benchmarks import clients, large, latency, memory, plots, propfind, report, sftp, small, tls, webdav, zips
from benchmarks.area import Area, add_options, end_in_order
from tests.support.process import ROOT

DOCS = ROOT / "docs"
PAGE, DATA = DOCS / "performance.md", DOCS / "performance.json"
#: In the order of the report.
AREAS = {
    area.name: area
    for area in (
        large.AREA,
        small.AREA,
        tls.AREA,
        sftp.AREA,
        Area("webdav", webdav.section, webdav.WHOLE, webdav.QUICK),
        propfind.AREA,
        zips.AREA,
        memory.AREA,
        latency.AREA,
        clients.AREA,
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    options = _options(arguments)
    end_in_order()
    failed = [] if options.report else [name for name in options.areas or AREAS if not _run(AREAS[name], options)]
    write(options.quick)
    if failed:
        raise SystemExit(f"Not everything could be measured: {', '.join(failed)}")


def _run(area: Area, options: argparse.Namespace) -> bool:
    """Measure one; whether all of it could be. One that fails shall not cost the others."""
    begun = time.monotonic()
    try:
        return not area.run(options.quick, options.rounds, options.only).failures
    except Exception:
        traceback.print_exc()
        return False
    finally:
        print(f"{area.name}: {time.monotonic() - begun:.0f} s", flush=True)


def write(quick: bool) -> None:
    """The report of what is kept: into the documents, or, of quick runs, beside what is kept."""
    records = report.kept(list(AREAS), quick)
    if not records:
        raise SystemExit("Nothing was measured yet")
    place = report.KEPT / "quick" if quick else DOCS
    drawn = plots.draw(records, place / "performance")
    page, data = (place / PAGE.name), (place / DATA.name)
    page.write_text(report.page(records, [(title, f"performance/{name}") for title, name in drawn]))
    lines = [f"{json.dumps(area)}: {json.dumps(record)}" for area, record in records.items()]
    data.write_text("{" + ",\n".join(lines) + "}\n")
    print(f"Written: {page}", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; all unless told")
    parser.add_argument("--report", action="store_true", help="measure nothing: write the report of what is kept")
    add_options(parser)
    options = parser.parse_args(arguments)
    for name in options.areas:
        if name not in AREAS:
            parser.error(f"there is no area {name!r}; there are {', '.join(AREAS)}")
    return options
