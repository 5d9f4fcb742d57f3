"""The second factor: codes of an authenticator app (TOTP, RFC 6238), each good once, and recovery codes for when the app is lost.

It is asked for with passwords. Keys are what programs and people without a prompt use: they stand for somebody who had passed it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

import attrs
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from twisted.internet.interfaces import IReactorTime

from vfgateway.errors import AuthenticationFailed, Conflict, InvalidArgument, SecondFactorRequired
from vfgateway.services import audit_records, people
from vfgateway.services.caches import GenerationCache
from vfgateway.services.database import Database
from vfgateway.services.login_tables import recovery_codes, second_factors
from vfgateway.services.logins import GENERATION

T = TypeVar("T")

#: What apps expect: digits of a code, and seconds for which one is shown (RFC 6238 section 4.1, Google Authenticator).
DIGITS, STEP = 6, 30
#: Codes before and after the present one that are taken: clocks differ, and people type slowly (RFC 6238 section 5.2).
DRIFT = 1
#: Recovery codes that are handed out, of so many bytes each.
CODES, CODE_BYTES = 10, 10
#: Bytes of the secret (RFC 4226 section 4 asks for 20).
_SECRET_BYTES = 20


@attrs.frozen
class FactorState:
    """How a user stands with the second factor.

    :ivar enabled: codes are asked for
    :ivar begun: a secret was handed out, and no code of it has been shown yet
    :ivar recovery_codes: those left
    """

    enabled: bool
    begun: bool
    recovery_codes: int


@attrs.frozen
class NewFactor:
    """What an authenticator app is told, once.

    :ivar secret: in Base32
    :ivar uri: the same as a link, which apps read from a QR code
    """

    secret: str = attrs.field(repr=False)
    uri: str = attrs.field(repr=False)


class SecondFactors:
    """See the module.

    :param clock: tells the time in epoch seconds
    """

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._database = database
        self._clock = clock
        self._enabled: GenerationCache[UUID, bool] = GenerationCache(database, GENERATION)

    # --- setting up ---

    async def state(self, user_id: UUID) -> FactorState:
        """How a user stands. ``UnknownAccount``."""
        count = select(func.count()).select_from(recovery_codes).where(recovery_codes.c.user_id == str(user_id))

        def read(connection: Connection) -> FactorState:
            people.user(connection, user_id)
            row = _row(connection, user_id)
            enabled = row is not None and row.confirmed is not None
            return FactorState(enabled, row is not None and not enabled, connection.execute(count).scalar_one())

        return await self._database.read(read)

    async def begin(self, user_id: UUID) -> NewFactor:
        """Hand out a secret. It counts once a code of it was shown: nobody is locked out by a picture that was never taken.
        ``UnknownAccount``; ``Conflict`` if there is a factor already."""
        secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")
        row = {"user_id": str(user_id), "secret": secret, "created": self._clock.seconds()}

        def write(connection: Connection) -> str:
            name = people.user(connection, user_id).name
            present = _row(connection, user_id)
            if present is not None and present.confirmed is not None:
                raise Conflict(f"{name} has a second factor already: remove it first")
            connection.execute(delete(second_factors).where(second_factors.c.user_id == str(user_id)))
            connection.execute(insert(second_factors).values(row))
            return name

        name = await self._write(write, "second_factor_begun", user_id)
        return NewFactor(secret, _totp(secret).get_provisioning_uri(name, "vfgateway"))

    async def confirm(self, user_id: UUID, code: str) -> Sequence[str]:
        """Take the first code, from when on they are asked for; the recovery codes, which are told this once. ``InvalidArgument`` if the code
        is wrong, ``Conflict`` if none was expected."""
        now = self._clock.seconds()

        def write(connection: Connection) -> Sequence[str]:
            row = _row(connection, user_id)
            if row is None or row.confirmed is not None:
                raise Conflict("there is no second factor that waits to be confirmed")
            step = _step_of(row.secret, code, now, 0)
            if step is None:
                raise InvalidArgument("code", "is not what the app shows now; is the clock of the device right?")
            mine = second_factors.c.user_id == str(user_id)
            connection.execute(update(second_factors).where(mine).values(confirmed=now, last_step=step))
            return _new_codes(connection, user_id)

        return await self._write(write, "second_factor_set", user_id)

    async def new_recovery_codes(self, user_id: UUID) -> Sequence[str]:
        """Others in place of those that were handed out. ``Conflict`` without a second factor."""

        def write(connection: Connection) -> Sequence[str]:
            row = _row(connection, user_id)
            if row is None or row.confirmed is None:
                raise Conflict("there is no second factor")
            return _new_codes(connection, user_id)

        return await self._write(write, "recovery_codes_made", user_id)

    async def remove(self, user_id: UUID) -> None:
        """Ask for codes no more. ``UnknownAccount``; no error if there is no factor."""

        def write(connection: Connection) -> None:
            people.user(connection, user_id)
            connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == str(user_id)))
            connection.execute(delete(second_factors).where(second_factors.c.user_id == str(user_id)))

        await self._write(write, "second_factor_removed", user_id)

    # --- logging in ---

    async def check(self, user_id: UUID, code: str | None) -> None:
        """Whether somebody whose password is right may come in. ``SecondFactorRequired`` if a code is missing, ``AuthenticationFailed`` if it
        is wrong, too old, or was used before."""

        async def load() -> bool:
            row = await self._database.read(lambda connection: _row(connection, user_id))
            return row is not None and row.confirmed is not None

        if not await self._enabled.get(user_id, load):
            return
        if code is None:
            raise SecondFactorRequired
        text, now = "".join(code.split()).replace("-", ""), self._clock.seconds()
        if not await self._database.write(lambda connection: _use(connection, user_id, text, now)):
            raise AuthenticationFailed

    async def _write(self, function: Callable[[Connection], T], event: str, user_id: UUID) -> T:
        def write(connection: Connection) -> tuple[str, T]:
            return people.user(connection, user_id).name, function(connection)

        now = self._clock.seconds()
        named = await audit_records.change(
            self._database, GENERATION, write, event, now, told=lambda named: {"target": named[0]}
        )
        return named[1]


def _row(connection: Connection, user_id: UUID) -> Row[tuple[str, str, float, float | None, int]] | None:
    return connection.execute(select(second_factors).where(second_factors.c.user_id == str(user_id))).first()


def _totp(secret: str) -> TOTP:
    # SHA-1, since most apps know nothing else (RFC 6238 allows others); as a keyed hash it is good enough.
    return TOTP(base64.b32decode(secret), DIGITS, SHA1(), STEP)  # noqa: S303


def _step_of(secret: str, code: str, now: float, last: int) -> int | None:
    """The step of time that a code is of, if that is near and later than ``last``."""
    present, found = int(now // STEP), None
    counter = HOTP(base64.b32decode(secret), DIGITS, SHA1())  # noqa: S303
    for step in range(max(present - DRIFT, 0), present + DRIFT + 1):
        same = secrets.compare_digest(counter.generate(step), code.encode("utf-8", "replace"))
        if same and step > last:
            found = step
    return found


def _use(connection: Connection, user_id: UUID, code: str, now: float) -> bool:
    """Whether a code is good, for the last time."""
    row = _row(connection, user_id)
    if row is None or row.confirmed is None:
        return True  # it was removed a moment ago
    step = _step_of(row.secret, code, now, row.last_step)
    if step is not None:
        mine = second_factors.c.user_id == str(user_id)
        connection.execute(update(second_factors).where(mine).values(last_step=step))
        return True
    spent = delete(recovery_codes).where(
        recovery_codes.c.user_id == str(user_id), recovery_codes.c.digest == _digest(code)
    )
    return connection.execute(spent).rowcount == 1


def _new_codes(connection: Connection, user_id: UUID) -> Sequence[str]:
    codes = [base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode("ascii").lower() for _ in range(CODES)]
    connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == str(user_id)))
    rows = [{"user_id": str(user_id), "digest": _digest(code)} for code in codes]
    connection.execute(insert(recovery_codes), rows)
    return ["-".join(code[i : i + 4] for i in range(0, len(code), 4)) for code in codes]


def _digest(code: str) -> str:
    """What is stored of a recovery code. It is random through and through, so a plain digest gives nothing away."""
    return hashlib.sha256(code.lower().encode("utf-8", "surrogatepass")).hexdigest()
