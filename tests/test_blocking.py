"""Threads: bounded, restartable, and never a reason not to end."""

from __future__ import annotations

import threading
import time

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock

from vfgateway import blocking
from vfgateway.blocking import Pool
from vfgateway.errors import VolumeUnavailable


async def test_a_pool_runs_only_while_started() -> None:
    """Before the start and after the stop a call fails at once instead of never answering; a second start works."""
    pool = Pool(reactor, 2, "test")
    with pytest.raises(VolumeUnavailable):
        await pool.run(int, "1")
    for _ in range(2):
        pool.start()
        assert await pool.run(int, "1") == 1
        await pool.stop()
        with pytest.raises(VolumeUnavailable):
            await pool.run(int, "1")


async def test_no_more_threads_than_agreed() -> None:
    """Ten calls at once share two threads."""
    pool = Pool(reactor, 2, "test")
    pool.start()
    try:
        together = threading.Barrier(2)

        def call() -> str:
            together.wait(10)
            return threading.current_thread().name

        calls = [pool.run(call) for _ in range(10)]
        names = [await answer for answer in calls]
        assert len(set(names)) == 2
    finally:
        await pool.stop()


async def test_a_quick_call_runs_in_place_until_the_storage_stalls() -> None:
    """After calls that had to wait, calls go to threads for a while, and then come back."""
    pool = Pool(_Ticking(), 1, "test", inline=True)
    here = threading.get_ident()
    assert await pool.quick(threading.get_ident) == here
    await pool.quick(time.sleep, 0.001)  # the clock makes it a hundred milliseconds
    with pytest.raises(VolumeUnavailable):  # not in place: the pool has no threads
        await pool.quick(threading.get_ident)
    pool._clock.advance(blocking.PENALTY)  # type: ignore[attr-defined]
    assert await pool.quick(threading.get_ident) == here


async def test_a_busy_machine_is_not_held_against_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long calls that never waited leave the next one in place."""
    monkeypatch.setattr(blocking, "_waits", lambda: 0)  # a thread that another test left may have this one wait
    pool = Pool(_Ticking(), 1, "test", inline=True)
    for _ in range(3):
        await pool.quick(threading.get_ident)
    assert await pool.quick(threading.get_ident) == threading.get_ident()


async def test_waiting_for_our_own_threads_is_not_held_against_the_storage() -> None:
    """Who has to wait until another thread lets go of the interpreter has not waited for a disk."""
    pool = Pool(_Ticking(), 1, "test", inline=True)
    working, stop = threading.Event(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            working.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        working.wait()
        for _ in range(3):
            await pool.quick(time.sleep, 0.02)
        assert await pool.quick(threading.get_ident) == threading.get_ident()
    finally:
        stop.set()
        thread.join()


async def test_a_stall_needs_no_second_look() -> None:
    """A call that took far too long goes for threads by itself."""
    clock = Clock()
    pool = Pool(clock, 1, "test", inline=True)
    await pool.quick(clock.advance, blocking.STALLED + 0.001)
    with pytest.raises(VolumeUnavailable):
        await pool.quick(threading.get_ident)


class _Ticking(Clock):
    """A clock that moves on by a tenth of a second at each look: more than a busy machine keeps anybody waiting."""

    def seconds(self) -> float:
        self.rightNow += 0.1
        return float(self.rightNow)


async def test_a_hanging_call_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead mount keeps its thread, not the gateway."""
    monkeypatch.setattr(blocking, "PATIENCE", 0.05)
    pool = Pool(reactor, 1, "test")
    pool.start()
    entered, release = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        release.wait()

    hanging = pool.run(hang)
    while not entered.wait(0.01):
        pass
    await pool.stop()
    release.set()
    await hanging
