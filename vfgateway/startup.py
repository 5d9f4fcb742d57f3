"""How a start that fails ends: with one sentence for whoever started it, and a status for service managers."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.error import CannotListenError

from vfgateway.errors import ConfigurationError, GatewayError


class StartupFailed(SystemExit, Exception):
    """Ends the process with status 1, after its sentence was told: as ``SystemExit`` for the interpreter, as ``Exception`` for
    ``twistd``, which tells it to the terminal that a daemon was started from and removes its PID file."""

    def __init__(self, sentence: str) -> None:
        super().__init__(1)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


def tell(sentence: str) -> None:
    """Say it to the terminal or the service manager; what is printed goes to the log, wherever that is."""
    if sys.__stderr__ is not None:
        print(sentence, file=sys.__stderr__, flush=True)


@contextmanager
def plainly() -> Iterator[None]:
    """Errors of ours end the start with their sentence; a traceback is for bugs."""
    try:
        yield
    except GatewayError as error:
        failure = StartupFailed(f"vfgateway: {error}")
        tell(failure.sentence)
        raise failure from None


class Exit:
    """Stops the reactor, once it runs, and lets the process end with status 1, for which ``twistd`` has no other way."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __call__(self, sentence: str) -> None:
        tell(sentence)
        atexit.register(_end_with_status_1)
        self._reactor.callWhenRunning(self._reactor.stop)


def _end_with_status_1() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)


@contextmanager
def named(front_end: str) -> Iterator[None]:
    """A socket that cannot be had is the configuration's fault; say whose socket."""
    try:
        yield
    except (CannotListenError, OSError) as error:
        raise ConfigurationError(f"frontends.{front_end}", f"cannot start: {error}") from None
