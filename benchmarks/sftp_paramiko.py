"""paramiko's ``get``, which asks for a whole file at once: its speed, its memory, and what others notice of it."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event

import paramiko

from benchmarks.contest import BYTES, MIB, Contest
from benchmarks.sftp import Arena, Side
from benchmarks.wire import Work, timed

#: How often the neighbour asks, in seconds.
PAUSE = 0.01
#: How often it does.
PROBES = 300


@contextmanager
def client(port: int, user: str, key: str) -> Iterator[paramiko.SFTPClient]:
    """A client as its manual has it."""
    with paramiko.SSHClient() as ssh:
        ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        ssh.connect("127.0.0.1", port, user, key_filename=key, allow_agent=False, look_for_keys=False)
        with ssh.open_sftp() as sftp:
            yield sftp


def way(side: Side) -> tuple[int, str, str]:
    """What a :func:`client` needs to know."""
    return side.server.port, side.user, str(side.key)


def contest(arena: Arena) -> Contest:
    """Its default ``get``."""
    target = arena.folder / "down"

    def run(side: Side, _: bool) -> Work:
        with client(*way(side)) as sftp:
            return timed(arena.effort.piped, lambda: sftp.get(f"{side.root}/piped", str(target)))

    title = f"get of {arena.effort.piped // MIB} MiB by paramiko"
    return arena.pair("paramiko", title, BYTES, 1.0, run, arena.same(lambda _: target, "piped"))


def memory(arena: Arena) -> str:
    """What such a ``get`` costs in memory."""
    meter = arena.ours.server.meter
    meter.forget_peak()
    before = meter.peak()
    with client(*way(arena.ours)) as sftp:
        sftp.get(f"{arena.ours.root}/piped", str(arena.folder / "back"))
    taken = (meter.peak() - before) / MIB
    return f"paramiko's `get` of {arena.effort.piped // MIB} MiB took {taken:.0f} MiB of the gateway's memory."


def neighbour(arena: Arena) -> str:
    """What a session sees of another one that fetches a large file so all the while."""
    told = []
    processes = multiprocessing.get_context("spawn")
    for side in (arena.ours, arena.theirs):
        with client(*way(side)) as other:
            alone = _latencies(side, other)
            begun, enough = processes.Event(), processes.Event()
            files = (f"{side.root}/piped", str(arena.folder / "back"))
            fetching = processes.Process(target=_fetch, args=(way(side), files, begun, enough))
            fetching.start()
            assert begun.wait(60), "it does not begin"
            meanwhile = _latencies(side, other)
            enough.set()
            fetching.join()
        told.append(f"{side.server.title}: {_words(meanwhile)}; before, {_words(alone)}")
    return f"Attributes of a file, asked for by one session while another fetched a large file with paramiko's `get`. {'. '.join(told)}."


def _fetch(where: tuple[int, str, str], files: tuple[str, str], begun: Event, enough: Event) -> None:
    """Again and again, in a process of its own."""
    with client(*where) as sftp:
        begun.set()
        while not enough.is_set():
            sftp.get(*files)


def _latencies(side: Side, sftp: paramiko.SFTPClient) -> list[float]:
    taken: list[float] = []
    for _ in range(PROBES):
        began = time.perf_counter()
        sftp.stat(f"{side.root}/far")
        taken.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    return taken


def _words(taken: list[float]) -> str:
    middle, late = statistics.median(taken), sorted(taken)[int(len(taken) * 0.99)]
    return f"median {middle * 1e3:.1f} ms, 99 % within {late * 1e3:.1f} ms"
