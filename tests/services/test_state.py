"""Plugins keep small things: durable, private, changed only from the state they were seen in."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from vfgateway.services.database import Database
from vfgateway.services.state import DatabaseState


async def test_value_is_set_changed_and_removed(database: Database) -> None:
    """A value changes only for whoever knows the present one."""
    state = DatabaseState(database, "volumes.a")
    assert await state.get("k") is None
    assert await state.compare_and_set("k", None, b"")
    assert not await state.compare_and_set("k", None, b"other")
    assert not await state.compare_and_set("k", b"wrong", b"other")
    assert await state.compare_and_set("k", b"", b"\x00\xff")
    assert await state.get("k") == b"\x00\xff"
    assert not await state.compare_and_set("k", None, None)
    assert await state.compare_and_set("k", b"\x00\xff", None)
    assert await state.compare_and_set("k", None, None)
    assert await state.get("k") is None


async def test_owners_do_not_meet(database: Database) -> None:
    """Two plugin instances may use the same key."""
    assert await DatabaseState(database, "a").compare_and_set("k", None, b"1")
    assert await DatabaseState(database, "b").get("k") is None


async def test_one_of_many_wins(database: Database) -> None:
    """Of those who change the same state at once, one succeeds."""
    state = DatabaseState(database, "a")
    tries = [Deferred.fromCoroutine(state.compare_and_set("k", None, bytes([number]))) for number in range(8)]
    won = await gatherResults(tries)
    assert sorted(won) == [False] * 7 + [True]
    assert await state.get("k") == bytes([won.index(True)])
