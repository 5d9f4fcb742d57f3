"""Eight uploads and eight downloads at once: what they do to the gateway's memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.gateway import LOGIN, Gateway
from benchmarks.large import PATCH
from benchmarks.wire import Client, WrongAnswer, expect, together

EACH = 8


def hold(gateway: Gateway, durability: str, size: int) -> int:
    """The gateway's largest resident memory meanwhile, in bytes. Half of the uploads go by PUT, half by tus."""
    root = gateway.folders[durability].root
    source = root / "sparse"
    with source.open("wb") as file:
        os.truncate(file.fileno(), size)
    meter = gateway.meter
    meter.forget_peak()
    try:
        together(_job(gateway, durability, source, number) for number in range(2 * EACH))
        return meter.peak()
    finally:
        for left in (source, *root.glob("crowd-*")):
            left.unlink()


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
