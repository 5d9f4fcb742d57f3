"""Eight uploads and eight downloads at once: what they do to the gateway's memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.cases import PATCH
from benchmarks.contest import GIB
from benchmarks.gateway import LOGIN, Gateway
from benchmarks.report import Crowd
from benchmarks.wire import Client, WrongAnswer, expect

EACH = 8


def hold(gateway: Gateway, durability: str, size: int) -> Crowd:
    """Half of the uploads by PUT, half by tus; the peak includes all before and between."""
    root = gateway.folders[durability].root
    source = root / "sparse"
    with source.open("wb") as file:
        os.truncate(file.fileno(), size)
    meter = gateway.meter
    meter.forget_peak()
    cpu, begun = meter.cpu(), time.monotonic()
    jobs = [_job(gateway, durability, source, number) for number in range(2 * EACH)]
    failures: list[BaseException] = []
    threads = [threading.Thread(target=_run, args=(job, failures)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    for left in (source, *root.glob("crowd-*")):
        left.unlink()
    if failures:
        raise failures[0]
    title = f"Eight uploads and eight downloads of {size / GIB:g} GiB each at once"
    return Crowd(title, meter.peak(), 2 * EACH * size, seconds, meter.cpu() - cpu)


def _run(job: Callable[[], None], failures: list[BaseException]) -> None:
    try:
        job()
    except BaseException as failure:
        failures.append(failure)


def _job(gateway: Gateway, durability: str, source: Path, number: int) -> Callable[[], None]:
    name = f"crowd-{number}"
    size = source.stat().st_size
    if number < EACH:
        return lambda: _download(gateway, gateway.path(durability, source.name), size)
    if number % 2:
        return lambda: _put(gateway, gateway.path(durability, name), source)
    path = gateway.upload_path(durability, name, size)
    return lambda: _patch(gateway, path, source)


def _download(gateway: Gateway, path: str, size: int) -> None:
    with Client(gateway.port) as client:
        answer = expect(client.request("GET", path, LOGIN), 200)
    if answer.length != size:
        raise WrongAnswer(f"{answer.length} bytes of {size} came")


def _put(gateway: Gateway, path: str, source: Path) -> None:
    with Client(gateway.port) as client:
        expect(client.upload("PUT", path, LOGIN, source), 201, 204)


def _patch(gateway: Gateway, path: str, source: Path) -> None:
    with Client(gateway.port) as client:
        expect(client.upload("PATCH", path, PATCH, source), 204)
