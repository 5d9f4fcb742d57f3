"""Databases for tests: real files, and a second process' view of the same file under a clock of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import create_engine
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


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/empty.db")
        upgrade(engine)
        engine.dispose()
        return Path(folder, "empty.db").read_bytes()


def lay_database(path: Path) -> None:
    """Put an empty database of this version's schema at ``path`` unless one is there: to migrate costs more than most tests do."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty())


def address(path: Path) -> str:
    """The URL of the database in ``path``, which is laid there if it is new."""
    lay_database(path)
    return f"sqlite:///{path}"


@asynccontextmanager
async def open_database(path: Path, clock: Clock | None = None) -> AsyncIterator[Database]:
    """The migrated database in ``path``, as one process sees it. With ``clock``, generations age by that."""
    database = Database(address(path), ThreadsOf(reactor, clock) if clock else reactor)
    try:
        await database.start(upgrade)
        yield database
    finally:
        await database.stop()
