"""Who writes to which upload: one at a time, over all requests and processes.

A newcomer asks the present holder to let go. A holder whose client is alive keeps what it has; one whose client has gone silent, as
behind a connection that broke without a word, ends at once, after it has written what had arrived. So a client that comes
back is never locked out by its own dead connection, and of two that really send at the same time one wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway.errors import GatewayError, UploadBusy, UploadLost, UploadNotFound
from vfgateway.services.processes import wait
from vfgateway.services.uploads import UploadRow, Uploads


@attrs.define
class Patience:
    """How long things are waited for, in seconds; replaced in tests.

    :ivar silence: a client that has sent nothing for so long is taken for gone when another asks
    :ivar ending: for a holder that was asked to let go
    :ivar lease: for which a holder in another process is believed without renewal
    :ivar renewal: between renewals
    :ivar look: between looks at a holder in another process
    """

    silence: float = 0.5
    ending: float = 10.0
    lease: float = 12.0
    renewal: float = 2.0
    look: float = 0.1


@attrs.define(eq=False)
class Lease:
    """The right to write to one upload.

    :ivar stirred: when the client was last seen to have sent something
    :ivar heard: tells how much the client has sent
    :ivar working: storage is being written to: not a moment to be cut off in
    :ivar ending: the client has gone; what arrived is being written, and then it is over
    :ivar asked: somebody else wants it
    :ivar lost: somebody else has it
    :ivar doomed: the upload is being removed
    :ivar on_ask: called when somebody asks; without it, an idle holder loses the lease at once
    """

    upload_id: str
    stirred: float
    heard: Callable[[], int] = int
    heard_before: int = 0
    serial: int = 0
    until: float = 0.0
    working: bool = False
    ending: bool = False
    asked: bool = False
    lost: bool = False
    doomed: bool = False
    on_ask: Callable[[], None] | None = None
    waiters: list[Deferred[None]] = attrs.Factory(list)

    @property
    def reason(self) -> GatewayError:
        """What to tell a holder that has to let go."""
        return UploadNotFound(self.upload_id) if self.doomed else UploadLost(self.upload_id)


class Leases:
    """The leases of this process.

    :param uploads: where the other processes see them
    :param process: this process's identifier
    """

    log = Logger()

    def __init__(self, uploads: Uploads, process: str, clock: Any, patience: Patience) -> None:
        self._uploads = uploads
        self._process = process
        self._clock = clock
        self.patience = patience
        self._held: dict[str, Lease] = {}
        self._renewal = LoopingCall(self.renew)
        self._renewal.clock = clock

    def start(self) -> None:
        """Begin to renew."""
        self._renewal.start(self.patience.renewal, now=False)

    async def stop(self) -> None:
        """Ask all holders to let go and wait until they have, for as long as that is reasonable."""
        for lease in list(self._held.values()):
            self._ask(lease)
        deadline = self._clock.seconds() + self.patience.ending
        while self._held and self._clock.seconds() < deadline:
            await self._until_ended(next(iter(self._held.values())), deadline)
        if self._renewal.running:
            self._renewal.stop()

    def held(self, upload_id: str) -> Lease | None:
        """The lease that is out in this process."""
        return self._held.get(upload_id)

    def is_held_elsewhere(self, row: UploadRow) -> bool:
        """Whether, by the row, another process may be writing."""
        until = row.holder_until or 0.0
        return row.holder not in (None, self._process) and until > self._clock.seconds()

    async def take(self, upload_id: str, force: bool = False) -> tuple[Lease, UploadRow]:
        """Become the one who writes. ``UploadBusy``, ``UploadNotFound``.

        :param force: do not spare a holder whose client is alive (the upload is being cancelled)
        """
        deadline = self._clock.seconds() + self.patience.ending
        while (present := self._held.get(upload_id)) is not None:
            await self._end(present, force, deadline)
        lease = self._held[upload_id] = Lease(upload_id, self._clock.seconds())
        try:
            row = await self._take_row(lease, deadline)
        except BaseException:
            self.release(lease)
            raise
        lease.serial = row.serial
        return lease, row

    async def _take_row(self, lease: Lease, deadline: float) -> UploadRow:
        asked = False
        while True:
            lease.until = self._clock.seconds() + self.patience.lease
            row = await self._uploads.take(lease.upload_id, self._process, lease.until)
            if row is not None:
                return row
            if not asked:
                await self._uploads.ask(lease.upload_id)
                asked = True
            if self._clock.seconds() >= deadline:
                raise UploadBusy(lease.upload_id)
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
        began = self._clock.seconds()
        while self._held.get(lease.upload_id) is lease:
            now = self._clock.seconds()
            if now >= deadline:
                raise UploadBusy(lease.upload_id)
            silence = self.patience.silence
            if lease.ending and not force:
                await self._until_ended(lease, now + self.patience.look)
            elif force or lease.asked or self._is_silent(lease):
                lease.doomed = lease.doomed or force
                self._ask(lease)
                await self._until_ended(lease, now + self.patience.look)
            elif now - began >= silence:
                raise UploadBusy(lease.upload_id)
            else:
                await self._until_ended(lease, began + silence if lease.working else lease.stirred + silence)

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
            if asked[upload_id] and self._is_silent(lease):
                self._ask(lease)
