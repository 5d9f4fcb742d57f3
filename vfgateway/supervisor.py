"""Several processes of one gateway: started over the same sockets, replaced when they die, and when the configuration changes.

The first worker makes what is missing (database, keys, secrets) and is waited for; then come the others. A worker that dies is
started again, at once the first time and with growing pauses if it goes on dying. ``SIGHUP`` reads the configuration anew: new workers come
first, then the old ones accept no more and end with what they have under way.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vfgateway import logs
from vfgateway.config import Settings
from vfgateway.errors import GatewayError
from vfgateway.privileged.starting import Helpers
from vfgateway.servicemanager import ServiceManager
from vfgateway.startup import plainly
from vfgateway.workers import Plan, Worker, metrics_folder

#: Seconds before a worker that died is started again: the first time, doubled each time, and at most.
PAUSE, LONGEST_PAUSE = 0.1, 30.0
#: Seconds that a worker has to live for its death to count as the first.
HEALTHY = 30.0
#: Seconds for which a reload waits until the workers of old accept nobody any more.
WITHDRAWAL = 10.0
log = Logger()


class Supervisor(Service):
    """The service that ``twistd`` runs where several workers are configured.

    :param plan_anew: reads the configuration again and makes the plan that follows the one given; raises ``GatewayError``
    :param fail: called with a sentence when the first workers do not come up
    :param greet: called with the front ends once all workers are there
    :param observer: writes the log, unless that is left to ``twistd``
    :param told: whoever started the service and waits for it
    :param helpers: started while we are root
    """

    name = "vfgateway"

    def __init__(
        self,
        reactor: Any,
        plan: Plan,
        plan_anew: Callable[[Plan], Plan],
        fail: Callable[[str], None],
        greet: Callable[[Mapping[str, IService]], None] | None = None,
        forward_log: bool = False,
        observer: Any = None,
        told: ServiceManager | None = None,
        helpers: Helpers | None = None,
    ) -> None:
        self._helpers = helpers
        self._told = told or ServiceManager()
        self._observer = observer
        self._reactor = reactor
        self._plan = plan
        self._plan_anew = plan_anew
        self._fail = fail
        self._greet = greet
        self._forward_log = forward_log
        self._workers: dict[int, Worker] = {}
        self._leaving: set[Worker] = set()
        self._pauses: dict[int, float] = {}
        self._restarts: dict[int, IDelayedCall] = {}
        self._work: Deferred[None] | None = None
        self._reload_again = False

    # --- life ---

    def setServiceParent(self, parent: Any) -> None:
        """Called by ``twistd`` with the application, which it asks for its observer of the log."""
        logs.offer(self._observer, parent)
        Service.setServiceParent(self, parent)

    def privilegedStartService(self) -> None:
        """Bind. Raises :class:`vfgateway.startup.StartupFailed`."""
        Service.privilegedStartService(self)
        with plainly():
            if self._helpers is not None:
                self._helpers.start()
            self._plan.bind()

    def startService(self) -> None:
        """Begin to start the workers."""
        Service.startService(self)
        self._begin(self._start())
        self._reactor.callWhenRunning(signal.signal, signal.SIGHUP, self._hang_up)

    def _hang_up(self, *_: object) -> None:
        self._reactor.callFromThread(self.reload)

    def _begin(self, work: Any) -> None:
        self._work = Deferred.fromCoroutine(work)
        self._work.addErrback(lambda failure: failure.trap(CancelledError))
        self._work.addErrback(lambda failure: log.failure("the supervisor failed", failure))
        self._work.addBoth(self._worked)

    def _worked(self, _: object) -> None:
        self._work = None
        if self._reload_again and self.running:
            self._reload_again = False
            self.reload()

    async def _start(self) -> None:
        try:
            self._plan.bind_late()
            _clear(self._plan.settings)
        except (GatewayError, OSError) as error:
            self._fail(f"vfgateway: {error}")
            return
        if not await self._bring_up(self._plan, self._workers):
            self._fail("vfgateway: the first worker ended before it was ready; see its message above or the log")
            return
        log.info("ready: {count} workers", count=len(self._workers))
        self._tell_ready()
        if self._greet is not None:
            self._greet(self._plan.front_ends)

    def _tell_ready(self) -> None:
        self._told.ready(f"serving: {', '.join(self._plan.front_ends)}; {len(self._workers)} workers")

    async def _bring_up(self, plan: Plan, workers: dict[int, Worker]) -> bool:
        """Start the workers of a plan; whether all of them answer."""
        for batch in ([0], range(1, plan.settings.gateway.workers)):
            for number in batch:
                workers[number] = self._spawn(number, plan, workers)
            waiting = [workers[number].ready for number in batch]
            try:
                await gatherResults(waiting, consumeErrors=True)
            except CancelledError:
                raise
            except Exception:
                return False
        return True

    def stopService(self) -> Deferred[None]:
        """End all workers, waiting for each."""
        Service.stopService(self)
        self._told.stopping()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
        for call in self._restarts.values():
            call.cancel()
        self._restarts.clear()
        everyone = [*self._workers.values(), *self._leaving]
        closing = self._plan.close()
        await gatherResults([Deferred.fromCoroutine(worker.stop()) for worker in everyone])
        await gatherResults(closing)

    # --- workers ---

    def _spawn(self, number: int, plan: Plan, workers: dict[int, Worker]) -> Worker:
        worker = Worker(self._reactor, number, plan, self._forward_log)
        worker.ended.addCallback(lambda _: self._lost(worker, workers))
        worker.start()
        return worker

    def _lost(self, worker: Worker, workers: dict[int, Worker]) -> None:
        _forget_metrics(self._plan.settings, worker.pid)
        self._leaving.discard(worker)
        if self.running and not worker.stopping and worker.was_ready and workers is self._workers:
            self._restart(worker)

    def _restart(self, worker: Worker) -> None:
        number = worker.number
        lived = self._reactor.seconds() - worker.started
        pause = PAUSE if lived >= HEALTHY else min(LONGEST_PAUSE, 2 * self._pauses.get(number, PAUSE / 2))
        self._pauses[number] = pause
        log.error("worker {number} died; starting another in {pause:g} s", number=number, pause=pause)
        self._restarts[number] = self._reactor.callLater(pause, self._replace, number)

    def _replace(self, number: int) -> None:
        self._restarts.pop(number, None)
        successor = self._workers[number] = self._spawn(number, self._plan, self._workers)
        successor.was_ready = True  # the one before it was: it is worth going on

    # --- a new configuration ---

    def reload(self) -> None:
        """Read the configuration anew, and go over to it if it can be used. One at a time."""
        if self._work is not None:
            self._reload_again = True
            return
        self._begin(self._reload_and_tell())

    async def _reload_and_tell(self) -> None:
        self._told.reloading()
        try:
            await self._reload()
        finally:
            if self.running:
                self._tell_ready()

    async def _reload(self) -> None:
        log.info("reading the configuration anew")
        old, old_workers = self._plan, self._workers
        try:
            plan = self._plan_anew(old)
            plan.bind()
            plan.bind_late()
        except (GatewayError, OSError) as error:
            log.error("the configuration was not changed: {error}", error=error)
            return
        workers: dict[int, Worker] = {}
        if not await self._bring_up(plan, workers):
            log.error("the configuration was not changed: its workers did not come up")
            self._retire(workers)
            plan.close(old)
            return
        for call in self._restarts.values():
            call.cancel()
        self._restarts.clear()
        self._pauses.clear()
        self._plan, self._workers = plan, workers
        for worker in workers.values():
            if worker.ended.called:  # since it was ready
                self._restart(worker)
        self._retire(old_workers, succeeded=True)
        old.close(plan)
        withdrawn = gatherResults([worker.withdrawn for worker in old_workers.values()], consumeErrors=True)
        with suppress(TimeoutError):  # who does not answer is killed in the end
            await withdrawn.addTimeout(WITHDRAWAL, self._reactor)
        log.info("the new configuration is in force: {count} workers", count=len(workers))

    def _retire(self, workers: Mapping[int, Worker], succeeded: bool = False) -> None:
        for worker in workers.values():
            if not worker.ended.called:
                self._leaving.add(worker)
                Deferred.fromCoroutine(worker.stop(succeeded)).addErrback(
                    lambda failure: log.failure("could not end a worker", failure)
                )


def _clear(settings: Settings) -> None:
    folder = metrics_folder(settings)
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink()


def _forget_metrics(settings: Settings, pid: int | None) -> None:
    """A gauge of a process that is gone counts no more; what it counted stays in the sums."""
    for left in metrics_folder(settings).glob(f"gauge_live*_{pid}.db"):
        left.unlink(missing_ok=True)
