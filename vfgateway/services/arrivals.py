"""Bodies that have come for an upload while it is still being looked for: who asks how far the upload is comes after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred

from vfgateway.services.leases import Sender


class Arrivals:
    """Of this process.

    :param alone: tells whether there is no other
    """

    def __init__(self, clock: Any, alone: Callable[[], bool]) -> None:
        self._clock = clock
        self._alone = alone
        self._coming: dict[str, list[list[Deferred[None]]]] = {}

    @contextmanager
    def coming(self, upload_id: str, sender: Sender) -> Iterator[float]:
        """A body is there. To be entered before anything is waited for, and left when the next step takes the lease.

        :return: since when, in epoch seconds: for ``Terms.came``; 0 where the client has left before it was looked at, and others may have been
            asked by it since"""
        waiters: list[Deferred[None]] = []
        present = self._coming.setdefault(upload_id, [])
        present.append(waiters)
        try:
            unseen = not self._alone() and sender.over and not sender.complete
            yield 0.0 if unseen else self._clock.seconds()
        finally:
            present[:] = [other for other in present if other is not waiters]
            if not present:
                del self._coming[upload_id]
            for waiter in waiters:
                # In a turn of its own: by then the lease is taken.
                self._clock.callLater(0, waiter.callback, None)

    async def settled(self, upload_id: str) -> None:
        """Wait until each body that is there now has taken the lease, waits for it, or was refused."""
        for waiters in list(self._coming.get(upload_id, ())):
            waiter: Deferred[None] = Deferred(waiters.remove)
            waiters.append(waiter)
            await waiter
