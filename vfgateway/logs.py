"""The log of one process: what is told, how it is written, and where to.

Where ``twistd`` was given ``--logger``, ``--logfile`` or ``--syslog``, that is where the log goes, as Twisted writes it. Else it is
ours: text on a terminal, one line of JSON for each event elsewhere, into ``[log] file`` or the standard output.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    globalLogPublisher,
    jsonFileLogObserver,
)
from twisted.python.components import Componentized
from zope.interface import implementer

from vfgateway import loglines, requestcontext
from vfgateway.log_settings import LogSettings

#: Tells of every connection that is made.
_QUIET = {"twisted.web.client": "warn", "twisted.internet.protocol": "warn"}


class Levels:
    """What is told, by namespace: the nearest above the one that an event comes from decides.

    One for the whole process, since the log is.
    """

    def __init__(self) -> None:
        self._configured: dict[str, str] = {}
        self._changed: dict[str, str] = {}
        self.predicate = LogLevelFilterPredicate()

    def configure(self, settings: LogSettings) -> None:
        """What the configuration says. What was changed since stays."""
        self._configured = {"": settings.level, **_QUIET, **settings.levels}
        self._apply()

    def change(self, changed: Mapping[str, str]) -> None:
        """What is said at run time, in place of what was said so before; ``""`` is everything."""
        self._changed = dict(changed)
        self._apply()

    @property
    def configured(self) -> Mapping[str, str]:
        """What the configuration says; ``""`` is everything."""
        return self._configured

    def _apply(self) -> None:
        self.predicate.clearLogLevels()
        for namespace, level in (self._configured | self._changed).items():
            self.predicate.setLogLevelForNamespace(namespace, LogLevel.levelWithName(level))


LEVELS = Levels()


@implementer(ILogObserver)
class Enriching:
    """Adds to each event what runs when it happens: the request, who asks, in which vfolder, on which backend. Before all other observers."""

    def __init__(self, backends: Mapping[str, str]) -> None:
        self.backends = backends

    def __call__(self, event: dict[str, Any]) -> None:
        """Called by Twisted."""
        context = requestcontext.current()
        if context is None:
            return
        for name, value in context.log_fields.items():
            event.setdefault(name, value)
        if context.vfolder is not None:
            event.setdefault("backend", self.backends.get(context.vfolder.volume, ""))


@implementer(ILogObserver)
class Written:
    """Writes events to a stream, or to a file that can be opened anew.

    :param opener: gives the stream, at the first event
    """

    def __init__(self, opener: Callable[[], TextIO], form: str) -> None:
        self._open = opener
        self._form = form
        self._stream: TextIO | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Called by Twisted."""
        if self._stream is None:
            self._stream = self._open()
        if self._form == "text" or (self._form == "auto" and self._stream.isatty()):
            lines = list(loglines.text_of(event))
        else:
            _, lines = loglines.lines_of(event)
        if lines:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()

    def reopen(self) -> None:
        """Go on in the file that has the name now; what was moved away gets nothing more."""
        old, self._stream = self._stream, self._open()
        if old is not None and old is not self._stream:
            old.close()


def _opener(path: Path | None, owner: tuple[int, int] | None) -> Callable[[], TextIO]:
    if path is None:
        return lambda: sys.__stdout__ or sys.stdout

    def open_() -> TextIO:
        stream = path.open("a", encoding="utf-8", errors="backslashreplace")
        if owner is not None and os.geteuid() == 0:  # whoever we shall be has to open it anew
            os.fchown(stream.fileno(), *owner)
        return stream

    return open_


def enrich(backends: Mapping[str, str]) -> None:
    """Add to events what runs when they happen. To be called before any observer is added."""
    globalLogPublisher.addObserver(Enriching(backends))


def written(settings: LogSettings, reactor: Any, owner: tuple[int, int] | None = None) -> Any:
    """Where the log of this process goes, by the configuration, and only what is to be told. SIGUSR1 opens the file anew.

    :param owner: user and group whose file it shall be, where we are root and shall not be for long
    """
    observer = Written(_opener(settings.file, owner), settings.format)
    survive(reactor, None if settings.file is None else observer.reopen)
    return told(observer)


def survive(reactor: Any, reopen: Callable[[], None] | None = None) -> None:
    """Have ``SIGUSR1``, which is sent to whole groups of processes when logs are rotated, call ``reopen``; where nothing is to be opened and nobody
    else listens to it, do nothing. By itself it would end the process."""

    def listen() -> None:
        if reopen is not None:
            signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(reopen))
        elif signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, lambda *_: None)  # not SIG_IGN, which those that we start would inherit

    reactor.callWhenRunning(listen)


def passed_on(stream: TextIO) -> Any:
    """Writes events for the process that started this one."""
    write = jsonFileLogObserver(stream)

    @implementer(ILogObserver)
    def pass_on(event: Mapping[str, Any]) -> None:
        write(loglines.persistable(event))

    return pass_on


def told(observer: Any) -> Any:
    """``observer``, for what is to be told alone."""
    return FilteringLogObserver(observer, [_AnyPredicate()])


@implementer(ILogFilterPredicate)
class _AnyPredicate:
    """What is loud enough. Events that another process has passed on were judged there."""

    def __call__(self, event: dict[str, Any]) -> Any:
        """Called by Twisted."""
        return PredicateResult.maybe if event.get("log_relayed") else LEVELS.predicate(event)


def offer(observer: Any, application: Any) -> None:
    """Let ``twistd`` find the observer of its application, if there is one."""
    if observer is not None and isinstance(application, Componentized):
        application.setComponent(ILogObserver, observer)
