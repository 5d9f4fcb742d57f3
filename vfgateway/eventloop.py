"""The reactor's loop without what it does for logs that nobody keeps, without long looks for garbage, and with small things first.

Twisted calls everything that a socket has to say within the context of its old log, through six functions. Where requests are small that is a
tenth of what they cost. The context is for messages of ``twisted.python.log`` alone, and the errors that it catches are caught a step further in, too.

Whoever waits for an answer sleeps, and waking him up costs as much as a small answer does, above all in a virtual machine. So such answers leave
several :func:`together`: he who is awake finds the next one there.

A transport that moves hundreds of KiB at each event takes half a millisecond for it. Eight of them would have whoever asks something small wait for
some ten. So they come last in a turn (:func:`give_way`), and after each of them the others are looked at again.
``tests/test_eventloop.py`` pins what the private names used here mean.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from os import sched_yield
from select import EPOLLIN
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from twisted.internet.epollreactor import EPollReactor
from twisted.python import log

#: Name of what a transport that gives way has among its attributes.
_LAST: Final = "_vfgateway_gives_way"
#: Name of the list of what is called together, among the attributes of the reactor; ``None`` between turns.
_TOGETHER: Final = "_vfgateway_together"
#: Name of the list of what is called at the end of a turn, in the same way.
_AT_END: Final = "_vfgateway_at_end"
#: Calls that are made together at most. Whoever is first waits for that many others.
MOST_TOGETHER: Final = 8

#: Turns, at most, until Twisted's loop looks at what there is besides sockets, and at the clock.
MOST_TURNS: Final = 16

#: Seconds for which sockets are looked at without sleeping, where the last sleep was that short: to fall asleep and be woken takes as long as a small answer, above all in
#: a virtual machine.
SLEEPLESS: Final = 0.0001
#: Name of whether that is so, among the attributes of the reactor.
_LIVELY: Final = "_vfgateway_lively"

_large: WeakSet[Any] = WeakSet()

type_calls = list[tuple[Callable[..., object], tuple[Any, ...]]]


def shorten(reactor: Any) -> None:
    """Let ``reactor`` wait and call as :func:`_iterate` does, if it is the one of Linux. Before it runs. Idempotent."""
    if type(reactor) is EPollReactor:
        reactor.doIteration = partial(_iterate, reactor)  # type: ignore[method-assign]


def settle() -> None:
    """Once everything runs: what is there now stays, and need not be looked through for garbage. A look through all the modules, tables and settings
    of a gateway holds the loop up for a tenth of a second, in the middle of everybody's transfers."""
    gc.collect()
    gc.freeze()


def give_way(transport: Any, does: bool = True) -> None:
    """Let others go before ``transport``, which moves much at each event; or no longer. Idempotent."""
    if does:
        transport.__dict__[_LAST] = True
        _large.add(transport)
    else:
        transport.__dict__.pop(_LAST, None)
        _large.discard(transport)


def large_transfers() -> int:
    """How many give way now, in this process."""
    return len(_large)


def together(reactor: Any, call: Callable[..., object], *args: Any) -> None:
    """Call, soon after those who have something to say now have said it; at once where nobody else has, or no turn runs."""
    waiting = getattr(reactor, _TOGETHER, None)
    if waiting is None:
        call(*args)
    else:
        waiting.append((call, args))


def at_end(reactor: Any, call: Callable[[], object]) -> bool:
    """Call when all have said what they have to say in this turn; whether it will be called: not where nobody else has anything to say, or no turn runs."""
    ending = getattr(reactor, _AT_END, None)
    if ending is None:
        return False
    ending.append((call, ()))
    return True


def _iterate(reactor: Any, timeout: float | None) -> None:
    """As ``EPollReactor.doPoll``, and again while there is nothing to be done but to wait for sockets until ``timeout`` is over: to find that out,
    Twisted's loop takes as long as the answer to something small."""
    until = None if timeout is None else monotonic() + timeout
    calls = reactor._pendingTimedCalls
    first = calls[0].time if calls else inf
    wait = -1.0 if timeout is None else timeout
    for _ in range(MOST_TURNS):
        events = _wait(reactor, wait)
        _turn(reactor, events)
        if (
            not events
            or reactor.threadCallQueue
            or reactor._newTimedCalls
            or reactor._justStopped
            or not reactor.running
        ):
            break
        calls = reactor._pendingTimedCalls
        if calls and calls[0].time < first:  # one was moved
            break
        if until is not None:
            wait = until - monotonic()
            if wait <= 0:
                break


def _wait(reactor: Any, seconds: float) -> Sequence[tuple[int, int]]:
    """What sockets have to say, as soon as one of them has. Where one had so soon the last time, they are looked at for that long before we sleep."""
    poll, count = reactor._poller.poll, len(reactor._selectables)
    events: Sequence[tuple[int, int]] = poll(0, count)
    if events or not seconds:
        return events
    began = now = monotonic()
    if getattr(reactor, _LIVELY, False):
        while now - began < SLEEPLESS:
            events = poll(0, count)
            if events:
                return events
            sched_yield()  # whoever else could use the processor goes first: the client, or another worker
            now = monotonic()
    events = poll(seconds, count)
    setattr(reactor, _LIVELY, bool(events) and monotonic() - now < SLEEPLESS)
    return events


def _turn(reactor: Any, events: Sequence[tuple[int, int]]) -> None:
    last = _tell_others(reactor, events)
    while last:
        selectable, descriptor, event = last.pop()
        if reactor._selectables.get(descriptor) is selectable:
            reactor._doReadOrWrite(selectable, descriptor, event)
        if last:
            reactor.runUntilCurrent()
            _tell_others(reactor, reactor._poller.poll(0, len(reactor._selectables)))


def _tell_others(reactor: Any, events: Sequence[tuple[int, int]]) -> list[tuple[Any, int, int]]:
    """Tell all of what has happened, but for those that give way: they are returned."""
    selectables = reactor._selectables
    last = []
    waiting: type_calls = []
    ending: type_calls = []
    if len(events) > 1:
        setattr(reactor, _TOGETHER, waiting)
        setattr(reactor, _AT_END, ending)
    for descriptor, event in events:
        selectable = selectables.get(descriptor)
        if selectable is None:  # gone, by what another had to say
            continue
        if _LAST in selectable.__dict__:
            last.append((selectable, descriptor, event))
            continue
        if event != EPOLLIN or selectable.fileno() == -1:
            reactor._doReadOrWrite(selectable, descriptor, event)
            continue
        try:
            why = selectable.doRead()
        except BaseException as error:
            why = error
            log.err()
        if why:
            reactor._disconnectSelectable(selectable, why, True)
        if len(waiting) >= MOST_TOGETHER:
            _call(waiting)
    if len(events) > 1:
        setattr(reactor, _TOGETHER, None)
        setattr(reactor, _AT_END, None)
        _call(waiting)
        _call(ending)
    return last


def _call(waiting: type_calls) -> None:
    for call, args in waiting:
        try:
            call(*args)
        except BaseException:
            log.err()
    waiting.clear()
