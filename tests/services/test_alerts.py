"""Alerts: each crossing is told once, by whichever process, and none is missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.support.lookouts import LookOut, levels_of, looking_out
from tests.support.processes import turn, while_time_passes
from vfgateway.errors import QuotaExceeded
from vfgateway.model import Limits, Usage, VFolder
from vfgateway.services.alerts import ALL_OVER, SOON
from vfgateway.services.crossings import GRACE, OVER, REFUSED
from vfgateway.services.subjects import SOFT, SoftLimits

HOUR = 3600.0


@pytest_twisted.async_yield_fixture
async def alone(tmp_path: Path, clock: Clock) -> AsyncIterator[LookOut]:
    async with looking_out(tmp_path / "db", clock) as made:
        yield made


async def refused(by: LookOut, vfolder: VFolder, amount: Usage) -> None:
    """Ask for what does not fit, and let it be noticed."""
    with pytest.raises(QuotaExceeded):
        await by.at.quota.reserve(vfolder, amount)
    await by.looked()


async def test_once_for_a_crossing_and_not_for_a_write(alone: LookOut) -> None:
    """Fifty writes pass two thresholds and reach the limit."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=1000))
    for _ in range(50):
        await alone.store(vfolder, Usage(20, 1))
    assert alone.levels == ["80", "95", "100"]
    last = alone.told[-1]
    assert (last.subject, last.resource, last.used, last.limit) == (f"vfolder:{vfolder.key}", "bytes", 1000, 1000)
    assert last.words.startswith("vfolder ")


async def test_again_after_it_was_emptied(alone: LookOut) -> None:
    """But not for going to and fro around the threshold."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=1000))
    await alone.store(vfolder, Usage(810, 1))
    for _ in range(3):
        await alone.remove(vfolder, Usage(20, 0))
        await alone.store(vfolder, Usage(20, 0))
    assert alone.levels == ["80"]
    await alone.remove(vfolder, Usage(100, 0))
    await alone.store(vfolder, Usage(100, 0))
    assert alone.levels == ["80", "80"]


async def test_files_are_told_like_bytes(alone: LookOut) -> None:
    """Each resource by itself."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=1000, files=10))
    await alone.store(vfolder, Usage(0, 8))
    await alone.store(vfolder, Usage(800, 0))
    assert [(event.resource, event.crossed) for event in alone.told] == [("files", "80"), ("bytes", "80")]


async def test_uploads_under_way_count(alone: LookOut) -> None:
    """What is promised to them cannot be given to others."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=1000))
    reservation = await alone.at.quota.reserve(vfolder, Usage(900, 1), "0" * 32)
    await alone.looked()
    assert alone.levels == ["80"]
    await reservation.release()


@pytest.mark.parametrize("fresh", [False, True], ids=["while it runs", "after a restart"])
async def test_a_lowered_limit(tmp_path: Path, clock: Clock, fresh: bool) -> None:
    """Nobody writes, so the look at everything finds it; at the start there is one too."""
    async with looking_out(tmp_path / "db", clock) as first:
        vfolder = await first.at.vfolder(limits=Limits(bytes=1000))
        await first.store(vfolder, Usage(500, 1))
        await first.limit(vfolder, Limits(bytes=400))
        if not fresh:
            await first.looked_all_over()
            assert first.levels == [OVER]
    if fresh:
        async with looking_out(tmp_path / "db", clock, 2) as second:
            assert second.levels == [OVER]


async def test_a_limit_that_is_lifted_is_forgotten(alone: LookOut) -> None:
    """If it comes back, it is told as new."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=1000))
    await alone.store(vfolder, Usage(900, 1))
    await alone.limit(vfolder)
    await alone.looked_all_over()
    await alone.limit(vfolder, Limits(bytes=1000))
    await alone.looked_all_over()
    assert alone.levels == ["80", "80"]


# --- soft limits ---


async def test_a_soft_limit_may_be_passed_for_its_time(alone: LookOut) -> None:
    """It is told when it begins and when it is over; then nothing grows until there is less."""
    vfolder = await alone.at.vfolder()
    await alone.limit(vfolder, soft=SoftLimits(bytes=500, grace=HOUR))
    await alone.store(vfolder, Usage(500, 1))
    assert alone.levels == []
    await alone.store(vfolder, Usage(1, 1))
    assert alone.levels == [SOFT]
    await alone.store(vfolder, Usage(1000, 1))
    alone.at.clock.advance(HOUR - ALL_OVER)
    await alone.looked_all_over()
    await refused(alone, vfolder, Usage(1, 1))
    assert alone.levels == [SOFT, GRACE, REFUSED]
    await alone.remove(vfolder, Usage(1001, 2))
    alone.at.clock.advance(1.0)
    await alone.store(vfolder, Usage(100, 1))
    assert alone.levels == [SOFT, GRACE, REFUSED, SOFT]


async def test_a_grace_that_begins_here_runs_out_there(tmp_path: Path, clock: Clock) -> None:
    """The other process has the limits in its cache."""
    async with looking_out(tmp_path / "db", clock, 1) as here, looking_out(tmp_path / "db", clock, 2) as there:
        vfolder = await here.at.vfolder()
        await here.limit(vfolder, soft=SoftLimits(bytes=500, grace=HOUR))
        await there.store(vfolder, Usage(100, 1))
        await here.store(vfolder, Usage(500, 1))
        await there.store(vfolder, Usage(100, 1))
        clock.advance(HOUR)
        with pytest.raises(QuotaExceeded):
            await there.at.quota.reserve(vfolder, Usage(1, 1))


# --- refusals ---


async def test_many_refusals_are_one_alert(alone: LookOut) -> None:
    """However fast they come, they cost a write a minute."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=100))
    await alone.looked()
    writes: list[object] = []
    write = alone.at.database.write

    def counted(function: object, *rest: object) -> object:
        if "_tell_refusal" in getattr(function, "__qualname__", ""):
            writes.append(function)
        return write(function, *rest)  # type: ignore[arg-type]

    alone.at.database.write = counted  # type: ignore[method-assign,assignment]
    for _ in range(50):
        with pytest.raises(QuotaExceeded):
            await alone.at.quota.reserve(vfolder, Usage(101, 1))
    await alone.looked()
    assert alone.levels == [REFUSED]
    assert len(writes) == 1


async def test_a_refusal_is_told_by_one_of_two_processes(tmp_path: Path, clock: Clock) -> None:
    """Whichever was first."""
    async with looking_out(tmp_path / "db", clock, 1) as here, looking_out(tmp_path / "db", clock, 2) as there:
        vfolder = await here.at.vfolder(limits=Limits(bytes=100))
        for by in (here, there, here, there):
            await refused(by, vfolder, Usage(101, 1))
        assert levels_of(here, there) == [REFUSED]


async def test_a_refusal_is_told_again_after_quiet_hours(alone: LookOut) -> None:
    """When there had been room meanwhile."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=100))
    await refused(alone, vfolder, Usage(101, 1))
    alone.at.clock.advance(HOUR)
    await alone.looked_all_over()
    await refused(alone, vfolder, Usage(101, 1))
    assert alone.levels == [REFUSED, REFUSED]


# --- several processes ---


async def test_two_processes_tell_each_crossing_once(tmp_path: Path, clock: Clock) -> None:
    """Both write and both look, at the same moment."""
    async with looking_out(tmp_path / "db", clock, 1) as here, looking_out(tmp_path / "db", clock, 2) as there:
        vfolder = await here.at.vfolder(limits=Limits(bytes=1000))
        for _ in range(25):
            for by in (here, there):
                reservation = await while_time_passes(clock, by.at.quota.reserve(vfolder, Usage(20, 1)))
                await reservation.settle(Usage(20, 1))
                await by.at.quota.flush()
            clock.advance(SOON)
            await here._settled()
            await there._settled()
        assert levels_of(here, there) == ["100", "80", "95"]


async def test_what_a_dead_process_did_not_tell_is_told(tmp_path: Path, clock: Clock) -> None:
    """Another looks at everything now and then."""
    alive: set[int] = set()
    async with looking_out(tmp_path / "db", clock, 1, alive=alive) as here:
        vfolder = await here.at.vfolder(limits=Limits(bytes=1000))
        async with looking_out(tmp_path / "db", clock, 2, alive=alive) as there:
            async with await there.at.quota.reserve(vfolder, Usage(900, 1)) as reservation:
                await reservation.settle(Usage(900, 1))
            await there.at.quota.flush()
            there.at.die()
            alive.discard(2)
            await there.alerts.stop()
        await here.looked_all_over()
        assert levels_of(here, there) == ["80"]


async def test_nothing_is_looked_at_after_the_end(tmp_path: Path, clock: Clock) -> None:
    """Though the last figures are written when the look-out has ended."""
    async with looking_out(tmp_path / "db", clock) as made:
        vfolder = await made.at.vfolder(limits=Limits(bytes=1000))
        reservation = await made.at.quota.reserve(vfolder, Usage(900, 1))
        await made.alerts.stop()
        await reservation.settle(Usage(900, 1))
        with pytest.raises(QuotaExceeded):
            await made.at.quota.reserve(vfolder, Usage(900, 1))
        await made.at.quota.flush()
        for _ in range(3):
            clock.advance(SOON)
            await turn()
        assert made.levels == []


# --- how it is told ---


async def test_the_log_and_the_metrics_know_of_it(alone: LookOut) -> None:
    """With what an operator wants to filter by."""
    vfolder = await alone.at.vfolder(limits=Limits(bytes=1000))
    with capturedLogs() as logged:
        await alone.store(vfolder, Usage(950, 1))
    (line,) = [event for event in logged if event.get("log_event") == "quota_alert"]
    assert line["log_level"].name == "warn"
    assert (line["crossed"], line["resource"], line["used"], line["limit"]) == ("95", "bytes", 950, 1000)
    assert b'vfgateway_quota_alerts_total{crossed="95",resource="bytes"} 1.0' in alone.metrics.render()
