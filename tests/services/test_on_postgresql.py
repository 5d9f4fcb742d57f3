"""What several processes, or many machines, rely on, with PostgreSQL as the database: the ledger, claims, locks, tasks and moves.

The tests are those of SQLite. All of a directory are run so by ``pytest -p tests.support.postgresql tests/services``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection
from twisted.internet.task import Clock

from tests.backends.projectquota.test_numbers import test_two_processes_at_once  # noqa: F401
from tests.services.test_claims import (  # noqa: F401
    alone,
    test_others_wait_until_the_claim_is_given_up,
    test_processes_claim_together,
)
from tests.services.test_locks import test_processes_wait_for_each_other  # noqa: F401
from tests.services.test_quota import test_a_storm_in_two_processes  # noqa: F401
from tests.services.test_relocation import (  # noqa: F401
    test_users_write_while_it_moves_and_lose_nothing,
    test_who_knows_it_by_its_old_place_finds_it,
)
from tests.support.databases import open_database
from tests.support.gateway import running_gateway
from tests.support.postgresql import on_postgresql, postgresql  # noqa: F401
from tests.support.process import PATIENCE
from vfgateway.services.database import bump, counter

type_write = Callable[[Connection], int]


async def test_the_database_is_there(tmp_path: Path) -> None:
    """Else the other tests of this module would prove nothing."""
    async with running_gateway(tmp_path) as gateway:
        assert gateway.database.url.get_backend_name() == "postgresql"
        assert not gateway.database.is_sqlite


@pytest.mark.parametrize("beside", [0, 3])
async def test_who_waits_for_each_other_is_not_refused(tmp_path: Path, clock: Clock, beside: int) -> None:
    """Two processes change the same two rows in opposite order. One has to give way, and does its work again, whatever it was to be written with."""
    both_began = threading.Barrier(2)

    def counts(first: str, second: str) -> type_write:
        began = False

        def write(connection: Connection) -> int:
            nonlocal began
            bump(connection, first)
            if not began:
                began = True
                both_began.wait(PATIENCE)
            return bump(connection, second)

        return write

    async with open_database(tmp_path / "db", clock) as here, open_database(tmp_path / "db", clock) as there:
        let_go = threading.Event()
        for each in (here, there):
            each.write(lambda _: let_go.wait(PATIENCE))  # what comes meanwhile is one group
        neighbours = [here.write(lambda connection: bump(connection, "third")) for _ in range(beside)]
        counting = [here.write(counts("first", "second")), there.write(counts("second", "first"))]
        let_go.set()
        assert sorted([await each for each in counting]) == [1, 2]
        assert [await each for each in neighbours] == [1, 2, 3][:beside]
        assert await here.read(lambda connection: counter(connection, "first")) == 2
        assert await here.read(lambda connection: counter(connection, "second")) == 2
