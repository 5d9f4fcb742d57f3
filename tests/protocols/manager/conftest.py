"""What tests of the manager front end share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.support.gateway import new_vfolder, orchestrator_in
from tests.support.manager import ManagerClient, Serving, serving_manager
from vfgateway.paths import parse_text


@pytest_twisted.async_yield_fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    """The same as :func:`serving`, for all tests of a module that leave nothing behind."""
    async with serving_manager(tmp_path_factory.mktemp("shared")) as serving:
        yield serving


@pytest_twisted.async_yield_fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """A gateway with the volume ``mem``, and a client of its manager front end."""
    async with serving_manager(tmp_path) as serving:
        yield serving


@pytest.fixture
def client(shared: Serving) -> ManagerClient:
    """The client of the shared gateway alone."""
    return shared.client


@pytest_twisted.async_fixture
async def folder(shared: Serving) -> dict[str, Any]:
    """A vfolder of the test's own with ``a/x.txt`` (5 bytes) and the empty directory ``b``, as parameters name it."""
    vfolder = await new_vfolder(shared.gateway)
    hands = await orchestrator_in(shared.gateway, vfolder)
    await hands.make_dir(parse_text("b"))
    async with await hands.upload(parse_text("a/x.txt"), size=5, parents=True) as upload:
        await upload.write([b"hello"])
        await upload.commit()
    return {"volume": "mem", "vfid": str(vfolder.id)}
