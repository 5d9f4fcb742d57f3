"""Who made what lately: a principal with ``rw`` may remove its own creations for a day (``design.md`` section 3)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, select, update

from vfgateway.paths import FolderPath
from vfgateway.services.database import Database
from vfgateway.services.schema import creations

#: Seconds for which a creation may be taken back.
LIFETIME = 24 * 3600.0


class Creations:
    """The table of creations, kept only for principals that need it."""

    def __init__(self, database: Database, clock: Any) -> None:
        self._database = database
        self._clock = clock

    async def add(self, vfolder: int, path: FolderPath, principal: str) -> None:
        """Remember that ``principal`` made ``path`` now; an earlier creator is forgotten."""
        now = self._clock.seconds()

        def write(connection: Connection) -> None:
            connection.execute(delete(creations).where(creations.c.created < now - LIFETIME))
            connection.execute(delete(creations).where(_at(vfolder, path)))
            connection.execute(
                creations.insert().values(vfolder=vfolder, path=bytes(path), principal=principal, created=now)
            )

        await self._database.write(write, durable=False)

    async def made_by(self, vfolder: int, path: FolderPath, principal: str) -> bool:
        """Whether ``principal`` made ``path`` within the last :data:`LIFETIME`."""
        after = self._clock.seconds() - LIFETIME
        query = select(creations.c.principal).where(_at(vfolder, path), creations.c.created >= after)
        return await self._database.read(lambda connection: connection.execute(query).scalar() == principal)

    async def forget(self, vfolder: int, path: FolderPath) -> None:
        """The path is gone: a later file of that name is somebody else's."""
        await self._database.write(
            lambda connection: connection.execute(delete(creations).where(_at(vfolder, path))), False
        )

    async def move(self, vfolder: int, source: FolderPath, target: FolderPath) -> None:
        """A renamed creation stays its maker's."""

        def write(connection: Connection) -> None:
            connection.execute(delete(creations).where(_at(vfolder, target)))
            connection.execute(update(creations).where(_at(vfolder, source)).values(path=bytes(target)))

        await self._database.write(write, durable=False)


def _at(vfolder: int, path: FolderPath) -> Any:
    return (creations.c.vfolder == vfolder) & (creations.c.path == bytes(path))
