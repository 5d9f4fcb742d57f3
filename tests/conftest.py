"""Runs every ``async def test_…`` on pytest-twisted's reactor, without a decorator on each."""

from __future__ import annotations

import inspect

import pytest
import pytest_twisted


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark coroutine tests as pytest-twisted wants them."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            pytest_twisted.ensureDeferred(item.function)
