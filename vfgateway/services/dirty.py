"""Which vfolders a process is changing: they are recounted if it dies before its figures are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, true

from vfgateway.errors import VFolderNotFound
from vfgateway.services.database import Database
from vfgateway.services.schema import dirty, intents, vfolders


class DirtyMarks:
    """The marks of one process. A mark is durable before the first change that it stands for becomes visible."""

    def __init__(self, database: Database, clock: Any, process: str) -> None:
        self._database = database
        self._clock = clock
        self._process = process
        self._marked: dict[int, float] = {}
        self._began = False

    async def mark(self, vfolder: int) -> None:
        """Return when the mark of ``vfolder`` (its key) would survive a power loss; at once but for the first time.
        ``VFolderNotFound`` if it is gone."""
        if vfolder in self._marked:
            self._marked[vfolder] = self._clock.seconds()
            return

        def write(connection: Connection) -> bool:
            if connection.execute(select(vfolders.c.key).where(vfolders.c.key == vfolder)).first() is None:
                return False
            present = (dirty.c.process == self._process) & (dirty.c.vfolder == vfolder)
            if connection.execute(select(dirty.c.vfolder).where(present)).first() is None:
                connection.execute(insert(dirty).values(process=self._process, vfolder=vfolder, recount=False))
            return True

        self._began = True
        if not await self._database.write(write):
            raise VFolderNotFound(f"number {vfolder}")
        self._marked[vfolder] = self._clock.seconds()

    def renew(self, vfolder: int) -> bool:
        """As :meth:`mark`, where that takes no time; whether it is marked. Not a coroutine."""
        if vfolder not in self._marked:
            return False
        self._marked[vfolder] = self._clock.seconds()
        return True

    def at_rest(self, seconds: float) -> Sequence[int]:
        """The vfolders that were not marked anew for that long."""
        before = self._clock.seconds() - seconds
        return [vfolder for vfolder, used in self._marked.items() if used < before]

    async def unmark(self, keys: Sequence[int]) -> None:
        """Take marks away from vfolders whose figures are all written; one with a change under way keeps its own."""
        for key in keys:
            self._marked.pop(key, None)
        await self._strike(dirty.c.vfolder.in_(keys), durable=False)

    async def clear(self) -> None:
        """Take all marks away, as :meth:`unmark`, with those whose making was not waited for: the process ends."""
        self._marked.clear()
        if self._began:
            await self._strike(true(), durable=True)

    async def _strike(self, which: ColumnElement[bool], durable: bool) -> None:
        unsettled = select(intents.c.vfolder).where(intents.c.process == self._process)
        mine = (dirty.c.process == self._process) & ~dirty.c.recount & dirty.c.vfolder.not_in(unsettled)
        await self._database.write(lambda connection: connection.execute(delete(dirty).where(mine, which)), durable)
