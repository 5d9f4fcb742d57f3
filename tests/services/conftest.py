"""What tests of services share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.support.databases import open_database
from tests.support.machines import make_template
from vfgateway.services.database import Database


@pytest.fixture
def clock() -> Clock:
    """Time that stands still until a test moves it."""
    clock = Clock()
    clock.advance(1_700_000_000)
    return clock


@pytest_twisted.async_yield_fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of the current schema, in a real file."""
    async with open_database(tmp_path / "gateway.db") as database:
        yield database


@pytest_twisted.async_fixture
async def template(tmp_path: Path) -> Path:
    """A gateway's data, for models to begin with."""
    return await make_template(tmp_path, reactor)
