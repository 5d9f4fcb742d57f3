"""Pushes the log to Grafana Loki over HTTP, if that is configured: in batches, from a queue that has an end.

A Loki that is slow or away costs the gateway a bounded number of lines in memory: it is tried again after growing pauses, and the oldest
lines are dropped and counted meanwhile. What Loki itself refuses (a line that is too old, say) is dropped with the batch that it is in.
"""

from __future__ import annotations

import base64
import json
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from treq import collect
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, Logger
from twisted.web.client import Agent, HTTPConnectionPool
from zope.interface import implementer

from vfgateway import __version__, loglines
from vfgateway.log_settings import LokiSettings

#: Seconds for which lines wait for others; lines in one push; seconds that a push may take.
GATHER: Final = 1.0
BATCH: Final = 1000
TIMEOUT: Final = 15.0
#: Seconds before a push that failed is tried again, doubled each time, at most; and in all when the gateway stops.
PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0
FAREWELL: Final = 3.0

type_line = tuple[str, str, str]


@implementer(ILogObserver)
class Loki:
    """See the module. An observer of the log.

    :param dropped: called with how many lines were dropped
    """

    log = Logger()

    def __init__(self, settings: LokiSettings, reactor: Any, dropped: Callable[[int], object]) -> None:
        self._settings = settings
        self._reactor = reactor
        self._dropped = dropped
        self._lines: deque[type_line] = deque()
        self._later: IDelayedCall | None = None
        self._pushing: Deferred[None] | None = None
        self._pause = 0.0
        self._stopping = False
        self._pool = HTTPConnectionPool(reactor)
        self._client = HTTPClient(Agent(reactor, connectTimeout=TIMEOUT, pool=self._pool))
        self._headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": f"vfgateway/{__version__}",
        }
        self._labels = {**settings.labels, "job": "vfgateway", "host": socket.gethostname()}

    def start(self) -> None:
        """Read the secret. ``ConfigurationError``."""
        settings = self._settings
        if settings.user is not None:
            login = f"{settings.user}:{settings.password.load()[0]}".encode()
            self._headers["authorization"] = f"Basic {base64.b64encode(login).decode('ascii')}"
        if settings.tenant is not None:
            self._headers["x-scope-orgid"] = settings.tenant

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Called by Twisted. What another process has passed on was pushed there."""
        if event.get("log_relayed") or str(event.get("log_namespace", "")).startswith(
            ("twisted.web.client", "twisted.internet.protocol")
        ):
            return
        stamp = str(int(event.get("log_time", 0.0) * 1e9))
        level, lines = loglines.lines_of(event)
        self._lines.extend([(level, stamp, line) for line in lines])
        over = len(self._lines) - self._settings.queue
        for _ in range(over):
            self._lines.popleft()
        if over > 0:
            self._dropped(over)
        if self._later is None and self._pushing is None and not self._stopping:
            self._later = self._reactor.callLater(GATHER, self._begin)

    def _begin(self) -> None:
        self._later = None
        self._pushing = Deferred.fromCoroutine(self._push())
        self._pushing.addBoth(self._pushed)

    def _pushed(self, _: object) -> None:
        self._pushing = None
        if self._lines and not self._stopping:
            self._later = self._reactor.callLater(
                self._pause or (0.0 if len(self._lines) >= BATCH else GATHER), self._begin
            )

    async def _push(self) -> None:
        batch = [self._lines.popleft() for _ in range(min(BATCH, len(self._lines)))]
        try:
            status = await self._post(batch)
        except CancelledError:
            self._keep(batch)
            raise
        except Exception as error:  # of many kinds
            self._failed(batch, str(error) or type(error).__name__)
            return
        if status == 429 or status >= 500:
            self._failed(batch, f"it answered {status}")
            return
        if status >= 300:
            self._dropped(len(batch))
            self.log.warn("Loki refused {count} lines: it answered {status}", count=len(batch), status=status)
        elif self._pause:
            self.log.info("Loki takes lines again")
        self._pause = 0.0

    def _failed(self, batch: list[type_line], reason: str) -> None:
        self._keep(batch)
        if not self._pause:
            self.log.warn("Loki does not take lines: {reason}; trying again", reason=reason)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or PAUSE)

    def _keep(self, batch: list[type_line]) -> None:
        room = max(0, self._settings.queue - len(self._lines))
        kept = batch[len(batch) - room :] if room < len(batch) else batch
        self._lines.extendleft(reversed(kept))
        if len(kept) < len(batch):
            self._dropped(len(batch) - len(kept))

    async def _post(self, batch: list[type_line]) -> int:
        streams: dict[str, list[list[str]]] = {}
        for level, stamp, line in batch:
            streams.setdefault(level, []).append([stamp, line])
        told: list[dict[str, Any]] = [
            {"stream": {**self._labels, "level": level}, "values": values} for level, values in streams.items()
        ]
        body = json.dumps({"streams": told}).encode("utf-8")
        url = f"{self._settings.url.rstrip('/')}/loki/api/v1/push"
        asking = self._client.post(url, data=body, headers=self._headers, reactor=self._reactor, unbuffered=True)
        answer = await asking.addTimeout(TIMEOUT, self._reactor)
        await collect(answer, lambda _: None).addTimeout(TIMEOUT, self._reactor)
        return int(answer.code)

    async def stop(self) -> None:
        """Push what waits, if that takes no longer than :data:`FAREWELL` seconds. Idempotent."""
        self._stopping = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._pushing is None and self._lines and not self._pause:
            self._begin()
        if self._pushing is not None:
            pushing = self._pushing
            call = self._reactor.callLater(FAREWELL, pushing.cancel)
            await pushing
            if call.active():
                call.cancel()
        await self._pool.closeCachedConnections()
