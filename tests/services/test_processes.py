"""Processes: the dead are found, the living never taken for dead, and nothing that was left is forgotten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete
from twisted.internet.task import Clock

from tests.support.processes import process
from vfgateway.model import Usage
from vfgateway.services import schema
from vfgateway.services.processes import SILENT_BEATS, Machine, Processes


async def test_a_clean_stop_leaves_nothing(tmp_path: Path, clock: Clock) -> None:
    """No entry, no mark, no intent, no hold: the next start has nothing to put right."""
    async with process(tmp_path / "db", clock) as first:
        vfolder = await first.vfolder()
        async with await first.quota.reserve(vfolder, Usage(10, 1)) as reservation:
            await reservation.settle(Usage(10, 1))
    async with process(tmp_path / "db", clock, 2) as second:
        assert await second.processes.dead() == []
        assert [row.id for row in await second.rows(schema.processes)] == [second.processes.id]
        for table in (schema.dirty, schema.intents, schema.holds):
            assert await second.rows(table) == []


async def test_a_killed_process_is_found_at_once_on_the_same_machine(tmp_path: Path, clock: Clock) -> None:
    """Its number belongs to nobody, or to a process that was born later."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        async with process(tmp_path / "db", clock, 2, alive) as there:
            assert await here.processes.dead() == []
            there.die()
            alive.discard(2)
        assert await here.processes.dead() == [there.processes.id]
        await here.processes.forget([there.processes.id])
        assert await here.processes.dead() == []


@pytest.mark.parametrize(
    ("machine", "dead"),
    [
        (Machine("here", "boot", 1), False),
        (Machine("here", "another boot", 1), True),
        (Machine("elsewhere", "boot", 1), False),
    ],
)
async def test_who_is_dead_at_first_sight(tmp_path: Path, clock: Clock, machine: Machine, dead: bool) -> None:
    """A boot of the machine ends all that used its database; of another machine, or another container, nothing is known yet."""
    async with process(tmp_path / "db", clock) as here:
        other = Processes(here.database, clock, machine)
        other._machine = _Reported(machine, 100)  # type: ignore[assignment]
        await other.start()
        assert await here.processes.dead() == ([other.id] if dead else [])
        await other.stop()


class _Reported:
    """A machine that says of a process what the test wants."""

    def __init__(self, machine: Machine, birth: int) -> None:
        self.host, self.boot_id, self.pid = machine.host, machine.boot_id, machine.pid
        self._birth = birth

    def birth(self, pid: int) -> int:
        return self._birth


async def test_silence_is_death_where_nothing_else_is_known(tmp_path: Path, clock: Clock) -> None:
    """A process on another machine is dead when it has been silent for several beats of ours; one that beats is not, whatever
    the clocks say."""
    async with process(tmp_path / "db", clock) as here:
        other = Processes(here.database, clock, Machine("elsewhere", "boot", 1))
        await other._register()
        await here.processes.beat()
        clock.advance(3600)  # somebody has set the clock
        await here.processes.beat()
        assert await here.processes.dead() == []
        for _ in range(SILENT_BEATS):
            await here.processes.beat()
        assert await here.processes.dead() == [other.id]
        await other.beat()
        await here.processes.beat()
        assert await here.processes.dead() == []


async def test_a_death_is_told_once(tmp_path: Path, clock: Clock) -> None:
    """Those who watch are called when a process was found dead while we run."""
    alive: set[int] = set()
    told: list[object] = []
    async with process(tmp_path / "db", clock, 1, alive) as here:

        async def on_death() -> None:
            told.append(await here.processes.dead())

        here.processes.watch(on_death)
        async with process(tmp_path / "db", clock, 2, alive) as there:
            await here.processes.beat()
            assert told == []
            there.die()
            alive.discard(2)
        await here.processes.beat()
        await here.processes.beat()
        assert told == [[there.processes.id]]


async def test_who_was_taken_for_dead_registers_again(tmp_path: Path, clock: Clock) -> None:
    """A machine that was suspended comes back to a list without it."""
    async with process(tmp_path / "db", clock) as here:
        await here.database.write(lambda connection: connection.execute(delete(schema.processes)))
        await here.processes.beat()
        assert [row.id for row in await here.rows(schema.processes)] == [here.processes.id]


async def test_what_was_left_without_an_entry_is_found(tmp_path: Path, clock: Clock) -> None:
    """If taking over is cut short after the entry was struck, the next start still finds what is left to do."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        vfolder = await here.vfolder()
        async with process(tmp_path / "db", clock, 2, alive) as there:
            await there.processes.dirty.mark(vfolder.key)
            there.die()
            alive.discard(2)
        await here.processes.forget([there.processes.id])
        assert await here.processes.dead() == [there.processes.id]
        assert await here.quota.recover([there.processes.id]) == [vfolder.key]
        await here.quota.set_usage(vfolder, Usage())
        assert await here.processes.dead() == []


def test_the_real_machine_knows_who_lives() -> None:
    """A child has a birth while it lives, and none when it is gone."""
    machine = Machine.here()
    assert machine.boot_id == Machine.here().boot_id
    assert machine.birth(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert machine.birth(child.pid)
    child.communicate()
    assert machine.birth(child.pid) is None
