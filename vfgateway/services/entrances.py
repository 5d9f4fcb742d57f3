"""Whoever entered a vfolder a moment ago enters it again without being asked anew.

For many small requests who asks and what he may do costs more than what is asked for. What was found out is good for as long as
the generations of accounts and vfolders stay what they were, and for :data:`vfgateway.services.database.FRESH` seconds at most: no longer
than any other cache of permissions. Nothing here waits; where something would have to, the ordinary way is to be taken.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred

from vfgateway.errors import GatewayError
from vfgateway.principals import Origin
from vfgateway.services import logins, vfolders
from vfgateway.services.database import FRESH
from vfgateway.services.session import FolderSession

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Entries that are kept.
MOST: Final = 4096
#: Seconds for which nothing is tried again that took time.
LATER: Final = 0.01

_GENERATIONS: Final = (logins.GENERATION, vfolders.GENERATION)


@attrs.define(eq=False)
class _Entrance:
    stamp: tuple[int, ...]
    until: float
    folder: FolderSession | None
    looks: int = -1
    stands_until: float = 0.0  # without a look at the stamp, as long as nobody looks anew


class Entrances:
    """See the module. Safe against whoever reads memory: of a login only a keyed hash is kept."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._database = gateway.database
        self._clock = gateway.reactor
        self._key = secrets.token_bytes(32)
        self._known: dict[tuple[bytes, str], _Entrance] = {}

    def ticket(self, text: bytes) -> bytes:
        """A keyed hash that stands for ``text``, which holds a login."""
        return hashlib.blake2b(text, key=self._key, digest_size=16).digest()

    def find(self, ticket: bytes, name: str) -> FolderSession | None:
        """The hands in the vfolder that whoever has the ``ticket`` sees under ``name``; ``None`` if :meth:`enter` has to be asked."""
        known = self._known.get((ticket, name))
        now = self._clock.seconds()
        if known is None or now >= known.until:
            return None
        database = self._database
        if known.looks != database.looks or now >= known.stands_until:
            if known.stamp != database.at_hand(*_GENERATIONS):
                return None
            known.looks, known.stands_until = database.looks, database.good_until(*_GENERATIONS)
        return known.folder

    def enter(self, ticket: bytes, name: str, credentials: Callable[[], Any], origin: Origin) -> FolderSession | None:
        """As :meth:`find`, after finding it out. ``None`` where that would take time, and for whoever may not enter: it is not for us to
        say why."""
        gateway = self._gateway
        stamp = self._database.at_hand(*_GENERATIONS)
        known, now = self._known.get((ticket, name)), self._clock.seconds()
        if stamp is None or (known is not None and known.folder is None and now < known.until):
            return None

        async def entering() -> FolderSession:
            principal = await gateway.authenticate(credentials(), origin)
            return await gateway.session(principal, origin).folder_named(name)

        outcome: list[FolderSession] = []
        asked = Deferred.fromCoroutine(entering())
        asked.addCallbacks(outcome.append, lambda failure: failure.trap(GatewayError) and None)
        if len(self._known) >= MOST:
            self._known.clear()
        folder = outcome[0] if outcome else None
        self._known[ticket, name] = _Entrance(stamp, now + (FRESH if outcome else LATER), folder)
        return folder
