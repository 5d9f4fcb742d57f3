"""Wrong logins make the next ones wait, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.support.databases import open_database
from vfgateway.errors import TooManyAttempts
from vfgateway.services.database import FRESH, Database
from vfgateway.services.events import Events
from vfgateway.services.lockouts import FREE, LONGEST, MEMORY, MOST_ROWS, SIZE, Lockouts, place, subjects_of
from vfgateway.services.login_tables import login_failures, login_places

HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def lockouts(database: Database, clock: Clock) -> Lockouts:
    return Lockouts(database, clock, Events(reactor))


async def fail(lockouts: Lockouts, times: int, name: str | None = "alice", address: str = HERE, tag: str = "") -> None:
    """Different passwords, without regard to whether they are looked at."""
    for number in range(times):
        await lockouts.failed(name, address, f"{tag}{number}".encode())


async def wait(lockouts: Lockouts, name: str | None = "alice", address: str = HERE) -> int:
    """Seconds until a login is judged; 0 for now."""
    try:
        await lockouts.check(name, address)
    except TooManyAttempts as error:
        return error.wait
    return 0


async def test_each_wrong_login_makes_the_next_wait_longer(lockouts: Lockouts, clock: Clock) -> None:
    """After a few that cost nothing; up to a quarter of an hour. Waiting helps."""
    await fail(lockouts, FREE["login"])
    assert await wait(lockouts) == 0
    waits = []
    for number in range(12):
        await lockouts.failed("alice", HERE, b"more %d" % number)
        waits.append(await wait(lockouts))
        clock.advance(waits[-1])
        assert await wait(lockouts) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, LONGEST, LONGEST]


async def test_a_right_one_is_a_new_start(lockouts: Lockouts) -> None:
    """For the name; not for the address, whose guesser may have an account of his own."""
    await fail(lockouts, FREE["login"])
    lockouts.succeeded("alice", HERE)
    await fail(lockouts, FREE["login"], tag="again")
    assert await wait(lockouts) == 0
    for number in range(FREE["address"]):
        await lockouts.failed(f"name {number}", HERE, b"x")
        lockouts.succeeded("mallory", HERE)
    assert await wait(lockouts, "somebody else") > 0


async def test_failures_are_forgotten(lockouts: Lockouts, clock: Clock) -> None:
    """In the end."""
    await fail(lockouts, FREE["login"])
    clock.advance(MEMORY)
    await fail(lockouts, FREE["login"], tag="later")
    assert await wait(lockouts) == 0


async def test_others_are_not_kept_out(lockouts: Lockouts) -> None:
    """Neither other names from there, nor the same name from where it came in before, whatever happens elsewhere."""
    lockouts.succeeded("alice", HERE)
    for number in range(30):
        await lockouts.failed("alice", f"198.51.100.{number}", b"x")
    assert await wait(lockouts, "alice", THERE) > 0
    assert await wait(lockouts, "alice", HERE) == 0
    assert await wait(lockouts, "bob", "198.51.100.1") == 0
    for number in range(60):
        await lockouts.failed(f"guess {number}", HERE, b"x")
    assert await wait(lockouts, "bob", HERE) > 0
    assert await wait(lockouts, None, HERE) > 0
    assert await wait(lockouts, "alice", HERE) == 0
    await fail(lockouts, 6)
    assert await wait(lockouts, "alice", HERE) > 0


async def test_a_program_that_repeats_itself_is_no_guesser(lockouts: Lockouts, clock: Clock) -> None:
    """With an old password, every few seconds, for a day; but many at once count."""
    for _ in range(100):
        await lockouts.failed("alice", HERE, b"the old one")
        clock.advance(5)
    assert await wait(lockouts) == 0
    for _ in range(10):
        await lockouts.failed("alice", HERE, b"the old one")
    assert await wait(lockouts) > 0


async def test_all_processes_know(tmp_path: Path, clock: Clock) -> None:
    """Guessing at one of them is guessing at all; lifted for one is lifted for all."""
    async with open_database(tmp_path / "x.db", clock) as first, open_database(tmp_path / "x.db", clock) as second:
        one, other = (Lockouts(database, clock, Events(reactor)) for database in (first, second))
        assert await wait(other) == 0
        for number in range(FREE["login"] + 4):
            await (one, other)[number % 2].failed("alice", HERE, b"%d" % number)
        clock.advance(FRESH)
        assert await wait(one) == await wait(other) > 0
        assert await one.lift(name="alice") == 2
        clock.advance(FRESH)
        assert await wait(one) == await wait(other) == 0


async def test_lockouts_are_seen_and_lifted(lockouts: Lockouts) -> None:
    """By name, by address, by both, or all; names with odd characters are names."""
    odd = "100%_ s"
    for name, address in (("alice", HERE), (odd, HERE), ("bob", THERE), ("bob", "2001:db8::1")):
        await fail(lockouts, FREE["login"] + 2, name, address)
    assert {(each.kind, each.name, each.address) for each in await lockouts.list()} == {
        ("login", "alice", HERE),
        ("login", odd, HERE),
        ("login", "bob", THERE),
        ("login", "bob", "2001:db8::/64"),
    }
    assert await lockouts.lift("bob", "2001:db8::99") == 1
    assert await wait(lockouts, "bob", "2001:db8::1") == 0
    assert await wait(lockouts, "bob", THERE) > 0
    await lockouts.lift(name=odd)
    assert await wait(lockouts, odd) == 0
    assert await wait(lockouts) > 0
    await lockouts.lift(address=HERE)
    assert await wait(lockouts) == 0
    for strange in ("\0", "\udcff", "nobody"):
        assert await lockouts.lift(name=strange) == 0
    await lockouts.lift()
    assert await lockouts.list() == []


async def test_a_clock_that_jumps_locks_nobody_out(lockouts: Lockouts, clock: Clock) -> None:
    """Hours ahead and back again."""
    clock.advance(6 * 3600)
    await fail(lockouts, FREE["login"] + 20)
    clock.rightNow -= 6 * 3600
    assert await wait(lockouts) == 0
    assert await lockouts.list() == []
    await fail(lockouts, FREE["login"], tag="later")
    assert await wait(lockouts) == 0


async def test_ten_thousand_guesses_leave_little_behind(lockouts: Lockouts, database: Database) -> None:
    """In memory and in the database; what cannot be a name is counted for its address alone."""
    for number in range(2_000):
        await lockouts.failed(f"name {number}", f"10.{number % 7}.{number // 256}.{number % 256}", b"x")
    for name in ("a" * 5000, "\0", "\udcff", ""):
        await lockouts.failed(name, HERE, b"x")
        assert set(subjects_of(name, HERE)) == {"address"}
    assert max(len(lockouts._wrong), len(lockouts._failing), len(lockouts._noted)) <= SIZE
    for table in (login_failures, login_places):
        count = select(func.count()).select_from(table)
        assert await database.read(lambda c, count=count: c.execute(count).scalar_one()) <= MOST_ROWS  # type: ignore[misc]


async def test_what_was_shown_is_kept_nowhere(lockouts: Lockouts, database: Database, tmp_path: Path) -> None:
    """Wrong passwords are often nearly right, or right elsewhere."""
    with capturedLogs() as logged:
        for number in range(FREE["login"] + 2):
            await lockouts.failed("alice", HERE, b"correct horse %d" % number)
    assert any(each.get("user") == "alice" for each in logged)
    assert "correct horse" not in repr(logged)
    assert not any(b"correct horse" in file.read_bytes() for file in tmp_path.iterdir())


def test_places() -> None:
    """A network of IPv6 is one; an address of IPv4 is the same however it is written."""
    assert place("2001:db8:0:1::2") == place("2001:db8:0:1:ffff::") == "2001:db8:0:1::/64"
    assert place("::ffff:192.0.2.1") == HERE == place(HERE)
    assert place("unix") == "unix"
