"""The volume over a mounted directory, and the plugin that makes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import attrs
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from zope.interface import implementer

from vfgateway.abilities import (
    IAdoption,
    IDescriptions,
    IFastClone,
    IHardwareInfo,
    ILayout,
    IMountable,
    IPerformanceMetrics,
    IRemoteMount,
)
from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.adoption import Adoption
from vfgateway.backends.vfs.clone import Cloner
from vfgateway.backends.vfs.delete import empty_trash, ensure_trash, hold, set_aside
from vfgateway.backends.vfs.descriptors import Calls
from vfgateway.backends.vfs.faults import faults, translate
from vfgateway.backends.vfs.folder import LocalFolder, VfsFolder
from vfgateway.backends.vfs.hardware import MountPoint, mount_of
from vfgateway.backends.vfs.layout import VERSION_FILE, Layout
from vfgateway.backends.vfs.near import Near
from vfgateway.backends.vfs.ownership import PRIVATE
from vfgateway.backends.vfs.resolve import DIRECTORY, Resolver, best_resolver
from vfgateway.backends.vfs.settings import VfsSettings
from vfgateway.backends.vfs.staging import KNOWS_OWNERS, Staging
from vfgateway.backends.vfs.tree import Tree
from vfgateway.backends.vfs.watch import Watch
from vfgateway.errors import GatewayError, VolumeUnavailable
from vfgateway.interfaces import IFolder, IVolume, IVolumeFactory
from vfgateway.model import (
    Actor,
    FolderOptions,
    Health,
    HealthState,
    NameRules,
    PerformanceMetric,
    QuotaScopeId,
    RemoteMount,
    Space,
    VFolderId,
)

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

#: Storage that answers from memory or stalls only when a disk is overrun; calls may run in the reactor's thread.
NEVER_STALLS: Final = frozenset({syscalls.TMPFS, syscalls.EXT4, syscalls.XFS, syscalls.BTRFS})
#: Storage that may report a failed write only when the file is synced or closed.
FLUSHES_LATE: Final = frozenset({syscalls.NFS, syscalls.CIFS, syscalls.SMB2, syscalls.CEPH, syscalls.FUSE})
#: File systems that other hosts can mount, too.
REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "glusterfs"})

_log = Logger()


@attrs.frozen
class Storage:
    """What a volume learned of its storage when it started."""

    resolver: Resolver
    file_system: int
    names: NameRules
    mount: MountPoint | None


@implementer(
    IVolume, IMountable, IFastClone, IAdoption, ILayout, IDescriptions, IHardwareInfo, IPerformanceMetrics, IRemoteMount
)
class VfsVolume:
    """A mounted directory.

    :param resolver: how paths are opened; by default the best way that the kernel offers
    """

    backend = "vfs"
    #: See ``NameRules``.
    hidden = ""

    def __init__(self, name: str, settings: VfsSettings, runtime: Runtime, resolver: Resolver | None = None) -> None:
        self.name = name
        self.path = str(settings.path.absolute())
        self.names = NameRules()
        self.shared = settings.shared
        self._settings = settings
        self._calls = self._make_calls(runtime)
        self._near = Near(runtime.reactor)
        self._watch = Watch(name, runtime, self._look)
        self._layout = Layout(Path(self.path), settings.durable, adopts=bool(settings.adoptable))
        self._adoption = Adoption(settings.adoptable)
        self._resolver = resolver
        self._storage: Storage | None = None

    def _make_calls(self, runtime: Runtime) -> Calls:
        return Calls(self.name, lambda: runtime.pool(self._settings.threads))

    # --- life

    async def start(self) -> None:
        if self._storage is not None:
            return
        self._calls.start()
        self._watch.start()
        storage = await self._calls.run(self._probe)
        self.names = storage.names
        if storage.file_system in NEVER_STALLS:
            self._calls.allow_inline()
        self._storage = storage
        ensureDeferred(self._clean_up())

    def _probe(self) -> Storage:
        self._settings.ownership.check(self.name)
        self._layout.prepare(self.name)
        with faults(self.name):
            version = self._layout.top / VERSION_FILE
            try:
                folds = version.samefile(version.with_name(VERSION_FILE.upper()))
            except FileNotFoundError:
                folds = False
            return Storage(
                self._resolver or best_resolver(),
                syscalls.file_system_type(self.path),
                NameRules(case_folding=folds, longest=os.pathconf(self.path, "PC_NAME_MAX"), hidden=self.hidden),
                mount_of(os.path.realpath(self.path)),
            )

    async def _clean_up(self) -> None:
        """Finish removals that a crash interrupted, in the background."""
        try:
            await self._calls.run(self._empty_trashes)
        except GatewayError as error:
            _log.warn("volume {name}: leftovers could not be removed: {error}", name=self.name, error=str(error))

    def _empty_trashes(self) -> None:
        with faults(self.name):
            for trash in self._layout.trashes():
                error = empty_trash(trash)
                if error is not None:
                    raise error

    async def stop(self) -> None:
        self._storage = None
        self._near.close()
        await self._calls.stop()
        await self._watch.stop()

    async def health(self) -> Health:
        if self._storage is None:
            return Health(HealthState.UNAVAILABLE, "not started")
        return await self._watch.health()

    def _look(self) -> Health:
        """How it is; in the thread of the watch, where storage may not answer."""
        try:
            self._layout.prepare(self.name)
            os.statvfs(self.path)
        except VolumeUnavailable as error:
            return Health(HealthState.UNAVAILABLE, error.reason)
        except OSError as error:
            return Health(HealthState.UNAVAILABLE, str(translate(error)))
        return Health(HealthState.HEALTHY)

    async def hardware_info(self) -> Health:
        return await self._watch.hardware(self._started().mount)

    async def performance(self) -> PerformanceMetric:
        return await self._watch.performance(self._started().mount)

    async def space(self) -> Space:
        return await self._calls.quick(self._space)

    def _space(self) -> Space:
        with faults(self.name):
            found = os.statvfs(self.path)
        size = found.f_frsize
        return Space(size * found.f_blocks, size * (found.f_blocks - found.f_bavail), size * found.f_bavail)

    # --- scopes and vfolders

    async def create_scope(self, scope: QuotaScopeId) -> None:
        await self._calls.run(self._layout.make_scope, scope)

    async def has_scope(self, scope: QuotaScopeId) -> bool:
        return await self._calls.quick(self._layout.has_scope, scope)

    async def create_folder(self, vfid: VFolderId, options: FolderOptions) -> None:
        await self._calls.run(self._create, vfid, options)

    def _create(self, vfid: VFolderId, options: FolderOptions) -> None:
        root = self._layout.make_root(vfid)
        with faults(vfid):
            top = os.open(self.path, DIRECTORY)
            try:
                self._begin_root(root, vfid)
                self._dress(root, top, options)
            except BaseException:
                root.rmdir()
                raise
            finally:
                os.close(top)
            self._layout.sync_root(vfid)

    def _begin_root(self, root: Path, vfid: VFolderId) -> None:
        """Called for the root of every new vfolder while it is empty, and perhaps not in its place yet: for storage with powers of its own."""

    def _dress(self, root: Path, top: int, options: FolderOptions) -> None:
        """Give a new root its owner and mode; there is no vfolder to inherit from, so the volume's directory is asked."""
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._settings.ownership.settle_dir(descriptor, top, Actor(), options.mode)
        finally:
            os.close(descriptor)

    async def delete_folder(self, vfid: VFolderId) -> None:
        await self._calls.run(self._delete, vfid)

    def _delete(self, vfid: VFolderId) -> None:
        with faults(vfid):
            if not self._layout.scope(vfid.scope).is_dir():
                return
            trash = self._layout.trash(vfid.scope)
            set_aside(self._layout.root(vfid), trash, vfid.folder.hex)
            self._layout.forget(vfid)
            self._layout.drop_shards(vfid)
            error = empty_trash(trash, vfid.folder.hex)
        if error is not None:
            raise translate(error, vfid) from error

    async def folder(self, vfid: VFolderId, actor: Actor) -> IFolder:
        storage = self._started()
        tree = self._tree(storage, vfid, actor)
        await self._calls.quick(tree.check)
        return self._folder_of(tree)

    def _folder_of(self, tree: Tree) -> VfsFolder:
        file_system = self._started().file_system
        calls, staging = self._calls_of(tree), Staging(tree, file_system, file_system in FLUSHES_LATE)
        if file_system in KNOWS_OWNERS:
            return LocalFolder(calls, tree, staging, self._near)
        return VfsFolder(calls, tree, staging)

    def _calls_of(self, tree: Tree) -> Calls:
        """How the storage is called for one vfolder."""
        return self._calls

    def _started(self) -> Storage:
        if self._storage is None:
            raise VolumeUnavailable(self.name, "it has not started, or was stopped")
        return self._storage

    def _tree(self, storage: Storage, vfid: VFolderId, actor: Actor) -> Tree:
        settings = self._settings
        root = self._layout.root(vfid)
        return Tree(
            vfid, root, storage.names, storage.resolver, settings.ownership, actor, settings.durable, self._adoption
        )

    async def misplaced(self) -> Sequence[str]:
        return await self._calls.run(self._layout.misplaced)

    async def folders(self) -> Sequence[VFolderId]:
        return await self._calls.run(self._layout.all)

    async def describe(self, vfid: VFolderId, text: bytes) -> None:
        await self._calls.run(self._layout.describe, vfid, text)

    async def description(self, vfid: VFolderId) -> bytes | None:
        return await self._calls.run(self._layout.description, vfid)

    async def mount_path(self, vfid: VFolderId) -> str:
        tree = self._tree(self._started(), vfid, Actor())
        await self._calls.quick(tree.check)
        return str(await self._calls.quick(self._adoption.target, tree.path) or tree.path)

    async def remote_mount(self, vfid: VFolderId) -> RemoteMount | None:
        return await self._calls.run(self._remote, await self.mount_path(vfid))

    def _remote(self, place: str) -> RemoteMount | None:
        true = os.path.realpath(place)
        mount = mount_of(true)
        if mount is None or mount.fstype not in REMOTE:
            return None
        credentials = "" if mount.fstype.startswith("nfs") else self.name
        return RemoteMount(mount.fstype, mount.source, "", credentials, os.path.relpath(true, mount.place))

    async def adopt_folder(self, vfid: VFolderId, place: str) -> None:
        self._started()
        await self._calls.run(self._adopt, vfid, place)

    def _adopt(self, vfid: VFolderId, place: str) -> None:
        found = self._adoption.checked(place)
        with faults(vfid):
            root = self._layout.make_root(vfid)  # takes the name, so that nobody else can
            draft = root.with_name(f"{root.name}.{uuid4().hex}")
            try:
                draft.symlink_to(found)
                root.rmdir()
                draft.rename(root)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            self._layout.sync_names(vfid)

    # --- clone

    async def clone_folder(self, source: VFolderId, target: VFolderId) -> None:
        resolver = self._started().resolver
        skipped = await self._calls.run(self._clone, resolver, source, target)
        if skipped:
            _log.warn(
                "volume {name}: cloning {source} left out {count} entries that are neither files nor directories",
                name=self.name,
                source=str(source),
                count=skipped,
            )

    def _clone(self, resolver: Resolver, source: VFolderId, target: VFolderId) -> int:
        """Make the copy in the trash, where a crash leaves it to be removed, and rename it out; what was skipped."""
        with faults(target):
            root = self._layout.make_root(target)  # takes the name, so that nobody else can
            trash = self._layout.trash(target.scope)
            draft = trash / f"{target.folder.hex}-{uuid4().hex}"
            try:
                ensure_trash(trash)
                draft.mkdir(PRIVATE)
                self._begin_root(draft, target)
                skipped = self._copy_tree(resolver, source, draft)
                draft.rename(root)
            except BaseException:
                root.rmdir()
                self._layout.drop_shards(target)
                empty_trash(trash, draft.name)
                raise
            self._layout.sync_root(target)
        return skipped

    def _copy_tree(self, resolver: Resolver, source: VFolderId, draft: Path) -> int:
        copy = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            hold(copy)
            with self._tree(self._started(), source, Actor()).root() as original:
                cloner = Cloner(resolver, original, copy, self.names)
                cloner.run()
            if self._settings.durable:
                syscalls.sync_file_system(copy)
            return len(cloner.skipped)
        finally:
            os.close(copy)


@implementer(IVolumeFactory)
class VfsVolumeFactory:
    """Makes volumes over mounted directories."""

    name = "vfs"
    summary = "any mounted directory: local disk, NFS, CephFS, Lustre and the like"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        return VfsVolume(name, VfsSettings.model_validate(settings), runtime)
