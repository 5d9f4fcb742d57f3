"""What happened, told to whoever wants to know: in this process, and, each once, in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, cast

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger, LogLevel

from vfgateway import loglines
from vfgateway.loglines import Batch


@attrs.frozen(kw_only=True)
class Event:
    """One fact. Fields hold no secret.

    :cvar name: the event's name in the log
    :cvar frequent: comes by the thousand, so it is logged together with others of about the same time
    """

    name: ClassVar[str] = "event"
    level: ClassVar[Any] = LogLevel.info
    frequent: ClassVar[bool] = False


E = TypeVar("E", bound=Event)

#: Seconds for which frequent events wait for others, and how many of them at most.
GATHER, MOST = 0.05, 256


@attrs.frozen(kw_only=True)
class DeletionFinished(Event):
    """A vfolder has been purged, or could not be (``error`` says why, in one sentence)."""

    name: ClassVar[str] = "vfolder_deletion"

    vfid: str
    error: str | None = None


@attrs.frozen(kw_only=True)
class CloneFinished(Event):
    """A vfolder has been copied, or could not be."""

    name: ClassVar[str] = "vfolder_clone"

    vfid: str
    to_vfid: str
    error: str | None = None


@attrs.frozen(kw_only=True)
class TaskChanged(Event):
    """A background task has gone on.

    :ivar state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``
    :ivar done: of ``total``, in a unit of the task's own
    """

    name: ClassVar[str] = "task"
    level: ClassVar[Any] = LogLevel.debug

    task_id: str
    task: str
    state: str
    done: int = 0
    total: int = 0
    message: str = ""


@attrs.frozen(kw_only=True)
class QuotaAlert(Event):
    """Usage has crossed something, or something was refused.

    :ivar subject: whose limit, as in the tables; ``words``: as told to people
    :ivar resource: ``bytes`` or ``files``
    :ivar crossed: percent of the limit, ``soft``, ``grace`` (the soft limit acts now), ``over`` or ``refused``
    """

    name: ClassVar[str] = "quota_alert"
    level: ClassVar[Any] = LogLevel.warn

    subject: str
    words: str
    resource: str
    crossed: str
    used: int
    limit: int


class Events:
    """Passes events on to subscribers in this process. A subscriber that fails is logged and hurts nobody."""

    log = Logger()

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._subscribers: list[tuple[type[Event], Callable[[Any], None]]] = []
        self._lines = Lines()
        self._waiting: list[Callable[[], object]] = []
        self._later: IDelayedCall | None = None

    def subscribe(self, kind: type[E], subscriber: Callable[[E], None]) -> Callable[[], None]:
        """Have ``subscriber(event)`` called for each event of a kind (``Event``: all), in the reactor's thread, when it is published. Call
        what is returned to end it."""
        entry = (cast(type[Event], kind), cast(Callable[[Any], None], subscriber))
        self._subscribers.append(entry)

        def unsubscribe() -> None:
            if entry in self._subscribers:
                self._subscribers.remove(entry)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell everybody, and the log."""
        if self._waiting:
            self._catch_up()
        names, values = _fields(cast("Any", type(event)))
        fields = dict(zip(names, values(event), strict=True))
        if event.frequent:
            self._gather({"event": event.name, "message": event.name, **fields})
        else:
            words = _line(event.name, fields).replace("{", "{{").replace("}", "}}")
            self.log.emit(event.level, words, log_event=event.name, **fields)
        for kind, subscriber in tuple(self._subscribers):
            if isinstance(event, kind):
                try:
                    subscriber(event)
                except Exception:
                    self.log.failure("a subscriber failed on {log_event}", log_event=event.name)

    def soon(self, tell: Callable[[], object]) -> None:
        """Have ``tell()`` called, which publishes something frequent: before anything else is published, and when the log is written at the latest. Between the
        requests of a client who waits for each answer it takes three times as long."""
        self._waiting.append(tell)
        self._flush_later(self._waiting)

    def _catch_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            try:
                tell()
            except Exception:
                self.log.failure("what was put off could not be told")

    def _gather(self, fields: dict[str, Any]) -> None:
        self._lines.append(fields)
        self._flush_later(self._lines)

    def _flush_later(self, gathered: Sized) -> None:
        if len(gathered) >= MOST:
            self.flush()
        elif self._later is None:
            self._later = self._clock.callLater(GATHER, self.flush)

    def flush(self) -> None:
        """Publish what was to be told soon, and log what waits for others. Idempotent."""
        if self._waiting:
            self._catch_up()
        later, self._later = self._later, None
        if later is not None and later.active():
            later.cancel()
        if self._lines:
            lines, self._lines = self._lines, Lines()
            self.log.info("{requests}", requests=lines)


class Lines(Batch):
    """Events of about the same time, told as requests over HTTP are; as text, a line for each."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []

    def append(self, line: dict[str, Any]) -> None:
        """One more."""
        self._told.append(line)

    def __len__(self) -> int:
        return len(self._told)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._told)

    def as_json(self, base: Mapping[str, Any]) -> list[str]:
        """See :class:`vfgateway.loglines.Batch`."""
        start = loglines.as_json(base)[:-1]
        lines = []
        for line in self._told:
            told = line
            for name, value in line.items():
                if type(value) is str and not (value.isascii() and len(value) < loglines.LONGEST):
                    told = {**told, name: loglines.plain(value)}
            lines.append(f"{start}, {loglines.as_json(told)[1:]}")
        return lines

    def __str__(self) -> str:
        return "\n".join([_line(line["event"], line) for line in self._told])

    def __format__(self, form: str) -> str:
        return str(self)


@lru_cache(256)
def _fields(kind: Any) -> tuple[Sequence[str], Callable[[Event], Sequence[Any]]]:
    """The names of what an event tells, and what takes that out of one."""
    names = [field.name for field in attrs.fields(kind)]
    return names, attrgetter(*names) if len(names) > 1 else lambda event: [getattr(event, name) for name in names]


def _line(name: str, fields: Mapping[str, Any]) -> str:
    """The fields that say something, with nothing left to be filled in, since some events come by the thousand."""
    said = [f"{field}={value}" for field, value in fields.items() if value not in (None, "", name)]
    return f"{name}: {' '.join(said)}"
