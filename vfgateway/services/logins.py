"""Passwords and keys: how they are kept, and how a login is judged without repeating costly work."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from vfgateway.errors import InvalidArgument

#: Seconds for which a verified password is remembered.
REMEMBERED = 300.0
#: Longest password in bytes, lest hashing be made a burden.
LONGEST_PASSWORD = 1024
#: What an API key begins with, so that people and secret scanners know one when they see it.
KEY_PREFIX = "vfg_"


def new_api_key() -> str:
    """A key with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def api_key_digest(key: str) -> str:
    """What is stored of a key. It is random through and through, so a plain digest gives nothing away."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def checked_password(password: str) -> str:
    """``password`` itself if it can be one. Raises :class:`InvalidArgument`, which does not repeat it."""
    if not password:
        raise InvalidArgument("password", "must not be empty")
    if "\0" in password or len(password.encode("utf-8", "surrogatepass")) > LONGEST_PASSWORD:
        raise InvalidArgument("password", f"expected at most {LONGEST_PASSWORD} bytes without NUL")
    if password.startswith(KEY_PREFIX):
        raise InvalidArgument("password", f"must not begin with {KEY_PREFIX}, like an API key")
    return password


def fits(hasher: PasswordHasher, stored: str, password: str) -> bool:
    """Whether ``password`` is the one behind the stored hash. Blocks for as long as the hash was made to take."""
    try:
        return hasher.verify(stored, password.encode("utf-8", "surrogatepass")[: LONGEST_PASSWORD + 1])
    except (Argon2Error, InvalidHashError):
        return False


class RememberedLogins:
    """Which passwords were verified lately, under a keyed hash that means nothing outside this process.

    An entry is good for one stored password hash: when that changes, it is worth nothing.
    """

    def __init__(self, clock: IReactorTime, size: int = 10_000) -> None:
        self._clock = clock
        self._size = size
        self._key = secrets.token_bytes(32)
        self._entries: OrderedDict[bytes, tuple[float, UUID, str]] = OrderedDict()

    def ticket(self, name: str, password: str) -> bytes:
        """The keyed hash of a login."""
        text = f"{len(name)}:{name}{password}"
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")

    def look_up(self, ticket: bytes) -> tuple[UUID, str] | None:
        """The user and the stored hash that this login was verified against, if that is not too long ago."""
        entry = self._entries.get(ticket)
        if entry is None:
            return None
        until, user, stored = entry
        if self._clock.seconds() >= until:
            del self._entries[ticket]
            return None
        return user, stored

    def add(self, ticket: bytes, user: UUID, stored: str) -> None:
        """Remember a login that was verified just now."""
        self._entries[ticket] = (self._clock.seconds() + REMEMBERED, user, stored)
        self._entries.move_to_end(ticket)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, ticket: bytes) -> None:
        """Forget a login."""
        self._entries.pop(ticket, None)


class SharedRuns:
    """Lets those who ask the same at the same time wait for one answer."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[Deferred[bool]]] = {}

    def run(self, key: bytes, start: Callable[[], Awaitable[bool]]) -> Deferred[bool]:
        """The answer of ``start``, begun now unless it runs already. Who is cancelled stops waiting; the run goes on."""
        waiter: Deferred[bool] = Deferred()
        if key in self._waiting:
            self._waiting[key].append(waiter)
            return waiter
        self._waiting[key] = [waiter]

        async def call() -> bool:
            return await start()

        def answer(outcome: bool | Failure) -> None:
            for waiting in self._waiting.pop(key):
                waiting.callback(outcome) if isinstance(outcome, bool) else waiting.errback(outcome)

        Deferred.fromCoroutine(call()).addBoth(answer)
        return waiter
