"""Deleted vfolders lie in the trash for a while: gone for everybody, still charged, and whole when they are restored.

What is in the trash has no name, so that its owner may use that for another vfolder; it gets its name back when it is restored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from vfgateway.errors import Conflict, VFolderExists, VFolderNotFound
from vfgateway.model import VFolder, VFolderStatus
from vfgateway.principals import Principal
from vfgateway.services import audit_records, registry
from vfgateway.services.access_events import VFolderRestored, VFolderTrashed
from vfgateway.services.database import Database
from vfgateway.services.names import checked_vfolder_name
from vfgateway.services.permissions import administers, has_expired
from vfgateway.services.schema import vfolders
from vfgateway.services.sharing_tables import vfolder_trash
from vfgateway.services.vfolders import GENERATION

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway


@attrs.frozen
class Trashed:
    """A vfolder in the trash.

    :ivar name: what it was called
    :ivar deleted_by: who did it, in words
    :ivar deleted: epoch seconds; ``purge_at``: when it will be removed for good
    """

    vfolder: VFolder
    name: str | None
    deleted_by: str
    deleted: float
    purge_at: float


class Trash:
    """The trash of vfolders. See the module.

    :ivar retention: seconds for which a vfolder lies in it; 0 for none at all
    """

    def __init__(self, gateway: Gateway, database: Database, clock: Any, retention: float) -> None:
        self._gateway = gateway
        self._database = database
        self._clock = clock
        self.retention = retention

    async def put(self, vfolder: VFolder, deleted_by: str) -> Trashed:
        """Delete a vfolder: nobody enters it any more, and what is under way ends. ``Conflict`` for one that is being copied or removed,
        ``VFolderNotFound`` if it lies here already."""
        now = self._clock.seconds()

        def write(connection: Connection) -> Trashed:
            present = registry.by_key(connection, vfolder.key)
            if present.is_gone:
                raise VFolderNotFound(vfolder.id)
            if present.status is not VFolderStatus.READY:
                raise Conflict(f"the vfolder is {present.status.value}")
            facts = {"name": present.name, "deleted_by": deleted_by[:255], "deleted": now}
            facts["purge_at"] = now + self.retention
            connection.execute(insert(vfolder_trash).values(vfolder=vfolder.key, **facts))
            _set(connection, vfolder.key, status=VFolderStatus.TRASHED.value, name=None)
            return _one(connection, vfolder.key)

        trashed = await audit_records.change(
            self._database, GENERATION, write, "vfolder_trashed", now, vfolder=vfolder.key, by=deleted_by
        )
        self._gateway.events.publish(
            VFolderTrashed(user=deleted_by, vfid=str(vfolder.id), until=round(trashed.purge_at, 3))
        )
        return trashed

    async def list(self, principal: Principal | None = None) -> Sequence[Trashed]:
        """What lies here and ``principal`` may restore (``None``: all), what was deleted last first."""
        found = await self._database.read(_all)
        return [one for one in found if principal is None or administers(principal, one.vfolder)]

    async def get(self, key: int) -> Trashed:
        """What lies here under a vfolder's number. ``VFolderNotFound``."""
        return await self._database.read(lambda connection: _one(connection, key))

    async def restore(self, key: int, restored_by: str, name: str | None = None) -> VFolder:
        """Take a vfolder out, under its old name or ``name``; one that had expired stays from now on. ``VFolderNotFound``;
        ``VFolderExists`` if the owner has another of that name by now."""
        now = self._clock.seconds()

        def write(connection: Connection) -> VFolder:
            trashed = _one(connection, key)
            changes: dict[str, Any] = {"status": VFolderStatus.READY.value}
            changes["name"] = trashed.name if name is None else checked_vfolder_name(name)
            if has_expired(trashed.vfolder, now):
                changes["expires"] = None
            connection.execute(delete(vfolder_trash).where(vfolder_trash.c.vfolder == key))
            _set(connection, key, **changes)
            return registry.by_key(connection, key)

        old = (await self.get(key)).name
        try:
            vfolder = await audit_records.change(
                self._database, GENERATION, write, "vfolder_restored", now, vfolder=key
            )
        except IntegrityError:
            raise VFolderExists(name or old or key) from None
        self._gateway.events.publish(VFolderRestored(user=restored_by, vfid=str(vfolder.id)))
        return vfolder

    async def purge(self, key: int) -> str:
        """Begin to remove what lies here for good; the task's identifier. ``VFolderNotFound``."""
        vfolder = (await self.get(key)).vfolder
        return await self._gateway.lifecycle.delete(vfolder.volume, vfolder.id)

    async def due(self) -> Sequence[Trashed]:
        """What has lain here long enough."""
        now = self._clock.seconds()
        return [one for one in await self._database.read(_all) if one.purge_at <= now]


def _set(connection: Connection, key: int, **values: Any) -> None:
    connection.execute(update(vfolders).where(vfolders.c.key == key).values(values))


_QUERY = (
    select(vfolders, vfolder_trash)
    .join(vfolder_trash, vfolder_trash.c.vfolder == vfolders.c.key)
    .where(vfolders.c.status == VFolderStatus.TRASHED.value)
    .order_by(vfolder_trash.c.deleted.desc(), vfolders.c.key.desc())
)
_FACTS = len(vfolders.c)


def _all(connection: Connection) -> list[Trashed]:
    return [_trashed(row) for row in connection.execute(_QUERY)]


def _one(connection: Connection, key: int) -> Trashed:
    row = connection.execute(_QUERY.where(vfolders.c.key == key)).one_or_none()
    if row is None:
        raise VFolderNotFound(key)
    return _trashed(row)


def _trashed(row: Any) -> Trashed:
    _, name, deleted_by, deleted, purge_at = row[_FACTS:]
    return Trashed(registry.vfolder_of(row), name, deleted_by, deleted, purge_at)
