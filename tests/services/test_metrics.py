"""Metrics: what operators already have dashboards for, under the names that these use."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vfgateway.model import HealthState
from vfgateway.services.metrics import Metrics

#: Of a GET of ``/`` that succeeded.
LABELS = {"method": "GET", "endpoint": "/", "domain": "", "operation": "", "error_detail": "", "status_code": "200"}


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Everything that a scrape would see."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, frozenset(labels.items())]


def test_requests_are_counted_under_the_references_names() -> None:
    """With its labels, so that its dashboards go on working."""
    metrics = Metrics()
    metrics.request(method="GET", endpoint="/download", status=206, seconds=0.05)
    metrics.request(method="GET", endpoint="/download", status=206, seconds=3.0)
    labels = {**LABELS, "endpoint": "/download", "status_code": "206"}
    assert value(metrics, "backendai_api_request_count_total", **labels) == 2
    assert value(metrics, "backendai_api_request_duration_sec_sum", **labels) == 3.05
    assert value(metrics, "backendai_api_request_duration_sec_bucket", **labels, le="0.1") == 1


def test_many_requests_at_once() -> None:
    """They count as they do one by one, also at the bounds of the buckets and beyond the last."""
    one, many = Metrics(), Metrics()
    seconds = [0.0005, 0.001, 0.0011, 0.1, 7.0, 30.0, 31.0, 0.0005]
    for each in seconds:
        one.request(method="GET", endpoint="/", status=200, seconds=each)
    many.requests("GET", "/", 200, seconds[:3])
    many.requests("GET", "/", 200, seconds[3:])
    told = [
        {key: value for key, value in samples(each).items() if not key[0].endswith("_created")} for each in (one, many)
    ]
    assert told[0] == pytest.approx(told[1])
    assert value(many, "backendai_api_request_duration_sec_count", **LABELS) == len(seconds)


def test_bytes_by_protocol() -> None:
    """What came in and what went out."""
    metrics = Metrics()
    metrics.received("sftp", 10)
    metrics.received("sftp", 5)
    metrics.sent("webdav", 7)
    assert value(metrics, "vfgateway_received_bytes_total", protocol="sftp") == 15
    assert value(metrics, "vfgateway_sent_bytes_total", protocol="webdav") == 7


def test_states_of_volumes_tasks_and_uploads() -> None:
    """Gauges say how it is now."""
    metrics = Metrics()
    metrics.volume_health("local", HealthState.HEALTHY)
    metrics.volume_health("local", HealthState.OFFLINE)
    assert value(metrics, "vfgateway_volume_health", volume="local", state="healthy") == 0
    assert value(metrics, "vfgateway_volume_health", volume="local", state="offline") == 1
    metrics.task_began("scan")
    metrics.task_began("scan")
    metrics.task_ended("scan", "done")
    assert value(metrics, "vfgateway_tasks", task="scan") == 1
    assert value(metrics, "vfgateway_ended_tasks_total", task="scan", state="done") == 1
    metrics.uploads(3)
    assert value(metrics, "vfgateway_uploads") == 3


def test_each_gateway_has_its_own() -> None:
    """Two in one process do not mix."""
    first, second = Metrics(), Metrics()
    first.received("sftp", 10)
    assert not any(name.startswith("vfgateway_received") and labels for name, labels in samples(second))
