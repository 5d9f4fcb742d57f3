"""The reactor's loop without what it does for logs that nobody keeps, and without long looks for garbage.

Twisted calls everything that a socket has to say within the context of its old log, through six functions. Where requests are small that is a
tenth of what they cost. The context is for messages of ``twisted.python.log`` alone, and the errors that it catches are caught a step further in, too.
``tests/test_eventloop.py`` pins what the private names used here mean.
"""

from __future__ import annotations

import gc
from functools import partial
from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.python import log


def shorten(reactor: Any) -> None:
    """Let ``reactor`` wait and call as :func:`_iterate` does, if it is the one of Linux. Before it runs. Idempotent."""
    if type(reactor) is EPollReactor:
        reactor.doIteration = partial(_iterate, reactor)  # type: ignore[method-assign]


def settle() -> None:
    """Once everything runs: what is there now stays, and need not be looked through for garbage. A look through all the modules, tables and settings
    of a gateway holds the loop up for a tenth of a second, in the middle of everybody's transfers."""
    gc.collect()
    gc.freeze()


def _iterate(reactor: Any, timeout: float | None) -> None:
    """As ``EPollReactor.doPoll``."""
    selectables = reactor._selectables
    events = reactor._poller.poll(-1 if timeout is None else timeout, len(selectables))
    for descriptor, event in events:
        selectable = selectables.get(descriptor)
        if selectable is None:  # gone, by what another had to say
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
