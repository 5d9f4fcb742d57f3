"""Databases for tests: real files, and a second process' view of the same file under a clock of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock

from vfgateway.services.database import Database
from vfgateway.services.migrations import upgrade


class ThreadsOf:
    """The threads of a real reactor with the time of a :class:`~twisted.internet.task.Clock`."""

    def __init__(self, real: Any, clock: Clock) -> None:
        self._real = real
        self._clock = clock

    def seconds(self) -> float:
        return self._clock.seconds()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@asynccontextmanager
async def open_database(path: Path, clock: Clock | None = None) -> AsyncIterator[Database]:
    """The migrated database in ``path``, as one process sees it. With ``clock``, generations age by that."""
    database = Database(f"sqlite:///{path}", ThreadsOf(reactor, clock) if clock else reactor)
    try:
        await database.start(upgrade)
        yield database
    finally:
        await database.stop()
