"""Tasks that come again and again: entered by the process that leads, when they are due and none of their kind is under way.

When one ran last is what the table of tasks says, so a restart, or another process that leads from now on, repeats nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from sqlalchemy import Connection

from vfgateway.services import taskrecords as records
from vfgateway.services.database import Database
from vfgateway.services.processes import Processes
from vfgateway.services.taskrecords import Task

type_is_due = Callable[[], Awaitable[bool]]


@attrs.define(eq=False)
class _Periodic:
    every: float
    next: float
    first: float
    is_due: type_is_due | None


class Schedule:
    """What comes again and again.

    :param new: makes a task of a name
    """

    def __init__(self, database: Database, clock: Any, process: Processes, new: Callable[[str], Task]) -> None:
        self._database = database
        self._clock = clock
        self._process = process
        self._new = new
        self._periodic: dict[str, _Periodic] = {}

    def add(self, name: str, every: float, first: float = 0.0, is_due: type_is_due | None = None) -> None:
        """Have a task of this name run every so many seconds, for the first time ``first`` seconds from now, or later if one ran lately.

        :param is_due: whether there is anything to do; what there is not, leaves no record
        """
        self._periodic[name] = _Periodic(every, self._clock.seconds() + first, first, is_due)

    async def look(self) -> None:
        """Enter what is due."""
        if not self._process.leads:
            return
        for name, periodic in list(self._periodic.items()):
            now = self._clock.seconds()
            if periodic.next - max(periodic.every, periodic.first) <= now < periodic.next:
                continue
            periodic.next = now + periodic.every
            if periodic.is_due is None or await periodic.is_due():
                await self._enter(name, periodic)

    async def _enter(self, name: str, periodic: _Periodic) -> None:
        task = self._new(name)

        def write(connection: Connection) -> float | None:
            last = records.last_begun(connection, name)
            if records.is_active(connection, name):
                return task.created
            if periodic.is_due is None and last is not None and last <= task.created < last + periodic.every:
                return last
            records.add(connection, task)
            return None

        last = await self._database.write(write)
        if last is not None:
            periodic.next = last + periodic.every
