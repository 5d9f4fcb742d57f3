"""The vfolder that a request names, by the name that its caller sees or by its 32 digits, and how it is described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from vfgateway.errors import VFolderNotFound
from vfgateway.model import ScopeKind
from vfgateway.protocols.client import content
from vfgateway.protocols.client.people.bodies import VFolderInfo
from vfgateway.protocols.client.people.dispatch import PersonsCall
from vfgateway.services.gateway import Gateway
from vfgateway.services.session import FolderSession
from vfgateway.services.vfolders import VisibleVFolder

type_names = Mapping[tuple[str, UUID], str]


async def visible(gateway: Gateway, call: PersonsCall, name: str | None = None) -> VisibleVFolder:
    """The vfolder in the path, or the one called ``name``. ``VFolderNotFound`` where the caller sees none like that."""
    wanted = call.path["folder"] if name is None else name
    principal = await call.session.refresh()
    try:
        return await gateway.vfolders.named(principal, wanted)
    except VFolderNotFound:
        for entry in await gateway.vfolders.visible(principal):
            if wanted in (entry.vfolder.id.folder.hex, str(entry.vfolder.id.folder)):
                return entry
        raise


async def by_key(gateway: Gateway, call: PersonsCall, key: int) -> VisibleVFolder:
    """The vfolder of that number. ``VFolderNotFound`` where the caller does not see it."""
    for entry in await gateway.vfolders.visible(await call.session.refresh()):
        if entry.vfolder.key == key:
            return entry
    raise VFolderNotFound(key)


async def folder(gateway: Gateway, call: PersonsCall, name: str | None = None) -> FolderSession:
    """The caller's hands in it."""
    entry = await visible(gateway, call, name)
    return await call.session.folder(entry.vfolder.id, entry.vfolder.volume)


def account(text: str) -> UUID | str:
    """A user or group by UUID or name, as it is typed."""
    try:
        return UUID(text)
    except ValueError:
        return text


async def names(gateway: Gateway) -> type_names:
    """The names of all accounts."""
    users = {("user", user.id): user.name for user in await gateway.accounts.users()}
    return users | {("group", group.id): group.name for group in await gateway.accounts.groups()}


async def describe(gateway: Gateway, call: PersonsCall, entry: VisibleVFolder, known: type_names) -> VFolderInfo:
    """What the caller is told of a vfolder."""
    vfolder, access = entry.vfolder, entry.access
    usage, remaining = await gateway.quota.usage(vfolder), await gateway.quota.remaining(vfolder)
    kind = "user" if vfolder.kind is ScopeKind.USER else "group"
    return VFolderInfo(
        name=entry.name,
        id=str(vfolder.id),
        volume=vfolder.volume,
        owner=str(vfolder.owner) if vfolder.owner else None,
        owner_name=known.get((kind, vfolder.owner)) if vfolder.owner else None,
        kind=vfolder.kind.value,
        permission=cast(Any, str(access.permission)),
        administer=access.administer,
        read_only=vfolder.read_only,
        status=vfolder.status.value,
        used_bytes=usage.bytes,
        used_files=usage.files,
        limit_bytes=vfolder.limits.bytes,
        limit_files=vfolder.limits.files,
        free_bytes=remaining.free_bytes,
        free_files=remaining.free_files,
        created=vfolder.created,
        expires=vfolder.expires,
        url=content.files_url(call.request, entry.name),
    )
