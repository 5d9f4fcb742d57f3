"""``python -m benchmarks.quota``: what do limits cost small uploads, with one process and with several?

One gateway with two vfolders, one of them limited in bytes and files, takes files of 4 KiB by PUT over 64 connections (wrk), a burst for one and a burst for the
other in turns. Told are medians of the ratios limited to unlimited: of the rate, and of the processor time that a file takes the other way round, so
in both more is better.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import attrs

from benchmarks.gateway import LOGIN
from benchmarks.meter import Meter
from benchmarks.peers.daemon import program
from benchmarks.wire import WrongAnswer
from tests.support.process import GatewayProcess, Site, VFolderOfAlice

CONNECTIONS = 64
SIZE = 4096
#: Far more than is used.
LIMITS = {"limit_bytes": 1 << 40, "limit_files": 1 << 30}

_SCRIPT = """
local headers = {{["Authorization"] = "{login}"}}
local body = string.rep("x", {size})
local at = 0
function request()
  at = at + 1
  return wrk.format("PUT", "{path}" .. at, headers, body)
end
local wrong = 0
function response(status) if status ~= 201 then wrong = wrong + 1 end end
function done(summary)
  local errors = 0
  for _, count in pairs(summary.errors) do errors = errors + count end
  io.write(string.format('{{"files": %d, "microseconds": %d, "wrong": %d}}\\n', summary.requests, summary.duration, errors))
end
"""


@attrs.frozen
class Burst:
    """Files a second, and seconds of processor time for a thousand of them."""

    rate: float
    cost: float


def burst(folder: VFolderOfAlice, number: int, seconds: float, scratch: Path, meter: Meter) -> Burst:
    """Put for so long into a directory of its own."""
    folder.put(f"burst-{number}-warm", b"x").raise_for_status()
    base = folder.site.client_url
    path = folder.url(f"burst-{number}-").removeprefix(base)
    lua = scratch / "put.lua"
    lua.write_text(_SCRIPT.format(login=LOGIN["Authorization"], size=SIZE, path=path))
    command = [
        program("wrk"),
        "-t",
        "1",
        "-c",
        str(CONNECTIONS),
        "-d",
        f"{seconds:.0f}s",
        "--timeout",
        "30s",
        "-s",
        str(lua),
        base,
    ]
    cpu = meter.cpu()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent = meter.cpu() - cpu
    told = json.loads(done.stdout.splitlines()[-1])
    if told["wrong"] or not told["files"]:
        raise WrongAnswer(done.stdout)
    return Burst(told["files"] / told["microseconds"] * 1e6, 1000 * spent / told["files"])


def measure(workers: int, durability: str, rounds: int, seconds: float, where: str | None) -> dict[str, Any]:
    """Bursts in turns, and how they compare."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        site = Site(
            Path(folder) / "site", {"local": {"path": f"{folder}/volume", "durability": durability}}, workers=workers
        )
        with GatewayProcess(site) as gateway:
            gateway.all_there()
            free = site.populate(name="free")
            limited = site.populate(name="limited")
            site.manager("PATCH", f"/vfgateway/v1/vfolders/{limited.vfid.rpartition('/')[2]}", LIMITS)
            bursts: dict[str, list[Burst]] = {"free": [], "limited": []}
            for number in range(-1, rounds):  # the first warms up
                for kind, vfolder in sorted({"free": free, "limited": limited}.items(), reverse=bool(number % 2)):
                    one = burst(vfolder, number + 1, seconds, Path(folder), Meter(gateway.pid))
                    if number >= 0:
                        bursts[kind].append(one)
    pairs = list(zip(bursts["limited"], bursts["free"], strict=True))
    return {
        "workers": workers,
        "durability": durability,
        "load": os.getloadavg()[0],
        "rate_ratio": round(statistics.median(limited.rate / free.rate for limited, free in pairs), 3),
        "cpu_ratio": round(statistics.median(free.cost / limited.cost for limited, free in pairs), 3),
        "files_a_second_limited": round(statistics.median(limited.rate for limited, _ in pairs)),
        "cpu_ms_a_file_limited": round(statistics.median(limited.cost for limited, _ in pairs), 3),
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quota", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--durability", nargs="+", default=["none", "sync"], choices=["none", "sync"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--where", help="directory on the storage that is to be measured")
    chosen = parser.parse_args()
    for workers in chosen.workers:
        for durability in chosen.durability:
            figures = measure(workers, durability, chosen.rounds, chosen.seconds, chosen.where)
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
