"""What principals may do in vfolders while something of theirs is open: looked at again whenever rights may have changed.

A request asks once what its principal may do. What lasts longer (an open file, a long download, a copy of a tree) is *guarded*: this
process then looks at the numbers that count up with every change of accounts and vfolders, and every few seconds at the clock, since
what expires changes no number. So a grant that ends here or in another process ends what rests on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vfgateway.errors import AuthenticationFailed, GatewayError, VFolderNotFound
from vfgateway.model import Permission, VFolder
from vfgateway.principals import Principal
from vfgateway.services import revocations, vfolders
from vfgateway.services.database import FRESH
from vfgateway.services.permissions import NO_ACCESS, Access

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds between looks at the numbers.
LOOK = 0.5
#: Seconds between looks at everything that is guarded, for what ends by the clock.
LOOK_ALL_OVER = 3.0

type_lost = Callable[[], object]

_GENERATIONS = (vfolders.GENERATION, *revocations.GENERATIONS)


class Standing:
    """One principal's rights in one vfolder.

    :ivar access: as of when it was entered; while anything is guarded, as of less than some seconds ago
    """

    __slots__ = ("_guards", "_seen", "_standings", "access", "principal", "vfolder")

    def __init__(self, standings: Standings, principal: Principal, vfolder: VFolder, access: Access) -> None:
        self._standings = standings
        self._guards: dict[object, tuple[Permission, type_lost]] = {}
        self._seen = standings.now()
        self.principal = principal
        self.vfolder = vfolder
        self.access = access

    def guard(self, needed: Permission, lost: type_lost) -> Callable[[], None]:
        """Have ``lost()`` called, once, when the principal has ``needed`` no more; what is returned ends that. Idempotent."""
        key = object()
        if not self._guards:
            self._standings.add(self)
        self._guards[key] = (needed, lost)

        def end() -> None:
            if self._guards.pop(key, None) is not None and not self._guards:
                self._standings.remove(self)

        return end

    def watch(self) -> Callable[[], None]:
        """Keep :attr:`access` up to date until what is returned is called."""
        return self.guard(Permission.NONE, _nothing)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep :attr:`access` up to date meanwhile."""
        end = self.watch()
        try:
            yield
        finally:
            end()

    async def refresh(self) -> None:
        """See that :attr:`access` is as new as any that is asked for now."""
        if not 0 <= self._standings.now() - self._seen < FRESH:
            self.change(await self._standings.access(self))

    def change(self, access: Access) -> None:
        """The rights are ``access`` now."""
        self.access = access
        self._seen = self._standings.now()
        for key, (needed, lost) in list(self._guards.items()):
            if access.permission < needed:
                self._guards.pop(key, None)
                lost()
        if not self._guards:
            self._standings.remove(self)


def _nothing() -> None:
    """For whoever only wants to know."""


class Standings:
    """All that is guarded in this process."""

    log = Logger()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._guarded: dict[Standing, None] = {}
        self._present: dict[object, tuple[Principal, type_lost]] = {}
        self._numbers: tuple[int, ...] | None = None
        self._looked = 0.0
        self._looking: Deferred[None] | None = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = gateway.reactor

    def start(self) -> None:
        """Begin to look."""
        self._loop.start(LOOK, now=False)

    async def stop(self) -> None:
        """End. Idempotent."""
        if self._loop.running:
            self._loop.stop()
        if self._looking is not None:
            self._looking.cancel()

    def add(self, standing: Standing) -> None:
        """Something is guarded."""
        self._guarded[standing] = None

    def remove(self, standing: Standing) -> None:
        """Nothing of it is any more."""
        self._guarded.pop(standing, None)

    def stay(self, principal: Principal, lost: type_lost) -> Callable[[], None]:
        """Have ``lost()`` called, once, when ``principal`` may not act any more, or what it came with was taken back: for connections that last
        although nothing is open on them. What is returned ends that. Idempotent."""
        key = object()
        self._present[key] = (principal, lost)

        def end() -> None:
            self._present.pop(key, None)

        return end

    def _look(self) -> Deferred[None] | None:
        if not self._guarded and not self._present:
            self._numbers = None
            return None
        self._looking = Deferred.fromCoroutine(self.look())
        self._looking.addErrback(self._failed)
        return self._looking

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("could not look at rights", failure=failure)

    async def look(self, all_over: bool = False) -> None:
        """Look at everything guarded, if anything may have changed; ``all_over``: in any case."""
        database, now = self._gateway.database, self._gateway.reactor.seconds()
        numbers = tuple([await database.generation(name) for name in _GENERATIONS])
        if not all_over and numbers == self._numbers and 0 <= now - self._looked < LOOK_ALL_OVER:
            return
        # What was guarded since the last look may have been entered before a change that this look is for: all are asked.
        self._numbers, self._looked = numbers, now
        for standing in list(self._guarded):
            if standing in self._guarded:
                standing.change(await self.access(standing))
        may_stay: dict[object, bool] = {}  # of whoever has many connections, asked once
        for key, (principal, lost) in list(self._present.items()):
            whose = (principal.user_id, principal.credential)
            if whose not in may_stay:
                may_stay[whose] = await self._may_stay(principal)
            if key in self._present and not may_stay[whose]:
                self._present.pop(key, None)
                lost()

    async def _may_stay(self, principal: Principal) -> bool:
        try:
            await self._gateway.current(principal)
        except AuthenticationFailed:
            return False
        except GatewayError as error:  # as below
            self.log.debug("cannot look whether {name} may stay: {error}", name=principal.name, error=error)
        return True

    def now(self) -> float:
        """Epoch seconds."""
        seconds: float = self._gateway.reactor.seconds()
        return seconds

    async def access(self, standing: Standing) -> Access:
        """The rights as they are now."""
        gateway = self._gateway
        try:
            principal = await gateway.current(standing.principal)
            vfolder = await gateway.vfolders.by_key(standing.vfolder.key)
        except (AuthenticationFailed, VFolderNotFound):
            return NO_ACCESS
        except GatewayError as error:  # nobody can say now: what was said last holds, as for a new request
            self.log.warn("cannot look at the rights of {name}: {error}", name=standing.principal.name, error=error)
            return standing.access
        if vfolder.is_gone:
            return NO_ACCESS
        return await gateway.vfolders.access(principal, vfolder)
