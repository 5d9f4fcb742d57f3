"""What plugins keep in the gateway's database (:class:`vfgateway.runtime.State`)."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from vfgateway.services.database import Database
from vfgateway.services.schema import state


class DatabaseState:
    """The private map of one plugin instance, shared by all processes.

    :param owner: which instance
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def get(self, key: str) -> bytes | None:
        """The value, or ``None``."""
        query = select(state.c.value).where(state.c.owner == self._owner, state.c.key == key)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def compare_and_set(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        """Replace ``old`` by ``new`` (``None`` is absent); ``False`` if something else is there. Durable on return."""
        here = (state.c.owner == self._owner) & (state.c.key == key)

        def write(connection: Connection) -> bool:
            if old is None and new is None:
                return connection.execute(select(state.c.value).where(here)).first() is None
            if old is None:
                connection.execute(state.insert().values(owner=self._owner, key=key, value=new))
                return True
            there = here & (state.c.value == old)
            change = delete(state).where(there) if new is None else update(state).where(there).values(value=new)
            return connection.execute(change).rowcount == 1

        try:
            return await self._database.write(write)
        except IntegrityError:  # something is there already
            return False
