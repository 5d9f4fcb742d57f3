"""What operators watch, in Prometheus's form: the reference's names for requests, our own for the rest.

Where several processes run, each keeps its figures in files that all can read (``PROMETHEUS_MULTIPROC_DIR``, which the supervisor sets),
and whichever is asked tells the sums.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from vfgateway.model import HealthState, Space

#: The buckets of the reference, in seconds.
BUCKETS = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: What :meth:`Metrics.render` answers with.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST = ("method", "endpoint", "domain", "operation", "error_detail", "status_code")


@lru_cache(maxsize=64)
def _labelled(counter: Counter, label: str) -> Counter:
    """That of the label; finding it takes longer than counting."""
    return counter.labels(label)


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Observe many values at once. The library has but a way for one by one, each with a lock and a check."""
    ordered = sorted(values)
    histogram._sum.inc(sum(ordered))
    below = 0
    for bound, bucket in zip(histogram._upper_bounds, histogram._buckets, strict=True):
        up_to = bisect_right(ordered, bound)
        if up_to > below:
            bucket.inc(up_to - below)
            below = up_to


class Metrics:
    """All metrics, as one process counts them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "backendai_api_request_count", "Requests answered by the HTTP front ends.", _REQUEST, registry=registry
        )
        self._durations = Histogram(
            "backendai_api_request_duration_sec",
            "Seconds from the request's headers to the end of the answer.",
            _REQUEST,
            buckets=BUCKETS,
            registry=registry,
        )
        self._by_labels: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}
        self._received = Counter(
            "vfgateway_received_bytes", "Bytes of files stored, by protocol.", ["protocol"], registry=registry
        )
        self._sent = Counter(
            "vfgateway_sent_bytes", "Bytes of files delivered, by protocol.", ["protocol"], registry=registry
        )
        self._uploads = Gauge(
            "vfgateway_uploads", "Resumable uploads that are open.", multiprocess_mode="mostrecent", registry=registry
        )
        self._tasks = Gauge(
            "vfgateway_tasks", "Background tasks that run.", ["task"], multiprocess_mode="livesum", registry=registry
        )
        self._ended_tasks = Counter(
            "vfgateway_ended_tasks", "Background tasks that ended.", ["task", "state"], registry=registry
        )
        self._refusals = Counter(
            "vfgateway_refusals",
            "Times that somebody was told no, by who said it: grant, limit, lock, backend, login, path.",
            ["refuser", "protocol"],
            registry=registry,
        )
        self._audit_dropped = Counter(
            "vfgateway_audit_dropped", "Entries of the audit that found no room.", registry=registry
        )
        self._log_dropped = Counter(
            "vfgateway_log_dropped", "Lines of the log that Loki did not get.", registry=registry
        )
        self._quota_alerts = Counter(
            "vfgateway_quota_alerts",
            "Thresholds and limits that usage crossed, and refusals that were told.",
            ["resource", "crossed"],
            registry=registry,
        )
        self._space = Gauge(
            "vfgateway_volume_bytes",
            "Room on a volume, as it tells: capacity, used, available.",
            ["volume", "of"],
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._health = Gauge(
            "vfgateway_volume_health",
            "1 for the state that a volume is in; with several processes, as any of them sees it.",
            ["volume", "state"],
            multiprocess_mode="livemax",
            registry=registry,
        )

    def request(
        self,
        *,
        method: str,
        endpoint: str,
        status: int,
        seconds: float,
        domain: str = "",
        operation: str = "",
        error_detail: str = "",
    ) -> None:
        """Count one answered request.

        :param endpoint: the template of its route, never the path itself
        :param domain: with ``operation`` and ``error_detail``, the parts of the reference's error code; empty on success
        """
        count, durations = self._counting(method, endpoint, domain, operation, error_detail, str(status))
        count.inc()
        durations.observe(seconds)

    def requests(self, method: str, endpoint: str, status: int, seconds: Sequence[float]) -> None:
        """Count requests that were answered without an error, each by the time that it took."""
        count, durations = self._counting(method, endpoint, "", "", "", str(status))
        count.inc(len(seconds))
        observe_all(durations, seconds)

    def _counting(self, *labels: str) -> tuple[Counter, Histogram]:
        known = self._by_labels.get(labels)  # finding them takes longer than counting
        if known is None:
            known = self._by_labels[labels] = (self._requests.labels(*labels), self._durations.labels(*labels))
        return known

    def received(self, protocol: str, count: int) -> None:
        """Count bytes of files that were stored."""
        _labelled(self._received, protocol).inc(count)

    def sent(self, protocol: str, count: int) -> None:
        """Count bytes of files that were delivered."""
        _labelled(self._sent, protocol).inc(count)

    def uploads(self, count: int) -> None:
        """Note how many uploads are open."""
        self._uploads.set(count)

    def task_began(self, task: str) -> None:
        """A background task runs."""
        self._tasks.labels(task).inc()

    def task_ended(self, task: str, state: str) -> None:
        """It runs no more; ``state`` as of the task (``queued``: it will be tried again)."""
        self._tasks.labels(task).dec()
        self._ended_tasks.labels(task, state).inc()

    def refusal(self, refuser: str, protocol: str) -> None:
        """Count a refusal (:attr:`vfgateway.errors.GatewayError.refuser`)."""
        self._refusals.labels(refuser, protocol).inc()

    def audit_dropped(self) -> None:
        """Count an entry that is lost."""
        self._audit_dropped.inc()

    def log_dropped(self, count: int) -> None:
        """Count lines of the log that found no room, or that Loki refused."""
        self._log_dropped.inc(count)

    def quota_alert(self, resource: str, crossed: str) -> None:
        """Count an alert (:class:`vfgateway.services.events.QuotaAlert`)."""
        self._quota_alerts.labels(resource, crossed).inc()

    def volume_health(self, volume: str, state: HealthState) -> None:
        """Note the state of a volume."""
        for each in HealthState:
            self._health.labels(volume, each.value).set(each is state)

    def volume_space(self, volume: str, space: Space) -> None:
        """Note the room on a volume; what it cannot tell is left out."""
        for of in ("capacity", "used", "available"):
            value = getattr(space, of)
            if value >= 0:
                self._space.labels(volume, of).set(value)

    def render(self) -> bytes:
        """All metrics as text (:data:`CONTENT_TYPE`); those of all processes. Reads files, if several run."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)
