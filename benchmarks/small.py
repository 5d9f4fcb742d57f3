"""Many small requests, by wrk: one thread, 64 connections kept alive."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.daemon import program
from benchmarks.wire import Work, WrongAnswer

CONNECTIONS = 64

#: Requests are made once, so that the client costs little; what it found out is told as JSON.
_SCRIPT = """
local headers = {headers}
local made = {{}}
function init()
  for path in io.lines("{paths}") do made[#made + 1] = wrk.format("GET", path, headers) end
end
local at = 0
function request() at = at % #made + 1; return made[at] end
function done(summary)
  local wrong = 0
  for _, count in pairs(summary.errors) do wrong = wrong + count end
  io.write(string.format('{{"requests": %d, "microseconds": %d, "wrong": %d}}\\n', summary.requests, summary.duration, wrong))
end
"""


def script(folder: Path, name: str, paths: Sequence[str], headers: Mapping[str, str]) -> Path:
    """What wrk shall ask, over and over."""
    listed = folder / f"{name}.paths"
    listed.write_text("\n".join(paths) + "\n")
    table = ", ".join(f'["{key}"] = "{value}"' for key, value in headers.items())
    written = folder / f"{name}.lua"
    written.write_text(_SCRIPT.format(headers="{" + table + "}", paths=listed))
    return written


def burst(port: int, lua: Path, seconds: float) -> Work:
    """Ask for so long; raises ``WrongAnswer`` if anything but success came back."""
    url = f"http://127.0.0.1:{port}/"
    options = [
        "--threads",
        "1",
        "--connections",
        str(CONNECTIONS),
        "--duration",
        f"{seconds:.0f}s",
        "--script",
        str(lua),
    ]
    done = subprocess.run([program("wrk"), *options, url], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    if told["wrong"] or not told["requests"]:
        raise WrongAnswer(done.stdout)
    return Work(told["requests"], told["microseconds"] / 1e6)
