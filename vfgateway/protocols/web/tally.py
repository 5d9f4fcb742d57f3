"""What the fast lane has answered, until it is counted: a counter of the metrics costs as much as a small request may."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache

from vfgateway.protocols.web.accesslog import type_line
from vfgateway.services.metrics import Metrics


class Tally:
    """See the module.

    :param front_end: its name
    :param endpoint_of: what a path is called in the metrics; ``None`` where others count
    :ivar add: a request was answered without an error
    """

    def __init__(self, metrics: Metrics, front_end: str, endpoint_of: Callable[[bytes], str] | None) -> None:
        self._metrics = metrics
        self._front_end = front_end
        # Clients ask for the same over and over.
        self._endpoint_of = None if endpoint_of is None else lru_cache(4096)(endpoint_of)
        self._added: list[type_line] = []
        self.add: Callable[[type_line], None] = self._added.append

    def settle(self) -> None:
        """Count what was added."""
        added = self._added.copy()
        self._added.clear()
        delivered = sum([sent for _, _, method, _, _, sent, _, _, _, _ in added if method == b"GET"])
        if delivered:
            self._metrics.sent(self._front_end, delivered)
        if self._endpoint_of is None:
            return
        counted: defaultdict[tuple[bytes, str, int], list[float]] = defaultdict(list)
        endpoint_of = self._endpoint_of
        for _, _, method, path, status, _, _, seconds, _, _ in added:
            counted[method, endpoint_of(path), status].append(seconds)
        for (method, endpoint, status), times in counted.items():
            self._metrics.requests(method.decode("ascii"), endpoint, status, times)
