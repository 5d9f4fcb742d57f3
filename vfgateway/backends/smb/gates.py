"""Who may give a name away now: publishers of one name take turns, in this process and, where it matters, among all."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from twisted.internet.defer import DeferredLock
from twisted.internet.task import deferLater

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import DELETE_PENDING, IN_USE, Refused
from vfgateway.backends.smb.share import Share
from vfgateway.backends.smb.wire import Opening

#: Seconds to wait for another process; then the refusal counts.
PATIENCE: Final = 10.0
#: Seconds before asking again.
PAUSE: Final = 0.02


class Gates:
    """One volume's."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._locks: dict[Sequence[str], tuple[DeferredLock, int]] = {}

    @asynccontextmanager
    async def passed(self, key: Sequence[str]) -> AsyncIterator[None]:
        """Alone in this process with one name."""
        lock, users = self._locks.get(key, (DeferredLock(), 0))
        self._locks[key] = lock, users + 1
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            users = self._locks[key][1] - 1
            if users:
                self._locks[key] = lock, users
            else:
                del self._locks[key]

    @asynccontextmanager
    async def alone(self, share: Share, staging: str, key: Sequence[str]) -> AsyncIterator[None]:
        """Alone among all processes: the server lets only one have a file open that is not shared, and removes it with the connection."""
        digest = hashlib.blake2b("\\".join(key).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        opening = Opening(
            f"{staging}\\gate-{digest}",
            wire.READ_ATTRIBUTES | wire.DELETE,
            wire.OPEN_IF,
            wire.NON_DIRECTORY_FILE | wire.DELETE_ON_CLOSE,
            share=0,
        )
        deadline = self._clock.seconds() + PATIENCE
        while True:
            try:
                gate, _ = await share.open(opening, content=False)
                break
            except Refused as error:
                if error.status not in IN_USE | {DELETE_PENDING} or self._clock.seconds() > deadline:
                    raise
            await deferLater(self._clock, PAUSE)
        try:
            yield
        finally:
            await gate.close()
