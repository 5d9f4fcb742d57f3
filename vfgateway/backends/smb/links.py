"""The connections of one login: made when needed, looked after, made again when lost, and never more than configured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.logger import Logger

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import LoginRefused, Lost
from vfgateway.backends.smb.link import Driver, Link
from vfgateway.uninterrupted import uninterrupted

T = TypeVar("T")

#: Seconds before the next attempt to connect after one that failed; twice as long after each further one.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
#: The same after a login that was refused: servers lock accounts that try too often.
FIRST_REFUSED_PAUSE, LONGEST_REFUSED_PAUSE = 5.0, 300.0
#: Seconds after which a connection that was not used is asked whether it is still there.
IDLE: Final = 30.0


class Links:
    """Connections to one share as one account. The first is for names: nothing that was opened for reading or writing stays open on it, since a
    server refuses to replace a file that the same connection has open. The others are for content.

    :param make: makes a driver that is not yet connected
    :param size: connections at most; with one, it serves for both
    """

    log = Logger()

    def __init__(self, volume: str, clock: Any, make: Callable[[], Driver], size: int) -> None:
        self._volume = volume
        self._clock = clock
        self._make = make
        self._places = [_Place(self) for _ in range(size)]
        self._pause = 0.0
        self._not_before = 0.0
        self._why = ""
        self._looking: Any = None
        self.running = False

    def start(self) -> None:
        """Allow connections. Idempotent."""
        if not self.running:
            self.running = True
            self._looking = self._clock.callLater(IDLE, self._look)

    async def stop(self) -> None:
        """End all. Idempotent."""
        self.running = False
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        for place in self._places:
            await place.close()

    async def names(self) -> Link:
        """A connection for names. ``Lost`` if there is none to be had now."""
        return await self._places[0].get()

    async def content(self) -> Link:
        """A connection for content: one that is there, with the fewest open files. ``Lost``."""
        place = min(self._places[1:] or self._places, key=lambda place: place.handles)
        return await place.get()

    async def again(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """What ``work`` makes of a connection for names; once more with a new one if that was lost. For what may be done twice."""
        try:
            return await work(await self.names())
        except LoginRefused:
            raise
        except Lost:
            return await work(await self.names())

    async def connect(self) -> Link:
        """A new connection; for :class:`_Place`. Refused at once while another attempt has just failed."""
        if not self._may_connect():
            raise Lost("it has not started, or was stopped")
        if self._clock.seconds() < self._not_before:
            raise Lost(self._why)
        driver = self._make()
        try:
            await driver.connect()
        except Lost as error:
            self._failed(error)
            raise
        if not self._may_connect():
            await driver.close()
            raise Lost("it was stopped")
        if self._pause:
            self.log.info("volume {name}: connected again", name=self._volume)
        self._pause = self._not_before = 0.0
        return Link(driver)

    def _may_connect(self) -> bool:
        return self.running

    def _failed(self, error: Lost) -> None:
        refused = isinstance(error, LoginRefused)
        first, longest = (FIRST_REFUSED_PAUSE, LONGEST_REFUSED_PAUSE) if refused else (FIRST_PAUSE, LONGEST_PAUSE)
        if not self._pause:
            self.log.warn("volume {name}: {error}", name=self._volume, error=str(error))
        self._pause = max(first, min(self._pause * 2, longest))
        self._why = str(error)
        self._not_before = self._clock.seconds() + self._pause

    def _look(self) -> None:
        """Ask connections that nobody has used for a while whether they are still there."""
        self._looking = self._clock.callLater(IDLE, self._look)
        for place in self._places:
            place.look(IDLE)


class _Place:
    """Room for one connection."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._link: Link | None = None
        self._lock = DeferredLock()
        self._used = False

    @property
    def handles(self) -> int:
        return self._link.handles if self._link is not None and self._link.alive else 0

    async def get(self) -> Link:
        """The connection, or a new one."""
        self._used = True
        if self._link is not None and self._link.alive:
            return self._link
        return await uninterrupted(self._waited(), wait=False)

    async def _waited(self) -> Link:
        link: Link = await self._lock.run(lambda: Deferred.fromCoroutine(self._connected()))
        return link

    async def _connected(self) -> Link:
        if self._link is None or not self._link.alive:
            await self._drop()
            self._link = await self._links.connect()
        return self._link

    def look(self, patience: float) -> None:
        """Ask it, unless it was used since the last time."""
        used, self._used = self._used, False
        if not used and self._link is not None and self._link.alive:
            ensureDeferred(self._echo(self._link))

    async def _echo(self, link: Link) -> None:
        try:
            await link.exchange(wire.echo())
        except Lost as error:
            self._links.log.info("an idle connection was lost: {error}", error=str(error))

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.driver.close()

    async def close(self) -> None:
        await self._drop()
