"""What several processes, or many machines, rely on, with PostgreSQL as the database: the ledger, claims, locks, tasks and moves.

The tests are those of SQLite. All of a directory are run so by ``pytest -p tests.support.postgresql tests/services``.
"""

from __future__ import annotations

from pathlib import Path

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
from tests.support.gateway import running_gateway
from tests.support.postgresql import on_postgresql, postgresql  # noqa: F401


async def test_the_database_is_there(tmp_path: Path) -> None:
    """Else the other tests of this module would prove nothing."""
    async with running_gateway(tmp_path) as gateway:
        assert gateway.database.url.get_backend_name() == "postgresql"
        assert not gateway.database.is_sqlite
