"""Answers of those who are asked over a network: a good one holds for a while, a bad one for some seconds."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from vfgateway.errors import AuthenticationFailed
from vfgateway.principals import Principal
from vfgateway.services.logins import GENERATION
from vfgateway.services.people import Person

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

V = TypeVar("V")

#: Seconds for which what was wrong stays wrong: a program that repeats it does not lock its user out elsewhere.
WRONG_FOR = 10.0
#: Answers of either kind that are kept.
SIZE = 10_000


class Remembered:
    """What was answered to whom, under a keyed hash that means nothing outside this process. A good answer is worth nothing once the
    source is to be asked anew about the person (:meth:`vfgateway.services.provisioning.Provisioning.forget`).

    :param life: seconds for which a good answer holds
    """

    def __init__(self, gateway: Gateway, life: float) -> None:
        self._gateway = gateway
        self._life = life
        self._key = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, tuple[float, UUID, int]] = OrderedDict()
        self._bad: OrderedDict[bytes, float] = OrderedDict()

    def ticket(self, *parts: str) -> bytes:
        """What stands for a question."""
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")

    async def recall(self, ticket: bytes) -> Principal | None:
        """Who was let in by the same question lately; ``None`` if it has to be asked. ``AuthenticationFailed`` if it was wrong just
        now."""
        now = self._gateway.reactor.seconds()
        if 0 <= now - self._bad.get(ticket, float("-inf")) < WRONG_FOR:
            raise AuthenticationFailed
        since, user_id, revision = self._good.get(ticket, (float("-inf"), None, 0))
        if user_id is not None and 0 <= now - since < self._life:
            person = await self._person(user_id, revision)
            if person is not None:
                return person.principal(now)
        self._good.pop(ticket, None)
        return None

    async def _person(self, user_id: UUID, revision: int) -> Person | None:
        """Whom an answer was about, if it still holds."""
        try:
            person = await self._gateway.accounts.person(user_id)
        except AuthenticationFailed:
            return None
        outside = person.user.outside
        return person if outside is not None and outside.revision == revision else None

    async def mark(self) -> int:
        """When a question is asked: for :meth:`keep`."""
        return await self._gateway.database.generation(GENERATION)

    async def keep(self, ticket: bytes, principal: Principal, mark: int) -> None:
        """Remember a good answer; not if accounts changed since it was asked for, as it may be from before."""
        if principal.user_id is None or await self.mark() != mark:
            return
        person = await self._gateway.accounts.person(principal.user_id)
        if person.user.outside is not None:
            now = self._gateway.reactor.seconds()
            _put(self._good, ticket, (now, principal.user_id, person.user.outside.revision))

    def refuse(self, ticket: bytes) -> None:
        """Remember that it was wrong."""
        _put(self._bad, ticket, self._gateway.reactor.seconds())


def _put(kept: OrderedDict[bytes, V], ticket: bytes, value: V) -> None:
    kept[ticket] = value
    kept.move_to_end(ticket)
    if len(kept) > SIZE:
        kept.popitem(last=False)
