"""What a service has read from the database, remembered until somebody writes.

Every write of a service counts a generation up (:func:`vfgateway.services.database.bump`), whichever process made it; a cache
that was filled under another number is dropped, at the latest :data:`vfgateway.services.database.FRESH` seconds later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from vfgateway.services.database import Database
from vfgateway.services.sharing import Shared

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class GenerationCache(Generic[K, V]):
    """A bounded cache of one service.

    :param generation: the name of the number that tells whether it is stale
    :param size: entries kept; the least recently used goes first
    """

    def __init__(self, database: Database, generation: str, size: int = 4096) -> None:
        self._database = database
        self._name = generation
        self._size = size
        self._generation: int | None = None
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._loads: Shared[tuple[int, K], V] = Shared()

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The entry, read with ``load`` if it is not there; what ``load`` raises is not remembered."""
        generation = await self._database.generation(self._name)
        if generation != self._generation:
            self._entries.clear()
            self._generation = generation
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        # One read for all who ask meanwhile: after a write, a hundred requests would each do it.
        value = await self._loads.run((generation, key), load)
        # The number was read before the value: a write in between makes the entry stale at the next look, never wrong.
        if generation == self._generation:
            self._entries[key] = value
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return value
