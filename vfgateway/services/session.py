"""The session: what one principal may do. Every verb of every protocol goes through here, so that permission, locks and
quota are the same whichever way a byte arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import attrs
from twisted.internet.defer import Deferred

from vfgateway import requestcontext
from vfgateway.abilities import IAtHand
from vfgateway.errors import AlreadyExists, InvalidPath, IsADirectory, NotFound, VFolderNotFound
from vfgateway.interfaces import IVolume, type_chunk
from vfgateway.model import ANY, Attrs, Expect, FileStat, OpenMode, Permission, Usage, VFolder, VFolderId
from vfgateway.paths import FolderPath
from vfgateway.principals import Origin, Principal
from vfgateway.services import copying, links, locking, moves, trees
from vfgateway.services.changes import Change
from vfgateway.services.context import FolderContext, type_write
from vfgateway.services.database import FRESH
from vfgateway.services.following import entered, following
from vfgateway.services.handles import Handle
from vfgateway.services.locks import Lock
from vfgateway.services.opening import open_handle, open_now
from vfgateway.services.permissions import Access
from vfgateway.services.quota import Remaining
from vfgateway.services.reading import Download, FilteredWalk, Listing
from vfgateway.services.snapshotview import is_top
from vfgateway.services.standing import Standing
from vfgateway.services.storing import store_small, type_stored
from vfgateway.services.transfer import Upload, growth
from vfgateway.services.trees import Walk, type_progress
from vfgateway.services.vfolders import VisibleVFolder
from vfgateway.uninterrupted import whole

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

T = TypeVar("T")


class Session:
    """One principal's hands, for the time of a request or a connection."""

    def __init__(self, gateway: Gateway, principal: Principal, origin: Origin) -> None:
        self._gateway = gateway
        self._known_at: float = gateway.reactor.seconds()
        self.principal = principal
        self.origin = origin
        requestcontext.identify(principal, origin)

    async def refresh(self) -> Principal:
        """The principal as it is now: what was known of it some time ago counts no more. ``AuthenticationFailed`` if it may not act any
        more, ``AuthenticatorUnavailable``."""
        now = self._gateway.reactor.seconds()
        if not 0 <= now - self._known_at < FRESH:
            self.principal = await self._gateway.current(self.principal)
            self._known_at = now
        return self.principal

    async def vfolders(self) -> Sequence[VisibleVFolder]:
        """All vfolders that the principal may see, by the names it sees them under."""
        return await self._gateway.vfolders.visible(await self.refresh())

    async def folder(self, vfid: VFolderId, volume: str | None = None) -> FolderSession:
        """Enter a vfolder by its identifier. ``VFolderNotFound`` also when the principal may not know of it."""
        vfolder = await self._gateway.find_vfolder(vfid, volume)
        return await self._enter(vfolder, await self._gateway.vfolders.access(await self.refresh(), vfolder))

    async def folder_named(self, name: str) -> FolderSession:
        """Enter a vfolder by the name that :meth:`vfolders` shows."""
        gateway = self._gateway
        try:
            visible = await gateway.vfolders.named(await self.refresh(), name)
        except VFolderNotFound:  # unless another process has made it, or let us in, a moment ago
            gateway.database.forget_generations()
            visible = await gateway.vfolders.named(await self.refresh(), name)
        return await self._enter(visible.vfolder, visible.access)

    async def _enter(self, vfolder: VFolder, access: Access) -> FolderSession:
        if access.permission is Permission.NONE or vfolder.is_gone:
            raise VFolderNotFound(vfolder.id)
        requestcontext.enter(vfolder)
        gateway, principal = self._gateway, self.principal
        volume, folder = await entered(gateway, vfolder, principal.actor)
        standing = Standing(gateway.standings, principal, vfolder, access)
        return FolderSession(FolderContext(gateway, principal, self.origin, vfolder, standing, volume, folder))


class FolderSession:
    """One principal's hands in one vfolder. Raises ``PermissionDenied`` where a verb needs more than the principal has,
    ``Locked`` where somebody else holds a lock, and what the volume says."""

    def __init__(self, context: FolderContext) -> None:
        self.context = context

    @property
    def vfolder(self) -> VFolder:
        """The registry's row."""
        return self.context.vfolder

    @property
    def access(self) -> Access:
        """What the principal may do here."""
        return self.context.access

    @property
    def volume(self) -> IVolume:
        """Where it is stored; for facts such as names and space."""
        return self.context.volume

    @property
    def principal(self) -> Principal:
        """Who acts."""
        return self.context.principal

    def holding(self, lock_tokens: Iterable[str]) -> FolderSession:
        """The same hands, presenting lock tokens."""
        return FolderSession(attrs.evolve(self.context, lock_tokens=frozenset(lock_tokens)))

    # --- reading ---

    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        """Facts about an entry."""
        return await self.context.reading(path).stat(path, follow)

    def stat_at_hand(self, path: FolderPath) -> Callable[[], FileStat | None] | None:
        """What tells the same as :meth:`stat` with ``follow``, or ``None`` where that needs waiting, for as long as what the principal may do stays;
        ``None`` if it always does, as ``IAtHand`` says. Not a coroutine."""
        folder = self.context.reading(path)
        return partial(folder.stat_now, path) if IAtHand.providedBy(folder) else None

    def read_now(
        self, path: FolderPath, choose: Callable[[FileStat], tuple[int, int] | None]
    ) -> tuple[FileStat, type_chunk] | None:
        """As :meth:`download`, of what ``choose`` asks for, if that needs no waiting; else ``None``, as ``IAtHand`` says. Not a coroutine."""
        folder = self.context.reading(path)
        return folder.read_now(path, choose) if IAtHand.providedBy(folder) else None

    def reread_now(
        self, path: FolderPath, stat: FileStat, part: tuple[int, int] | None
    ) -> Callable[[], type_chunk | None] | None:
        """What reads again what :meth:`read_now` has read, as ``IAtHand`` says, for as long as what the principal may do stays. Not a coroutine."""
        folder = self.context.reading(path)
        return folder.reread_now(path, stat, part) if IAtHand.providedBy(folder) else None

    def store_small(self, path: FolderPath, content: type_chunk) -> type_stored | Deferred[type_stored]:
        """Create or replace a small file, if that needs little or no waiting; else ``None``, and nothing has happened. Not a coroutine."""
        self.context.allow(Permission.RW, path, "write this")
        return store_small(self.context, path, content)

    async def list(self, path: FolderPath) -> Listing:
        """Begin to list a directory."""
        return Listing(await self.context.reading(path, "list this").open_dir(path), is_top(path), self.context, path)

    async def download(self, path: FolderPath) -> Download:
        """Open a regular file for reading."""
        file = await self.context.reading(path).open(path, OpenMode.READ)
        try:
            return Download(path, file, await file.stat(), self.context.standing)
        except BaseException:
            await file.close()
            raise

    @following
    async def open(self, path: FolderPath, mode: OpenMode) -> Handle:
        """Open a regular file for in-place work, by the rules of POSIX: what is written is seen at once, and durable after ``sync``.
        Opening for writing needs ``rw``; raises ``Locked`` and ``QuotaExceeded`` for what it makes, and as ``IFolder.open``."""
        return await open_handle(self.context, path, mode)

    def open_now(self, path: FolderPath, mode: OpenMode) -> Handle | None:
        """As :meth:`open`, if that needs no waiting; else ``None``, and nothing has happened. Not a coroutine."""
        return open_now(self.context, path, mode)

    def walk(self, top: FolderPath) -> FilteredWalk:
        """Walk all below ``top``, parents first."""
        return FilteredWalk(Walk(self.context.reading(top), top), self.context, top)

    async def usage(self) -> Usage:
        """What the vfolder holds, uploads under way included."""
        return await self.context.gateway.quota.usage(self.vfolder)

    async def remaining(self) -> Remaining:
        """The tightest limit that applies here, and what it leaves."""
        return await self.context.gateway.quota.remaining(self.vfolder)

    # --- writing ---

    async def upload(
        self,
        path: FolderPath,
        *,
        size: int | None,
        expect: Expect = ANY,
        parents: bool = False,
        digests: Sequence[str] = (),
    ) -> Upload:
        """Begin an upload. Permission, lock, conditions and quota are settled when this returns, so ask before reading the body.

        :param size: bytes to come, ``None`` if the client does not say
        :param parents: make missing directories when it is published
        :param digests: names of ``hashlib`` algorithms to compute on the way
        """
        context = self.context
        context.allow(Permission.RW, path, "write this")
        if path.is_root:
            raise IsADirectory(path)
        missing = await trees.missing_parents(context.folder, path)
        if missing and not parents:
            raise NotFound(missing[0])
        wanted = await growth(context, path, size or 0, expect)
        fence = await context.fence(path, missing[0] if missing else path if wanted.files else None)
        wanted += Usage(0, len(missing))
        reservation = await context.gateway.quota.reserve(self.vfolder, wanted)
        try:
            stage = await context.folder.stage(path, size)
        except BaseException:
            await reservation.release()
            raise
        return Upload(
            context,
            path,
            stage,
            reservation,
            size=size,
            expect=expect,
            fence=fence,
            parents=parents,
            digests=digests,
            credit=max(0, (size or 0) - wanted.bytes),
        )

    @following
    @whole
    async def make_dir(self, path: FolderPath, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a directory."""
        context = self.context
        context.allow(Permission.RW, path, "make a directory here")
        if path.is_root:
            if exist_ok:
                return
            raise AlreadyExists(path)
        async with context.publishing((path, False)) as intent:
            missing = await trees.missing_parents(context.folder, path)
            if missing and not parents:
                raise NotFound(missing[0])
            if await self._is_there(path, exist_ok):
                return
            intent.names(context.lock_path(missing[0] if missing else path))
            intent.more += map(Change, missing)
            async with await context.gateway.quota.reserve(self.vfolder, Usage(0, len(missing) + 1)) as reservation:
                made: list[Usage] = []
                try:
                    await trees.make_dirs(context.folder, missing, made.append)
                    await context.folder.make_dir(path)
                    made.append(Usage(0, 1))
                finally:
                    also = [intent.end, *context.after_creation(intent, path)]
                    await reservation.settle(sum(made, Usage()), also=also, folder=context.folder_of(path, is_dir=True))
        for directory in (*missing, path):
            await context.remember_creation(directory)

    async def _is_there(self, path: FolderPath, exist_ok: bool) -> bool:
        try:
            present = await self.context.folder.stat(path)
        except NotFound:
            return False
        if exist_ok and present.is_dir:
            return True
        raise AlreadyExists(path)

    @following
    @whole
    async def remove(self, path: FolderPath, expect: Expect = ANY) -> None:
        """Remove a file or a link."""
        context = self.context
        await context.allow_removal(path)
        async with context.publishing((path, False)) as intent:
            intent.names(context.lock_path(path))
            published = await context.folder.remove(path, expect)
            intent.touches(published.replaced)
            also, folder = context.after_removal(intent, path), context.folder_of(path)
            await context.settle(-trees.freed(published.replaced), intent, also, folder)
        context.note_removal(path)
        await context.gateway.creations.forget(self.vfolder.key, path)

    @following
    @whole
    async def remove_dir(self, path: FolderPath) -> None:
        """Remove an empty directory."""
        context = self.context
        await context.allow_removal(path)
        if path.is_root:
            raise InvalidPath(path, "the top of a vfolder cannot be removed")
        async with context.publishing((path, True)) as intent:
            intent.names(context.lock_path(path))
            await context.folder.remove_dir(path)
            also, folder = context.after_removal(intent, path, empty=True), context.folder_of(path, is_dir=True)
            await context.settle(Usage(0, -1), intent, also, folder)
        context.note_removal(path)
        await context.gateway.creations.forget(self.vfolder.key, path)

    @following
    @whole
    async def remove_tree(self, path: FolderPath, progress: type_progress | None = None) -> int:
        """Remove a directory with all below it, or a single file; the number of entries removed."""
        context = self.context
        context.allow(Permission.RWD, path, "remove this")
        if path.is_root:
            raise InvalidPath(path, "the top of a vfolder cannot be removed")
        if not (await context.folder.stat(path)).is_dir:
            await self.remove(path)
            return 1
        lost: list[Usage] = []
        also: Sequence[type_write] = ()
        async with context.publishing((path, True)) as intent:
            intent.names(context.lock_path(path))

            async def go_on(count: int) -> None:
                context.allow(Permission.RWD, path, "remove this")
                if progress is not None:
                    await progress(count)

            try:
                with context.standing.watched():
                    await trees.remove_tree(context.folder, path, lost.append, go_on)
                also = context.after_removal(intent, path)
            finally:
                await context.settle(-sum(lost, Usage()), intent, also, context.folder_of(path, is_dir=True))
        context.note_removal(path, len(lost))
        return len(lost)

    @following
    @whole
    async def rename(self, source: FolderPath, target: FolderPath, expect: Expect = ANY) -> None:
        """Move within the vfolder; ``expect`` speaks of the target."""
        context = self.context
        for path in (source, target):
            context.allow(Permission.RW, path, "rename this")
        async with context.publishing((source, True), (target, True)) as intent:
            intent.names(context.lock_path(source))
            intent.names(context.lock_path(target))
            await moves.rename(context, intent, source, target, expect)
        if self.access.permission < Permission.RWD:
            await context.gateway.creations.move(self.vfolder.key, source, target)

    @following
    @whole
    async def set_attrs(self, path: FolderPath, attributes: Attrs) -> FileStat:
        """Change mode and times."""
        context = self.context
        context.allow(Permission.RW, path, "change this")
        async with context.publishing((path, False)) as intent:
            stat = await context.folder.set_attrs(path, attributes)
            intent.touches(stat)
            return stat

    # --- locks and properties ---

    @following
    async def lock(
        self, path: FolderPath, *, infinite: bool, exclusive: bool, timeout: float | None, description: str = ""
    ) -> Lock:
        """Lock ``path``, whether something is there or not; ``Locked`` beside a lock that allows no other."""
        return await locking.lock(self.context, path, infinite, exclusive, timeout, description)

    async def refresh_lock(self, token: str, timeout: float | None) -> Lock:
        """Let a lock of one's own live for ``timeout`` seconds from now. ``LockLost`` if it is gone, or somebody else's."""
        return await locking.refresh(self.context, token, timeout)

    async def unlock(self, token: str) -> None:
        """End a lock: one's own, or for whoever owns the vfolder anybody's. ``LockLost`` if there is none."""
        await locking.unlock(self.context, token)

    @following
    async def set_properties(self, path: FolderPath, changes: Mapping[str, str | None]) -> None:
        """Keep dead properties with ``path``, by name, or drop them with ``None``. Durable on return."""
        await locking.set_properties(self.context, path, changes)

    @following
    async def make_link(self, path: FolderPath, target: str) -> None:
        """Make a symbolic link; ``target`` is kept as written. ``Unsupported`` where the volume has none."""
        await links.make_link(self.context, path, target)

    @following
    async def hard_link(self, source: FolderPath, target: FolderPath) -> None:
        """Give a file a second name. ``Unsupported`` where the volume has none."""
        await links.hard_link(self.context, source, target)

    async def copy(
        self,
        source: FolderPath,
        target: FolderPath,
        *,
        into: FolderSession | None = None,
        expect: Expect = ANY,
        progress: type_progress | None = None,
    ) -> None:
        """Copy a file or a tree, within this vfolder or into another. Links stay links; what is neither file, link nor directory is left
        out. A tree is copied to a place where nothing is (``AlreadyExists``)."""
        await copying.copy(self, source, into or self, target, expect=expect, progress=progress)
