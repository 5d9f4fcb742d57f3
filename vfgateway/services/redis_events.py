"""Tells the orchestrator what it waits for, over its Redis (or Valkey). Nothing here ever waits for Redis but the sender."""

from __future__ import annotations

from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import attrs
import txredisapi  # type: ignore[import-untyped]
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger

from vfgateway.config import RedisSettings
from vfgateway.errors import ConfigurationError
from vfgateway.services.dialects import Dialect, commands, translate, type_command
from vfgateway.services.events import Event, Events
from vfgateway.services.processes import wait

#: Messages that wait while Redis is away; the oldest are given up first.
QUEUED = 1000
#: Seconds after which an unanswered command counts as lost, and with it the connection.
ANSWER = 10.0
#: Seconds before a failed command is sent again; the last one repeats.
RETRIES = (0.1, 1.0, 5.0, 10.0)
#: Seconds for which a stop waits for what is queued.
FAREWELL = 2.0
#: What Redis's refusals begin with that saying it again would not change.
FINAL = ("WRONGTYPE", "NOPERM", "ERR ")
#: The database on which managers listen.
DATABASE = 4


@attrs.frozen
class Address:
    """Where a Redis is.

    :ivar host: a name, an address, or the absolute path of a Unix socket
    """

    host: str
    port: int = 6379
    database: int = DATABASE
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``redis[s]://[[user]:password@]host[:port][/db]`` or ``unix://[[user]:password@]/path[?db=N]``. Raises
        ``ConfigurationError``, which never shows the URL."""
        try:
            parts = urlsplit(url)
            port, query = parts.port or 6379, parts.query
            number = query.removeprefix("db=") if parts.scheme == "unix" else parts.path.strip("/")
            database = int(number) if number else DATABASE
        except ValueError:
            raise ConfigurationError("events.redis.url", "should be like redis://host:6379/4") from None
        host = parts.path if parts.scheme == "unix" else parts.hostname
        if parts.scheme not in ("redis", "rediss", "unix") or not host:
            raise ConfigurationError("events.redis.url", "should be like redis://host:6379/4")
        username, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
        return cls(host, port, database, username or None, password, parts.scheme == "rediss")

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """How to get there."""
        if self.host.startswith("/"):
            unix: IStreamClientEndpoint = UNIXClientEndpoint(reactor, self.host)
            return unix
        plain = HostnameEndpoint(reactor, self.host, self.port)
        return wrapClientTLS(optionsForClientTLS(self.host), plain) if self.tls else plain


class RedisEvents:
    """Passes events on to the orchestrator, in order; one that could not be told is told again when Redis is back.

    :param stream: the stream that takes events for one manager
    :param channel: the channel that takes events for all managers
    """

    log = Logger()

    def __init__(
        self,
        events: Events,
        address: Address,
        reactor: Any,
        *,
        stream: str = "events",
        channel: str = "events_all",
        dialect: Dialect = Dialect.CURRENT,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._stream = stream
        self._channel = channel
        self._dialect = dialect
        self._queue: deque[list[type_command]] = deque()
        self._given_up = 0
        self._factory: Any = None
        self._sending: Deferred[None] | None = None
        self._unsubscribe = events.subscribe(Event, self._take)

    @classmethod
    def configured(cls, settings: RedisSettings, events: Events, reactor: Any) -> RedisEvents:
        """As ``[events.redis]`` says. Reads the secret; raises ``ConfigurationError``."""
        address = Address.parse(settings.url.load()[0])
        dialect = Dialect(settings.format)
        return cls(events, address, reactor, stream=settings.stream, channel=settings.channel, dialect=dialect)

    def start(self) -> None:
        """Begin to connect and to send. Never fails: an unreachable Redis is tried again and again."""
        address = self._address
        self._factory = txredisapi.RedisFactory(
            str(uuid4()),
            address.database,
            1,
            isLazy=True,
            charset=None,
            username=address.username,
            password=address.password,
            replyTimeout=ANSWER,
        )
        self._factory.startConnecting(address.endpoint(self._reactor))
        self._send_later()

    async def stop(self) -> None:
        """Send what is queued if that goes quickly, and close. Idempotent."""
        self._unsubscribe()
        factory, self._factory = self._factory, None
        if factory is None:
            return
        if self._sending is not None:
            farewell = self._reactor.callLater(FAREWELL, self._sending.cancel)
            await self._sending
            if farewell.active():
                farewell.cancel()
            if self._queue:
                self.log.warn("{count} events could not be told to the orchestrator", count=len(self._queue))
        await factory.disconnect()

    def _take(self, event: Event) -> None:
        message = translate(event)
        if message is None:
            return
        told = commands(message, self._dialect, self._stream, self._channel, self._reactor.seconds())
        self._queue.append(list(told))
        if len(self._queue) > QUEUED:
            # The first may be under way; give up the next.
            del self._queue[1]
            self._given_up += 1
            if self._given_up == 1:
                self.log.error("Redis has been away for too long: events for the orchestrator are being given up")
        self._send_later()

    def _send_later(self) -> None:
        if self._sending is None and self._factory is not None and self._queue:
            sending = Deferred.fromCoroutine(self._send_all(self._factory.handler))
            if not sending.called:
                self._sending = sending
            sending.addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("could not tell the orchestrator", failure=failure)

    async def _send_all(self, redis: Any) -> None:
        failures = 0
        try:
            while self._queue:
                told = self._queue[0]
                try:
                    while told:
                        await redis.execute_command(*told[0])
                        told.pop(0)
                except (txredisapi.RedisError, OSError) as error:
                    if not str(error).startswith(FINAL):
                        if failures == 0:
                            self.log.warn("cannot tell the orchestrator, will retry: {reason}", reason=str(error))
                        await wait(self._reactor, RETRIES[min(failures, len(RETRIES) - 1)])
                        failures += 1
                        continue
                    self.log.error("Redis refuses an event: {reason}", reason=str(error))
                failures = 0
                self._queue.popleft()
            if self._given_up:
                self.log.error("{count} events were never told to the orchestrator", count=self._given_up)
                self._given_up = 0
        finally:
            self._sending = None
