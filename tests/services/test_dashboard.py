"""The dashboard asks for what the gateway tells, under the names and labels that it has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfgateway.model import HealthState, Space
from vfgateway.services.metrics import Metrics

DASHBOARD = json.loads((Path(__file__).parents[2] / "etc/grafana-vfgateway.json").read_text("utf-8"))
#: Given by Prometheus to every series, or made by its functions.
FOREIGN = {"job", "instance", "le"}
_SERIES = re.compile(r"\b((?:backendai|vfgateway)_[a-z_]+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")


def known() -> dict[str, set[str]]:
    """All series that can be told, with their labels."""
    metrics = Metrics()
    metrics.request(method="GET", endpoint="/", status=200, seconds=0.1)
    metrics.received("client", 1)
    metrics.sent("client", 1)
    metrics.task_began("scan")
    metrics.task_ended("scan", "done")
    metrics.quota_alert("bytes", "80")
    metrics.refusal("grant", "webdav")
    metrics.volume_health("local", HealthState.HEALTHY)
    metrics.volume_space("local", Space(3, 1, 2))
    return {
        sample.name: {label for same in family.samples if same.name == sample.name for label in same.labels}
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def queries() -> Iterator[tuple[str, str]]:
    """Each query of each panel, with the panel's title."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("title", "query"), list(queries()))
def test_a_query_asks_for_what_there_is(title: str, query: str) -> None:
    """A series that exists, by labels that it has, for values that the gateway gives."""
    series = known()
    found = _SERIES.findall(query)
    assert found, query
    labels: set[str] = set()
    for name, conditions in found:
        assert name in series, f"{title}: {name}"
        labels |= series[name]
        asked = {each.partition("=")[0].rstrip("!") for each in re.split(r",\s*", conditions) if each}
        assert asked <= series[name] | FOREIGN, f"{title}: {query}"
    for by in _BY.findall(query):
        assert {each.strip() for each in by.split(",")} <= labels | FOREIGN, f"{title}: {query}"
    for state in re.findall(r'state!?="([^"]*)"', query):
        assert state in {each.value for each in HealthState}


def test_every_metric_is_on_the_dashboard() -> None:
    """What is worth counting is worth a look."""
    asked = {name for _, query in queries() for name, _ in _SERIES.findall(query)}
    families = {family.name for family in Metrics().registry.collect()}
    assert not [family for family in families if not any(name.startswith(family) for name in asked)]


def test_panels_do_not_overlap_and_have_names() -> None:
    """Grafana would move them about."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        taken |= cells
        assert panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
