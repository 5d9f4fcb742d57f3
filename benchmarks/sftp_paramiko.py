"""paramiko's ``get``, which asks for a whole file at once: its speed, its memory, and what others notice of it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from benchmarks.contest import BYTES, MIB, Contest
from benchmarks.sftp import Arena, Side
from benchmarks.wire import Work, timed

#: How often the neighbour asks, in seconds.
PAUSE = 0.01


@contextmanager
def client(side: Side) -> Iterator[paramiko.SFTPClient]:
    """A client as its manual has it."""
    with paramiko.SSHClient() as ssh:
        ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        port, key = side.server.port, str(side.key)
        ssh.connect("127.0.0.1", port, side.user, key_filename=key, allow_agent=False, look_for_keys=False)
        with ssh.open_sftp() as sftp:
            yield sftp


def contest(arena: Arena) -> Contest:
    """Its default ``get``."""
    target = arena.folder / "paramiko"

    def run(side: Side) -> Work:
        with client(side) as sftp:
            return timed(arena.effort.piped, lambda: sftp.get(f"{side.root}/piped", str(target)))

    title = f"get of {arena.effort.piped // MIB} MiB by paramiko"
    return arena.pair("paramiko", title, BYTES, 1.0, run, arena.same(lambda _: target, "piped"))


def neighbour(arena: Arena) -> str:
    """What such a ``get`` costs in memory, and what another session sees of it meanwhile."""
    with client(arena.ours) as other:
        alone = _latencies(arena.ours, other, threading.Event(), 200)
        meter = arena.ours.server.meter
        meter.forget_peak()
        before = meter.peak()
        done = threading.Event()

        def fetch() -> None:
            try:
                with client(arena.ours) as sftp:
                    sftp.get(f"{arena.ours.root}/piped", str(arena.folder / "paramiko"))
            finally:
                done.set()

        thread = threading.Thread(target=fetch)
        thread.start()
        meanwhile = _latencies(arena.ours, other, done, 0)
        thread.join()
    return (
        f"paramiko's `get` of {arena.effort.piped // MIB} MiB took {(meter.peak() - before) / MIB:.0f} MiB of the gateway's memory. Another"
        f" session of the same client program asked for a file's attributes all the while: {_words(meanwhile)}; before, {_words(alone)}."
    )


def _latencies(side: Side, sftp: paramiko.SFTPClient, done: threading.Event, count: int) -> list[float]:
    taken: list[float] = []
    while not done.is_set() and (not count or len(taken) < count):
        began = time.perf_counter()
        sftp.stat(f"{side.root}/far")
        taken.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    return taken


def _words(taken: list[float]) -> str:
    middle, late = statistics.median(taken), sorted(taken)[int(len(taken) * 0.99)]
    return f"median {middle * 1e3:.1f} ms, 99 % within {late * 1e3:.1f} ms"
