"""Claims: one announcement for many small changes, which gives way to whoever waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from twisted.internet.task import Clock

from tests.support.processes import Process, begin, process, turn, while_time_passes
from vfgateway.model import VFolder
from vfgateway.paths import ROOT, FolderPath, parse_text
from vfgateway.services import claims, schema
from vfgateway.services.claims import Claims
from vfgateway.services.processes import BEAT

NONE: frozenset[str] = frozenset()
FILE = parse_text("d/file")


@pytest_twisted.async_yield_fixture
async def alone(tmp_path: Path, clock: Clock) -> AsyncIterator[Process]:
    async with process(tmp_path / "db", clock) as made:
        yield made


def of(at: Process) -> Claims:
    return Claims(at.database, at.clock, at.processes, at.locks, at.quota.flush)


async def granted(made: Claims, vfolder: VFolder, path: FolderPath = FILE, together: bool = False) -> bool:
    """Whether the claim comes when it is asked for again and again."""
    for _ in range(20):
        if made.covers(vfolder, path, together):
            return True
        await made._database.write(lambda _: None, durable=False)  # after what it has begun
        await made._database.read(lambda _: None)
        await turn()
    return False


async def lock(at: Process, vfolder: VFolder, where: FolderPath) -> str:
    about = {"principal_id": "alice", "owner": "Alice", "infinite": False, "exclusive": True, "timeout": 60.0}
    return (await at.locks.acquire(vfolder, where, **about)).token  # type: ignore[arg-type]


async def test_a_claim_is_announced_until_it_is_not_used(alone: Process) -> None:
    """Whoever looks finds it as a change of everything; a while after its last use, and at the stop, it is gone."""
    vfolder, made = await alone.vfolder(), of(alone)
    assert await granted(made, vfolder)
    (row,) = await alone.rows(schema.intents)
    assert (row.vfolder, row.path, row.tree) == (vfolder.key, b"", True)
    for _ in range(round(claims.IDLE / claims.LOOK) + 3):
        alone.clock.advance(claims.LOOK)
        for _ in range(5):
            await turn()
    assert await alone.rows(schema.intents) == []
    assert await granted(made, vfolder)
    await made.stop()
    assert await alone.rows(schema.intents) == []
    assert not made.covers(vfolder, FILE)


async def test_no_claim_on_what_is_locked(alone: Process) -> None:
    """Every change there has to be checked; a claim that is held already is worth nothing from the moment of the lock on."""
    vfolder, other, made = await alone.vfolder(), await alone.vfolder(), of(alone)
    await lock(alone, vfolder, FILE)
    assert not await granted(made, vfolder)
    assert await granted(made, other)
    await lock(alone, other, parse_text("elsewhere"))
    assert not made.covers(other, FILE)
    await made.stop()


async def test_what_others_of_this_process_change_is_left_to_them(alone: Process) -> None:
    """A claim covers no path that a change under way concerns."""
    vfolder, made = await alone.vfolder(), of(alone)
    assert await granted(made, vfolder)
    async with alone.locks.publishing(vfolder, [(parse_text("d"), True)], NONE, "bob"):
        assert not made.covers(vfolder, FILE)
        assert made.covers(vfolder, parse_text("e"))
    assert made.covers(vfolder, FILE)
    async with alone.locks.publishing(vfolder, [(ROOT, True)], NONE, "internal", recount=True):
        assert not made.covers(vfolder, FILE)
    await made.stop()


async def test_others_wait_until_the_claim_is_given_up(tmp_path: Path, clock: Clock) -> None:
    """Who comes second gets in when the claim is given up, which is soon; and as long as there are two, none is made."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as first:
        vfolder, made = await first.vfolder(), of(first)
        assert await granted(made, vfolder)
        async with process(tmp_path / "db", clock, 2, alive) as second:
            assert made.covers(vfolder, FILE)
            entering = begin(lock(second, vfolder, FILE))
            for _ in range(10):
                await turn()
            assert not entering.called
            await while_time_passes(clock, entering)
            assert not made.covers(vfolder, FILE)
            clock.advance(claims.REFUSED + 1)
            assert not await granted(made, vfolder)
        await made.stop()


async def test_processes_claim_together(tmp_path: Path, clock: Clock) -> None:
    """What goes along with what others do, several do; for anything else it is no claim. Whoever changes something else waits for all."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as first, process(tmp_path / "db", clock, 2, alive) as second:
        vfolder = await first.vfolder()
        ours, theirs = of(first), of(second)
        assert await granted(ours, vfolder, together=True)
        assert await granted(theirs, vfolder, together=True)
        for made in (ours, theirs):
            assert made.covers(vfolder, FILE, together=True)
            assert not made.is_alone(vfolder)
            assert not made.covers(vfolder, FILE)
        assert len(await first.rows(schema.intents)) == 2
        for _ in range(5):  # neither gives way to the other
            clock.advance(claims.LOOK)
            await turn()
        assert ours.covers(vfolder, FILE, together=True)
        with ours.kept(vfolder):
            entering = begin(lock(second, vfolder, FILE))
            for _ in range(100):
                clock.advance(claims.LOOK)
                await turn()
            assert not entering.called
        await while_time_passes(clock, entering)
        for made in (ours, theirs):
            assert not made.covers(vfolder, FILE, together=True)
        await ours.stop()
        await theirs.stop()


async def test_who_is_alone_no_more_lets_others_in(tmp_path: Path, clock: Clock) -> None:
    """A claim from before there were others gives way also to what would go along with one that is shared."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as first:
        vfolder, made = await first.vfolder(), of(first)
        assert await granted(made, vfolder, together=True)
        assert made.is_alone(vfolder)
        async with process(tmp_path / "db", clock, 2, alive) as second:

            async def store() -> None:
                async with second.locks.publishing(vfolder, [(FILE, False)], NONE, "bob", shared=True):
                    pass

            await while_time_passes(clock, begin(store()), most=1.0)
            assert not made.covers(vfolder, FILE, together=True)
        await made.stop()


async def test_no_claim_together_while_others_change(tmp_path: Path, clock: Clock) -> None:
    """What another process has announced comes first."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as first, process(tmp_path / "db", clock, 2, alive) as second:
        vfolder, made = await first.vfolder(), of(first)
        async with second.locks.publishing(vfolder, [(FILE, False)], NONE, "bob"):
            assert not await granted(made, vfolder, together=True)
            assert len(await first.rows(schema.intents)) == 1
        clock.advance(claims.REFUSED + 1)
        assert await granted(made, vfolder, together=True)
        await made.stop()


async def test_one_disturbance_costs_little_many_cost_more(tmp_path: Path, clock: Clock) -> None:
    """A claim is sought anew a moment after it was given up, but not where that happens over and over."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as first, process(tmp_path / "db", clock, 2, alive) as second:
        vfolder, made = await first.vfolder(), of(first)

        async def disturb() -> None:
            async with second.locks.publishing(vfolder, [(FILE, False)], NONE, "bob"):
                assert not made.covers(vfolder, FILE, together=True)

        assert await granted(made, vfolder, together=True)
        await while_time_passes(clock, begin(disturb()))
        clock.advance(claims.REFUSED_ONCE)
        assert await granted(made, vfolder, together=True)
        for _ in range(7):
            await while_time_passes(clock, begin(disturb()))
            clock.advance(claims.REFUSED)
            assert await granted(made, vfolder, together=True)
        await while_time_passes(clock, begin(disturb()))
        clock.advance(claims.REFUSED - 1)
        assert not await granted(made, vfolder, together=True)
        await made.stop()


async def test_nobody_waits_long_for_the_dead(tmp_path: Path, clock: Clock) -> None:
    """Whoever has to wait for a claim looks whether its holder lives."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as first:
        vfolder = await first.vfolder()
        async with process(tmp_path / "db", clock, 2, alive) as second:
            made = of(second)
            assert await granted(made, vfolder, together=True)
            timer = made._timer
            assert timer is not None
            timer.cancel()
            second.die()
            alive.discard(2)
            found: list[float] = []

            async def take_over() -> None:
                found.append(clock.seconds())
                await first.locks.recover(await first.processes.dead())

            first.processes.watch(take_over)
            begun = clock.seconds()
            entering = begin(lock(first, vfolder, FILE))
            await while_time_passes(clock, entering)
            assert len(found) == 1
            assert found[0] - begun < BEAT / 2


async def test_a_change_under_way_keeps_the_claim(tmp_path: Path, clock: Clock) -> None:
    """Others wait for what takes longer, too, however much they want it."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as first:
        vfolder, made = await first.vfolder(), of(first)
        assert await granted(made, vfolder)
        async with process(tmp_path / "db", clock, 2, alive) as second:
            with made.kept(vfolder):
                entering = begin(lock(second, vfolder, FILE))
                for _ in range(100):
                    clock.advance(claims.LOOK)
                    await turn()
                assert not entering.called
                assert len(await first.rows(schema.intents)) == 2
                assert not made.covers(vfolder, FILE)
            await while_time_passes(clock, entering)
        await made.stop()


async def test_a_claim_that_somebody_struck_is_not_believed(alone: Process) -> None:
    """Whoever took this process for dead has taken what it announced; it notices, or trusts itself no more."""
    vfolder, made = await alone.vfolder(), of(alone)
    assert await granted(made, vfolder)
    await alone.database.write(lambda connection: connection.execute(schema.intents.delete()).rowcount)
    alone.clock.advance(claims.LOOK)
    for _ in range(10):
        await turn()
    assert not made.covers(vfolder, FILE)
    await made.stop()


async def test_nobody_believes_an_old_look(alone: Process) -> None:
    """After a suspension nothing is done under a claim before somebody has looked."""
    vfolder, made = await alone.vfolder(), of(alone)
    assert await granted(made, vfolder)
    timer = made._timer
    assert timer is not None
    timer.cancel()
    alone.clock.advance(claims.BELIEVED)
    assert not made.covers(vfolder, FILE)
    made._timer = None
    await made.stop()
