"""Requests to the storage: over connections that are kept, never too many at once, and tried again while that may help."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from vfgateway.backends.azureblob.credentials import Credential, Pass
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.errors import VolumeUnavailable
from vfgateway.interfaces import type_chunk

#: The protocol's version: old enough for every endpoint, new enough for blocks of 4,000 MiB.
API_VERSION = "2022-11-02"
#: Seconds without a byte after which an attempt is given up.
SILENCE = 30.0
#: Seconds to connect.
CONNECT = 10.0
#: Seconds for which an idle connection is kept; servers close theirs soon after.
IDLE = 4.0
#: Seconds before the first repetition, and the longest wait; doubled each time.
FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0
#: Bytes given to a connection at once.
PIECE = 1 << 20
#: What is worth another attempt.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_CUT = (ConnectError, ConnectionClosed, DNSLookupError, ResponseFailed, RequestNotSent, RequestTransmissionFailed)


@attrs.frozen
class Answer:
    """What the storage answered.

    :ivar headers: by their names in lower case
    :ivar repeated: an earlier attempt may have had its effect
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    repeated: bool = False


class Transport:
    """Carries requests to one account.

    :param url: where its containers are
    :param connections: requests at once; the rest wait
    :param patience: seconds after which a request is not tried again
    :ivar server: what the storage calls itself
    """

    def __init__(
        self, volume: str, url: str, credential: Credential, reactor: Any, connections: int, patience: float
    ) -> None:
        self.credential = credential
        self.url = url
        self.server = ""
        self._volume = volume
        self._reactor = reactor
        self._patience = patience
        self._slots = DeferredSemaphore(connections)
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = connections
        self._pool.cachedConnectionTimeout = IDLE  # type: ignore[assignment]  # any number will do
        self._pool.retryAutomatically = False  # we do, and know what may be repeated
        self._agent = Agent(reactor, connectTimeout=CONNECT, pool=self._pool)

    def close(self) -> Deferred[None]:
        """Let go of idle connections."""
        return self._pool.closeCachedConnections() or succeed(None)

    def now(self) -> float:
        """Epoch seconds."""
        seconds: float = self._reactor.seconds()
        return seconds

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await deferLater(self._reactor, seconds)

    def address(self, path: str, query: Mapping[str, str], let_in: Pass) -> str:
        """The URL of ``path``, a container or a blob, with ``query`` and with what lets in."""
        asked = urlencode(query, quote_via=quote, safe="/")
        joined = "&".join(part for part in (asked, let_in.query) if part)
        return f"{self.url}/{quote(path, safe='/~')}" + (f"?{joined}" if joined else "")

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[type_chunk] = (),
        patience: float | None = None,
    ) -> Answer:
        """Ask, as often as it takes.

        :param body: all of it; its chunks must not change meanwhile
        :param patience: seconds, if not those of the volume
        :raises Refused: it answered, and said no
        :raises VolumeUnavailable: it does not answer, or is too busy
        """
        deadline = self._reactor.seconds() + (self._patience if patience is None else patience)
        wait, repeated, renewed = FIRST_WAIT, False, False
        while True:
            let_in = await self.credential.current()
            after = None
            try:
                answer = await self._once(method, self.address(path, query or {}, let_in), headers or {}, let_in, body)
            except _CUT as error:
                reason, repeated = _reason(error), True
            else:
                if answer.status < 400:
                    return attrs.evolve(answer, repeated=repeated)
                refused = Refused(answer.status, answer.headers.get("x-ms-error-code", ""), repeated)
                if refused.login and not renewed and await self.credential.renew(let_in):
                    renewed = True
                    continue
                if answer.status not in _PASSING:
                    raise refused
                reason, after = f"{answer.status} {refused.code}".rstrip(), _retry_after(answer)
                repeated = repeated or answer.status in (408, 500, 504)
            pause = wait * random.uniform(0.5, 1.0) if after is None else after  # noqa: S311 - no secret
            if self._reactor.seconds() + pause > deadline:
                raise VolumeUnavailable(self._volume, reason)
            await self.pause(pause)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], let_in: Pass, body: Sequence[type_chunk]
    ) -> Answer:
        raw = Headers({"x-ms-version": [API_VERSION], "User-Agent": ["vfgateway"]})
        for name, value in (*headers.items(), *let_in.headers):
            raw.addRawHeader(name.encode("ascii"), value.encode("utf-8"))
        await self._slots.acquire()
        watch = _Watch(self._reactor)
        try:
            producer = _Chunks(body, watch.alive) if body else None
            response = await watch.over(self._agent.request(method.encode(), url.encode("ascii"), raw, producer))
            collector = _Collector(watch.alive)
            response.deliverBody(collector)
            content = await watch.over(collector.done)
        finally:
            watch.end()
            self._slots.release()
        answered = {
            name.decode("ascii").lower(): values[-1].decode("utf-8", "replace")
            for name, values in response.headers.getAllRawHeaders()
        }
        self.server = answered.get("server", self.server)
        return Answer(response.code, answered, content)


def _reason(error: Exception) -> str:
    """What is wrong with the connection, without the URL."""
    if isinstance(error, ResponseFailed | RequestNotSent | RequestTransmissionFailed):
        return "the connection was cut"
    return str(error) or type(error).__name__


def _was_cancelled(error: Exception) -> bool:
    """Whether the connection was cut since nobody wants the answer any more."""
    if isinstance(error, CancelledError | ConnectingCancelledError):
        return True
    return any(reason.check(CancelledError) for reason in getattr(error, "reasons", ()))


def _retry_after(answer: Answer) -> float | None:
    try:
        return max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


class _Watch:
    """Gives an exchange up that is silent for too long."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._heard = reactor.seconds()
        self._waiting: Deferred[Any] | None = None
        self._late = False
        self._timer = reactor.callLater(SILENCE, self._look)

    def alive(self) -> None:
        """A byte went one way or the other."""
        self._heard = self._reactor.seconds()

    def _look(self) -> None:
        left = self._heard + SILENCE - self._reactor.seconds()
        if left > 0:
            self._timer = self._reactor.callLater(left, self._look)
        else:
            self._late = True
            if self._waiting is not None:
                self._waiting.cancel()

    async def over(self, waiting: Deferred[Any]) -> Any:
        """The outcome of ``waiting``; ``ConnectionClosed`` if it is silent for too long."""
        self._waiting = waiting
        try:
            return await waiting
        except (CancelledError, ResponseFailed, RequestTransmissionFailed, ConnectingCancelledError) as error:
            if self._late:
                raise ConnectionClosed(f"no answer within {SILENCE:.0f} seconds") from None
            if _was_cancelled(error):
                raise CancelledError from None
            raise
        finally:
            self._waiting = None

    def end(self) -> None:
        """It is over."""
        if self._timer.active():
            self._timer.cancel()


@implementer(IBodyProducer, IPushProducer)
class _Chunks:
    """A body that is in memory, given to the connection as it takes it."""

    def __init__(self, chunks: Sequence[type_chunk], alive: Callable[[], None]) -> None:
        self._pieces = [piece for chunk in chunks for piece in _cut(chunk)]
        self._alive = alive
        self._next = 0
        self._paused = False
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] = Deferred()
        self.length = sum(map(len, self._pieces))

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self._consumer = consumer
        self._go_on()
        return self._done

    def _go_on(self) -> None:
        while not self._paused and self._consumer is not None:
            if self._next == len(self._pieces):
                self._consumer = None
                self._done.callback(None)
                return
            piece = self._pieces[self._next]
            self._next += 1
            self._consumer.write(bytes(piece))  # no copy of what is bytes already
            self._alive()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._alive()
        self._go_on()

    def stopProducing(self) -> None:
        self._consumer = None
        self._pieces = []


def _cut(chunk: type_chunk) -> Iterator[type_chunk]:
    """A chunk in pieces of :data:`PIECE` at most; itself if it is no longer."""
    if len(chunk) <= PIECE:
        yield chunk
        return
    for start in range(0, len(chunk), PIECE):
        yield memoryview(chunk)[start : start + PIECE]


class _Collector(Protocol):
    """Takes in the body of an answer."""

    def __init__(self, alive: Callable[[], None]) -> None:
        self._alive = alive
        self._chunks: list[bytes] = []
        self.done: Deferred[bytes] = Deferred(self._cancel)

    def dataReceived(self, data: bytes) -> None:
        self._alive()
        self._chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._chunks))
        else:
            self.done.errback(ResponseFailed([reason]))

    def _cancel(self, _: Deferred[bytes]) -> None:
        abort = getattr(self.transport, "abortConnection", None)
        if abort is not None:
            abort()
