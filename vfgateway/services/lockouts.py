"""Wrong logins: each makes the next one wait longer, for the name under which and for the address from which they come; in all processes.

Three figures are kept, each with a number of failures that cost nothing: of a name from an address, of a name from anywhere, and of an address under
any name. While one of them says so, nothing is judged, so that guessing costs the guesser time and us nothing. Whoever has logged
in from an address before is kept out by the first figure alone: others can neither lock people out of their desks, nor out of
a network that they share.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, TypeVar, cast

import attrs
from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, update
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vfgateway.errors import TooManyAttempts
from vfgateway.services import audit_records
from vfgateway.services.database import Database, bump
from vfgateway.services.events import Events
from vfgateway.services.login_tables import login_failures, login_places
from vfgateway.services.operations import LoginsLocked
from vfgateway.services.people import can_be_stored

K = TypeVar("K")
V = TypeVar("V")

#: The number that counts up whenever somebody has to wait, or need not any more.
GENERATION = "lockouts"
#: Failures that cost nothing: of a name from an address, of a name, of an address.
FREE = {"login": 5, "name": 20, "address": 50}
#: Seconds of the first wait, which doubles, and of the longest.
FIRST, LONGEST = 1.0, 900.0
#: Seconds after which failures are forgotten.
MEMORY = 3600.0
#: Seconds after which the same wrong password counts again: a program that repeats it is no guesser.
REPEATS = 2.0
#: Days for which an address counts as one from which somebody has logged in, and seconds between two notes of it.
KNOWN_FOR, NOTE_EVERY = 90 * 86400.0, 3600.0
#: Rows of either table that are kept, and writes between two looks at that.
MOST_ROWS, LOOK_EVERY = 20_000, 200
#: Entries of each memory in a process.
SIZE = 10_000
_LONGEST_NAME = 255

#: What a figure is of.
type_kind = Literal["login", "name", "address"]


@attrs.frozen
class Lockout:
    """Who has to wait.

    :ivar kind: ``login`` (a name from an address), ``name``, or ``address``
    :ivar failures: wrong logins, one shortly after the other
    :ivar last: epoch seconds of the latest, and ``until`` when the next one is judged
    """

    kind: type_kind
    name: str | None
    address: str | None
    failures: int
    last: float
    until: float


class Lockouts:
    """See the module.

    :param clock: tells the time in epoch seconds
    """

    log = Logger()

    def __init__(self, database: Database, clock: IReactorTime, events: Events) -> None:
        self._database = database
        self._clock = clock
        self._events = events
        self._key = secrets.token_bytes(32)
        self._generation: int | None = None
        self._waits: dict[str, float] = {}
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        self._failing: OrderedDict[str, None] = OrderedDict()
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._writes = 0

    # --- judging ---

    async def check(self, name: str | None, address: str) -> None:
        """Whether a login may be judged now. ``TooManyAttempts``. Waits for nothing while nobody is locked out.

        :param name: ``None`` where the credential alone says who it is
        :param address: empty where it is not known
        """
        generation = await self._database.generation(GENERATION)
        if generation != self._generation:
            self._waits = await self._database.read(lambda connection: _waits(connection, self._clock.seconds()))
            self._generation = generation
        if not self._waits:
            return
        subjects = subjects_of(name, address)
        waits = {kind: self._wait(subject) for kind, subject in subjects.items()}
        if waits.get("login", 0.0) <= 0 < max(waits.values(), default=0.0) and await self._is_known(name, address):
            return
        if (longest := max(waits.values(), default=0.0)) > 0:
            raise TooManyAttempts(longest)

    def _wait(self, subject: str) -> float:
        """Seconds that are left; none that a clock made which was wrong."""
        left = self._waits.get(subject, 0.0) - self._clock.seconds()
        return left if 0 < left <= LONGEST else 0.0

    async def _is_known(self, name: str | None, address: str) -> bool:
        if name is None or not _usable(name):
            return False
        here = (login_places.c.name == name) & (login_places.c.address == place(address))
        query = select(login_places.c.last).where(here)
        last = await self._database.read(lambda connection: connection.execute(query).scalar())
        return last is not None and self._clock.seconds() - last < KNOWN_FOR

    async def failed(self, name: str | None, address: str, shown: bytes) -> None:
        """Count a wrong login.

        :param shown: what was shown; only a keyed hash of it is kept
        """
        now = self._clock.seconds()
        ticket = hmac.digest(self._key, repr((name, address)).encode() + shown, "sha256")
        repeated = now - self._wrong.get(ticket, float("-inf")) >= REPEATS and ticket in self._wrong
        _put(self._wrong, ticket, now)
        if repeated:
            return
        subjects = subjects_of(name, address)
        for subject in subjects.values():
            _put(self._failing, subject, None)
        prune = self._writes % LOOK_EVERY == 0
        self._writes += 1

        def write(connection: Connection) -> dict[str, tuple[int, float]]:
            counted = {kind: _count(connection, kind, subject, now) for kind, subject in subjects.items()}
            if any(until > now for _, until in counted.values()):
                bump(connection, GENERATION)
            if prune:
                _prune(connection, now)
            return counted

        counted = await self._database.write(write, durable=False)
        if locked := {kind: until for kind, (_, until) in counted.items() if until > now}:
            self._database.forget_generations()
            kind = max(locked, key=lambda kind: locked[kind])
            self._events.publish(
                LoginsLocked(
                    user=(name or "")[:64] if kind != "address" else "",
                    address=place(address) if kind != "name" else "",
                    failures=counted[kind][0],
                    seconds=locked[kind] - now,
                )
            )

    def succeeded(self, name: str, address: str) -> None:
        """Forget what was wrong under a name before, and note from where it came in. Not a coroutine: nobody waits for it."""
        subjects = [subject for kind, subject in subjects_of(name, address).items() if kind != "address"]
        now, pair = self._clock.seconds(), f"{address} {name}"
        failing = [subject for subject in subjects if subject in self._failing]
        if not subjects or (not failing and 0 <= now - self._noted.get(pair, float("-inf")) < NOTE_EVERY):
            return
        _put(self._noted, pair, now)
        for subject in failing:
            del self._failing[subject]
        known_at = place(address)

        def write(connection: Connection) -> None:
            connection.execute(delete(login_failures).where(login_failures.c.subject.in_(subjects)))
            if known_at:
                here = (login_places.c.name == name) & (login_places.c.address == known_at)
                if not connection.execute(update(login_places).where(here).values(last=now)).rowcount:
                    connection.execute(insert(login_places).values(name=name, address=known_at, last=now))

        noted = Deferred.fromCoroutine(self._note(write))
        noted.addErrback(lambda failure: self.log.failure("could not note a login of {name}", failure, name=name))

    async def _note(self, write: Callable[[Connection], None]) -> None:
        await self._database.write(write, durable=False)

    # --- for administrators ---

    async def list(self) -> Sequence[Lockout]:
        """Who has to wait now, the longest first."""
        now = self._clock.seconds()
        query = (
            select(login_failures)
            .where(login_failures.c.until > now, login_failures.c.until <= now + LONGEST)
            .order_by(login_failures.c.until.desc())
            .limit(1000)
        )

        def read(connection: Connection) -> list[Lockout]:
            return [_lockout(*row) for row in connection.execute(query)]

        return await self._database.read(read)

    async def lift(self, name: str | None = None, address: str | None = None) -> int:
        """Judge logins again, and forget what was wrong: under a name, from an address, under a name from an address, or everything; how many
        figures that were."""
        if not all(can_be_stored(text) for text in (name, address) if text is not None):
            return 0
        wanted: list[ColumnElement[bool]] = []
        if name is not None and address is not None:
            wanted = [login_failures.c.subject == f"login:{place(address)} {name}"]
        elif name is not None:
            suffix = login_failures.c.subject.endswith(f" {name}", autoescape=True)
            login = login_failures.c.subject.startswith("login:")
            wanted = [or_(login_failures.c.subject == f"name:{name}", suffix & login)]
        elif address is not None:
            login = login_failures.c.subject.startswith(f"login:{place(address)} ", autoescape=True)
            wanted = [or_(login_failures.c.subject == f"address:{place(address)}", login)]

        def write(connection: Connection) -> int:
            return connection.execute(delete(login_failures).where(*wanted)).rowcount

        now, target = self._clock.seconds(), " ".join(filter(None, (name, address))) or "all"
        return await audit_records.change(self._database, GENERATION, write, "lockout_lifted", now, target=target)


# --- subjects ---


@lru_cache(maxsize=1024)
def place(address: str) -> str:
    """The address as it is counted: of IPv6 the network of 64 bits, which one customer has as a rule; of IPv4 within IPv6 that."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address) + "/64"
    return str(parsed)


def subjects_of(name: str | None, address: str) -> dict[str, str]:
    """What a login is counted under, by kind."""
    where = place(address)
    found = {"address": f"address:{where}"} if where else {}
    if name is not None and _usable(name):
        found["name"] = f"name:{name}"
        found["login"] = f"login:{where} {name}"
    return found


def _usable(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and can_be_stored(name)


def _lockout(subject: str, failures: int, last: float, until: float) -> Lockout:
    kind, _, rest = subject.partition(":")
    address, name = (rest, None) if kind == "address" else (None, rest)
    if kind == "login":
        address, _, name = rest.partition(" ")
    return Lockout(cast(type_kind, kind), name, address or None, failures, last, until)


# --- the tables ---


def _waits(connection: Connection, now: float) -> dict[str, float]:
    query = select(login_failures.c.subject, login_failures.c.until).where(login_failures.c.until > now)
    return {row.subject: row.until for row in connection.execute(query)}


def _count(connection: Connection, kind: str, subject: str, now: float) -> tuple[int, float]:
    """Count a failure; how many there are now, and until when to wait."""
    here = login_failures.c.subject == subject
    row = connection.execute(select(login_failures).where(here)).first()
    fresh = row is None or not 0 <= now - row.last < MEMORY
    failures = 1 if row is None or fresh else row.failures + 1
    beyond = failures - FREE[kind]
    until = now + min(FIRST * 2 ** min(beyond - 1, 30), LONGEST) if beyond > 0 else 0.0
    values = {"failures": failures, "last": now, "until": until}
    if row is None:
        connection.execute(insert(login_failures).values(subject=subject, **values))
    else:
        connection.execute(update(login_failures).where(here).values(values))
    return failures, until


def _prune(connection: Connection, now: float) -> None:
    """Drop what is forgotten, and what is too much: the oldest."""
    connection.execute(delete(login_failures).where(login_failures.c.last < now - MEMORY))
    connection.execute(delete(login_places).where(login_places.c.last < now - KNOWN_FOR))
    for table in (login_failures, login_places):
        extra = connection.execute(select(func.count()).select_from(table)).scalar_one() - MOST_ROWS
        if extra > 0:
            edge = select(table.c.last).order_by(table.c.last).offset(extra).limit(1).scalar_subquery()
            connection.execute(delete(table).where(table.c.last < edge))


def _put(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > SIZE:
        kept.popitem(last=False)
