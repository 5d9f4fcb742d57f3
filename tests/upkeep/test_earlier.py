"""A database that an earlier version left, with everything in it that people had: brought to the present schema, and served."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from twisted.cred.credentials import UsernamePassword

from tests.support.gateway import running_gateway
from tests.upkeep.test_backup import done, site, vfs_volume
from tests.upkeep.test_checking import wrong
from vfgateway.errors import AuthenticationFailed
from vfgateway.model import Permission
from vfgateway.principals import INTERNAL

EARLIER = sorted((Path(__file__).parent / "earlier").glob("*.sql"))


@pytest.mark.parametrize("dump", EARLIER, ids=lambda dump: dump.stem)
async def test_everything_that_people_had_is_there(tmp_path: Path, dump: Path) -> None:
    """Alice with her passwords, keys, limit, lock and an upload under way; Bob, who may read; what lay in the trash."""
    config = site(tmp_path)
    (tmp_path / "var").mkdir(mode=0o700)
    with closing(sqlite3.connect(tmp_path / "var/vfgateway.db")) as database, database:
        database.executescript(dump.read_text())
    steps = json.loads(done(config, "upgrade", "--json"))
    assert steps and steps[0]["number"] > dump.stem
    assert wrong(config) == set()
    with closing(
        sqlite3.connect(tmp_path / "var/vfgateway.db")
    ) as database:  # by the clock of today some of it has expired
        tables = ("users", "credentials", "grants", "vfolders", "vfolder_trash", "locks", "uploads", "audit")
        rows = [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    assert rows == [2, 4, 1, 2, 1, 1, 1, 13]
    async with running_gateway(tmp_path, [vfs_volume(tmp_path)]) as gateway:
        alice = await gateway.authenticate(UsernamePassword(b"alice", b"correct horse"))
        bob = await gateway.authenticate(UsernamePassword(b"bob", b"tr0ub4dor"))
        assert alice.administrator and not bob.administrator
        with pytest.raises(AuthenticationFailed):
            await gateway.authenticate(UsernamePassword(b"alice", b"tr0ub4dor"))
        assert alice.user_id is not None
        assert {key.label for key in await gateway.accounts.keys(alice.user_id)} == {"alice@laptop", "api"}
        (seen,) = await gateway.session(bob, INTERNAL).vfolders()
        assert (seen.vfolder.name, seen.access.permission) == ("data", Permission.RO)
        assert seen.vfolder.limits.bytes == 1 << 20
