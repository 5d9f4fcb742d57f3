"""``twistd vfgateway``: reads the configuration, puts the gateway together, and starts and stops its parts in order.

The only module that knows the global reactor.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger, globalLogBeginner
from twisted.python import usage

from vfgateway import assembly, config, configdiff, eventloop, logs
from vfgateway.errors import GatewayError
from vfgateway.interfaces import IVolume
from vfgateway.listening import IWelcoming
from vfgateway.privileged.starting import Helpers
from vfgateway.servicemanager import ServiceManager
from vfgateway.services.gateway import Gateway
from vfgateway.shares import Share
from vfgateway.sockets import InheritedSockets, SocketKeeper
from vfgateway.startup import Exit, StartupFailed, named, plainly
from vfgateway.steadytime import SteadyTime
from vfgateway.supervisor import Supervisor
from vfgateway.workers import Handover, Plan


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


def makeService(options: Mapping[str, Any]) -> IService:
    """Called by ``twistd`` before it detaches. Touches the configuration alone."""
    from twisted.internet import reactor

    SteadyTime(reactor)
    eventloop.shorten(reactor)
    with plainly():
        settings = config.load(options["config"], os.environ)
        several = settings.gateway.reloads
        sockets = SocketKeeper(reactor)
        gateway, front_ends = _assemble(settings, sockets if several else reactor)
    if options.get("check"):
        raise SystemExit(0)
    twistd = getattr(options, "parent", None) or {}
    greet = _print_first_steps if twistd.get("nodaemon") else None
    observer = _our_observer(settings, twistd, reactor)
    told = ServiceManager.of(os.environ, reactor)
    helpers = _helpers(gateway, twistd.get("uid"))
    if not several:
        _listen_to_hang_ups(settings, reactor, told)
        return Root(gateway, front_ends, Exit(reactor), greet, observer, told, helpers)
    to_the_terminal = observer is not None and settings.log.file is None
    source = settings.source

    def plan_anew(present: Plan) -> Plan:
        changed = config.load(source, os.environ)
        sockets = SocketKeeper(reactor, present.sockets)
        coming, its_front_ends = _assemble(changed, sockets)
        if helpers is not None:
            helpers.tell_missing(_volumes_of(coming))
        return Plan.of(changed, its_front_ends, sockets)

    plan = Plan.of(settings, front_ends, sockets)
    return Supervisor(reactor, plan, plan_anew, Exit(reactor), greet, not to_the_terminal, observer, told, helpers)


def _helpers(gateway: Gateway, uid: int | None) -> Helpers | None:
    """Those that have to be started while we are root, if we are and do not stay it."""
    if os.geteuid() != 0 or not uid:
        return None
    return Helpers(_volumes_of(gateway), uid)


def _volumes_of(gateway: Gateway) -> list[IVolume]:
    return [gateway.volumes.configured(name) for name in gateway.volumes]


def _listen_to_hang_ups(settings: config.Settings, reactor: Any, told: ServiceManager) -> None:
    def look() -> None:
        told.reloading()
        _tell_what_would_change(settings, reactor)
        told.ready("serving; a change of the configuration needs a restart")

    reactor.callWhenRunning(signal.signal, signal.SIGHUP, lambda *_: reactor.callFromThread(look))


def _tell_what_would_change(running: config.Settings, reactor: Any) -> None:
    """SIGHUP without a supervisor: nobody can take over. Certificates are read anew by themselves; levels of the log are taken over."""
    log = Logger()
    try:
        written = config.load(running.source, os.environ)
        _assemble(written, SocketKeeper(reactor))
        changed = [each.key for each in configdiff.differences(running.text, written.text)]
    except GatewayError as error:
        log.error("the configuration cannot be used: {error}", error=error)
        return
    logs.LEVELS.configure(written.log)
    log.warn(
        "nothing but the levels of the log is changed without a restart, since one process serves alone "
        "(gateway.supervised = true or workers = 2 change that); different by now: {keys}",
        keys=", ".join(changed) or "nothing",
    )


def _our_observer(settings: config.Settings, twistd: Mapping[str, Any], reactor: Any) -> Any:
    """What writes the log; ``None`` where that is left to ``twistd``."""
    logs.LEVELS.configure(settings.log)
    logs.enrich({name: volume.backend for name, volume in settings.volumes.items()})
    left = any(twistd.get(name) for name in ("logfile", "logger", "syslog"))
    if left or (settings.log.file is None and not twistd.get("nodaemon")):
        logs.survive(reactor)
        return None
    identity = (twistd.get("uid"), twistd.get("gid"))
    owner = None if identity == (None, None) else (_number(identity[0]), _number(identity[1]))
    return logs.written(settings.log, reactor, owner)


def _number(identity: int | None) -> int:
    return -1 if identity is None else identity


def _assemble(settings: config.Settings, reactor: Any) -> tuple[Gateway, Mapping[str, IService]]:
    """One process's parts, none of them started. Raises ``ConfigurationError``."""
    with config.placed(settings.text, settings.source):
        gateway = Gateway(settings, reactor)
        gateway.install(
            list(assembly.make_volumes(settings, gateway.runtime_for).values()),
            list(assembly.make_authenticators(settings, gateway).values()),
        )
        return gateway, assembly.make_front_ends(settings, gateway)


def run_worker(line: bytes) -> None:
    """Run one of several processes until it is told to stop, or the supervisor is gone.

    :param line: a :class:`vfgateway.workers.Handover`
    """
    from twisted.internet import reactor as global_reactor

    reactor: Any = global_reactor
    SteadyTime(reactor)
    eventloop.shorten(reactor)
    told = Handover(**json.loads(line))
    source = Path(told.source) if told.source is not None else None
    with plainly():
        settings = config.parse(told.text, Path(told.folder), source)
        _begin_logging(settings, reactor, told.forward_log)
        share = Share(told.shares, told.number)
        sockets = InheritedSockets(
            reactor, {key: (number, family) for key, (number, family) in told.sockets.items()}, share
        )
        gateway, front_ends = _assemble(settings, sockets)

    def ready(_: object) -> None:
        share.come()
        os.write(told.report, b"ready")

    def stop() -> Deferred[None]:
        stopping = root.stopService()
        os.close(told.report)
        return stopping

    os.set_inheritable(told.report, False)  # a child of ours would keep it open
    root = Root(gateway, front_ends, Exit(reactor), ready)
    root.privilegedStartService()
    reactor.addSystemEventTrigger("before", "shutdown", share.leave)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.callWhenRunning(root.startService)
    lifeline = threading.Thread(target=_outlive_nobody, args=(reactor, gateway), name="lifeline", daemon=True)
    reactor.callWhenRunning(lifeline.start)
    reactor.run()


def _begin_logging(settings: config.Settings, reactor: Any, forward: bool) -> None:
    logs.LEVELS.configure(settings.log)
    logs.enrich({name: volume.backend for name, volume in settings.volumes.items()})
    if forward:
        logs.survive(reactor)
        observer = logs.told(logs.passed_on(sys.stdout))
    else:
        observer = logs.written(settings.log, reactor)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def _outlive_nobody(reactor: Any, gateway: Gateway) -> None:
    """The supervisor holds the other end of our input: it says there when others have taken our place, and when it ends, so do we, whatever
    ended it."""
    while os.read(0, 4096):
        gateway.succeeded = True
        reactor.callFromThread(_stop, reactor)
    reactor.callFromThread(_stop, reactor)


def _stop(reactor: Any) -> None:
    with suppress(ReactorNotRunning):
        reactor.stop()


class Root(Service):
    """The whole gateway as one service.

    Twisted's ``MultiService`` starts everything at once, waits for nothing and forgets what failed. Here the gateway comes up
    first, then the front ends in the order of the configuration, each waited for. The front ends stop together, and after them the gateway.

    :param fail: called with a sentence when the start fails after ``startService`` has returned
    :param greet: called with the front ends once everything runs
    :param observer: writes the log, unless that is left to ``twistd``
    :param told: whoever started the service and waits for it; nobody for a worker
    :param helpers: started while we are root
    """

    name = "vfgateway"
    log = Logger()

    def __init__(
        self,
        gateway: Gateway,
        front_ends: Mapping[str, IService],
        fail: Callable[[str], None],
        greet: Callable[[Mapping[str, IService]], None] | None = None,
        observer: Any = None,
        told: ServiceManager | None = None,
        helpers: Helpers | None = None,
    ) -> None:
        self._helpers = helpers
        self._observer = observer
        self._told = told or ServiceManager()
        self._gateway = gateway
        self._front_ends = front_ends
        self._fail = fail
        self._greet = greet
        self._starting: Deferred[None] | None = None
        self._running: list[tuple[str, Callable[[], Any]]] = []

    def setServiceParent(self, parent: Any) -> None:
        """Called by ``twistd`` with the application, which it asks for its observer of the log."""
        logs.offer(self._observer, parent)
        Service.setServiceParent(self, parent)

    def privilegedStartService(self) -> None:
        """Let the front ends bind their sockets. Raises :class:`StartupFailed`."""
        Service.privilegedStartService(self)
        if self._helpers is not None:
            with plainly():
                self._helpers.start()
        for name, front_end in self._front_ends.items():
            try:
                with plainly(), named(name):
                    front_end.privilegedStartService()
            except (
                StartupFailed
            ) as failure:  # a daemon's terminal gets 100 bytes of it: no room for the place in the file
                self.log.critical("cannot start: {failure}", failure=failure.sentence)
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
                with config.placed(self._gateway.settings.text, self._gateway.settings.source), named(name):
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
            eventloop.settle()
            self.log.info("ready: {front_ends}", front_ends=", ".join(self._front_ends))
            self._told.ready(f"serving: {', '.join(self._front_ends)}")
            if self._greet is not None:
                self._greet(self._front_ends)

    def stopService(self) -> Deferred[None]:
        """Stop everything that was started, waiting for each part; also in the middle of a start."""
        Service.stopService(self)
        self._told.stopping()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            with suppress(CancelledError):
                await self._starting
        # The gateway, which came first, serves until the front ends are through; those share one time of grace.
        gateway, front_ends = self._running[:1], self._running[:0:-1]
        self._running = []
        for parts in (front_ends, gateway):
            await gatherResults([Deferred.fromCoroutine(self._stop_part(*part)) for part in parts])

    async def _stop_part(self, name: str, stop: Callable[[], Any]) -> None:
        try:
            await maybeDeferred(stop)
        except Exception:
            self.log.failure("{name} did not stop cleanly", name=name)


def _print_first_steps(front_ends: Mapping[str, IService]) -> None:
    """Show where each front end is and what to try: on the terminal, not in the log."""
    lines = ["", "vfgateway is running. Stop it with Ctrl-C.", ""]
    for name, front_end in front_ends.items():
        welcoming = IWelcoming(front_end, None)
        lines.append(f"  {name:10} {'  '.join(welcoming.urls) if welcoming else ''}".rstrip())
        lines.extend(f"    {step}" for step in (welcoming.first_steps() if welcoming else ()))
    print("\n".join(lines) + "\n", file=sys.__stdout__, flush=True)
