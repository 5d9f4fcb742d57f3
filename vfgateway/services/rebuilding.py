"""Makes the registry again from what lies on the volumes and what lies beside it (:mod:`vfgateway.services.descriptions`)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, insert, select

from vfgateway.errors import AccountExists, GatewayError, InvalidArgument, VFolderExists
from vfgateway.model import ScopeKind, VFolder, VFolderId, VFolderStatus
from vfgateway.services import audit_records, registry
from vfgateway.services.descriptions import Account, Description
from vfgateway.services.names import checked_vfolder_name
from vfgateway.services.schema import dirty, grants, groups, users, vfolders
from vfgateway.services.sharing_tables import vfolder_trash
from vfgateway.services.vfolders import GENERATION

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Who the figures are told to have been left by: nobody alive, so that they are counted.
NOBODY = "rebuild"


@attrs.frozen
class Orphan:
    """A folder that no vfolder is registered for.

    :ivar description: what lies beside it; ``None`` if nothing does
    :ivar entered: whether it is registered by now
    :ivar problem: why not, or what could not be taken over
    """

    volume: str
    vfid: VFolderId | None
    description: Description | None = None
    entered: bool = False
    problem: str = ""


class Rebuilding:
    """See the module."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def orphans(self) -> Sequence[Orphan]:
        """What would be entered. A volume that is away is one entry with its problem."""
        found: list[Orphan] = []
        for name in self._gateway.volumes:
            try:
                present = await self._gateway.volumes.get(name).folders()
                known = {vfolder.id for vfolder in await self._gateway.vfolders.list(name)}
                known |= await self._gateway.relocation.occupied(name)
                for vfid in present:
                    if vfid not in known:
                        found.append(Orphan(name, vfid, await self._gateway.descriptions.of(name, vfid)))
            except GatewayError as error:
                found.append(Orphan(name, None, problem=str(error)))
        return found

    async def rebuild(self, accounts: bool) -> Sequence[Orphan]:
        """Enter them all, each to be counted in the background.

        :param accounts: make the accounts that they name and that are not there, without passwords
        """
        done = [await self._one(orphan, accounts) for orphan in await self.orphans()]
        await self._gateway.lifecycle.recover()
        return done

    async def _one(self, orphan: Orphan, accounts: bool) -> Orphan:
        if orphan.vfid is None:
            return orphan
        problems = (
            [await self._ensure(*each) for each in orphan.description.accounts]
            if accounts and orphan.description
            else []
        )
        try:
            made = await self.enter(orphan.volume, orphan.vfid, count=True)
        except VFolderExists as error:
            return attrs.evolve(orphan, problem=str(error))
        wanted = orphan.description.name if orphan.description else None
        if wanted is not None and made.name is None:
            problems.append(f"its owner has another vfolder {wanted}")
        return attrs.evolve(orphan, entered=True, problem="; ".join(filter(None, problems)))

    async def _ensure(self, kind: str, account: Account) -> str:
        """Make an account unless it is there; why that cannot be done."""
        table = users if kind == "user" else groups
        query = select(table.c.id).where(table.c.id == str(account.id))
        there = await self._gateway.database.read(lambda connection: connection.execute(query).scalar())
        if account.name is None or there is not None:
            return ""
        try:
            if kind == "user":
                await self._gateway.accounts.create_user(account.name, user_id=account.id)
            else:
                await self._gateway.accounts.create_group(account.name, group_id=account.id)
        except (AccountExists, InvalidArgument) as error:
            return str(error)
        return ""

    async def enter(self, volume: str, vfid: VFolderId, count: bool = False) -> VFolder:
        """Register a vfolder as it is described where it lies. One whose name is taken gets none. ``VFolderExists``, and what the volume raises.

        :param count: mark it as to be counted by whoever recovers next; otherwise the caller counts it
        """
        found = await self._gateway.descriptions.of(volume, vfid)
        now = self._gateway.reactor.seconds()

        def write(connection: Connection) -> VFolder:
            if registry.has_id(connection, volume, vfid):
                raise VFolderExists(vfid)
            key = _insert(connection, volume, vfid, found, now)
            if count:
                connection.execute(insert(dirty).values(process=NOBODY, vfolder=key, recount=False))
            return registry.by_key(connection, key)

        def told(vfolder: VFolder) -> dict[str, Any]:
            return {"vfolder_key": vfolder.key, "owner": vfolder.owner, "kind": vfolder.kind.value}

        return await audit_records.change(
            self._gateway.database, GENERATION, write, "vfolder_adopted", now, told=told, place=str(vfid)
        )


def _insert(connection: Connection, volume: str, vfid: VFolderId, found: Description | None, now: float) -> int:
    scope = vfid.scope
    row: dict[str, Any] = {
        "volume": volume,
        "vfid": str(vfid),
        "folder": vfid.folder.hex,
        "scope": str(scope) if scope else None,
        "owner": str(scope.uuid) if scope else None,
        "kind": (scope.kind if scope else ScopeKind.USER).value,
        "status": VFolderStatus.READY.value,
        "created": now,
    }
    if found is None:
        return _key(connection, row)
    for name in ("limit_bytes", "limit_files", "created", "expires", "read_only"):
        row[name] = getattr(found, name)
    row |= {"kind": found.kind.value, "owner": str(found.owner.id) if found.owner else row["owner"]}
    row["name"] = _free_name(connection, row["owner"], found.name)
    if found.trash is not None:
        row["status"] = VFolderStatus.TRASHED.value
    key = _key(connection, row)
    if found.trash is not None:
        connection.execute(insert(vfolder_trash).values(vfolder=key, **found.trash.model_dump()))
    if opened := list(_grants(key, found, now)):
        connection.execute(insert(grants), opened)
    return key


def _key(connection: Connection, row: dict[str, Any]) -> int:
    made = connection.execute(insert(vfolders).values(row)).inserted_primary_key
    assert made is not None
    return int(made[0])


def _free_name(connection: Connection, owner: str | None, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        checked_vfolder_name(name)
    except InvalidArgument:
        return None
    taken = select(vfolders.c.key).where(vfolders.c.owner == owner, vfolders.c.name == name)
    return None if connection.execute(taken).first() is not None else name


def _grants(key: int, found: Description, now: float) -> Iterator[dict[str, Any]]:
    seen = set()
    for each in found.grants:
        if (each.kind, each.account.id) not in seen:
            seen.add((each.kind, each.account.id))
            yield {
                "id": uuid.uuid4().hex,
                "vfolder": key,
                "subject_kind": each.kind,
                "subject": str(each.account.id),
                "permission": each.permission,
                "expires": each.expires,
                "created": now,
            }
