"""What the fast lane has answered, until it is counted: a counter of the metrics costs as much as a small request may."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from vfgateway.services.metrics import Metrics


class Tally:
    """See the module.

    :param front_end: its name
    :param endpoint_of: what a path is called in the metrics; ``None`` where others count
    """

    def __init__(self, metrics: Metrics, front_end: str, endpoint_of: Callable[[bytes], str] | None) -> None:
        self._metrics = metrics
        self._front_end = front_end
        # Clients ask for the same over and over.
        self._endpoint_of = None if endpoint_of is None else lru_cache(4096)(endpoint_of)
        self._seconds: dict[tuple[bytes, str, int], list[float]] = {}
        self._sent = 0

    def add(self, method: bytes, path: bytes, status: int, seconds: float, sent: int) -> None:
        """A request was answered without an error.

        :param sent: bytes of the answer's body
        """
        if method == b"GET":
            self._sent += sent
        if self._endpoint_of is not None:
            key = (method, self._endpoint_of(path), status)
            try:
                self._seconds[key].append(seconds)
            except KeyError:
                self._seconds[key] = [seconds]

    def settle(self) -> None:
        """Count what was added."""
        if self._sent:
            self._metrics.sent(self._front_end, self._sent)
            self._sent = 0
        counted, self._seconds = self._seconds, {}
        for (method, endpoint, status), seconds in counted.items():
            self._metrics.requests(method.decode("ascii"), endpoint, status, seconds)
