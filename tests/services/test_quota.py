"""Quota: a limit is never passed by a byte, what fits is never refused, and figures are true."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import pytest
import pytest_twisted
from sqlalchemy import insert, update
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import Clock

from tests.support.processes import ALICE, BOB, SCOPE, Process, begin, process, settled, turn, while_time_passes
from vfgateway.errors import QuotaExceeded, VFolderNotFound, VolumeUnavailable
from vfgateway.model import Limits, Usage, VFolder
from vfgateway.services import schema
from vfgateway.services.database import FRESH, bump
from vfgateway.services.headroom import IDLE, LOOK, MODESTY
from vfgateway.services.processes import SLAB
from vfgateway.services.quota import FLUSH, REST, SWEEP, Reservation
from vfgateway.services.slabs import FRACTION, LARGEST

MIB = 1 << 20


@pytest_twisted.async_yield_fixture
async def alone(tmp_path: Path, clock: Clock) -> AsyncIterator[Process]:
    async with process(tmp_path / "db", clock) as made:
        yield made


async def store(at: Process, vfolder: VFolder, amount: Usage) -> None:
    """Reserve, and settle all of it."""
    async with await at.quota.reserve(vfolder, amount) as reservation:
        await reservation.settle(amount, also=[_nothing])


def _nothing(_: object) -> None:
    """Makes a settle write at once."""


async def upload_of(at: Process, vfolder: VFolder) -> str:
    """The identifier of an upload that is entered in the table."""
    holder = uuid4().hex
    row: dict[str, Any] = {"id": holder, "vfolder": vfolder.key, "boot_id": "boot", "state": "open", "info": "{}"}
    for column in schema.uploads.c:
        if not column.nullable and column.default is None and column.name not in row:
            row[column.name] = {"BLOB": b"x", "TEXT": "", "VARCHAR": ""}.get(str(column.type).partition("(")[0], 0)
    await at.database.write(lambda connection: connection.execute(insert(schema.uploads).values(row)))
    return holder


async def limit_owner(at: Process, limits: Limits) -> None:
    """Give Alice an account with limits."""
    row = {"id": str(ALICE), "name": "alice", "created": 0.0, "limit_bytes": limits.bytes, "limit_files": limits.files}

    def write(connection: Any) -> None:
        connection.execute(insert(schema.users).values(row))
        bump(connection, "accounts")

    await at.database.write(write)
    at.clock.advance(FRESH)


async def limit_vfolder(at: Process, vfolder: VFolder, limits: Limits) -> None:
    """Change the limits of a vfolder, as another process would."""
    values = {"limit_bytes": limits.bytes, "limit_files": limits.files}

    def write(connection: Any) -> None:
        connection.execute(update(schema.vfolders).where(schema.vfolders.c.key == vfolder.key).values(values))
        bump(connection, "vfolders")

    await at.database.write(write)
    at.clock.advance(FRESH)


# --- figures ---


async def test_what_is_stored_counts_for_vfolder_scope_and_owner(alone: Process) -> None:
    """It is in every figure that it belongs to, at once."""
    vfolder, other = await alone.vfolder(), await alone.vfolder("second")
    await store(alone, vfolder, Usage(7, 1))
    await store(alone, other, Usage(10, 2))
    assert await alone.quota.usage(vfolder) == Usage(7, 1)
    assert await alone.quota.scope_usage("mem", SCOPE) == Usage(7, 1)
    assert await alone.quota.owner_usage(vfolder) == Usage(17, 3)


async def test_less_stored_than_reserved(alone: Process) -> None:
    """Only what is true counts, and the rest is free again."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100, files=10))
    async with await alone.quota.reserve(vfolder, Usage(100, 10)) as reservation:
        await reservation.settle(Usage(60, 1), also=[_nothing])
    assert await alone.quota.usage(vfolder) == Usage(60, 1)
    await store(alone, vfolder, Usage(40, 9))


async def test_removing_makes_room(alone: Process) -> None:
    """What goes away can be stored again at once, even before it was written down."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    await store(alone, vfolder, Usage(100, 1))
    await alone.quota.change(vfolder, Usage(-30, -1))
    await store(alone, vfolder, Usage(30, 1))
    assert await alone.quota.usage(vfolder) == Usage(100, 1)


async def test_a_replacement_needs_only_its_growth(alone: Process) -> None:
    """Shrinking needs no room, even in a full vfolder."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    await store(alone, vfolder, Usage(100, 1))
    async with await alone.quota.reserve(vfolder, Usage(-10, 0)) as reservation:
        await reservation.settle(Usage(-10, 0), also=[_nothing])
    assert await alone.quota.usage(vfolder) == Usage(90, 1)


async def test_changes_are_written_soon(alone: Process) -> None:
    """A change that nothing else carries reaches the database within a moment."""
    vfolder = await alone.vfolder()
    await alone.quota.change(vfolder, Usage(5, 1))
    assert await alone.figure(f"vfolder:{vfolder.key}") == Usage()
    alone.clock.advance(FLUSH)
    while await alone.figure(f"vfolder:{vfolder.key}") != Usage(5, 1):
        await turn()


async def test_settled_together_with_what_belongs_to_it(alone: Process) -> None:
    """Figures and what else is to happen with them happen together or not at all; figures are then written later."""
    vfolder = await alone.vfolder()

    def fail(_: object) -> None:
        raise ZeroDivisionError

    reservation = await alone.quota.reserve(vfolder, Usage(5, 1))
    with pytest.raises(ZeroDivisionError):
        await reservation.settle(Usage(5, 1), also=[fail])
    assert await alone.figure(f"vfolder:{vfolder.key}") == Usage()
    assert await alone.quota.usage(vfolder) == Usage(5, 1)


async def test_settling_twice_counts_once(alone: Process) -> None:
    """Whichever of settle and release comes first holds."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    reservation = await alone.quota.reserve(vfolder, Usage(50, 1))
    await reservation.settle(Usage(50, 1))
    await reservation.settle(Usage(50, 1))
    await reservation.release()
    assert await alone.quota.usage(vfolder) == Usage(50, 1)
    with pytest.raises(QuotaExceeded):
        await alone.quota.reserve(vfolder, Usage(51, 1))


# --- limits ---


async def test_a_limit_can_be_filled_to_the_last_byte(alone: Process) -> None:
    """What fits exactly is not refused, one byte more is, and the refusal says what is the matter."""
    vfolder = await alone.vfolders.create(
        "mem", attrs.evolve((await alone.vfolder()).id, folder=uuid4()), name="data", limits=Limits(bytes=100)
    )
    async with await alone.quota.reserve(vfolder, Usage(60, 1)) as first:
        async with await alone.quota.reserve(vfolder, Usage(40, 1)) as second:
            with pytest.raises(QuotaExceeded) as refusal:
                await alone.quota.reserve(vfolder, Usage(1, 1))
            assert str(refusal.value) == "quota of vfolder data exceeded: 100 of 100 bytes used, 1 more wanted"
            await second.settle(Usage(40, 1))
        await first.settle(Usage(60, 1))
    assert await alone.quota.usage(vfolder) == Usage(100, 2)


async def test_every_limit_holds(alone: Process) -> None:
    """The vfolder's, that of its scope on the volume, and that of its owner over all volumes, in bytes and in files."""
    await limit_owner(alone, Limits(bytes=1000, files=3))
    vfolder = await alone.vfolder(limits=Limits(bytes=400))
    other = await alone.vfolder()
    far = await alone.vfolder("far")
    await alone.vfolders.set_scope_limits("mem", SCOPE, Limits(bytes=600))
    alone.clock.advance(FRESH)
    refusals = []
    await store(alone, vfolder, Usage(390, 1))
    for where, wanted in (
        (vfolder, Usage(11, 0)),
        (other, Usage(211, 0)),
        (far, Usage(611, 0)),
        (far, Usage(0, 3)),
    ):
        with pytest.raises(QuotaExceeded) as refusal:
            await alone.quota.reserve(where, wanted)
        refusals.append((refusal.value.subject.split()[0], refusal.value.resource))
    assert refusals == [("vfolder", "bytes"), ("quota", "bytes"), ("user", "bytes"), ("user", "files")]
    await store(alone, vfolder, Usage(10, 0))
    await store(alone, other, Usage(200, 0))
    await store(alone, far, Usage(400, 2))


async def test_the_owner_is_charged_not_the_writer(alone: Process) -> None:
    """A vfolder given to Bob counts for Bob; one of his scope without a limit of its own meets his limit."""
    await limit_owner(alone, Limits(bytes=10))
    vfolder = await alone.vfolder()
    await alone.quota.reserve(vfolder, Usage(10, 1))
    mine = attrs.evolve(vfolder.id, folder=uuid4())
    given = await alone.vfolders.create("mem", mine, owner=BOB)
    await store(alone, given, Usage(100, 1))
    assert await alone.quota.owner_usage(given) == Usage(100, 1)


async def test_of_many_at_once_exactly_those_that_fit(alone: Process) -> None:
    """No more, and no fewer."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    waiting = [begin(alone.quota.reserve(vfolder, Usage(10, 1))) for _ in range(20)]
    outcome = await gatherResults([each.addErrback(lambda failure: failure.trap(QuotaExceeded)) for each in waiting])
    assert sum(isinstance(answer, Reservation) for answer in outcome) == 10


async def test_hundreds_that_wait_for_the_same_lease(alone: Process) -> None:
    """They go on one after the other, not each within the one before."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1 << 40))
    storing = [begin(store(alone, vfolder, Usage(1, 1))) for _ in range(500)]
    for each in storing:
        await each
    assert await alone.figure(f"vfolder:{vfolder.key}") == Usage(500, 500)


async def test_growing_in_steps(alone: Process) -> None:
    """A writer of unknown length goes on to the last byte; refused, it keeps what it has."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    async with await alone.quota.reserve(vfolder, Usage(0, 1)) as reservation:
        for total in (30, 60, 100):
            await reservation.ensure(Usage(total, 1))
        with pytest.raises(QuotaExceeded):
            await reservation.ensure(Usage(101, 1))
        assert reservation.held == Usage(100, 1)
        await reservation.ensure(Usage(50, 0))
        assert reservation.held == Usage(100, 1)
        await reservation.settle(Usage(100, 1))


async def test_a_limit_set_during_an_upload_holds_at_its_end(alone: Process) -> None:
    """What began without a limit is checked against it before it is published."""
    vfolder = await alone.vfolder()
    first = await alone.quota.reserve(vfolder, Usage(60, 1))
    second = await alone.quota.reserve(vfolder, Usage(60, 1))
    await limit_vfolder(alone, vfolder, Limits(bytes=100))
    await first.ensure(Usage(60, 1))
    with pytest.raises(QuotaExceeded):
        await second.ensure(Usage(60, 1))
    await first.settle(Usage(60, 1))
    await second.release()
    await store(alone, vfolder, Usage(40, 1))


async def test_a_lowered_limit_takes_headroom_away(alone: Process) -> None:
    """What a process had leased under the old limit cannot be spent under the new one."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1000 * MIB))
    await store(alone, vfolder, Usage(10 * MIB, 1))
    await limit_vfolder(alone, vfolder, Limits(bytes=11 * MIB))
    await store(alone, vfolder, Usage(1 * MIB, 1))
    with pytest.raises(QuotaExceeded):
        await alone.quota.reserve(vfolder, Usage(1, 1))


async def test_over_the_limit_already(alone: Process) -> None:
    """Where more is stored than is allowed, nothing may be added; removing is possible, and so is a change without growth."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100, files=2))
    await alone.quota.set_usage(vfolder, Usage(150, 5))
    with pytest.raises(QuotaExceeded):
        await alone.quota.reserve(vfolder, Usage(1, 0))
    async with await alone.quota.reserve(vfolder, Usage(0, 0)) as reservation:
        await reservation.settle(Usage(0, 0))
    await alone.quota.change(vfolder, Usage(-60, -4))
    await store(alone, vfolder, Usage(10, 1))


async def test_remaining(alone: Process) -> None:
    """The tightest limit of each resource, what it has used, and what it leaves; nothing where nothing is limited."""
    await limit_owner(alone, Limits(bytes=1000))
    vfolder, other = await alone.vfolder(limits=Limits(bytes=500, files=10)), await alone.vfolder()
    await store(alone, vfolder, Usage(100, 1))
    await store(alone, other, Usage(600, 1))
    async with await alone.quota.reserve(vfolder, Usage(50, 1)):
        left = await alone.quota.remaining(vfolder)
        assert (left.limit_bytes, left.used_bytes, left.free_bytes) == (1000, 750, 250)
        assert (left.limit_files, left.used_files, left.free_files) == (10, 2, 8)
    free = await alone.quota.remaining(
        await alone.vfolders.create("mem", attrs.evolve(other.id, folder=uuid4()), owner=BOB)
    )
    assert (free.limit_bytes, free.free_bytes, free.limit_files, free.free_files) == (None, None, None, None)


async def test_a_vfolder_that_is_gone(alone: Process) -> None:
    """There is an error for it."""
    vfolder = await alone.vfolder(limits=Limits(bytes=10))
    await alone.quota.forget(vfolder)
    await alone.vfolders.forget(vfolder.key)
    alone.clock.advance(FRESH)
    for call in (alone.quota.reserve(vfolder, Usage(1, 1)), alone.quota.remaining(vfolder)):
        with pytest.raises(VFolderNotFound):
            await call


# --- headroom ---


async def test_without_limits_nothing_is_held(alone: Process) -> None:
    """Nobody pays for what nobody has configured."""
    vfolder = await alone.vfolder()
    async with await alone.quota.reserve(vfolder, Usage(1 << 40, 1)):
        assert await alone.held() == {}


async def test_headroom_serves_many_reservations(alone: Process) -> None:
    """A process leases once for what many small files need; what it takes is bounded."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1 << 40, files=1 << 20))
    first = await alone.quota.reserve(vfolder, Usage(1000, 1))
    leased = await alone.held()
    (slab,) = leased.values()
    assert slab == LARGEST + Usage(1000, 1)
    more = [await alone.quota.reserve(vfolder, Usage(1000, 1)) for _ in range(500)]
    assert await alone.held() == leased
    for reservation in (first, *more):
        await reservation.release()


async def test_the_last_of_a_limit_is_not_hoarded(alone: Process) -> None:
    """Where little is left, a process takes but a part of it beyond its need."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1600 + 100))
    async with await alone.quota.reserve(vfolder, Usage(100, 1)):
        (slab,) = (await alone.held()).values()
        assert slab == Usage(100 + 1600 // FRACTION, 0)


async def test_headroom_is_leased_before_it_ends(alone: Process) -> None:
    """Who writes file after file takes room without waiting, again and again, and yet the process never has much more than one lease."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1 << 40, files=1 << 20))
    await store(alone, vfolder, Usage(1, 1))
    need = {f"vfolder:{vfolder.key}": Usage(1 << 20, LARGEST.files // 8)}
    for _ in range(24):
        assert alone.quota.headroom.take(vfolder, need)
        await alone.quota.flush()
        (slab,) = (await alone.held()).values()
        assert slab.files <= 2 * LARGEST.files
        alone.quota.settle_now(vfolder, Usage(1 << 20, LARGEST.files // 8), need, b"")
    assert await alone.quota.usage(vfolder) == Usage(24 << 20, 3 * LARGEST.files) + Usage(1, 1)


async def test_nothing_is_leased_ahead_for_a_while_after_others_asked(tmp_path: Path, clock: Clock) -> None:
    """What one process gives back another gets."""
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        vfolder = await here.vfolder(limits=Limits(bytes=1000))
        key = f"vfolder:{vfolder.key}"

        async def leased_after(need: Usage) -> int:
            assert here.quota.headroom.take(vfolder, {key: need})
            await here.quota.flush()
            here.quota.settle_now(vfolder, need, {key: need}, b"")
            return (await here.held())[SLAB + here.processes.id, key].bytes

        first = await here.quota.reserve(vfolder, Usage(100, 1))
        async with await while_time_passes(clock, there.quota.reserve(vfolder, Usage(850, 1))):
            await first.release()
            assert await leased_after(Usage(80)) == 100
        await there.quota.flush()
        clock.advance(MODESTY)
        assert await leased_after(Usage(10)) > 20


async def test_room_that_is_not_there_is_not_asked_for(tmp_path: Path, clock: Clock) -> None:
    """Whoever only looks for room takes it from nobody, and is refused nothing."""
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        vfolder = await here.vfolder(limits=Limits(bytes=1000))
        refused: list[str] = []
        there.quota.observe(lambda _: None, lambda _subject, resource: refused.append(resource))
        async with await here.quota.reserve(vfolder, Usage(900, 1)):
            before = await here.held()
            assert not await there.quota.find_room(vfolder, Usage(100, 1))
            assert not any(row.recalled for row in await here.rows(schema.holds))
            assert (await here.held(), refused) == (before, [])
            assert await there.quota.find_room(vfolder, Usage(50, 1))
            assert there.quota.headroom.take(vfolder, {f"vfolder:{vfolder.key}": Usage(50, 0)})


async def test_idle_headroom_is_given_back(alone: Process) -> None:
    """A process that has done nothing for a while holds nothing, and looks no more."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1000 * MIB))
    await store(alone, vfolder, Usage(10, 1))
    assert await alone.held()

    async def returned() -> None:
        while await alone.held():
            await turn()

    await while_time_passes(alone.clock, returned(), most=IDLE * 2)
    assert not [call for call in alone.clock.getDelayedCalls() if call.getTime() - alone.clock.seconds() <= LOOK]


async def test_cancelled_reservations_leave_nothing(alone: Process) -> None:
    """A client that goes away while it waits holds no room."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    await alone.processes.dirty.mark(vfolder.key)
    for _ in range(5):
        reserving = begin(alone.quota.reserve(vfolder, Usage(100, 1)))
        reserving.cancel()
        with pytest.raises(CancelledError):
            await reserving
    await store(alone, vfolder, Usage(100, 1))


async def test_a_cancelled_upload_holds_nothing(alone: Process) -> None:
    """Though its room is granted only after it has gone, in a write that waited behind another."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    await alone.processes.dirty.mark(vfolder.key)
    go_on = threading.Event()
    alone.database.write(lambda _: go_on.wait(10))
    written = begin(alone.quota.change(vfolder, Usage(1, 1), also=[_nothing]))
    reserving = begin(alone.quota.reserve(vfolder, Usage(60, 1), uuid4().hex))
    assert not await settled(reserving)
    for _ in range(2):  # once from what it waits for, once from cleaning up
        reserving.cancel()
    with pytest.raises(CancelledError):
        await reserving
    go_on.set()
    await written
    await alone.quota.flush()
    assert await alone.held() == {}
    assert await alone.quota.usage(vfolder) == Usage(1, 1)


async def test_headroom_given_back_is_gone_though_nobody_waited(alone: Process) -> None:
    """A client that goes away while its process returns headroom does not make it spend that headroom as well."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1000 * MIB))
    await store(alone, vfolder, Usage(10 * MIB, 1))
    await limit_vfolder(alone, vfolder, Limits(bytes=11 * MIB))
    go_on = threading.Event()
    alone.database.write(lambda _: go_on.wait(10))
    reserving = begin(alone.quota.reserve(vfolder, Usage(1, 1)))
    assert not await settled(reserving)
    reserving.cancel()
    with pytest.raises(CancelledError):
        await reserving
    go_on.set()
    await alone.quota.usage(vfolder)
    with pytest.raises(QuotaExceeded):
        await alone.quota.reserve(vfolder, Usage(1 * MIB + 1, 1))
    await store(alone, vfolder, Usage(1 * MIB, 1))


async def test_leaving_the_context_releases(alone: Process) -> None:
    """Whatever ended the work."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    with pytest.raises(ZeroDivisionError):
        async with await alone.quota.reserve(vfolder, Usage(100, 1)):
            raise ZeroDivisionError
    await store(alone, vfolder, Usage(100, 1))


# --- uploads ---


async def test_an_uploads_room_outlives_its_process(tmp_path: Path, clock: Clock) -> None:
    """It counts as used all the time, and whoever goes on with the upload has it."""
    limits = Limits(bytes=100)
    async with process(tmp_path / "db", clock, 1) as here:
        vfolder = await here.vfolder(limits=limits)
        holder = await upload_of(here, vfolder)
        async with await here.quota.reserve(vfolder, Usage(70, 1), holder) as reservation:
            reservation.detach()
        assert await here.quota.usage(vfolder) == Usage(70, 1)
        assert await here.quota.owner_usage(vfolder) == Usage(70, 1)
    async with process(tmp_path / "db", clock, 2) as there:
        assert (await there.quota.remaining(vfolder)).free_bytes == 30
        with pytest.raises(QuotaExceeded):
            await there.quota.reserve(vfolder, Usage(31, 1))
        reservation = await there.quota.resume(vfolder, holder)
        assert reservation.held == Usage(70, 1)
        await reservation.ensure(Usage(100, 1))
        await reservation.settle(Usage(90, 1), also=[_nothing])
        assert await there.quota.usage(vfolder) == Usage(90, 1)
        await store(there, vfolder, Usage(10, 1))


async def test_uploads_and_headroom_share_a_limit(alone: Process) -> None:
    """What the process itself has leased without need does not keep an upload out."""
    vfolder = await alone.vfolder(limits=Limits(bytes=1700))
    await store(alone, vfolder, Usage(100, 1))
    assert await alone.held()
    async with await alone.quota.reserve(vfolder, Usage(1600, 1), await upload_of(alone, vfolder)) as reservation:
        await reservation.settle(Usage(1600, 1), also=[_nothing])
    assert await alone.quota.usage(vfolder) == Usage(1700, 2)


async def test_a_limit_set_later_knows_uploads_under_way(alone: Process) -> None:
    """An upload's room is held even where nothing is limited yet."""
    vfolder = await alone.vfolder()
    reservation = await alone.quota.reserve(vfolder, Usage(60, 1), await upload_of(alone, vfolder))
    await limit_vfolder(alone, vfolder, Limits(bytes=100))
    with pytest.raises(QuotaExceeded):
        await alone.quota.reserve(vfolder, Usage(41, 1))
    await reservation.release()
    await store(alone, vfolder, Usage(100, 1))


@pytest.mark.parametrize("stored", [60, 0])
async def test_an_upload_that_ends_is_not_charged_twice(alone: Process, stored: int) -> None:
    """Not even to one that was asking already when it ended: what was held goes in the moment in which the file comes."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    upload = await alone.quota.reserve(vfolder, Usage(60, 1), await upload_of(alone, vfolder))
    other = await upload_of(alone, vfolder)
    go_on = threading.Event()
    alone.database.write(lambda _: go_on.wait(10))
    asking = begin(alone.quota.reserve(vfolder, Usage(40, 1), other))
    assert not await settled(asking)
    ending = begin(upload.settle(Usage(stored, 1), also=[_nothing]))
    go_on.set()
    await asking
    await ending
    assert await alone.quota.usage(vfolder) == Usage(stored + 40, 2)


# --- several processes ---


async def test_headroom_of_other_processes_is_recalled(tmp_path: Path, clock: Clock) -> None:
    """Nothing that fits is refused because another process has leased it; nothing that does not fit is granted."""
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        vfolder = await here.vfolder(limits=Limits(bytes=1000 * MIB))
        first = await here.quota.reserve(vfolder, Usage(10 * MIB, 1))
        assert (await here.held())[SLAB + here.processes.id, f"vfolder:{vfolder.key}"].bytes > 60 * MIB
        second = await while_time_passes(clock, there.quota.reserve(vfolder, Usage(990 * MIB, 1)))
        for each in (here, there):
            with pytest.raises(QuotaExceeded):
                await while_time_passes(clock, each.quota.reserve(vfolder, Usage(1, 1)))
        await first.release()
        await while_time_passes(clock, store(there, vfolder, Usage(10 * MIB, 1)))
        await second.settle(Usage(990 * MIB, 1), also=[_nothing])
        assert await here.quota.usage(vfolder) == Usage(1000 * MIB, 2)


async def test_room_that_comes_too_late_is_given_back(tmp_path: Path, clock: Clock) -> None:
    """An upload ends while it waits for another process to answer."""
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        vfolder = await here.vfolder(limits=Limits(bytes=100))
        other = await there.quota.reserve(vfolder, Usage(80, 1))
        upload = await here.quota.reserve(vfolder, Usage(10, 1), await upload_of(here, vfolder))
        growing = begin(upload.ensure(Usage(50, 1)))
        assert not await settled(growing)
        await upload.release()
        await other.release()
        await while_time_passes(clock, growing)
        await here.quota.flush()
        assert not [holder for holder, _ in await here.held() if not holder.startswith(SLAB)]


async def test_a_storm_in_two_processes(tmp_path: Path, clock: Clock) -> None:
    """Many writers in both: in the end exactly the limit is used."""
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        vfolder = await here.vfolder(limits=Limits(bytes=1000, files=60))
        writers = [begin(store(at, vfolder, Usage(20, 1))) for _ in range(40) for at in (here, there)]
        outcome = gatherResults([each.addErrback(lambda failure: failure.trap(QuotaExceeded)) for each in writers])
        answers = await while_time_passes(clock, outcome)
        assert sum(answer is None for answer in answers) == 50
        assert await here.quota.usage(vfolder) == Usage(1000, 50)


# --- death ---


async def crash(tmp_path: Path, clock: Clock, here: Process, alive: set[int], vfolder: VFolder, amount: Usage) -> None:
    """A process stores something and is killed before it has written that down."""
    async with process(tmp_path / "db", clock, 2, alive) as there:
        reservation = await there.quota.reserve(vfolder, amount)
        await reservation.settle(amount)
        there.die()
        alive.discard(2)
    dead = await here.processes.dead()
    assert await here.quota.recover(dead) == [vfolder.key]
    await here.processes.forget(dead)


async def test_a_limit_holds_while_a_dead_process_is_not_counted_yet(tmp_path: Path, clock: Clock) -> None:
    """What it may have stored counts as used; a writer that this would refuse waits for the count."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        vfolder = await here.vfolder(limits=Limits(bytes=100))
        await crash(tmp_path, clock, here, alive, vfolder, Usage(40, 1))
        await store(here, vfolder, Usage(10, 1))
        waiting = begin(here.quota.reserve(vfolder, Usage(60, 1)))
        beside = begin(here.quota.reserve(vfolder, Usage(50, 1)))
        assert not await settled(waiting)
        assert not await settled(beside)
        await here.quota.set_usage(vfolder, Usage(50, 2))
        with pytest.raises(QuotaExceeded):
            await while_time_passes(clock, waiting)
        reservation = await while_time_passes(clock, beside)
        await reservation.settle(Usage(50, 1), also=[_nothing])
        assert await here.quota.usage(vfolder) == Usage(100, 3)
        assert await here.quota.owner_usage(vfolder) == Usage(100, 3)
        assert {holder for holder, _ in await here.held()} <= {SLAB + here.processes.id}


async def test_a_count_that_does_not_come(tmp_path: Path, clock: Clock) -> None:
    """A writer does not wait for ever: it is told to try again."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        vfolder = await here.vfolder(limits=Limits(bytes=100))
        await crash(tmp_path, clock, here, alive, vfolder, Usage(40, 1))
        with pytest.raises(VolumeUnavailable):
            await while_time_passes(clock, here.quota.reserve(vfolder, Usage(100, 1)))


async def test_without_limits_nobody_waits_for_a_count(tmp_path: Path, clock: Clock) -> None:
    """Work goes on while a large vfolder is counted."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        vfolder = await here.vfolder()
        await crash(tmp_path, clock, here, alive, vfolder, Usage(40, 1))
        await store(here, vfolder, Usage(10, 1))


async def test_a_second_crash_before_the_count_forgets_nothing(tmp_path: Path, clock: Clock) -> None:
    """What is to be recounted is found again by the next process."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        vfolder = await here.vfolder()
        await crash(tmp_path, clock, here, alive, vfolder, Usage(40, 1))
    async with process(tmp_path / "db", clock, 3, alive) as third:
        assert await third.quota.recover(await third.processes.dead()) == [vfolder.key]


async def test_room_of_uploads_that_were_never_entered_is_freed(tmp_path: Path, clock: Clock) -> None:
    """A process that dies between the two leaves no hold behind; that of a real upload stays."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        vfolder = await here.vfolder(limits=Limits(bytes=100))
        async with process(tmp_path / "db", clock, 2, alive) as there:
            (await there.quota.reserve(vfolder, Usage(10, 1), await upload_of(there, vfolder))).detach()
            (await there.quota.reserve(vfolder, Usage(20, 1), uuid4().hex)).detach()
            there.die()
            alive.discard(2)
        assert await here.quota.usage(vfolder) == Usage(30, 2)
        await here.quota.recover(await here.processes.dead())
        assert await here.quota.usage(vfolder) == Usage(10, 1)


async def test_vfolders_at_rest_need_no_recount(alone: Process) -> None:
    """A process that dies makes the next one count only what it was changing lately."""
    resting, busy = await alone.vfolder(), await alone.vfolder()
    await store(alone, resting, Usage(1, 1))
    reservation = await alone.quota.reserve(busy, Usage(1, 1))

    async def swept() -> None:
        while {row.vfolder for row in await alone.rows(schema.dirty)} != {busy.key}:
            await turn()

    await while_time_passes(alone.clock, swept(), step=5.0, most=REST + 2 * SWEEP)
    await store(alone, resting, Usage(1, 1))
    assert {row.vfolder for row in await alone.rows(schema.dirty)} == {resting.key, busy.key}
    await reservation.release()


# --- corrections ---


async def test_a_recount_corrects_all_sums(alone: Process) -> None:
    """What is found on the disk is the truth, for the scope and the owner as well."""
    vfolder, other = await alone.vfolder(), await alone.vfolder()
    await store(alone, vfolder, Usage(100, 2))
    await store(alone, other, Usage(10, 1))
    await alone.quota.change(vfolder, Usage(5, 1))
    await alone.quota.set_usage(vfolder, Usage(40, 7))
    assert await alone.quota.usage(vfolder) == Usage(40, 7)
    assert await alone.quota.scope_usage("mem", SCOPE) == Usage(50, 8)
    assert await alone.quota.owner_usage(vfolder) == Usage(50, 8)


async def test_a_purged_vfolder_gives_everything_back(alone: Process) -> None:
    """Its scope and its owner no longer carry it; repeating the purge takes nothing more."""
    vfolder, other = await alone.vfolder(limits=Limits(bytes=1000)), await alone.vfolder()
    await store(alone, vfolder, Usage(100, 2))
    await store(alone, other, Usage(10, 1))
    for _ in range(2):
        await alone.quota.forget(vfolder)
    await alone.vfolders.forget(vfolder.key)
    assert await alone.quota.scope_usage("mem", SCOPE) == Usage(10, 1)
    assert await alone.quota.owner_usage(other) == Usage(10, 1)
    assert [holder for holder, subject in await alone.held() if subject == f"vfolder:{vfolder.key}"] == []


async def test_a_purged_vfolder_ends_the_wait_for_its_count(tmp_path: Path, clock: Clock) -> None:
    """What a dead process had leased for it, on the sums as well, is free again: nobody will count it any more."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        await here.vfolders.set_scope_limits("mem", SCOPE, Limits(bytes=100))
        vfolder, other = await here.vfolder(limits=Limits(bytes=50)), await here.vfolder()
        await crash(tmp_path, clock, here, alive, vfolder, Usage(40, 1))
        assert await here.held()
        await here.quota.forget(vfolder)
        assert await here.held() == {}
        await here.vfolders.forget(vfolder.key)
        await store(here, other, Usage(100, 1))


async def test_a_new_owner_is_charged(alone: Process) -> None:
    """With what is stored and what is being uploaded, at once; changes that were not written yet follow."""
    vfolder = await alone.vfolder()
    await store(alone, vfolder, Usage(100, 2))
    await alone.quota.change(vfolder, Usage(1, 1))
    upload = await alone.quota.reserve(vfolder, Usage(7, 1), await upload_of(alone, vfolder))
    after = await alone.vfolders.update(vfolder.key, owner=BOB)
    assert await alone.quota.owner_usage(vfolder) == Usage()
    assert await alone.quota.owner_usage(after) == Usage(108, 4)
    await upload.settle(Usage(7, 1), also=[_nothing])
    assert await alone.quota.owner_usage(after) == Usage(108, 4)


async def test_figures_below_nothing_are_shown_as_nothing(alone: Process) -> None:
    """Files that came behind our back can be removed through us; nobody sees a negative figure, or gets room for it."""
    vfolder = await alone.vfolder(limits=Limits(bytes=100))
    await alone.quota.change(vfolder, Usage(-50, -1))
    assert await alone.quota.usage(vfolder) == Usage()
    assert (await alone.quota.remaining(vfolder)).free_bytes == 100
    with pytest.raises(QuotaExceeded):
        await alone.quota.reserve(vfolder, Usage(101, 1))
