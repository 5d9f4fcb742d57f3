"""What each vfolder carries with it on its volume, so that the registry can be made again from what lies there.

One process, the one that leads, compares what lies there with the registry whenever that has changed, and writes what differs. So no change is
missed, whoever made it, and a volume that was away gets its descriptions when it is back; what it costs is bounded by :data:`SHARE`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import attrs
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, Row, delete, insert, select
from twisted.logger import Logger

from vfgateway.abilities import IDescriptions
from vfgateway.errors import GatewayError, VFolderNotFound
from vfgateway.model import ScopeKind, VFolderId, VFolderStatus
from vfgateway.services.description_tables import descriptions
from vfgateway.services.leading import WhileLeading
from vfgateway.services.logins import GENERATION as ACCOUNTS
from vfgateway.services.schema import grants, groups, users, vfolders
from vfgateway.services.sharing_tables import vfolder_trash
from vfgateway.services.vfolders import GENERATION as VFOLDERS

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds between two looks whether anything has changed.
EVERY = 5.0
#: The part of the time that comparing may take: after a second of it there is none for this many.
SHARE = 50
#: Descriptions that are noted together.
STEP = 100


class Account(BaseModel):
    """A user or group; ``name`` is what it was called, if it had an account."""

    id: UUID
    name: str | None = None


class Opened(BaseModel):
    """A grant."""

    kind: Literal["user", "group"]
    account: Account
    permission: Literal["ro", "rw", "rwd"]
    expires: float | None = None


class Trashing(BaseModel):
    """Since when it lies in the trash, and until when; ``name`` is what it was called."""

    name: str | None
    deleted_by: str
    deleted: float
    purge_at: float


class Description(BaseModel):
    """What a vfolder is, as JSON beside it. Times in epoch seconds; ``null`` is no limit, no end, no owner.

    :ivar kind: whether the owner is a user or a group
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str | None = None
    owner: Account | None = None
    kind: ScopeKind = ScopeKind.USER
    limit_bytes: int | None = None
    limit_files: int | None = None
    created: float
    expires: float | None = None
    read_only: bool = False
    grants: tuple[Opened, ...] = ()
    trash: Trashing | None = None

    @property
    def accounts(self) -> Iterator[tuple[str, Account]]:
        """Everybody it names, with ``user`` or ``group``."""
        if self.owner is not None:
            yield ("user" if self.kind is ScopeKind.USER else "group"), self.owner
        for each in self.grants:
            yield each.kind, each.account

    def written(self) -> bytes:
        """As it lies on the volume."""
        return self.model_dump_json(indent=1).encode() + b"\n"


@attrs.frozen
class Due:
    """A vfolder whose description is to be written."""

    key: int
    vfid: VFolderId
    text: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()


class Descriptions:
    """See the module."""

    log = Logger()

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loop = WhileLeading(
            gateway.reactor, gateway.processes, EVERY, self._look, "describe vfolders on their volumes"
        )
        self._written_at: tuple[int, int] | None = None
        self._rest_until = 0.0

    def start(self) -> None:
        """Begin to look."""
        self._loop.start(now=False)

    async def stop(self) -> None:
        """End; what has changed last is written by the next process that leads. Idempotent."""
        await self._loop.stop()

    async def _look(self) -> None:
        if self._gateway.reactor.seconds() < self._rest_until:
            return
        database = self._gateway.database
        present = (await database.generation(VFOLDERS), await database.generation(ACCOUNTS))
        if present != self._written_at and await self.write():
            self._written_at = present

    async def write(self) -> bool:
        """Write all that differ; whether none is left."""
        gateway, clock = self._gateway, self._gateway.reactor
        able = [name for name in gateway.volumes if IDescriptions.providedBy(gateway.volumes.configured(name))]
        began = clock.seconds()
        due = await gateway.database.read(lambda connection: _due(connection, able))
        self._rest_until = clock.seconds() + SHARE * (clock.seconds() - began)
        return all([await self._write_on(name, some) for name, some in due.items()])

    async def _write_on(self, name: str, due: Sequence[Due]) -> bool:
        done: list[Due] = []
        try:
            volume: Any = self._gateway.volumes.get(name)
            for one in due:
                try:
                    await volume.describe(one.vfid, one.text)
                except VFolderNotFound:
                    continue  # it is being made, or gone: a scan tells
                done.append(one)
                if len(done) >= STEP:
                    await self._note(done)
                    done = []
        except GatewayError as error:
            self.log.warn("cannot describe vfolders on volume {volume}: {error}", volume=name, error=error)
            return False
        finally:
            if done:
                await self._note(done)
        return True

    async def _note(self, done: Sequence[Due]) -> None:
        rows = [{"vfolder": one.key, "digest": one.digest} for one in done]

        def write(connection: Connection) -> None:
            keys = [one.key for one in done]
            connection.execute(delete(descriptions).where(descriptions.c.vfolder.in_(keys)))
            there = set(connection.execute(select(vfolders.c.key).where(vfolders.c.key.in_(keys))).scalars())
            if left := [row for row in rows if row["vfolder"] in there]:
                connection.execute(insert(descriptions), left)

        await self._gateway.database.write(write, durable=False)

    async def of(self, volume: str, vfid: VFolderId) -> Description | None:
        """What lies beside a vfolder; ``None`` if there is nothing that can be read. Raises what the volume does."""
        place = self._gateway.volumes.get(volume)
        text = await place.description(vfid) if IDescriptions.providedBy(place) else None
        if text is None:
            return None
        try:
            return Description.model_validate_json(text)
        except ValidationError as error:
            self.log.warn(
                "the description of {vfid} on {volume} cannot be read: {error}",
                vfid=str(vfid),
                volume=volume,
                error=error.errors(include_input=False, include_url=False)[0]["msg"],
            )
            return None


# --- the registry ---


def _due(connection: Connection, volumes: Sequence[str]) -> Mapping[str, Sequence[Due]]:
    """What is to be written, by volume."""
    names = {table.name: {row.id: row.name for row in connection.execute(select(table))} for table in (users, groups)}
    opened: dict[int, list[Opened]] = defaultdict(list)
    for row in connection.execute(select(grants).order_by(grants.c.created, grants.c.id)):
        known = names["users" if row.subject_kind == "user" else "groups"]
        account = Account(id=row.subject, name=known.get(row.subject))
        opened[row.vfolder].append(
            Opened(kind=row.subject_kind, account=account, permission=row.permission, expires=row.expires)
        )
    trash = {row.vfolder: row for row in connection.execute(select(vfolder_trash))}
    there = {row.vfolder: row.digest for row in connection.execute(select(descriptions))}
    due: dict[str, list[Due]] = defaultdict(list)
    wanted = vfolders.c.volume.in_(volumes) & (vfolders.c.status != VFolderStatus.DELETING.value)
    for row in connection.execute(select(vfolders).where(wanted)):
        text = _described(row, opened[row.key], trash.get(row.key), names).written()
        one = Due(row.key, VFolderId.parse(row.vfid), text)
        if one.digest != there.get(row.key):
            due[row.volume].append(one)
    return due


def _described(
    row: Row[Any], opened: Sequence[Opened], trashed: Row[Any] | None, names: Mapping[str, Mapping[str, str]]
) -> Description:
    kind = ScopeKind(row.kind)
    known = names["users" if kind is ScopeKind.USER else "groups"]
    lying = None
    if trashed is not None and row.status == VFolderStatus.TRASHED.value:
        facts = {name: getattr(trashed, name) for name in Trashing.model_fields}
        lying = Trashing(**facts)
    return Description(
        name=row.name,
        owner=None if row.owner is None else Account(id=row.owner, name=known.get(row.owner)),
        kind=kind,
        limit_bytes=row.limit_bytes,
        limit_files=row.limit_files,
        created=row.created,
        expires=row.expires,
        read_only=row.read_only,
        grants=tuple(opened),
        trash=lying,
    )
