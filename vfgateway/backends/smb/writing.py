"""Writing a file in order, behind who writes it: bytes go to the server while the next ones are gathered.

One command at a time, so that what is there never has gaps, whatever is cut.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from vfgateway.backends.smb.files import write_all
from vfgateway.backends.smb.link import Handle

#: Bytes that may wait while others are on their way.
MOST_WAITING: Final = 2 << 20


class WriteBehind:
    """A file being written.

    :ivar written: bytes of it that the server has
    :param size: where to begin
    """

    def __init__(self, handle: Handle, size: int) -> None:
        self.handle = handle
        self.written = size
        self._waiting: list[bytes] = []
        self._size = 0
        self._busy = False
        self._failure: Failure | None = None
        self._watchers: list[Deferred[None]] = []

    @property
    def size(self) -> int:
        """Bytes written or on their way."""
        return self.written + self._size

    async def add(self, data: bytes) -> None:
        """Take ``data``; waits as long as too much is on its way. ``Refused`` and ``Lost`` for what was taken before."""
        self.check()
        self._waiting.append(data)
        self._size += len(data)
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._send())
        while self._busy and self._size > MOST_WAITING:
            await self._progress()
        self.check()

    async def drained(self) -> None:
        """Return when nothing is on its way any more."""
        while self._busy:
            await self._progress()

    def check(self) -> None:
        """Raise what went wrong. From then on nothing more is taken."""
        if self._failure is not None:
            self._failure.raiseException()

    def forget(self) -> None:
        """Give up what is not yet on its way."""
        self._waiting.clear()

    async def _send(self) -> None:
        try:
            while self._waiting:
                data = self._next()
                await write_all(self.handle, self.written, data)
                self.written += len(data)
                self._size -= len(data)
                self._tell()
        except Exception:
            self._failure = Failure()
        finally:
            self._waiting.clear()
            self._size = 0
            self._busy = False
            self._tell()

    def _next(self) -> bytes:
        """What waits, as much of it as goes into one command."""
        largest = self.handle.link.driver.largest_write
        size, count = len(self._waiting[0]), 1
        while count < len(self._waiting) and size + len(self._waiting[count]) <= largest:
            size += len(self._waiting[count])
            count += 1
        data = self._waiting[0] if count == 1 else b"".join(self._waiting[:count])
        del self._waiting[:count]
        return data

    async def _progress(self) -> None:
        watcher: Deferred[None] = Deferred()
        self._watchers.append(watcher)
        await watcher

    def _tell(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(None)
