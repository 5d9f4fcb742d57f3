"""Which project a new vfolder becomes: numbers are counted upwards and never given twice, by whichever process; nor are those that the file system
knows already, be it from before the state was lost, or from another gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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

    async def take(self, is_free: Callable[[int], Awaitable[bool]]) -> int:
        """A number that nobody else gets. ``StorageFailure`` when there are no more.

        :param is_free: whether the storage knows nothing of a project
        """
        past, stride = self._first, 1
        while not await is_free(number := await self._next(past)):
            past, stride = number + stride, 2 * stride
        return number

    async def _next(self, past: int) -> int:
        while True:
            known = await self._state.get(_NEXT)
            number = past if known is None else max(past, int(known))
            if number > self._last:
                raise StorageFailure(f"all projects up to {self._last} were given to vfolders; raise last_project")
            if await self._state.compare_and_set(_NEXT, known, b"%d" % (number + 1)):
                return number
