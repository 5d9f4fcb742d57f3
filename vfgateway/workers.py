"""A process that serves beside others of its kind: what it is told, how it is started, watched and ended."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, eventFromJSON, globalLogPublisher
from twisted.python.failure import Failure

from vfgateway import shares
from vfgateway.config import Settings
from vfgateway.sockets import IBindsLate, SocketKeeper
from vfgateway.startup import named

#: The first descriptor of a worker that may be used for what it inherits.
FIRST = 3
#: Seconds beyond its own patience after which a worker that was told to end is killed.
MARGIN = 15.0
#: The environment of a worker: where its metrics lie.
METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"

#: What a worker reads when others have taken its place.
SUCCEEDED: Final = b"succeeded\n"

log = Logger()


@attrs.define(eq=False)
class Plan:
    """What runs: a configuration, and the sockets that belong to it.

    :ivar front_ends: services by name, whose sockets ``sockets`` keeps; they are never started here
    :ivar shares: the descriptor of a table (:mod:`vfgateway.shares`)
    """

    settings: Settings
    front_ends: Mapping[str, IService]
    sockets: SocketKeeper
    shares: int
    is_open: bool = True

    @classmethod
    def of(cls, settings: Settings, front_ends: Mapping[str, IService], sockets: SocketKeeper) -> Plan:
        """A plan that nothing was done for yet."""
        return cls(settings, front_ends, sockets, shares.create(settings.gateway.workers))

    def close(self, kept: Plan | None = None) -> Sequence[Deferred[Any]]:
        """Close all that ``kept`` does not use."""
        self.is_open = False
        os.close(self.shares)
        ports = self.sockets.release(kept.sockets if kept is not None else None)
        return [maybeDeferred(port.stopListening) for port in ports]

    def bind(self) -> None:
        """Open every socket that needs the privileges of the start. Raises ``GatewayError``."""
        for name, front_end in self.front_ends.items():
            with named(name):
                front_end.privilegedStartService()

    def bind_late(self) -> None:
        """Open the others."""
        self.settings.gateway.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for front_end in self.front_ends.values():
            late = IBindsLate(front_end, None)
            if late is not None:
                late.bind_late()


@attrs.frozen
class Handover:
    """What a worker is told, as one line of JSON.

    :ivar text: the configuration, as it was read for all of them
    :ivar sockets: descriptor and address family by key
    :ivar report: the descriptor on which it says that it is ready, and which it closes when it accepts nobody any more
    :ivar shares: the descriptor of the table of all workers' connections
    :ivar number: which of them it is, from 0
    :ivar forward_log: it writes its log as JSON, for the supervisor to put where the log goes
    """

    text: str
    folder: str
    source: str | None
    sockets: Mapping[str, tuple[int, int]]
    report: int
    shares: int
    number: int
    forward_log: bool


class Worker(ProcessProtocol):
    """One process.

    :ivar ready: fires when it answers; fails if it ends before
    :ivar withdrawn: fires when nobody new comes to it any more
    :ivar ended: fires when it is gone
    :ivar was_ready: whether it got as far as to serve
    """

    def __init__(self, reactor: Any, number: int, plan: Plan, forward_log: bool) -> None:
        self._reactor = reactor
        self._plan = plan
        self._forward_log = forward_log
        self._log_rest = b""
        self._report = -1
        self._forced: IDelayedCall | None = None
        self.number = number
        self.started: float = reactor.seconds()
        self.ready: Deferred[None] = Deferred(lambda _: None)
        self.withdrawn: Deferred[None] = Deferred(lambda _: None)
        self.ended: Deferred[None] = Deferred()
        self.stopping = False
        self.was_ready = False

    @property
    def pid(self) -> int | None:
        """Its process number, while it lives."""
        return self.transport.pid if self.transport is not None else None

    def start(self) -> None:
        """Start the process. Its input tells it what to do, and ends when this process does."""
        descriptors: dict[int, Any] = {0: "w", 1: 1, 2: 2}
        if self._forward_log:
            descriptors |= {1: "r", 2: "r"}
        kept = list(self._plan.sockets)
        descriptors |= {each.wanted: each.number for each in kept if each.wanted is not None}
        unused = (number for number in itertools.count(FIRST) if number not in descriptors)
        sockets = {}
        for each in kept:
            number = next(unused) if each.wanted is None else each.wanted
            descriptors[number] = each.number
            sockets[each.key] = (number, each.family)
        self._report, shared = next(unused), next(unused)
        descriptors |= {self._report: "r", shared: self._plan.shares}
        environment = {**os.environ, METRICS: str(metrics_folder(self._plan.settings))}
        command = [sys.executable, "-m", "vfgateway.worker"]
        self._reactor.spawnProcess(self, sys.executable, command, environment, childFDs=descriptors)
        settings = self._plan.settings
        told = Handover(
            text=settings.text,
            folder=str(settings.folder),
            source=str(settings.source) if settings.source else None,
            sockets=sockets,
            report=self._report,
            shares=shared,
            number=self.number,
            forward_log=self._forward_log,
        )
        transport: Any = self.transport
        transport.writeToChild(0, json.dumps(attrs.asdict(told)).encode() + b"\n")

    # --- called by Twisted ---

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """A report, or a piece of its log."""
        if childFD == self._report:
            self.was_ready = True
            if not self.ready.called:
                self.ready.callback(None)
        elif childFD == 1:
            *lines, self._log_rest = (self._log_rest + data).split(b"\n")
            for line in lines:
                self._relay(line)
        else:
            log.error("worker {number}: {text}", number=self.number, text=data.decode("utf-8", "replace").rstrip())

    def childConnectionLost(self, childFD: int) -> None:
        """It has closed its end of what joins us."""
        super().childConnectionLost(childFD)
        if childFD == self._report and not self.withdrawn.called:
            self.withdrawn.callback(None)

    def _relay(self, line: bytes) -> None:
        try:
            event = eventFromJSON(line.decode("utf-8", "replace").strip("\x1e"))
            globalLogPublisher({**event, "log_relayed": True})
        except (ValueError, KeyError):
            log.info("worker {number}: {line}", number=self.number, line=line.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        if self._plan.is_open:
            shares.mark_away(self._plan.shares, self.number)
        if self._forced is not None and self._forced.active():
            self._forced.cancel()
        if not self.ready.called:
            self.ready.errback(reason)
            self.ready.addErrback(lambda _: None)
        self.ended.callback(None)

    # --- ending ---

    async def stop(self, succeeded: bool = False) -> None:
        """Have it end with what it has under way; killed if it does not.

        :param succeeded: others serve in its place, so that whoever is with it may finish what they came for
        """
        self.stopping = True
        if succeeded and self.transport is not None:
            self.transport.writeToChild(0, SUCCEEDED)
        else:
            self._signal("TERM")
        if not self.ended.called and self._forced is None:
            patience = self._plan.settings.gateway.grace + MARGIN
            self._forced = self._reactor.callLater(patience, self._signal, "KILL")
        await self.ended

    def _signal(self, name: str) -> None:
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(name)


def metrics_folder(settings: Settings) -> Path:
    """Where the workers keep their counters, so that each can tell the sum."""
    return settings.gateway.data_dir / "metrics"
