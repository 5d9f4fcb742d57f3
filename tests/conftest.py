"""Runs every ``async def`` test on the reactor, without a decorator on each, and holds coroutines to the time that the test has. What fails is told
briefly, and by name at the very end."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from tests.support.deadline import DEADLINE
from tests.support.failures import difference

# No example has to be quick: tests judge no times, and machines are busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell ignores Ctrl-C for what it runs in the background, and children inherit that: programs under test must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(settings: Any) -> None:
    """Beside what pytest-timeout does for all that is no coroutine."""
    DEADLINE.set(settings.timeout)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Let ``async def`` tests be written as such, also under Hypothesis and in classes; and give a Hypothesis test back as it was: pytest-twisted
    wraps it anew for each parameter, around the one before."""
    under_hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    owner, name = (pyfuncitem, "obj") if under_hypothesis is None else (under_hypothesis, "inner_test")
    test = getattr(owner, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, DEADLINE.keeping(test) if inspect.iscoroutinefunction(test) else test)
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Coroutines and their generators, as pytest-twisted runs them."""
    function = fixturedef.func
    with pytest.MonkeyPatch.context() as patch:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            patch.setattr(fixturedef, "func", DEADLINE.keeping(function))
        return (yield)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Of contents, where they differ: pytest writes them out, mebibytes of them where ``CI`` is set."""
    buffers = (bytes, bytearray, memoryview)
    if op == "==" and isinstance(left, buffers) and isinstance(right, buffers):
        return difference(bytes(left), bytes(right))
    return None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Whoever has only the end of a long output sees there which tests failed."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        for outcome in ("failed", "error"):
            for report in reporter.stats.get(outcome, ()):
                reporter.write_line(f"{outcome}: {report.nodeid}")
