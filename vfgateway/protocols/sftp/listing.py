"""Open directories: answers to READDIR, the next of them made ready in a thread while the client reads the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred

from vfgateway.eager import begin
from vfgateway.model import DirEntry
from vfgateway.posix import type_file
from vfgateway.protocols.sftp.longname import PORTION, Encoder, Owners, type_portion
from vfgateway.services.reading import Listing

T = TypeVar("T")

#: Entries read at once.
BATCH = 512
#: Directories of one client for which an answer is made ready ahead.
MOST_AHEAD = 4
#: Bytes of the first answer: the client has something to do while the next one, four times as long, is made ready.
FIRST = 66_000


class Ahead:
    """Counts what is made ready for one client."""

    count = 0


class OpenDirectory:
    """A directory that is open. One READDIR is dealt with at a time.

    :ivar shown: its path, as the client knows it
    :ivar began: when it was opened
    """

    def __init__(self, shown: str, listing: Listing, owners: Owners, began: float, ahead: Ahead) -> None:
        self.shown = shown
        self.began = began
        self._listing = listing
        self._owners = owners
        self._portions: deque[type_portion] = deque()
        self._ahead = ahead
        self._running: Deferred[None] | None = None
        self._failure: Exception | None = None
        self._encode: Encoder | None = None
        self._most = FIRST
        self._ended = False

    def prepare(self, now: float) -> None:
        """Make the first answer ready, since nobody opens a directory without asking for it.

        :param now: epoch seconds
        """
        self._begin_ahead(FIRST, now)

    async def read(self, limit: int, now: float) -> tuple[int, Sequence[bytes]]:
        """The next entries: how many, and their bytes, about ``limit`` altogether; none at the end. An entry is never split.

        :param now: epoch seconds
        """
        running, self._running = self._running, None
        if running is not None:
            await running
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        limit, self._most = min(limit, self._most), limit
        await self._fill(limit, now)
        count, size = 0, 0
        taken: list[bytes] = []
        while self._portions and (not taken or size + len(self._portions[0][1]) <= limit):
            more, data = self._portions.popleft()
            taken.append(data)
            count, size = count + more, size + len(data)
        if taken:
            self._begin_ahead(self._most, now)
        return count, taken

    def _begin_ahead(self, limit: int, now: float) -> None:
        if not self._ended and self._ahead.count < MOST_AHEAD:
            self._ahead.count += 1
            work = begin(self._read_ahead(limit, now))
            self._running = work if isinstance(work, Deferred) else None

    async def _fill(self, limit: int, now: float) -> None:
        """Have enough for one answer, as far as there is so much."""
        while not self._ended and sum(len(data) for _, data in self._portions) < limit:
            if self._encode is None:
                self._encode = Encoder(await self._owners.names(), now)
            portions = await self._listing.read_posix(BATCH, self._encode)
            if portions is None:
                self._ended = True
                break
            self._portions += portions

    async def _read_ahead(self, limit: int, now: float) -> None:
        try:
            await self._fill(limit + PORTION, now)
        except Exception as error:
            self._failure = error  # for whoever asks for the next entries
        finally:
            self._ahead.count -= 1

    async def close(self) -> None:
        """Let go."""
        running, self._running = self._running, None
        if running is not None:
            await running
        await self._listing.close()


class Known(Listing):
    """A listing of what is known already."""

    def __init__(self, entries: Sequence[DirEntry]) -> None:
        self._entries = list(entries)

    async def read(self, limit: int) -> Sequence[DirEntry]:
        taken, self._entries = self._entries[:limit], self._entries[limit:]
        return taken

    async def read_posix(
        self, limit: int, function: Callable[[Sequence[type_file], Sequence[DirEntry]], T]
    ) -> T | None:
        taken = await self.read(limit)
        return function((), taken) if taken else None

    async def close(self) -> None:
        self._entries = []
