"""Who writes to which upload: one at a time, over all requests and processes.

A newcomer asks the present holder to let go. A holder whose client is alive keeps what it has; one whose client has gone silent, as
behind a connection that broke without a word, ends at once, after it has written what had arrived. So a client that comes
back is never locked out by its own dead connection, and of two that really send at the same time one wins.

Between processes the same is asked and answered through the row, and a number that tells of wishes at large is looked at while anything is held.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway.errors import DatabaseUnavailable, GatewayError, UploadBusy, UploadLost, UploadNotFound
from vfgateway.services.processes import IsProcess, wait
from vfgateway.services.uploads import UploadRow, Uploads


@attrs.define
class Patience:
    """How long things are waited for, in seconds; replaced in tests.

    :ivar silence: a client that has sent nothing for so long is taken for gone when another asks
    :ivar ending: for a holder that was asked to let go
    :ivar lease: for which a holder in another process is believed without renewal
    :ivar renewal: between renewals
    :ivar look: between looks at a holder in another process, and at what other processes wish
    """

    silence: float = 0.5
    ending: float = 10.0
    lease: float = 12.0
    renewal: float = 2.0
    look: float = 0.1


class Sender(Protocol):
    """Who sends, as far as a lease needs to know.

    :ivar complete: whether all of it has arrived
    :ivar arrived: bytes that have arrived
    :ivar over: whether no more will come, since all of it has arrived, or the client has left, whoever has noticed
    """

    complete: bool

    @property
    def arrived(self) -> int:
        """See above."""

    @property
    def over(self) -> bool:
        """See above."""


@attrs.define(eq=False)
class Lease:
    """The right to write to one upload.

    :ivar stirred: when the client was last seen to have sent something
    :ivar heard: tells how much the client has sent
    :ivar over: tells whether no more will come: what is here is being stored, and then the holder lets go
    :ivar working: it is being made ready, or storage is being written to: not a moment to be cut off in
    :ivar asked: somebody else wants it
    :ivar lost: somebody else has it
    :ivar doomed: the upload is being removed
    :ivar urged: it is being seen to that the holder answers another process
    :ivar on_ask: called when somebody asks; without it, an idle holder loses the lease at once
    """

    upload_id: str
    stirred: float
    heard: Callable[[], int] = int
    over: Callable[[], bool] = bool
    heard_before: int = 0
    serial: int = 0
    until: float = 0.0
    working: bool = True
    asked: bool = False
    lost: bool = False
    doomed: bool = False
    urged: bool = False
    on_ask: Callable[[], None] | None = None
    waiters: list[Deferred[None]] = attrs.Factory(list)

    @property
    def reason(self) -> GatewayError:
        """What to tell a holder that has to let go."""
        return UploadNotFound(self.upload_id) if self.doomed else UploadLost(self.upload_id)


class Leases:
    """The leases of this process.

    :param uploads: where the other processes see them
    :param process: this one
    """

    log = Logger()

    def __init__(self, uploads: Uploads, process: IsProcess, clock: Any, patience: Patience) -> None:
        self._uploads = uploads
        self._process = process
        self._clock = clock
        self.patience = patience
        self._held: dict[str, Lease] = {}
        self._wishes = -1
        self._looking: IDelayedCall | None = None
        self._answers: set[Deferred[None]] = set()
        self._stopped = False
        self._renewal = LoopingCall(self.renew)
        self._renewal.clock = clock

    def start(self) -> None:
        """Begin to renew."""
        self._renewal.start(self.patience.renewal, now=False)

    async def stop(self) -> None:
        """Ask all holders to let go and wait until they have, for as long as that is reasonable."""
        self._stopped = True
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        deadline = self._clock.seconds() + self.patience.ending
        while self._held and (now := self._clock.seconds()) < deadline:
            held = list(self._held.values())
            for lease in held:  # again, since some were not ready to be asked
                self._ask(lease)
            await self._until_ended(held[0], min(deadline, now + self.patience.look))
        if self._renewal.running:
            self._renewal.stop()
        while self._answers:
            await next(iter(self._answers))

    def held(self, upload_id: str) -> Lease | None:
        """The lease that is out in this process."""
        return self._held.get(upload_id)

    def is_held_elsewhere(self, row: UploadRow) -> bool:
        """Whether, by the row, another process may be writing."""
        until = row.holder_until or 0.0
        return row.holder not in (None, self._process.id) and until > self._clock.seconds()

    async def take(self, upload_id: str, force: bool = False, sender: Sender | None = None) -> tuple[Lease, UploadRow]:
        """Become the one who writes. ``UploadBusy``, ``UploadNotFound``.

        :param force: do not spare a holder whose client is alive (the upload is being cancelled)
        :param sender: whose bytes are to be written
        """
        deadline = self._clock.seconds() + self.patience.ending
        while (present := self._held.get(upload_id)) is not None:
            await self._end(present, force, deadline)
        lease = self._held[upload_id] = Lease(upload_id, self._clock.seconds())
        if sender is not None:
            lease.heard, lease.over = (lambda: sender.arrived), (lambda: sender.over)
        try:
            row = await self._take_row(lease, force, deadline)
        except BaseException:
            self.release(lease)
            raise
        lease.serial = row.serial
        self._look_later()
        return lease, row

    async def _take_row(self, lease: Lease, force: bool, deadline: float) -> UploadRow:
        asked = None
        while True:
            lease.until = self._clock.seconds() + self.patience.lease
            row, taken = await self._uploads.take(lease.upload_id, self._process.id, lease.until)
            if taken:
                return row
            refused = row.serial == asked and not row.asked and not force
            if refused or self._stopped or self._clock.seconds() >= deadline:
                raise UploadBusy(lease.upload_id)
            if row.serial != asked:
                asked = row.serial
                await self._uploads.ask(lease.upload_id, asked, force)
                self._process.suspect()
            await wait(self._clock, self.patience.look)

    def release(self, lease: Lease) -> None:
        """Let the next one in. The row has been given up by then, or is taken over with the name of this process in it."""
        if self._held.get(lease.upload_id) is lease:
            del self._held[lease.upload_id]
        for waiter in lease.waiters:
            if not waiter.called:
                waiter.callback(None)

    def check(self, lease: Lease) -> None:
        """Raise ``UploadLost`` if the holder may not write any more; ``UploadNotFound`` if the upload is being removed."""
        if lease.lost or lease.until <= self._clock.seconds():
            raise lease.reason

    # --- making a holder let go ---

    async def _end(self, lease: Lease, force: bool, deadline: float) -> None:
        """Wait until ``lease`` is over, one way or the other. ``UploadBusy`` if its client is alive."""
        began, heard = self._clock.seconds(), lease.heard()
        while self._held.get(lease.upload_id) is lease:
            now = self._clock.seconds()
            if now >= deadline:
                raise UploadBusy(lease.upload_id)
            silence = self.patience.silence
            if lease.over() and not force:
                await self._until_ended(lease, now + self.patience.look)
            elif force or lease.asked or self._is_silent(lease):
                lease.doomed = lease.doomed or force
                self._ask(lease)
                await self._until_ended(lease, now + self.patience.look)
            elif now - began < silence:
                await self._until_ended(lease, began + silence if lease.working else lease.stirred + silence)
            elif lease.heard() != heard:
                raise UploadBusy(lease.upload_id)
            else:  # storage is slow: who knows whether the client is alive
                await self._until_ended(lease, now + self.patience.look)

    def _is_silent(self, lease: Lease) -> bool:
        now = self._clock.seconds()
        if lease.heard() != lease.heard_before:
            lease.heard_before, lease.stirred = lease.heard(), now
        return not lease.working and now - lease.stirred >= self.patience.silence

    def _ask(self, lease: Lease) -> None:
        lease.asked = True
        if lease.on_ask is not None:
            lease.on_ask()
        elif not lease.working:
            lease.lost = True
            self.release(lease)

    async def _until_ended(self, lease: Lease, deadline: float) -> None:
        if self._held.get(lease.upload_id) is not lease:
            return
        waiter: Deferred[None] = Deferred()
        lease.waiters.append(waiter)
        timer = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), waiter.callback, None)
        try:
            await waiter
        finally:
            lease.waiters.remove(waiter)
            if timer.active():
                timer.cancel()

    async def renew(self) -> None:
        """Prolong what is held, and let go of what another process asks for and whose client is silent. Called every so often."""
        held = {lease.upload_id: lease for lease in self._held.values() if lease.serial}
        if not held:
            return
        until = self._clock.seconds() + self.patience.lease
        try:
            asked = await self._uploads.renew({lease.upload_id: lease.serial for lease in held.values()}, until)
        except Exception:
            self.log.failure("could not renew the leases of uploads")
            return
        for upload_id, lease in held.items():
            if upload_id not in asked:
                lease.lost = True
                self._ask(lease)
                continue
            lease.until = until
            wish = asked[upload_id]
            if (wish > 0 and not lease.urged) or (wish < 0 and not lease.doomed):
                self._begin(self._answer(lease, wish < 0))

    # --- answering other processes ---

    def _look_later(self) -> None:
        if self._looking is None and self._held and not self._stopped:
            self._looking = self._clock.callLater(self.patience.look, self._look)

    def _look(self) -> None:
        self._looking = None
        self._begin(self._look_for_wishes())

    async def _look_for_wishes(self) -> None:
        try:
            number = await self._uploads.wishes()
            if number != self._wishes:
                self._wishes = number
                await self.renew()
        except DatabaseUnavailable:
            pass  # the next renewal says so
        finally:
            self._look_later()

    async def _answer(self, lease: Lease, force: bool) -> None:
        """Do for a newcomer in another process what :meth:`take` does for one in this."""
        lease.urged = True
        try:
            await self._end(lease, force, self._clock.seconds() + self.patience.ending)
        except UploadBusy:
            await self._uploads.refuse(lease.upload_id, lease.serial)
        finally:
            lease.urged = False
        if lease.lost:  # idle hands, which will not say so
            await self._uploads.change(lease.upload_id, lease.serial, durable=False, holder=None, holder_until=None)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        running = Deferred.fromCoroutine(work)
        running.addErrback(lambda failure: self.log.failure("could not answer another process", failure=failure))
        if not running.called:
            self._answers.add(running)
            running.addBoth(lambda _: self._answers.discard(running))
