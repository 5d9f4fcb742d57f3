"""``twistd vfgateway``: reads the configuration, puts the gateway together, and starts and stops its parts in order.

The only module that knows the global reactor.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from vfgateway import assembly, config
from vfgateway.errors import ConfigurationError, GatewayError
from vfgateway.listening import IWelcoming
from vfgateway.services.gateway import Gateway


class Options(usage.Options):
    """What may follow ``twistd vfgateway``; everything else is in the configuration."""

    synopsis = "[--config FILE] [--check]"
    longdesc = (
        "Serves virtual folders. Without --config it reads $VFGATEWAY_CONFIG, ./vfgateway.toml or "
        f"{config.SYSTEM_FILE}; with none of them it runs a complete gateway of its own under ./var."
    )
    optParameters: ClassVar = [["config", "c", None, "The configuration file", str]]
    optFlags: ClassVar = [
        ["check", None, "Check the configuration and end: status 1 and a sentence if it cannot be used"]
    ]


class StartupFailed(SystemExit, Exception):
    """Ends the process with status 1, after its sentence was told: as ``SystemExit`` for the interpreter, as ``Exception`` for
    ``twistd``, which tells it to the terminal that a daemon was started from and removes its PID file."""

    def __init__(self, sentence: str) -> None:
        super().__init__(1)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


def _tell(sentence: str) -> None:
    """Say it to the terminal or the service manager; what is printed goes to the log, wherever that is."""
    if sys.__stderr__ is not None:
        print(sentence, file=sys.__stderr__, flush=True)


@contextmanager
def _plainly() -> Iterator[None]:
    """Errors of ours end the start with their sentence; a traceback is for bugs."""
    try:
        yield
    except GatewayError as error:
        failure = StartupFailed(f"vfgateway: {error}")
        _tell(failure.sentence)
        raise failure from None


def makeService(options: Mapping[str, Any]) -> IService:
    """Called by ``twistd`` before it detaches. Touches the configuration alone."""
    from twisted.internet import reactor

    with _plainly():
        settings = config.load(options["config"], os.environ)
        gateway = Gateway(settings, reactor)
        gateway.install(
            list(assembly.make_volumes(settings, gateway.runtime_for).values()),
            list(assembly.make_authenticators(settings, gateway).values()),
        )
        front_ends = assembly.make_front_ends(settings, gateway)
    if options.get("check"):
        raise SystemExit(0)
    twistd = getattr(options, "parent", None) or {}
    greet = _print_first_steps if twistd.get("nodaemon") else None
    return Root(gateway, front_ends, _Exit(reactor), greet)


class _Exit:
    """Stops the reactor, once it runs, and lets the process end with status 1, for which ``twistd`` has no other way."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __call__(self, sentence: str) -> None:
        _tell(sentence)
        atexit.register(_end_with_status_1)
        self._reactor.callWhenRunning(self._reactor.stop)


def _end_with_status_1() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(1)


class Root(Service):
    """The whole gateway as one service.

    Twisted's ``MultiService`` starts everything at once, waits for nothing and forgets what failed. Here the gateway comes up
    first, then the front ends in the order of the configuration, each waited for; they stop in the opposite order.

    :param fail: called with a sentence when the start fails after ``startService`` has returned
    :param greet: called with the front ends once everything runs
    """

    name = "vfgateway"
    log = Logger()

    def __init__(
        self,
        gateway: Gateway,
        front_ends: Mapping[str, IService],
        fail: Callable[[str], None],
        greet: Callable[[Mapping[str, IService]], None] | None = None,
    ) -> None:
        self._gateway = gateway
        self._front_ends = front_ends
        self._fail = fail
        self._greet = greet
        self._starting: Deferred[None] | None = None
        self._running: list[tuple[str, Callable[[], Any]]] = []

    def privilegedStartService(self) -> None:
        """Let the front ends bind their sockets. Raises :class:`StartupFailed`."""
        Service.privilegedStartService(self)
        for name, front_end in self._front_ends.items():
            try:
                with _plainly(), _named(name):
                    front_end.privilegedStartService()
            except StartupFailed as failure:
                self.log.critical(
                    "cannot start: {failure}", failure=failure.sentence
                )  # a daemon's terminal gets 100 bytes of it
                raise

    def startService(self) -> None:
        """Begin to start; see ``fail``."""
        Service.startService(self)
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            self._running.append(("gateway", lambda: Deferred.fromCoroutine(self._gateway.stop())))
            await self._gateway.start()
            for name, front_end in self._front_ends.items():
                self._running.append((name, front_end.stopService))
                with _named(name):
                    await maybeDeferred(front_end.startService)
        except CancelledError:  # stopped meanwhile, which is no failure
            raise
        except GatewayError as error:
            self.log.critical("cannot start: {error}", error=error)
            self._fail(f"vfgateway: {error}")
        except Exception as error:
            self.log.failure("cannot start")
            self._fail(f"vfgateway: cannot start ({type(error).__name__}: {error}); the log has more")
        else:
            self.log.info("ready: {front_ends}", front_ends=", ".join(self._front_ends))
            if self._greet is not None:
                self._greet(self._front_ends)

    def stopService(self) -> Deferred[None]:
        """Stop everything that was started, waiting for each part; also in the middle of a start."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            with suppress(CancelledError):
                await self._starting
        while self._running:
            name, stop = self._running.pop()
            try:
                await maybeDeferred(stop)
            except Exception:
                self.log.failure("{name} did not stop cleanly", name=name)


@contextmanager
def _named(front_end: str) -> Iterator[None]:
    """A socket that cannot be had is the configuration's fault; say whose socket."""
    try:
        yield
    except (CannotListenError, OSError) as error:
        raise ConfigurationError(f"frontends.{front_end}", f"cannot start: {error}") from None


def _print_first_steps(front_ends: Mapping[str, IService]) -> None:
    """Show where each front end is and what to try: on the terminal, not in the log."""
    lines = ["", "vfgateway is running. Stop it with Ctrl-C.", ""]
    for name, front_end in front_ends.items():
        welcoming = IWelcoming(front_end, None)
        lines.append(f"  {name:10} {'  '.join(welcoming.urls) if welcoming else ''}".rstrip())
        lines.extend(f"    {step}" for step in (welcoming.first_steps() if welcoming else ()))
    print("\n".join(lines) + "\n", file=sys.__stdout__, flush=True)
