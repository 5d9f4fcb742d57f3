"""Runs every ``async def`` test on the reactor, without a decorator on each; nothing else."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Generator

import pytest
import pytest_twisted
from hypothesis import settings

# No example has to be quick: tests judge no times, and machines are busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell ignores Ctrl-C for what it runs in the background, and children inherit that: programs under test must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl
def pytest_itemcollected(item: pytest.Item) -> None:
    """Let ``async def`` tests be written as such, also under Hypothesis and in classes."""
    if isinstance(item, pytest.Function):
        under_hypothesis = getattr(item.obj, "hypothesis", None)
        test = under_hypothesis.inner_test if under_hypothesis is not None else item.obj
        if inspect.iscoroutinefunction(test):
            pytest_twisted.ensureDeferred(getattr(test, "__func__", test))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Give a Hypothesis test back as it was: pytest-twisted wraps it anew for each parameter, around the one before."""
    under_hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    if under_hypothesis is None:
        return (yield)
    test = under_hypothesis.inner_test
    try:
        return (yield)
    finally:
        under_hypothesis.inner_test = test
