"""Locks: who may write what, for all protocols and processes at once; and changes that do not come between each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from tests.support.processes import Process, begin, process, settled, turn, while_time_passes
from vfgateway.errors import Locked, LockLost, QuotaExceeded, VFolderNotFound
from vfgateway.model import Usage, VFolder
from vfgateway.paths import ROOT, FolderPath, parse_text
from vfgateway.services import locktable, schema
from vfgateway.services.locks import Intent, Lock

NONE: frozenset[str] = frozenset()


@pytest_twisted.async_yield_fixture
async def alone(tmp_path: Path, clock: Clock) -> AsyncIterator[Process]:
    async with process(tmp_path / "db", clock) as made:
        yield made


def path(text: str) -> FolderPath:
    return parse_text(text)


async def lock(at: Process, vfolder: VFolder, where: str, **changes: Any) -> Lock:
    options = {
        "principal_id": "alice",
        "owner": "Alice's editor",
        "infinite": False,
        "exclusive": True,
        "timeout": 60.0,
        **changes,
    }
    return await at.locks.acquire(vfolder, path(where), **options)


async def publish(at: Process, vfolder: VFolder, *where: str, tree: bool = False, **options: Any) -> None:
    """Make a change visible, and settle it."""
    tokens, principal = options.pop("tokens", NONE), options.pop("principal", "bob")
    changes = [(path(each), tree) for each in where]
    async with at.locks.publishing(vfolder, changes, tokens, principal, **options) as intent:
        await at.quota.change(vfolder, Usage(1, 1), also=[intent.end])


class Publisher:
    """A publish that stays in the middle until it is told to go on."""

    def __init__(self, at: Process, vfolder: VFolder, where: str, tree: bool = False) -> None:
        self.entered: Deferred[Intent] = Deferred()
        self.go_on: Deferred[None] = Deferred()
        self.done = begin(self._publish(at, vfolder, path(where), tree))

    async def _publish(self, at: Process, vfolder: VFolder, where: FolderPath, tree: bool) -> None:
        async with at.locks.publishing(vfolder, [(where, tree)], NONE, "bob") as intent:
            self.entered.callback(intent)
            await self.go_on

    async def finish(self) -> None:
        self.go_on.callback(None)
        await self.done


async def test_a_lock_keeps_others_out_and_tells_who_and_until_when(alone: Process) -> None:
    """Whoever is refused learns whom to ask, and when to come back."""
    vfolder = await alone.vfolder()
    await lock(alone, vfolder, "a/report.odt")
    with pytest.raises(Locked) as refusal:
        await publish(alone, vfolder, "a/report.odt")
    assert refusal.value.owner == "Alice's editor"
    assert refusal.value.until == alone.clock.seconds() + 60


async def test_nobody_has_too_many(alone: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """One client that forgets to end its locks keeps no other from having some, and may have more when time or it has ended them."""
    monkeypatch.setattr(locktable, "MOST", 3)
    vfolder, other = await alone.vfolder(), await alone.vfolder()
    held = [await lock(alone, vfolder, str(number)) for number in range(3)]
    with pytest.raises(QuotaExceeded, match="locks"):
        await lock(alone, vfolder, "more")
    await publish(alone, vfolder, "more")
    await lock(alone, vfolder, "theirs", principal_id="bob")
    await lock(alone, other, "elsewhere")
    await alone.locks.release(held[0].token)
    await lock(alone, vfolder, "more")
    alone.clock.advance(61)
    for number in range(3):
        await lock(alone, vfolder, str(number))


async def test_the_holder_writes_with_its_token(alone: Process) -> None:
    """The token opens the door to whoever got it, and to nobody else (RFC 4918 section 6.4)."""
    vfolder = await alone.vfolder()
    held = await lock(alone, vfolder, "f")
    await publish(alone, vfolder, "f", tokens=frozenset({held.token}), principal="alice")
    with pytest.raises(Locked):
        await publish(alone, vfolder, "f", tokens=frozenset({held.token}), principal="bob")


@pytest.mark.parametrize(
    ("infinite", "locked", "changed", "tree", "refused"),
    [
        (True, "d", "d/x/y", False, True),
        (False, "d", "d/x", False, False),
        (True, "", "anything", False, True),
        (False, "d/x", "d", True, True),
        (False, "d/x", "d", False, False),
        (True, "d", "dd", False, False),
        (True, "d", "d0", True, False),
        (False, "d.x", "d", True, False),
    ],
)
async def test_what_a_lock_covers(
    alone: Process, infinite: bool, locked: str, changed: str, tree: bool, refused: bool
) -> None:
    """A lock of infinite depth covers what is below; a change of a whole tree meets the locks in it; names alike are not below."""
    vfolder = await alone.vfolder()
    await lock(alone, vfolder, locked, infinite=infinite)
    if refused:
        with pytest.raises(Locked):
            await publish(alone, vfolder, changed, tree=tree)
    else:
        await publish(alone, vfolder, changed, tree=tree)


async def test_names_that_are_no_text(alone: Process) -> None:
    """A lock on a name of arbitrary bytes is a lock on exactly these bytes."""
    vfolder = await alone.vfolder()
    name = FolderPath((b"\xff\xfe%_".decode("utf-8", "surrogateescape"),))
    await alone.locks.acquire(
        vfolder, name, principal_id="alice", owner="", infinite=True, exclusive=True, timeout=None
    )
    (found,) = await alone.locks.list(vfolder)
    assert found.path == name
    with pytest.raises(Locked):
        async with alone.locks.publishing(vfolder, [(name.child("x"), False)], NONE, "bob"):
            pass


async def test_exclusive_locks_stand_alone(alone: Process) -> None:
    """A second lock is refused where an exclusive one is, above or below where depths say so."""
    vfolder = await alone.vfolder()
    await lock(alone, vfolder, "d/f")
    for where, infinite in (("d/f", False), ("d", True), ("", True)):
        with pytest.raises(Locked):
            await lock(alone, vfolder, where, infinite=infinite, exclusive=False)
    await lock(alone, vfolder, "d", infinite=False)


async def test_shared_locks_stand_together(alone: Process) -> None:
    """Several may share; any one of their tokens lets its holder write, none of them keeps out."""
    vfolder = await alone.vfolder()
    first = await lock(alone, vfolder, "f", exclusive=False)
    second = await lock(alone, vfolder, "f", exclusive=False, principal_id="bob")
    with pytest.raises(Locked):
        await lock(alone, vfolder, "f")
    await publish(alone, vfolder, "f", tokens=frozenset({first.token}), principal="alice")
    await publish(alone, vfolder, "f", tokens=frozenset({second.token}), principal="bob")
    with pytest.raises(Locked):
        await publish(alone, vfolder, "f")


async def test_an_expired_lock_is_none(alone: Process) -> None:
    """Time ends a lock; refreshing moves the time, and is refused when it is too late."""
    vfolder = await alone.vfolder()
    held = await lock(alone, vfolder, "f", timeout=60.0)
    alone.clock.advance(59)
    refreshed = await alone.locks.refresh(held.token, 60.0)
    assert refreshed.expires == alone.clock.seconds() + 60
    alone.clock.advance(59)
    with pytest.raises(Locked):
        await publish(alone, vfolder, "f")
    alone.clock.advance(2)
    await publish(alone, vfolder, "f")
    assert not await alone.locks.list()
    with pytest.raises(LockLost):
        await alone.locks.refresh(held.token, 60.0)


async def test_release(alone: Process) -> None:
    """A released lock is gone, and releasing it again says so."""
    vfolder = await alone.vfolder()
    held = await lock(alone, vfolder, "f")
    assert await alone.locks.release(held.token)
    assert not await alone.locks.release(held.token)
    await publish(alone, vfolder, "f")


async def test_who_lost_its_lock_cannot_publish(alone: Process) -> None:
    """A writer whose lock was broken under it is refused, also when it has got a new one meanwhile."""
    vfolder = await alone.vfolder()
    held = await lock(alone, vfolder, "f")
    tokens = frozenset({held.token})
    fence = await alone.locks.fence(vfolder, path("f"), tokens)
    await publish(alone, vfolder, "f", tokens=tokens, principal="alice", fence=fence)
    assert await alone.locks.break_lock(held.token)
    with pytest.raises(LockLost):
        await publish(alone, vfolder, "f", tokens=tokens, principal="alice", fence=fence)
    again = await lock(alone, vfolder, "f")
    with pytest.raises(LockLost):
        await publish(alone, vfolder, "f", tokens=frozenset({again.token}), principal="alice", fence=fence)


async def test_who_began_without_a_lock_meets_a_later_one(alone: Process) -> None:
    """Nothing was lost, but somebody else holds it now."""
    vfolder = await alone.vfolder()
    fence = await alone.locks.fence(vfolder, path("f"), NONE)
    await publish(alone, vfolder, "f", fence=fence)
    await lock(alone, vfolder, "f")
    with pytest.raises(Locked):
        await publish(alone, vfolder, "f", fence=fence)
    with pytest.raises(Locked):
        await alone.locks.fence(vfolder, path("f"), NONE)


async def test_overlapping_changes_take_turns(alone: Process) -> None:
    """One waits for the other, in the order in which they came; what does not overlap does not wait."""
    vfolder = await alone.vfolder()
    first = Publisher(alone, vfolder, "d/f")
    tree = Publisher(alone, vfolder, "d", tree=True)
    behind = Publisher(alone, vfolder, "d/g")
    beside = Publisher(alone, vfolder, "e")
    await first.entered
    await beside.entered
    assert not await settled(tree.entered)
    assert not behind.entered.called, "a tree that waits is not passed by its own content"
    await first.finish()
    await tree.entered
    assert not await settled(behind.entered)
    await tree.finish()
    await behind.entered
    await behind.finish()
    await beside.finish()
    assert await alone.rows(schema.intents) == []


async def test_a_lock_waits_for_changes_under_way(alone: Process) -> None:
    """LOCK answers when nothing that began before can still change what it covers."""
    vfolder = await alone.vfolder()
    publisher = Publisher(alone, vfolder, "d/f")
    await publisher.entered
    locking = begin(lock(alone, vfolder, "d", infinite=True))
    assert not await settled(locking)
    await publisher.finish()
    await locking
    with pytest.raises(Locked):
        await publish(alone, vfolder, "d/f")


async def test_a_waiter_that_gives_up_is_not_in_the_way(alone: Process) -> None:
    """Cancelling a wait frees those behind it, and leaves no trace."""
    vfolder = await alone.vfolder()
    first = Publisher(alone, vfolder, "f")
    await first.entered
    given_up = Publisher(alone, vfolder, "", tree=True)
    behind = Publisher(alone, vfolder, "g")
    assert not await settled(behind.entered)
    given_up.done.cancel()
    with pytest.raises(CancelledError):
        await given_up.done
    await behind.entered
    await behind.finish()
    await first.finish()
    assert await alone.rows(schema.intents) == []


async def test_cancelled_while_it_is_being_announced(alone: Process) -> None:
    """A change whose client goes away at once leaves no intent and no lock behind."""
    vfolder = await alone.vfolder()
    await alone.processes.dirty.mark(vfolder.key)
    publisher = Publisher(alone, vfolder, "f")
    locking = begin(lock(alone, vfolder, "g"))
    for waiting in (publisher.done, locking):
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting
    await turn()
    assert await alone.rows(schema.intents) == []
    assert await alone.rows(schema.locks) == []


async def test_a_change_that_fails_ends_its_intent(alone: Process) -> None:
    """The next one can go on."""
    vfolder = await alone.vfolder()
    with pytest.raises(ZeroDivisionError):
        async with alone.locks.publishing(vfolder, [(path("f"), False)], NONE, "bob"):
            raise ZeroDivisionError
    assert await alone.rows(schema.intents) == []
    await publish(alone, vfolder, "f")


async def test_a_change_is_marked_before_it_can_be_seen(alone: Process) -> None:
    """If the process dies in between, the vfolder is known to need a recount."""
    vfolder = await alone.vfolder()
    publisher = Publisher(alone, vfolder, "f")
    await publisher.entered
    assert [row.vfolder for row in await alone.rows(schema.dirty)] == [vfolder.key]
    assert [row.path for row in await alone.rows(schema.intents)] == [b"f"]
    await publisher.finish()


async def test_a_vfolder_that_is_gone(alone: Process) -> None:
    """Publishing into a purged vfolder is refused rather than left hanging."""
    vfolder = await alone.vfolder()
    await alone.vfolders.forget(vfolder.key)
    with pytest.raises(VFolderNotFound):
        await publish(alone, vfolder, "f")
    with pytest.raises(VFolderNotFound):
        await lock(alone, vfolder, "f")


async def test_a_recount_minds_no_locks_but_holds_writers_off(alone: Process) -> None:
    """Counting is possible while somebody keeps a document open."""
    vfolder = await alone.vfolder()
    held = await lock(alone, vfolder, "f")
    async with alone.locks.publishing(vfolder, [(ROOT, True)], NONE, "internal", recount=True):
        writing = begin(publish(alone, vfolder, "f", tokens=frozenset({held.token}), principal="alice"))
        assert not await settled(writing)
    await writing


async def test_find(alone: Process) -> None:
    """What covers a path, and what lies below it."""
    vfolder = await alone.vfolder()
    above = await lock(alone, vfolder, "d", infinite=True, exclusive=False)
    below = await lock(alone, vfolder, "d/e/f", exclusive=False)
    assert await alone.locks.find(vfolder, path("d/e")) == [above]
    assert set(await alone.locks.find(vfolder, path("d/e"), below=True)) == {above, below}
    assert await alone.locks.get(below.token) == below
    assert below.fence > above.fence


# --- several processes ---


async def test_processes_wait_for_each_other(tmp_path: Path, clock: Clock) -> None:
    """A change in one process holds off an overlapping one, and a lock, in another."""
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        vfolder = await here.vfolder()
        publisher = Publisher(here, vfolder, "d/f")
        await publisher.entered
        elsewhere = begin(publish(there, vfolder, "d", tree=True))
        beside = begin(publish(there, vfolder, "e"))
        assert await settled(beside)
        assert not await settled(elsewhere)
        await publisher.finish()
        await while_time_passes(clock, elsewhere)
        held = await lock(there, vfolder, "d/f")
        with pytest.raises(Locked):
            await publish(here, vfolder, "d/f")
        await there.locks.release(held.token)


async def test_processes_do_not_starve_each_other(tmp_path: Path, clock: Clock) -> None:
    """A change that covers everything gets its turn although the other process goes on publishing."""
    async with process(tmp_path / "db", clock, 1) as here, process(tmp_path / "db", clock, 2) as there:
        vfolder = await here.vfolder()
        first = Publisher(here, vfolder, "f")
        await first.entered
        everything = begin(publish(there, vfolder, "", tree=True))
        assert not await settled(everything)
        later = begin(publish(here, vfolder, "g"))
        assert not await settled(later), "it came after the one that waits for everything"
        await first.finish()
        await while_time_passes(clock, everything)
        await while_time_passes(clock, later)


async def test_what_a_dead_process_announced(tmp_path: Path, clock: Clock) -> None:
    """Its intents go, so that others can write; what it was changing is named, to be recounted."""
    alive: set[int] = set()
    async with process(tmp_path / "db", clock, 1, alive) as here:
        vfolder = await here.vfolder()
        async with process(tmp_path / "db", clock, 2, alive) as there:
            publisher = Publisher(there, vfolder, "f")
            await publisher.entered
            waiting = begin(publish(here, vfolder, "f"))
            assert not await settled(waiting)
            there.die()
            alive.discard(2)
        dead = await here.processes.dead()
        assert dead == [there.processes.id]
        assert await here.locks.recover(dead) == [vfolder.key]
        assert await here.quota.recover(dead) == [vfolder.key]
        await while_time_passes(clock, waiting)
        publisher.done.addErrback(lambda _: None)
        publisher.done.cancel()
