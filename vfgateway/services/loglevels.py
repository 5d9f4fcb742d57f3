"""Levels of the log that were changed at run time: the same in all processes, until they are changed back or the configuration says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from vfgateway.errors import Conflict, InvalidArgument
from vfgateway.log_settings import LEVELS
from vfgateway.logs import Levels
from vfgateway.services.state import DatabaseState

#: Seconds after which a change counts in all processes.
LOOK: Final = 2.0
_KEY: Final = "levels"


class LogLevels:
    """See the module.

    :param state: keeps them
    """

    log = Logger()

    def __init__(self, state: DatabaseState, levels: Levels, clock: Any) -> None:
        self._state = state
        self._levels = levels
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    async def start(self) -> None:
        """Begin to follow."""
        await self._follow()
        self._looking.start(LOOK, now=False)

    async def stop(self) -> None:
        """End. Idempotent."""
        if self._looking.running:
            self._looking.stop()

    async def _look(self) -> None:
        try:
            await self._follow()
        except Exception:
            if self._looking.running:
                self.log.failure("could not look for changed levels of the log")

    async def _follow(self) -> None:
        self._levels.change(_read(await self._state.get(_KEY)))

    @property
    def configured(self) -> Mapping[str, str]:
        """What the configuration says; ``""`` is everything."""
        return self._levels.configured

    async def changed(self) -> Mapping[str, str]:
        """What was changed at run time, by namespace."""
        return _read(await self._state.get(_KEY))

    async def set(self, namespace: str, level: str | None) -> Mapping[str, str]:
        """Have ``namespace`` (``""``: everything) told from ``level`` on, ``None``: as configured; all that is changed by then.
        ``InvalidArgument``, ``Conflict``."""
        if level is not None and level not in LEVELS:
            raise InvalidArgument("level", f"expected one of {', '.join(LEVELS)}, got {level!r}")
        for _ in range(5):
            stored = await self._state.get(_KEY)
            levels = {name: each for name, each in _read(stored).items() if name != namespace}
            if level is not None:
                levels[namespace] = level
            fresh = json.dumps(levels).encode("utf-8") if levels else None
            if await self._state.compare_and_set(_KEY, stored, fresh):
                self._levels.change(levels)
                return levels
        raise Conflict("somebody else is changing the levels of the log")


def _read(stored: bytes | None) -> dict[str, str]:
    return dict(json.loads(stored)) if stored else {}
