"""Quota: a limit is never passed by a byte, what fits is never refused, and figures are true."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import attrs
import pytest
import pytest_twisted
from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from vfgateway.errors import QuotaExceeded
from vfgateway.model import Limits, QuotaScopeId, ScopeKind, Usage, VFolder, VFolderId
from vfgateway.services import holds
from vfgateway.services.database import Database
from vfgateway.services.processes import Machine, Processes
from vfgateway.services.quota import Quota
from vfgateway.services.schema import dirty
from vfgateway.services.schema import holds as holds_table
from vfgateway.services.vfolders import VFolders

ALICE = UUID("11111111-1111-4111-8111-111111111111")
SCOPE = QuotaScopeId(ScopeKind.USER, ALICE)


@attrs.frozen
class Ledger:
    """One process's quota on a database that others may share."""

    database: Database
    clock: Clock
    processes: Processes
    quota: Quota
    vfolders: VFolders

    async def vfolder(self, limits: Limits = Limits(), volume: str = "mem") -> VFolder:
        """A new vfolder of Alice's."""
        return await self.vfolders.create(volume, VFolderId(SCOPE, uuid4()), owner=ALICE, limits=limits)

    async def stored(self, subject: str) -> Usage:
        """What the table of usage says."""
        return await self.database.read(lambda connection: holds.usage_of(connection, [subject])[subject])

    async def held(self) -> dict[tuple[str, str], Usage]:
        """All rows of holds."""

        def read(connection: Connection) -> dict[tuple[str, str], Usage]:
            rows = connection.execute(select(holds_table))
            return {(row.holder, row.subject): Usage(row.bytes, row.files) for row in rows}

        return await self.database.read(read)


def ledger(database: Database, clock: Clock, pid: int = 1) -> Ledger:
    processes = Processes(database, clock, Machine("here", "boot", pid))
    return Ledger(database, clock, processes, Quota(database, clock, processes), VFolders(database, clock))


@pytest_twisted.async_yield_fixture
async def alone(database: Database, clock: Clock) -> AsyncIterator[Ledger]:
    made = ledger(database, clock)
    await made.processes.start()
    yield made
    await made.quota.stop()
    await made.processes.stop()


async def test_a_settled_change_counts_for_vfolder_scope_and_owner(alone: Ledger) -> None:
    """What was stored is in every figure that it belongs to, at once."""
    vfolder = await alone.vfolder()
    async with await alone.quota.reserve(vfolder, Usage(10, 1)) as reservation:
        await reservation.settle(Usage(7, 1))
    assert await alone.quota.usage(vfolder) == Usage(7, 1)
    assert await alone.quota.scope_usage("mem", SCOPE) == Usage(7, 1)
    assert await alone.quota.owner_usage(vfolder) == Usage(7, 1)


async def test_a_limit_can_be_filled_to_the_last_byte(alone: Ledger) -> None:
    """What fits exactly is not refused, one byte more is, and the refusal says what is the matter."""
    vfolder = await alone.vfolder(Limits(bytes=100))
    async with await alone.quota.reserve(vfolder, Usage(60, 1)) as first:
        async with await alone.quota.reserve(vfolder, Usage(40, 1)) as second:
            with pytest.raises(QuotaExceeded) as refusal:
                await alone.quota.reserve(vfolder, Usage(1, 1))
            assert (refusal.value.limit, refusal.value.used, refusal.value.wanted) == (100, 100, 1)
            assert refusal.value.resource == "bytes"
            await second.settle(Usage(40, 1))
        await first.settle(Usage(60, 1))
    assert await alone.quota.usage(vfolder) == Usage(100, 2)


async def test_parallel_reservations(alone: Ledger) -> None:
    """Of many at once exactly those that fit get room."""
    vfolder = await alone.vfolder(Limits(bytes=100))
    waiting = [Deferred.fromCoroutine(alone.quota.reserve(vfolder, Usage(10, 1))) for _ in range(20)]
    outcome = await gatherResults(
        [waiter.addErrback(lambda failure: failure.trap(QuotaExceeded)) for waiter in waiting]
    )
    assert sum(answer is not QuotaExceeded for answer in outcome) == 10
    assert dirty is not None
