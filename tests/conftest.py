"""Runs every ``async def`` test on the reactor, without a decorator on each; nothing else."""

from __future__ import annotations

import inspect

import pytest
import pytest_twisted


@pytest.hookimpl
def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``async def`` tests be written as such, also under Hypothesis and in classes."""
    if isinstance(item, pytest.Function):
        under_hypothesis = getattr(item.obj, "hypothesis", None)
        test = under_hypothesis.inner_test if under_hypothesis is not None else item.obj
        if inspect.iscoroutinefunction(test):
            pytest_twisted.ensureDeferred(getattr(test, "__func__", test))
