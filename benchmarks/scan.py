"""``python -m benchmarks.scan``: how fast is a tree counted beside ``du -sb``, by this process alone and with helper processes?

A tree of small files is counted in turns. Told are medians of the ratios of wall time and of processor time (``du`` over ours, so more is better), what the counting took of
the processor time of this process, the longest time for which its reactor did nothing else, and by how much memory grew. ``--files 1000000
--directories 1`` is a folder with a million files.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
from twisted.internet.task import LoopingCall, react
from twisted.internet.threads import deferToThread

from vfgateway.backends.vfs import VfsVolumeFactory, counter
from vfgateway.blocking import Pool
from vfgateway.model import Actor, FolderOptions, QuotaScopeId, ScopeKind, Usage, VFolderId
from vfgateway.paths import ROOT
from vfgateway.runtime import Runtime
from vfgateway.services import trees

OWNER = "11111111-1111-4111-8111-111111111111"
#: Bytes of each file.
SIZE = 100


@attrs.frozen
class Cost:
    """Seconds: by the clock, and of processors, helpers included."""

    wall: float
    cpu: float


async def cost_of(work: Callable[[], Awaitable[object]]) -> Cost:
    """What it takes."""
    began, cpu = time.perf_counter(), _cpu()
    await work()
    return Cost(time.perf_counter() - began, _cpu() - cpu)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Latency:
    """The longest time for which a reactor did nothing else."""

    def __init__(self, reactor: Any) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._looping = LoopingCall(self._look)
        self._looping.clock = reactor
        self._looping.start(0.005)

    def _look(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last - 0.005), now

    def stop(self) -> None:
        self._looping.stop()


def fill(root: Path, files: int, directories: int) -> None:
    """Make the tree: directories in directories at the top, a hundred in each."""
    for number in range(directories):
        place = root / f"top-{number // 100:03}" / f"dir-{number:05}"
        place.mkdir(parents=True)
        here = os.open(place, os.O_RDONLY)
        for name in range(number, files, directories):
            descriptor = os.open(f"file-{name:07}", os.O_WRONLY | os.O_CREAT, dir_fd=here)
            os.write(descriptor, b"x" * SIZE)
            os.close(descriptor)
        os.close(here)


async def measure(reactor: Any, files: int, directories: int, rounds: int, where: str | None) -> dict[str, Any]:
    """Count in turns, and compare."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        runtime = Runtime(
            reactor=reactor,
            pool=lambda size, inline=False: Pool(reactor, size, "disk", inline),
            agent=None,
            spool=Path(folder) / "spool",
            state=None,  # type: ignore[arg-type]
        )
        volume: Any = VfsVolumeFactory().configure("disk", {"path": f"{folder}/volume"}, runtime)
        await volume.start()
        scope = QuotaScopeId.parse(f"{ScopeKind.USER.value}:{OWNER}")
        await volume.create_scope(scope)
        vfid = VFolderId.parse(f"{scope}/{'1' * 32}")
        await volume.create_folder(vfid, FolderOptions())
        root = Path(await volume.mount_path(vfid))
        fill(root, files, directories)
        inside = await volume.folder(vfid, Actor())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        costs: dict[str, list[Cost]] = {"du": [], "alone": [], "helped": []}
        counted: list[Usage] = []
        latency = Latency(reactor)

        async def du() -> None:
            await deferToThread(subprocess.run, ["du", "-sb", str(root)], stdout=subprocess.DEVNULL, check=True)

        async def helped() -> None:
            counted.append(await trees.measure(inside, ROOT))

        async def alone() -> None:
            with mock.patch.object(counter, "_program", lambda: None):
                counted.append(await trees.measure(inside, ROOT))

        own = 0.0
        for number in range(-1, rounds):  # the first fills the caches
            for kind, work in (("du", du), ("alone", alone), ("helped", helped)):
                mine = resource.getrusage(resource.RUSAGE_SELF)
                cost = await cost_of(work)
                if number >= 0:
                    costs[kind].append(cost)
                    if kind == "helped":
                        after = resource.getrusage(resource.RUSAGE_SELF)
                        own += after.ru_utime + after.ru_stime - mine.ru_utime - mine.ru_stime
        latency.stop()
        # By counting: to remove the tree takes memory, too.
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        await volume.stop()
        if {each.bytes for each in counted} != {files * SIZE}:
            raise RuntimeError(f"counted {counted}")
    return {
        "files": files,
        "rounds": rounds,
        "load": os.getloadavg()[0],
        **{
            f"{kind}_{what}": round(
                statistics.median(
                    getattr(theirs, what) / getattr(ours, what)
                    for theirs, ours in zip(costs["du"], costs[kind], strict=True)
                ),
                3,
            )
            for kind in ("alone", "helped")
            for what in ("wall", "cpu")
        },
        "du_seconds": round(statistics.median(cost.wall for cost in costs["du"]), 3),
        "own_cpu_helped": round(own / rounds, 3),
        "reactor_longest_ms": round(1000 * latency.longest, 1),
        "memory_grown_kib": grown,
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan", description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--directories", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--where", help="directory on the storage that is to be measured")
    chosen = parser.parse_args()

    async def run(reactor: Any) -> None:
        figures = await measure(reactor, chosen.files, chosen.directories, chosen.rounds, chosen.where)
        print(json.dumps(figures, indent=2))

    react(run)


if __name__ == "__main__":
    main()
