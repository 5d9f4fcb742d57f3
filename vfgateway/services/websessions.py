"""People who stay logged in with a browser: a random cookie whose digest is in the database, good until it is ended or its time has passed.

The token against cross-site requests is made of the cookie's secret, so it need not be kept, and who can make a browser send the cookie
still does not know it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import Connection, Row, delete, insert, select, update

from vfgateway.errors import AuthenticationFailed, UnknownAccount
from vfgateway.principals import Principal
from vfgateway.services.caches import GenerationCache
from vfgateway.services.database import Database, bump
from vfgateway.services.sharing_tables import web_sessions

#: The number that counts up when a session ends.
GENERATION = "web_sessions"
#: Seconds between two notes that a session was used.
NOTE_EVERY = 60.0
#: Sessions of one person; the oldest end when there are more.
MOST_SESSIONS = 50


@attrs.frozen
class WebSession:
    """A session as it is stored; times in epoch seconds."""

    id: str
    user_id: UUID
    address: str
    agent: str
    created: float
    used: float
    expires: float


class WebSessions:
    """The sessions of all browsers.

    :param clock: tells the time in epoch seconds
    """

    def __init__(self, database: Database, clock: Any) -> None:
        self._database = database
        self._clock = clock
        self._known: GenerationCache[str, WebSession] = GenerationCache(database, GENERATION)
        self._noted: dict[str, float] = {}

    async def begin(self, principal: Principal, address: str, agent: str, lifetime: float) -> tuple[str, WebSession]:
        """A new session of somebody with an account, and the secret for its cookie. It ends with what the principal came with."""
        secret, now = secrets.token_urlsafe(32), self._clock.seconds()
        shown, user_id = principal.credential, principal.user_id
        assert user_id is not None
        expires = now + lifetime
        if shown is not None and shown.expires is not None:
            expires = min(expires, shown.expires)
        values = {
            "id": uuid.uuid4().hex,
            "user_id": str(user_id),
            "address": address[:64],
            "agent": agent[:255],
            "created": now,
            "used": now,
            "expires": expires,
        }
        mine = select(web_sessions.c.id).where(web_sessions.c.user_id == str(user_id))
        surplus = mine.order_by(web_sessions.c.created.desc()).offset(MOST_SESSIONS)

        def write(connection: Connection) -> None:
            connection.execute(delete(web_sessions).where(web_sessions.c.expires <= now))
            row = values | {"digest": _digest(secret), "credential": None if shown is None else shown.id}
            connection.execute(insert(web_sessions).values(row))
            if old := connection.execute(surplus).scalars().all():
                _strike(connection, web_sessions.c.id.in_(old))

        await self._database.write(write)
        self._database.forget_generations()
        return secret, WebSession(**(values | {"user_id": user_id}))

    async def find(self, secret: str) -> WebSession:
        """The session of a cookie. ``AuthenticationFailed`` if there is none, or not any more."""
        digest = _digest(secret)
        query = select(web_sessions).where(web_sessions.c.digest == digest)

        def read(connection: Connection) -> WebSession:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise AuthenticationFailed
            return _of(row)

        session = await self._known.get(digest, lambda: self._database.read(read))
        if self._clock.seconds() >= session.expires:
            raise AuthenticationFailed
        await self._note(digest)
        return session

    async def _note(self, digest: str) -> None:
        now = self._clock.seconds()
        if now - self._noted.get(digest, float("-inf")) < NOTE_EVERY:
            return
        if len(self._noted) >= 10_000:
            self._noted.clear()
        self._noted[digest] = now
        note = update(web_sessions).where(web_sessions.c.digest == digest).values(used=now)
        await self._database.write(lambda connection: connection.execute(note).rowcount, durable=False)

    async def of_user(self, user_id: UUID) -> Sequence[WebSession]:
        """The sessions of one person that are good, the newest first."""
        mine = (web_sessions.c.user_id == str(user_id)) & (web_sessions.c.expires > self._clock.seconds())
        query = select(web_sessions).where(mine).order_by(web_sessions.c.created.desc(), web_sessions.c.id)
        return await self._database.read(lambda connection: [_of(row) for row in connection.execute(query)])

    async def end(self, user_id: UUID, session_id: str) -> None:
        """End a session of somebody, in all processes. ``UnknownAccount`` (of kind ``session``)."""
        strike = delete(web_sessions).where(web_sessions.c.id == session_id, web_sessions.c.user_id == str(user_id))
        if not await self._database.change(GENERATION, lambda connection: connection.execute(strike).rowcount):
            raise UnknownAccount("session", session_id)


def end_those_begun_with(connection: Connection, key_id: str) -> None:
    """End the sessions that a key began, within the write that removes it."""
    _strike(connection, web_sessions.c.credential == key_id)


def end_those_of(connection: Connection, user_id: UUID, but: str | None) -> None:
    """End the sessions of somebody, but the one called ``but``, within a write."""
    _strike(connection, (web_sessions.c.user_id == str(user_id)) & (web_sessions.c.id != (but or "")))


def _strike(connection: Connection, which: Any) -> None:
    if connection.execute(delete(web_sessions).where(which)).rowcount:
        bump(connection, GENERATION)


def csrf_token(secret: str) -> str:
    """What a page has to show beside the cookie."""
    return hashlib.sha256(b"csrf:" + secret.encode("utf-8", "surrogatepass")).hexdigest()


def shows_csrf_token(secret: str, shown: str) -> bool:
    """Whether that was shown; compared in constant time."""
    return hmac.compare_digest(csrf_token(secret).encode("ascii"), shown.encode("utf-8", "surrogatepass"))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _of(row: Row[Any]) -> WebSession:
    return WebSession(row.id, UUID(row.user_id), row.address, row.agent, row.created, row.used, row.expires)
