"""The reference's routes about volumes and quota scopes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.support.manager import Serving, serving_manager
from vfgateway.abilities import IPerformanceMetrics
from vfgateway.backends.memory import MemoryVolume
from vfgateway.errors import VolumeUnavailable
from vfgateway.model import Health, HealthState, PerformanceMetric
from vfgateway.protocols.manager.health import HealthMonitor
from vfgateway.services.volumes import PATIENCE


@implementer(IPerformanceMetrics)
class Measuring(MemoryVolume):
    """Measures itself, and counts how often it is asked."""

    asked = 0

    async def performance(self) -> PerformanceMetric:
        self.asked += 1
        return PerformanceMetric(1, 2, 3, 4, 5.5, 6)


class Dead(MemoryVolume):
    """Never starts."""

    async def start(self) -> None:
        raise VolumeUnavailable(self.name, "the array is on fire")


@pytest_twisted.async_yield_fixture(scope="module")
async def three(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    """A gateway with the volumes ``mem``, ``fast`` (which measures itself) and ``dead``."""
    volumes = [MemoryVolume("mem", reactor), Measuring("fast", reactor), Dead("dead", reactor)]
    async with serving_manager(tmp_path_factory.mktemp("three"), volumes) as serving:
        yield serving


def scope() -> dict[str, Any]:
    """A quota scope that is not there yet."""
    return {"volume": "mem", "qsid": f"project:{uuid4()}"}


async def test_all_volumes_are_listed_in_order(three: Serving) -> None:
    """Also one that does not answer; with what each can do."""
    volumes = (await three.client.get("/volumes"))["volumes"]
    assert [volume["name"] for volume in volumes] == ["mem", "fast", "dead"]
    assert {"name", "backend", "path", "fsprefix", "capabilities"} == set(volumes[0])
    assert volumes[0]["fsprefix"] == "."
    assert "vfolder" in volumes[0]["capabilities"]
    assert "metric" not in volumes[0]["capabilities"]
    assert "metric" in volumes[1]["capabilities"]


async def test_hardware_info_says_what_is_wrong(three: Serving) -> None:
    """A dead volume is told as such, and does not hinder the others."""
    assert await three.client.get("/volume/hwinfo", {"volume": "mem"}) == {
        "status": "healthy",
        "status_info": None,
        "metadata": {},
    }
    dead = await three.client.get("/volume/hwinfo", {"volume": "dead"})
    assert dead["status"] == "unavailable"
    assert "on fire" in dead["status_info"]


async def test_a_dead_volume_refuses_work(three: Serving) -> None:
    """503, and when to come back."""
    answer = await three.client.call("GET", "/folder/fs-usage", {"volume": "dead"})
    assert answer.status == 503
    assert answer.headers.hasHeader("retry-after")
    assert answer.json["error_code"].startswith("storage_")


async def test_usage_is_within_capacity(three: Serving) -> None:
    """Managers divide the one by the other."""
    usage = await three.client.get("/folder/fs-usage", {"volume": "mem"})
    assert set(usage) == {"capacity_bytes", "used_bytes"}
    assert usage["used_bytes"] <= usage["capacity_bytes"] or usage["capacity_bytes"] == -1


async def test_rates_are_told_from_a_cache(three: Serving) -> None:
    """Many viewers of a dashboard ask the storage once."""
    volume = three.gateway.volumes.get("fast")
    assert isinstance(volume, Measuring)
    first = await three.client.get("/volume/performance-metric", {"volume": "fast"})
    assert await three.client.get("/volume/performance-metric", {"volume": "fast"}) == first
    assert volume.asked == 1
    assert first["metric"]["io_usec_read"] == 5.5
    assert first["observed_at"].endswith("+00:00")


async def test_a_volume_that_does_not_measure_itself_says_so(three: Serving) -> None:
    """A stable 400, never an internal error."""
    problem = await three.client.refused("GET", "/volume/performance-metric", {"volume": "mem"}, 400)
    assert problem["type"] == "https://api.backend.ai/probs/storage/unsupported-operation"


@pytest.mark.parametrize(("method", "more"), [("GET", {}), ("PATCH", {"size_bytes": "10g"})])
async def test_the_quota_of_one_vfolder_is_gone(three: Serving, method: str, more: dict[str, Any]) -> None:
    """Both routes are there only to say so."""
    await three.client.refused(method, "/volume/quota", {"volume": "mem", **more}, 400)


async def test_the_volume_for_nothing_answers(three: Serving) -> None:
    """``noop`` is not listed, and does nothing, successfully."""
    client = three.client
    here = {"volume": "noop", "vfid": f"user:{uuid4()}/{uuid4().hex}"}
    await client.post("/folder/create", here, 204)
    assert await client.get("/folder/fs-usage", {"volume": "noop"}) == {"capacity_bytes": 0, "used_bytes": 0}
    assert await client.get("/folder/usage", here) == {"file_count": 0, "used_bytes": 0}
    assert await client.post("/folder/file/list", {**here, "relpath": "."}) == {"items": []}
    assert (await client.get("/volume/hwinfo", {"volume": "noop"}))["status"] == "healthy"
    assert "bgtask_id" in await client.post("/folder/delete", here, 202)


# --- quota scopes ---


async def test_a_scope_is_made_once(three: Serving) -> None:
    """The second time it is in the way."""
    params = scope()
    await three.client.post("/quota-scope", {**params, "options": None, "extra_args": None}, 204)
    problem = await three.client.refused("POST", "/quota-scope", params, 409)
    assert problem["error_code"] == "quota-scope_create_already-exists"
    assert problem["msg"]


async def test_a_scope_without_a_limit_has_none(three: Serving) -> None:
    """``null``, rather than an error."""
    params = scope()
    await three.client.post("/quota-scope", params, 204)
    assert await three.client.get("/quota-scope", params) == {"used_bytes": 0, "limit_bytes": None}


async def test_an_unknown_scope_is_not_found(three: Serving) -> None:
    """With the domain that makes GraphQL answer null."""
    for method, path in (("GET", "/quota-scope"), ("DELETE", "/quota-scope/quota")):
        problem = await three.client.refused(method, path, scope(), 404)
        assert problem["error_code"] == "quota-scope_read_not-found"


async def test_changing_a_scope_makes_it(three: Serving) -> None:
    """PATCH creates what is missing; numbers may be texts; the kind in any case."""
    params = scope()
    shouted = {**params, "qsid": params["qsid"].replace("project", "PROJECT")}
    await three.client.ok("PATCH", "/quota-scope", {**shouted, "options": {"limit_bytes": "9007199254740993"}}, 204)
    assert (await three.client.get("/quota-scope", params))["limit_bytes"] == 9007199254740993


async def test_lifting_a_limit_keeps_the_scope(three: Serving) -> None:
    """And 0 lifts it too."""
    params = scope()
    for lift in (
        ("DELETE", "/quota-scope/quota", params),
        ("PATCH", "/quota-scope", {**params, "options": {"limit_bytes": 0}}),
    ):
        await three.client.ok("PATCH", "/quota-scope", {**params, "options": {"limit_bytes": 4096}}, 204)
        await three.client.ok(*lift, 204)
        assert await three.client.get("/quota-scope", params) == {"used_bytes": 0, "limit_bytes": None}


@pytest.mark.parametrize("limit", [-1, "-1", 1.5, True, None, "many", 1 << 64])
async def test_an_impossible_limit_is_refused(three: Serving, limit: Any) -> None:
    """Nothing reaches the storage that it could misunderstand."""
    params = {**scope(), "options": {"limit_bytes": limit}}
    problem = await three.client.refused("PATCH", "/quota-scope", params, 400)
    assert list(problem["data"]) == ["options.limit_bytes"]
    await three.client.refused("GET", "/quota-scope", {"volume": "mem", "qsid": params["qsid"]}, 404)


async def test_health_names_the_dead_volume(three: Serving) -> None:
    """Degraded, and still alive and ready: the others are served."""
    await three.service.application.monitor.look()
    health = await three.client.get("/health")
    assert health["status"] == "degraded"
    assert health["component"] == "storage-proxy"
    checks = {check["component_id"]: check for check in health["connectivity"]["connectivity_checks"]}
    assert checks["mem"]["is_healthy"]
    assert checks["database"]["is_healthy"]
    assert not checks["dead"]["is_healthy"]
    assert "on fire" in checks["dead"]["error_message"]
    for path in ("/livez", "/readyz"):
        assert (await three.client.call("GET", path)).status == 200


async def test_a_volume_that_hangs_delays_nobody(tmp_path: Path) -> None:
    """It is told as unavailable, after a bounded time; the others and the answer do not wait for it."""

    class Hanging(MemoryVolume):
        async def health(self) -> Health:
            waiting.append(Deferred())
            await waiting[-1]
            raise AssertionError

    waiting: list[Deferred[None]] = []
    clock = Clock()
    async with serving_manager(tmp_path, [MemoryVolume("mem", reactor), Hanging("slow", reactor)]) as serving:
        gateway = serving.gateway
        monitor = HealthMonitor(gateway)
        gateway.volumes._reactor = clock
        looking = Deferred.fromCoroutine(gateway.volumes.health("slow"))
        clock.advance(PATIENCE)
        assert (await looking).state is HealthState.UNAVAILABLE
        assert monitor.ready
        assert (await serving.client.get("/volume/hwinfo", {"volume": "mem"}))["status"] == "healthy"


async def test_metrics_carry_route_templates(three: Serving) -> None:
    """Labels stay few, and are the reference's."""
    await three.client.call("GET", "/folder/fs-usage", {"volume": "none"})
    await three.client.call("DELETE", "/vfgateway/v1/users/somebody")
    await three.client.call("GET", "/some/random/path")
    text = (await three.client.call("GET", "/metrics")).body.decode()
    assert (
        'backendai_api_request_count_total{domain="storage",endpoint="/folder/fs-usage",'
        'error_detail="invalid-parameters",method="GET",operation="access",status_code="400"}'
    ) in text
    assert 'endpoint="/vfgateway/v1/users/{user}"' in text
    assert "random" not in text


async def test_open_metrics_can_be_chosen(tmp_path: Path) -> None:
    """For a Prometheus that can send no header."""
    async with serving_manager(tmp_path, public_metrics=True) as serving:
        serving.client.headers.clear()
        assert (await serving.client.call("GET", "/metrics")).status == 200
