"""wrk: one thread, many connections that are kept alive, each request asked as it was written down before. It costs little."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.peers.daemon import program
from benchmarks.wire import Work, WrongAnswer

#: Requests are made once, so that the client costs little; what it found out is told as JSON.
_SCRIPT = """
local headers = {headers}
local made = {{}}
function init()
  for line in io.lines("{paths}") do
    local path, range = line:match("^(%S+) ?(.*)$")
    if range ~= "" then headers["Range"] = range end
    made[#made + 1] = wrk.format("GET", path, headers)
  end
end
local at = 0
function request() at = at % #made + 1; return made[at] end
function done(summary, latency)
  local wrong = 0
  for _, count in pairs(summary.errors) do wrong = wrong + count end
  local told = '{{"requests": %d, "microseconds": %d, "wrong": %d, "median": %d, "late": %d}}\\n'
  io.write(string.format(told, summary.requests, summary.duration, wrong, latency:percentile(50), latency:percentile(99)))
end
"""


@attrs.frozen
class Burst:
    """What came of a burst.

    :ivar median: microseconds within which half of the requests were answered; ``late``: 99 of 100
    """

    work: Work
    median: float
    late: float


def script(
    folder: Path, name: str, paths: Sequence[str], headers: Mapping[str, str], ranges: Iterable[str] = ()
) -> Path:
    """What wrk shall ask, over and over; ``ranges``, if any, one for each path."""
    lines = [f"{path} {range_}".rstrip() for path, range_ in zip(paths, ranges or [""] * len(paths), strict=True)]
    listed = folder / f"{name}.paths"
    listed.write_text("\n".join(lines) + "\n")
    # Lua strings: what is quoted in a field is quoted once more.
    table = ", ".join(f'["{key}"] = {json.dumps(value)}' for key, value in headers.items())
    written = folder / f"{name}.lua"
    written.write_text(_SCRIPT.format(headers="{" + table + "}", paths=listed))
    return written


def burst(port: int, lua: Path, connections: int, seconds: float) -> Burst:
    """Ask for so long; raises ``WrongAnswer`` if anything but success came back."""
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds:.0f}s", "--timeout", "30s"]
    command = [program("wrk"), *options, "--script", str(lua), f"http://127.0.0.1:{port}/"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    if told["wrong"] or not told["requests"]:
        raise WrongAnswer(done.stdout)
    return Burst(Work(told["requests"], told["microseconds"] / 1e6), told["median"], told["late"])
