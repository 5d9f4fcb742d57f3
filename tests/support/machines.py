"""Runs Hypothesis's state machines over gateways: what the models of locks, sharing and quota have in common."""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from twisted.internet.interfaces import IReactorTime

from vfgateway import config
from vfgateway.services.gateway import Gateway


async def make_template(folder: Path, reactor: IReactorTime) -> Path:
    """A gateway's data in ``folder``, to be copied: making it costs more than all that a short example does."""
    gateway = Gateway(config.parse("[authenticators.accounts]\n", folder), reactor)
    await gateway.start()
    await gateway.stop()
    return folder


def explore(machine: type[RuleBasedStateMachine], request: pytest.FixtureRequest, examples: int, steps: int) -> None:
    """Run a machine through other examples each time; those of a seed are always the same.

    Blocks until all is done: a test whose steps wait for the reactor calls it in a thread. The test needs a long time limit, since
    Hypothesis takes up to five minutes to shrink what it has found.

    :param examples: how many sequences are tried
    :param steps: how long each is at most
    """
    chosen = int(request.config.getoption("--hypothesis-seed") or SystemRandom().getrandbits(32))
    print(f"to repeat this: pytest {request.node.nodeid!r} --hypothesis-seed={chosen}")
    run_state_machine_as_test(
        seed(chosen)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=False,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
