"""Which project a new vfolder becomes: numbers are counted upwards and never given twice, by whichever process."""

from __future__ import annotations

from typing import Final

from vfgateway.errors import StorageFailure
from vfgateway.runtime import State

_NEXT: Final = "next_project"


class ProjectNumbers:
    """See the module.

    :param first: where to begin
    :param last: where to end
    """

    def __init__(self, state: State, first: int, last: int) -> None:
        self._state = state
        self._first = first
        self._last = last

    async def take(self) -> int:
        """A number that nobody else gets. ``StorageFailure`` when there are no more."""
        while True:
            known = await self._state.get(_NEXT)
            number = self._first if known is None else max(self._first, int(known))
            if number > self._last:
                raise StorageFailure(f"all projects up to {self._last} were given to vfolders; raise last_project")
            if await self._state.compare_and_set(_NEXT, known, b"%d" % (number + 1)):
                return number
