"""The small durable map that a gateway hands to its plugins, in memory."""

from __future__ import annotations

from vfgateway.runtime import State


class MemoryState(State):
    """See ``State``."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """The value, or ``None``."""
        return self.kept.get(key)

    async def compare_and_set(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """Replace ``old`` by ``new``, if it is there."""
        if self.kept.get(key) != old:
            return False
        if new is None:
            self.kept.pop(key, None)
        else:
            self.kept[key] = new
        return True
