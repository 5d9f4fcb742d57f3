"""The registry of vfolders: which there are, whose they are, to whom they are opened, and under which names people see them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import attrs
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError
from twisted.internet.interfaces import IReactorTime

from vfgateway.errors import Conflict, InvalidArgument, QuotaScopeExists, UnknownAccount, VFolderExists, VFolderNotFound
from vfgateway.model import Limits, Permission, QuotaScopeId, ScopeKind, VFolder, VFolderId, VFolderStatus
from vfgateway.principals import Principal, PrincipalKind, TokenScope
from vfgateway.services import audit_records, registry, relocation_records
from vfgateway.services.caches import GenerationCache
from vfgateway.services.database import Database
from vfgateway.services.holds import recharge
from vfgateway.services.names import UNSET, Unset, checked_vfolder_name
from vfgateway.services.permissions import Access, Grant, decide, type_subject
from vfgateway.services.registry import View
from vfgateway.services.relocation_records import Place
from vfgateway.services.schema import grants, holds, scopes, usage, vfolders
from vfgateway.services.subjects import keys_of

T = TypeVar("T")

#: The number that counts up whenever this registry changes.
GENERATION = "vfolders"
#: What the audit calls a change to one of these states; all else is ``vfolder_changed``.
_EVENTS = {"deleting": "vfolder_deleted", "trashed": "vfolder_trashed"}


@attrs.frozen
class VisibleVFolder:
    """A vfolder as one principal sees it: by which name, and with which rights."""

    name: str
    vfolder: VFolder
    access: Access


class VFolders:
    """The registry. What it answers is at most :data:`vfgateway.services.database.FRESH` seconds behind what another process
    wrote, and never behind this one.

    :param clock: tells the time in epoch seconds
    """

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._database = database
        self._clock = clock
        self._vfolders: GenerationCache[tuple[VFolderId, str | None] | int, VFolder] = GenerationCache(
            database, GENERATION
        )
        self._grants: GenerationCache[int, Sequence[Grant]] = GenerationCache(database, GENERATION)
        self._places: GenerationCache[tuple[str, VFolderId], Place | None] = GenerationCache(database, GENERATION)
        self._views: GenerationCache[Principal, View] = GenerationCache(database, GENERATION, size=512)

    # --- looking up ---

    async def get(self, vfid: VFolderId, volume: str | None = None) -> VFolder:
        """The vfolder of that identifier. ``VFolderNotFound``; ``Conflict`` if no volume is given and several have it."""
        return await self._vfolders.get((vfid, volume), lambda: self._read(registry.by_id, vfid, volume))

    async def by_key(self, key: int) -> VFolder:
        """The vfolder of that number. ``VFolderNotFound``."""
        return await self._vfolders.get(key, lambda: self._read(registry.by_key, key))

    async def list(self, volume: str | None = None) -> Sequence[VFolder]:
        """All vfolders, or those on ``volume``, oldest first."""
        query = select(vfolders).order_by(vfolders.c.key)
        if volume is not None:
            query = query.where(vfolders.c.volume == volume)
        return await self._read(registry.some, query)

    async def resolve(self, text: str) -> VFolder:
        """The vfolder an administrator means: ``OWNER/NAME``, ``NAME``, a vfid or its last 32 digits. ``VFolderNotFound``, or
        ``Conflict`` that names the candidates."""
        return await self._read(registry.resolve, text)

    # --- changing ---

    async def create(
        self,
        volume: str,
        vfid: VFolderId,
        *,
        name: str | None = None,
        owner: UUID | None = None,
        kind: ScopeKind | None = None,
        limits: Limits = Limits(),
        expires: float | None = None,
        status: VFolderStatus = VFolderStatus.READY,
        found_at: str | None = None,
        most: int | None = None,
    ) -> VFolder:
        """Enter a vfolder. ``VFolderExists`` if the volume has the identifier, or the owner the name, already.

        :param owner: UUID of a user or group, which need not have an account yet; by default that of the scope
        :param kind: by default that of the scope
        :param found_at: what it is made of, if that was there before
        :param most: ``Conflict`` if the owner has so many
        """
        scope = vfid.scope
        owner = owner or (scope.uuid if scope else None)
        kind = kind or (scope.kind if scope else ScopeKind.USER)
        row = {
            "volume": volume,
            "vfid": str(vfid),
            "folder": vfid.folder.hex,
            "scope": str(scope) if scope else None,
            "name": None if name is None else checked_vfolder_name(name),
            "owner": _text(owner),
            "kind": kind.value,
            "status": status.value,
            **_limits(limits),
            "created": self._clock.seconds(),
            "expires": expires,
        }

        def write(connection: Connection) -> VFolder:
            if registry.has_id(connection, volume, vfid):
                raise VFolderExists(vfid)
            if most is not None and registry.count_of(connection, owner, kind) >= most:
                raise Conflict(f"no more than {most} vfolders are allowed, those in the trash included")
            key = connection.execute(vfolders.insert().values(row)).inserted_primary_key
            assert key is not None
            return registry.by_key(connection, key[0])

        try:
            event = "vfolder_created" if found_at is None else "vfolder_adopted"
            return await self._write(write, event, told=_about, place=found_at)
        except IntegrityError:
            raise VFolderExists(name or vfid) from None

    async def update(
        self,
        key: int,
        *,
        name: str | Unset | None = UNSET,
        owner: UUID | Unset | None = UNSET,
        kind: ScopeKind | Unset = UNSET,
        limits: Limits | Unset = UNSET,
        status: VFolderStatus | Unset = UNSET,
        expires: float | Unset | None = UNSET,
        read_only: bool | Unset = UNSET,
    ) -> VFolder:
        """Change what is given; the new state. A new owner is charged in the same moment. ``VFolderNotFound``; ``VFolderExists`` if the
        owner has the name already."""
        changes: dict[str, Any] = {}
        if name is not UNSET:
            changes["name"] = None if name is None else checked_vfolder_name(name)
        if owner is not UNSET:
            changes["owner"] = _text(owner)
        if kind is not UNSET:
            changes["kind"] = kind.value
        if limits is not UNSET:
            changes |= _limits(limits)
        if status is not UNSET:
            changes["status"] = status.value
        if expires is not UNSET:
            changes["expires"] = expires
        if read_only is not UNSET:
            changes["read_only"] = read_only

        def write(connection: Connection) -> VFolder:
            charged = keys_of(connection, key)
            if changes and charged:
                connection.execute(update(vfolders).where(vfolders.c.key == key).values(changes))
                recharge(connection, key, charged)
            return registry.by_key(connection, key)

        try:
            event = _EVENTS.get(changes.get("status", ""), "vfolder_changed")
            return await self._write(write, event, vfolder=key, **changes)
        except IntegrityError:
            raise VFolderExists(name or key) from None

    async def forget(self, key: int, event: str = "vfolder_purged") -> None:
        """Strike a vfolder with all that hangs on it: grants, shown names, uploads, locks, intents and its own usage. No error if it is
        gone already.

        The sums of its scope and owner belong to the quota service: take the vfolder's usage off them *before*, while its
        row is there to say whom it was charged to.

        :param event: what the audit calls it
        """
        subject = f"vfolder:{key}"

        def write(connection: Connection) -> None:
            connection.execute(delete(holds).where(holds.c.subject == subject))
            connection.execute(delete(usage).where(usage.c.subject == subject))
            connection.execute(delete(vfolders).where(vfolders.c.key == key))

        await self._write(write, event, vfolder=key)

    # --- rights ---

    async def access(self, principal: Principal, vfolder: VFolder) -> Access:
        """What ``principal`` may do in ``vfolder`` now (:func:`vfgateway.services.permissions.decide`)."""
        known = await self.grants(vfolder.key) if principal.kind is PrincipalKind.USER else ()
        if principal.token is not None and principal.token.volume != vfolder.volume:
            principal = await self._brought_along(principal, principal.token, vfolder)
        return decide(principal, vfolder, known, self._clock.seconds())

    async def _brought_along(self, principal: Principal, token: TokenScope, vfolder: VFolder) -> Principal:
        """A token that was minted where the vfolder lay before it moved speaks of where it lies now."""
        where = (token.volume, token.vfid)
        place = await self._places.get(where, lambda: self._read(relocation_records.place_at, *where))
        if place is None or place.vfolder != vfolder.key:
            return principal
        return attrs.evolve(principal, token=attrs.evolve(token, volume=vfolder.volume))

    async def grant(
        self,
        key: int,
        subject_kind: type_subject,
        subject: UUID,
        permission: Permission,
        expires: float | None = None,
    ) -> Grant:
        """Open a vfolder to a user or group, in place of an earlier grant to the same. ``VFolderNotFound``; whether the account
        exists is not asked, since an orchestrator may make it later."""
        if subject_kind not in ("user", "group"):
            raise InvalidArgument("subject_kind", f"expected user or group, got {subject_kind!r}")
        if permission is Permission.NONE:
            raise InvalidArgument("permission", "expected ro, rw or rwd; revoke the grant to permit nothing")
        here = (grants.c.vfolder == key) & (grants.c.subject_kind == subject_kind) & (grants.c.subject == str(subject))
        values = {"permission": str(permission), "expires": expires}
        row = {"id": uuid.uuid4().hex, "vfolder": key, "subject_kind": subject_kind, "subject": str(subject)}
        now = self._clock.seconds()

        def write(connection: Connection) -> Grant:
            registry.by_key(connection, key)
            if not connection.execute(update(grants).where(here).values(values)).rowcount:
                connection.execute(grants.insert().values(row | values | {"created": now}))
            return registry.grant_of(connection.execute(select(grants).where(here)).one())

        about = {"subject_kind": subject_kind, "subject": subject, "permission": permission, "expires": expires}
        return await self._write(write, "grant_added", vfolder=key, **about)

    async def revoke(self, grant_id: str) -> None:
        """Take a grant back. ``UnknownAccount`` (of kind ``grant``) if there is none."""

        def write(connection: Connection) -> dict[str, Any]:
            row = connection.execute(delete(grants).where(grants.c.id == grant_id).returning(grants)).first()
            if row is None:
                raise UnknownAccount("grant", grant_id)
            about = {"subject_kind": row.subject_kind, "subject": row.subject, "permission": row.permission}
            return {"vfolder_key": row.vfolder, **about}

        await self._write(write, "grant_removed", told=lambda about: about)

    async def grants(self, key: int) -> Sequence[Grant]:
        """All grants of a vfolder, expired ones too, oldest first."""
        return await self._grants.get(key, lambda: self._read(registry.grants_of, key))

    # --- what people see ---

    async def visible(self, principal: Principal) -> Sequence[VisibleVFolder]:
        """The vfolders of ``principal``, sorted by the names it sees them under: its own, those of its groups and those opened to it or
        its groups. An administrator may enter all, but is shown its own here like everybody; the orchestrator is
        shown all, a token its one. Vfolders being deleted are left out."""
        view = await self._view(principal)
        now = self._clock.seconds()
        seen = (
            VisibleVFolder(name, vfolder, decide(principal, vfolder, granted, now))
            for name, (vfolder, granted) in view.entries.items()
        )
        return [entry for entry in seen if entry.access.permission is not Permission.NONE]

    async def named(self, principal: Principal, name: str) -> VisibleVFolder:
        """The vfolder that ``principal`` sees, or once saw, under ``name``. ``VFolderNotFound``."""
        view = await self._view(principal)
        entry = view.entries.get(view.aliases.get(name, name))
        if entry is not None:
            access = decide(principal, *entry, self._clock.seconds())
            if access.permission is not Permission.NONE:
                return VisibleVFolder(name, entry[0], access)
        raise VFolderNotFound(name)

    async def _view(self, principal: Principal) -> View:
        async def load() -> View:
            now = self._clock.seconds()
            view, complete = await self._read(registry.view, principal, now)
            if not complete:
                view = await self._write(lambda connection: registry.name_all(connection, principal, now))
            return view

        return await self._views.get(principal, load)

    # --- quota scopes ---

    async def create_scope(self, volume: str, scope: QuotaScopeId, limits: Limits) -> None:
        """Enter a quota scope of a volume. ``QuotaScopeExists``."""

        def write(connection: Connection) -> None:
            if registry.scope_limits(connection, volume, scope) is not None:
                raise QuotaScopeExists(scope)
            registry.set_scope_limits(connection, volume, scope, limits, self._clock.seconds())

        await self._write(write)

    async def scope_limits(self, volume: str, scope: QuotaScopeId) -> Limits | None:
        """The limits of a quota scope; ``None`` if the registry does not know it."""
        return await self._read(registry.scope_limits, volume, scope)

    async def set_scope_limits(self, volume: str, scope: QuotaScopeId, limits: Limits) -> None:
        """Set or lift the limits of a quota scope, entering it if it is new."""
        now = self._clock.seconds()

        def write(connection: Connection) -> bool:
            before = registry.scope_limits(connection, volume, scope) or Limits()
            registry.set_scope_limits(connection, volume, scope, limits, now)
            return limits != before

        about = {"target": f"{volume}/{scope}", **_limits(limits)}
        await self._write(write, "scope_limits_set", told=lambda changed: about if changed else None)

    async def scopes(self, volume: str) -> Sequence[tuple[QuotaScopeId, Limits]]:
        """All quota scopes of a volume with their limits."""
        query = select(scopes).where(scopes.c.volume == volume).order_by(scopes.c.scope)

        def read(connection: Connection) -> Sequence[tuple[QuotaScopeId, Limits]]:
            return [(QuotaScopeId.parse(row.scope), registry.limits_of(row)) for row in connection.execute(query)]

        return await self._database.read(read)

    # --- the database ---

    async def _read(self, function: Callable[..., T], *args: Any) -> T:
        return await self._database.read(lambda connection: function(connection, *args))

    async def _write(self, function: Callable[[Connection], T], event: str = "", **about: Any) -> T:
        """A change; with an entry of the audit, unless nobody's rights or files have to do with it."""
        if not event:
            return await self._database.change(GENERATION, function)
        now = self._clock.seconds()
        return await audit_records.change(self._database, GENERATION, function, event, now, **about)


def _about(vfolder: VFolder) -> dict[str, Any]:
    return {"vfolder_key": vfolder.key, "owner": vfolder.owner, "kind": vfolder.kind.value}


def _limits(limits: Limits) -> dict[str, int | None]:
    return {"limit_bytes": limits.bytes, "limit_files": limits.files}


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
