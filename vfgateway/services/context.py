"""One principal in one vfolder: the place where permission, locks and quota are applied, whichever verb acts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection

from vfgateway.abilities import ISnapshots
from vfgateway.errors import Conflict, InvalidPath, NotFound, PermissionDenied, ReadOnlyPath
from vfgateway.interfaces import IFolder, IVolume
from vfgateway.model import Permission, Published, Usage, VFolder, VFolderStatus
from vfgateway.paths import FolderPath
from vfgateway.principals import INTERNAL, Origin, Principal, PrincipalKind
from vfgateway.services import folderusage, locktable, properties, snapshotview
from vfgateway.services.changes import Change
from vfgateway.services.locks import Intent
from vfgateway.services.permissions import Access
from vfgateway.services.standing import Standing
from vfgateway.treeusage import LOOSE

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

type_write = Callable[[Connection], None]


@attrs.frozen(eq=False)
class FolderContext:
    """Who acts, where, and with which rights.

    :ivar lock_tokens: locks that the caller says it holds
    """

    gateway: Gateway
    principal: Principal
    origin: Origin
    vfolder: VFolder
    standing: Standing
    volume: IVolume
    folder: IFolder
    lock_tokens: frozenset[str] = frozenset()

    @property
    def access(self) -> Access:
        """What the principal may do here, as far as is known."""
        return self.standing.access

    def means_the_same(self, other: FolderContext) -> bool:
        """Whether the same principal has the same rights in the same vfolder, in the same place."""
        mine = (self.principal, self.vfolder, self.access, self.volume, self.lock_tokens)
        return mine == (other.principal, other.vfolder, other.access, other.volume, other.lock_tokens)

    @property
    def principal_id(self) -> str:
        """The name under which locks, uploads and creations are remembered."""
        if self.principal.user_id is not None:
            return str(self.principal.user_id)
        return "orchestrator"

    def allow(self, needed: Permission, path: FolderPath, action: str) -> None:
        """Raise unless ``action`` (a verb for the user) is permitted on ``path``."""
        if path.reserved:
            self._allow_reserved(needed, path)
        if self.access.permission < needed:
            raise self._denied(path, action, needed)
        if needed > Permission.RO:
            ready = self.vfolder.status is VFolderStatus.READY or self.origin is INTERNAL
            if not ready:
                raise Conflict(f"the vfolder is {self.vfolder.status.value}")

    def _allow_reserved(self, needed: Permission, path: FolderPath) -> None:
        shown = snapshotview.is_here(path) and ISnapshots.providedBy(self.volume)
        if needed is not Permission.RO:
            raise ReadOnlyPath(path) if shown else InvalidPath(path, f"belongs to the gateway: {path}")
        if not shown:
            raise NotFound(path)

    def at(self, path: FolderPath) -> IFolder:
        """Where ``path``, which may be read, is read: in the vfolder, or in its snapshots."""
        if snapshotview.is_here(path):
            return snapshotview.SnapshotsView(self.volume, self.vfolder.id)
        return self.folder

    def reading(self, path: FolderPath, action: str = "read this") -> IFolder:
        """Where ``path`` is read; raises unless ``action`` is permitted on it."""
        if not path.reserved:
            if self.standing.access.permission < Permission.RO:
                raise self._denied(path, action, Permission.RO)
            return self.folder
        self.allow(Permission.RO, path, action)
        return self.at(path)

    async def allow_removal(self, path: FolderPath) -> None:
        """Removing needs ``rwd``; with ``rw``, what one made oneself lately may go (``design.md`` section 3)."""
        self.allow(Permission.RW, path, "remove this")
        if self.access.permission >= Permission.RWD:
            return
        if not await self.gateway.creations.made_by(self.vfolder.key, path, self.principal_id):
            raise self._denied(path, "remove this", Permission.RWD)

    def _denied(self, path: FolderPath, action: str, needed: Permission) -> PermissionDenied:
        error = PermissionDenied(path, action, str(needed), str(self.access.permission))
        error.vfolder_key = self.vfolder.key
        return error

    def note_removal(self, path: FolderPath, entries: int = 1) -> None:
        """Let the audit know that something was removed."""
        self.note("files_removed", path, **({"entries": entries} if entries != 1 else {}))

    def note(self, event: str, path: FolderPath, **facts: Any) -> None:
        """Let the audit know what was done to files; what the gateway does by itself was ordered by somebody before, who is on record."""
        if self.origin is not INTERNAL:
            self.gateway.audit.files(event, self.principal, self.origin, self.vfolder, path, **facts)

    async def remember_creation(self, path: FolderPath) -> None:
        """Note that this principal made ``path``, if it will ever be asked."""
        if self.access.permission == Permission.RW and self.principal.kind is PrincipalKind.USER:
            await self.gateway.creations.add(self.vfolder.key, path, self.principal_id)

    def lock_path(self, path: FolderPath) -> FolderPath:
        """The path under which locks know ``path``: folded as the volume folds names."""
        return self.volume.names.fold_path(path)

    async def fence(self, path: FolderPath, name: FolderPath | None = None) -> int:
        """What to hand to :meth:`publishing` later, so that a lock lost meanwhile is noticed. Raises ``Locked`` now if somebody else
        holds a lock: on ``path``, or on the collection in which ``name`` will come."""
        coming = None if name is None else self.lock_path(name)
        return await self.gateway.locks.fence(
            self.vfolder, self.lock_path(path), self.lock_tokens, self.principal_id, coming
        )

    @asynccontextmanager
    async def publishing(
        self, *changes: tuple[FolderPath, bool], fence: int | None = None, shared: bool = False
    ) -> AsyncIterator[Intent]:
        """The time in which a change becomes visible: locks are checked exactly and held off until it is over. A change is a path
        and whether it takes all below it; see ``Locks.publishing``."""
        paths: Sequence[tuple[FolderPath, bool]] = [(self.lock_path(path), tree) for path, tree in changes]
        async with self.gateway.locks.publishing(
            self.vfolder, paths, self.lock_tokens, self.principal_id, fence=fence, shared=shared
        ) as intent:
            yield intent

    def folder_of(self, path: FolderPath, is_dir: bool = False) -> bytes:
        """Whose share of the usage ``path`` is."""
        return folderusage.folder_of(self.lock_path(path), is_dir)

    async def settle(
        self, change: Usage, intent: Intent, also: Sequence[type_write] = (), folder: bytes = LOOSE
    ) -> None:
        """Count a change that needed no room beforehand, and end its intent with it."""
        await self.gateway.quota.change(self.vfolder, change, also=[intent.end, *also], folder=folder)

    # --- what becomes of properties and locks: to be written in the step that ends the intent ---

    def after_creation(self, intent: Intent, path: FolderPath) -> Sequence[type_write]:
        """A new file is not what earlier properties were set on, if somebody removed that behind our back."""
        return [partial(properties.forget, **self._at(path), tree=False)] if intent.standing.properties else ()

    def after_removal(self, intent: Intent, path: FolderPath, empty: bool = False) -> Sequence[type_write]:
        """``path`` and all below it are gone.

        :param empty: nothing was below it
        """
        if empty:
            intent.changes = [Change(path, collection=True)]
        also: list[type_write] = []
        if intent.standing.properties:
            also.append(partial(properties.forget, **self._at(path), tree=True))
        if intent.standing.locks:
            also.append(partial(locktable.release_below, **self._at(path)))
        return also

    def after_rename(
        self, intent: Intent, source: FolderPath, target: FolderPath, published: Published
    ) -> Sequence[type_write]:
        """Properties move along; locks stay behind and end (RFC 4918 section 7.7), while one on the target goes on."""
        tree = published.stat is None or published.stat.is_dir
        intent.changes = [Change(source, lost=tree), Change(target, tree)]
        intent.touches(published.stat)
        also: list[type_write] = []
        if intent.standing.properties:
            also.append(partial(properties.move, **self._at(source, "source"), target=self.lock_path(target)))
        if intent.standing.locks and source != target:
            also.append(partial(locktable.release_below, **self._at(source)))
        return also

    def after_copy(
        self, intent: Intent, origin: FolderContext, source: FolderPath, target: FolderPath
    ) -> Sequence[type_write]:
        """A copy has the properties of what it was made of; ``origin`` is where that lies."""
        if origin.vfolder.key == self.vfolder.key and not intent.standing.properties:
            return ()
        at, into, place = origin._at(source, "source"), self.vfolder.key, self.lock_path(target)
        return [partial(properties.copy, **at, into=into, target=place)]

    def _at(self, path: FolderPath, name: str = "path") -> dict[str, Any]:
        return {"vfolder": self.vfolder.key, name: self.lock_path(path)}
