"""Waiting for what comes in its own time, while the reactor turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something, without blocking."""
    for _ in range(6000):
        if await holds():
            return
        await deferLater(reactor, 0.05, lambda: None)
    raise AssertionError("it does not come")
