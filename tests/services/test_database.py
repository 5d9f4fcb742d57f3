"""The database: writes happen in order, together, and one that fails takes nothing of the others with it."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from vfgateway.services.database import Database
from vfgateway.services.schema import counters


def add(name: str, value: int = 0) -> object:
    return lambda connection: connection.execute(insert(counters).values(name=name, value=value))


async def names(database: Database) -> list[str]:
    query = select(counters.c.name).order_by(counters.c.name)
    return await database.read(lambda connection: list(connection.execute(query).scalars()))


class Held:
    """Keeps the writer busy, so that what is asked meanwhile is one group."""

    def __init__(self, database: Database) -> None:
        self._go_on = threading.Event()
        self.done = database.write(lambda _: self._go_on.wait(10))

    def let_go(self) -> None:
        self._go_on.set()


async def test_one_that_fails_among_many(database: Database) -> None:
    """It alone is undone, wholly, and only whoever asked for it hears of it."""

    def half(connection: Connection) -> None:
        connection.execute(insert(counters).values(name="half", value=1))
        raise ZeroDivisionError

    held = Held(database)
    first = database.write(add("a"))  # type: ignore[arg-type, var-annotated]
    failing = database.write(half)
    duplicate = database.write(add("a"))  # type: ignore[arg-type, var-annotated]
    last = database.write(add("b"))  # type: ignore[arg-type, var-annotated]
    held.let_go()
    await first
    with pytest.raises(ZeroDivisionError):
        await failing
    with pytest.raises(IntegrityError):
        await duplicate
    await last
    assert await names(database) == ["a", "b"]


async def test_one_that_fails_by_itself(database: Database) -> None:
    """It leaves nothing, and the next goes on."""

    def half(connection: Connection) -> None:
        connection.execute(insert(counters).values(name="half", value=1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(half)
    await database.write(add("a"))  # type: ignore[arg-type]
    assert await names(database) == ["a"]


async def test_writes_happen_in_the_order_in_which_they_were_asked_for(database: Database) -> None:
    """A later one sees what an earlier one did, also when nobody waits for that."""
    held = Held(database)
    cancelled: Deferred[object] = database.write(add("a"))  # type: ignore[arg-type, assignment]
    cancelled.cancel()
    with pytest.raises(CancelledError):
        await cancelled
    seen = database.write(lambda connection: connection.execute(select(counters.c.name)).scalar())
    held.let_go()
    assert await seen == "a", "cancelling abandons the answer, not the write"


async def test_many_at_once(database: Database) -> None:
    """More than fit into one group."""
    writes = [Deferred.fromCoroutine(_count(database)) for _ in range(600)]
    await gatherResults(writes)
    query = select(counters.c.value).where(counters.c.name == "n")
    assert await database.read(lambda connection: connection.execute(query).scalar()) == 600


async def _count(database: Database) -> None:
    def write(connection: Connection) -> None:
        at = connection.execute(select(counters.c.value).where(counters.c.name == "n")).scalar() or 0
        connection.execute(delete(counters).where(counters.c.name == "n"))
        connection.execute(insert(counters).values(name="n", value=at + 1))

    await database.write(write, durable=False)


async def test_a_look_needs_no_thread_and_waits_for_nobody(database: Database) -> None:
    """It finds what was written before, also while somebody writes; and where it cannot be made at once it is made later."""
    await database.write(add("a", 5))  # type: ignore[arg-type]
    query = select(counters.c.name, counters.c.value).where(counters.c.name == bindparam("wanted"))
    held = Held(database)
    looking = Deferred.fromCoroutine(database.look(query, wanted="a"))
    if database.is_sqlite:
        assert looking.called
    assert [tuple(row) for row in await looking] == [("a", 5)]
    held.let_go()
    await held.done
    if database.is_sqlite:
        assert database._numbers is not None
        database._numbers.close()  # nothing can be read with it any more
    assert [tuple(row) for row in await database.look(query, wanted="a")] == [("a", 5)]
    assert list(await database.look(query, wanted="b")) == []
