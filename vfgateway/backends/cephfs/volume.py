"""The volume on a mounted CephFS, and the plugin that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from zope.interface import implementer

from vfgateway.abilities import INativeFolderQuota, ISnapshots
from vfgateway.backends.cephfs import attributes
from vfgateway.backends.cephfs.settings import CephFsSettings
from vfgateway.backends.vfs.descriptors import Calls
from vfgateway.backends.vfs.faults import faults, is_limit, too_many
from vfgateway.backends.vfs.limited import LimitedCalls
from vfgateway.backends.vfs.tree import STAGING, Tree
from vfgateway.backends.vfs.volume import Storage, VfsVolume
from vfgateway.errors import (
    InvalidPath,
    NoSpace,
    NotFound,
    QuotaExceeded,
    Unsupported,
    VFolderNotFound,
    VolumeUnavailable,
)
from vfgateway.interfaces import IFolder, IVolume, IVolumeFactory
from vfgateway.model import Actor, Limits, Snapshot, Space, Usage, VFolderId
from vfgateway.paths import checked_label
from vfgateway.readonly import ReadOnlyFolder

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime


@implementer(INativeFolderQuota, ISnapshots)
class CephFsVolume(VfsVolume):
    """A directory of a CephFS. Its clients count towards a limit together only now and then, so Ceph stops a writer some time after the
    limit: the ledger is exact, Ceph's limits are for jobs."""

    backend = "cephfs"
    limit_step = 1
    limits_files = True

    def __init__(self, name: str, settings: CephFsSettings, runtime: Runtime) -> None:
        super().__init__(name, settings, runtime)
        self.hidden = settings.snapshot_dir

    def _probe(self) -> Storage:
        here = Path(self.path)
        with faults(self.name):
            if not attributes.is_ceph(here if here.is_dir() else here.parent):
                raise VolumeUnavailable(self.name, f"{self.path} is not on a CephFS; mount it there, or correct `path`")
        return super()._probe()

    def _space(self) -> Space:
        space = super()._space()
        return space if space.capacity else Space(-1, -1, -1)  # a cluster without a manager daemon does not tell

    # --- limits

    def _calls_of(self, tree: Tree) -> Calls:
        return LimitedCalls(self.name, self._calls, partial(_judged, tree.path))

    async def set_folder_limits(self, vfid: VFolderId, limits: Limits) -> None:
        await self._calls.run(self._set_limits, vfid, limits)

    def _set_limits(self, vfid: VFolderId, limits: Limits) -> None:
        with faults(vfid):
            attributes.set_limits(self._own(vfid), limits)

    async def native_folder_usage(self, vfid: VFolderId) -> tuple[Usage, Limits]:
        return await self._calls.run(self._native_usage, vfid)

    def _native_usage(self, vfid: VFolderId) -> tuple[Usage, Limits]:
        with faults(vfid):
            root = self._own(vfid)
            return attributes.usage(root, root / STAGING), attributes.limits(root)

    def _own(self, vfid: VFolderId) -> Path:
        """The directory of a vfolder. ``VFolderNotFound``; ``Unsupported`` for one that lies elsewhere."""
        self._started()
        root = self._layout.root(vfid)
        if root.is_symlink():
            raise Unsupported("limits and snapshots of a vfolder that was adopted")
        if not root.is_dir():
            raise VFolderNotFound(vfid)
        return root

    # --- snapshots

    def _snapshot(self, vfid: VFolderId, label: str) -> Path:
        return self._own(vfid) / self.hidden / checked_label(label)

    async def snapshot(self, vfid: VFolderId, label: str) -> Snapshot:
        return await self._calls.run(self._take, vfid, label)

    def _take(self, vfid: VFolderId, label: str) -> Snapshot:
        with faults(label):
            place = self._snapshot(vfid, label)
            try:
                place.mkdir()
            except OSError as error:
                if too_many(error):
                    raise NoSpace("Ceph keeps no more snapshots of this vfolder") from error
                raise
            return Snapshot(label, attributes.taken(place))

    async def snapshots(self, vfid: VFolderId) -> Sequence[Snapshot]:
        return await self._calls.run(self._all, vfid)

    def _all(self, vfid: VFolderId) -> Sequence[Snapshot]:
        found = []
        with faults(vfid):
            for place in (self._own(vfid) / self.hidden).iterdir():
                # One of a directory above shows up here under a name that begins with "_", and cannot be dropped here.
                with suppress(InvalidPath, FileNotFoundError):
                    found.append(Snapshot(checked_label(place.name), attributes.taken(place)))
        return sorted(found, key=lambda snapshot: snapshot.created)

    async def drop_snapshot(self, vfid: VFolderId, label: str) -> None:
        await self._calls.run(self._drop, vfid, label)

    def _drop(self, vfid: VFolderId, label: str) -> None:
        with faults(label):
            self._snapshot(vfid, label).rmdir()

    async def open_snapshot(self, vfid: VFolderId, label: str) -> IFolder:
        place = await self._calls.run(self._found, vfid, label)
        tree = attrs.evolve(self._tree(self._started(), vfid, Actor()), path=place)
        return ReadOnlyFolder(self._folder_of(tree))

    def _found(self, vfid: VFolderId, label: str) -> Path:
        with faults(label):
            place = self._snapshot(vfid, label)
            if not place.is_dir():
                raise NotFound(label)
            return place

    def _delete(self, vfid: VFolderId) -> None:
        with suppress(VFolderNotFound, Unsupported):
            for snapshot in self._all(vfid):
                with suppress(NotFound):
                    self._drop(vfid, snapshot.label)
        super()._delete(vfid)


def _judged(root: Path, error: OSError) -> QuotaExceeded | None:
    """What it means that there is no room in a vfolder."""
    if not is_limit(error):
        return None
    try:
        used, limits = attributes.usage(root, root / STAGING), attributes.limits(root)
    except OSError:
        return None
    # What is used is told late: the one resource that is limited is the one that is used up, and of two the one that is nearer to it.
    if limits.bytes is None or (limits.files is not None and used.files >= limits.files):
        return QuotaExceeded("this vfolder on its storage", "files", limits.files or 0, used.files, 1)
    return QuotaExceeded("this vfolder on its storage", "bytes", limits.bytes, used.bytes, 1)


@implementer(IVolumeFactory)
class CephFsVolumeFactory:
    """Makes volumes on mounted CephFS."""

    name = "cephfs"
    summary = "a mounted CephFS, with Ceph's limits and snapshots of vfolders"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        return CephFsVolume(name, CephFsSettings.model_validate(settings), runtime)
