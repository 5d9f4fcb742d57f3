"""A test whose coroutine is never resumed: it fails, and the others run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TESTS = """
import pytest_twisted
from hypothesis import given, strategies
from twisted.internet.defer import Deferred

from tests.support import deadline

deadline.PART, deadline.GRACE = 0.005, 0.2
left = []

async def nobody_answers():
    await Deferred()

async def test_body():
    try:
        await nobody_answers()
    finally:
        left.append("body")
        await nobody_answers()

async def test_mere_waiting():
    try:
        await nobody_answers()
    except BaseException:
        pass

@given(strategies.integers())
async def test_examples(number):
    await nobody_answers()

@pytest_twisted.async_fixture
async def made():
    await nobody_answers()

async def test_made(made):
    left.append("made")

@pytest_twisted.async_yield_fixture
async def removed():
    yield
    await nobody_answers()

async def test_removed(removed):
    left.append("removed")

async def test_next():
    assert left == ["body", "removed"]
"""


def test_never_resumed(tmp_path: Path) -> None:
    """Cancelled, they clean up, show where they waited, and leave the reactor to the next."""
    (tmp_path / "test_it.py").write_text(_TESTS)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "--timeout", "60"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "3 failed, 2 passed, 2 errors" in run.stdout
    assert run.stdout.count("in nobody_answers\n    await Deferred()") == 4  # one passes over it
