"""The volume on Btrfs.

Its snapshots lie beside the vfolders, in the place of their scope (``<scope>/.snapshots/<32 hex>/<label>``), so that a job that has a vfolder mounted
sees none of them. What lay there before as a plain directory stays a vfolder: it can do what any directory can.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
from zope.interface import implementer

from vfgateway.abilities import ISnapshots
from vfgateway.backends.btrfs import subvolumes
from vfgateway.backends.btrfs.settings import BtrfsSettings
from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.delete import empty_trash, ensure_trash, hold, set_aside
from vfgateway.backends.vfs.faults import faults, is_read_only, not_permitted
from vfgateway.backends.vfs.folder import VfsFolder
from vfgateway.backends.vfs.layout import make_plain_dir
from vfgateway.backends.vfs.ownership import PRIVATE
from vfgateway.backends.vfs.resolve import Resolver
from vfgateway.backends.vfs.staging import Staging
from vfgateway.backends.vfs.tree import STAGING
from vfgateway.backends.vfs.volume import Storage, VfsVolume
from vfgateway.errors import AlreadyExists, InvalidPath, NotFound, Unsupported, VFolderNotFound, VolumeUnavailable
from vfgateway.interfaces import IFolder
from vfgateway.model import Actor, Snapshot, VFolderId
from vfgateway.paths import checked_label
from vfgateway.privileged.client import Helper
from vfgateway.privileged.starting import IWantsHelper, Wanted
from vfgateway.readonly import ReadOnlyFolder

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime


@implementer(ISnapshots, IWantsHelper)
class BtrfsVolume(VfsVolume):
    """A directory of a Btrfs. Whoever is not root needs the helper, or the mount option ``user_subvol_rm_allowed``, for removing at once."""

    backend = "btrfs"

    def __init__(self, name: str, settings: BtrfsSettings, runtime: Runtime) -> None:
        super().__init__(name, settings, runtime)
        self._helper = Helper(settings.helper)

    def helper_wanted(self) -> Wanted:
        return Wanted(self._helper.place, Path(self.path))

    async def stop(self) -> None:
        await super().stop()
        self._helper.close()

    def _probe(self) -> Storage:
        storage = super()._probe()
        if storage.file_system != syscalls.BTRFS:
            raise VolumeUnavailable(self.name, f"{self.path} is not on Btrfs; mount one there, or correct `path`")
        return storage

    # --- vfolders

    def _begin_root(self, root: Path, vfid: VFolderId) -> None:
        """Made aside and renamed over the plain directory, which keeps the name ours all the time."""
        trash = self._layout.trash(vfid.scope)
        ensure_trash(trash)
        draft = trash / f"{vfid.folder.hex}-{uuid4().hex}"
        subvolumes.create(draft)
        try:
            draft.chmod(PRIVATE)
            draft.rename(root)
        except BaseException:
            draft.rmdir()
            raise

    def _copy_tree(self, resolver: Resolver, source: VFolderId, draft: Path) -> int:
        original = self._layout.root(source)
        if not subvolumes.is_subvolume(original):
            return super()._copy_tree(resolver, source, draft)
        draft.rmdir()
        subvolumes.snapshot(original, draft, read_only=False)
        copy = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            hold(copy)
            found = os.fstat(copy)
            with suppress(FileNotFoundError):
                shutil.rmtree(STAGING, dir_fd=copy)
            os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(copy)
        return 0

    def _delete(self, vfid: VFolderId) -> None:
        with faults(vfid):
            trash, root = self._layout.trash(vfid.scope), self._layout.root(vfid)
            if subvolumes.is_subvolume(root):
                aside = set_aside(root, trash, vfid.folder.hex)
                with suppress(OSError):  # then it is removed piece by piece
                    subvolumes.destroy(aside or root, self._helper)
            for place in self._taken(vfid):
                self._destroy(vfid, place)
            with suppress(FileNotFoundError):
                self._snapshots(vfid).rmdir()
        super()._delete(vfid)

    # --- snapshots

    def _snapshots(self, vfid: VFolderId) -> Path:
        return self._layout.snapshots(vfid)

    def _taken(self, vfid: VFolderId) -> list[Path]:
        try:
            return [place for place in self._snapshots(vfid).iterdir() if subvolumes.is_subvolume(place)]
        except FileNotFoundError:
            return []

    def _source(self, vfid: VFolderId) -> Path:
        """The subvolume of a vfolder. ``VFolderNotFound``; ``Unsupported`` for one that is none."""
        self._started()
        root = self._layout.root(vfid)
        if not os.path.lexists(root):
            raise VFolderNotFound(vfid)
        if not subvolumes.is_subvolume(root):
            raise Unsupported("this for a vfolder that is no subvolume: it was adopted, or made before it lay on Btrfs")
        return root

    async def snapshot(self, vfid: VFolderId, label: str) -> Snapshot:
        return await self._calls.run(self._take, vfid, checked_label(label))

    def _take(self, vfid: VFolderId, label: str) -> Snapshot:
        with faults(label):
            source, place = self._source(vfid), self._snapshots(vfid) / label
            for directory in (place.parent.parent, place.parent):
                with suppress(FileExistsError):
                    make_plain_dir(directory)
                    directory.chmod(PRIVATE)
            try:
                subvolumes.snapshot(source, place, read_only=True)
            except FileExistsError:
                raise AlreadyExists(label) from None
            return Snapshot(label, subvolumes.created(place))

    async def snapshots(self, vfid: VFolderId) -> Sequence[Snapshot]:
        return await self._calls.run(self._all, vfid)

    def _all(self, vfid: VFolderId) -> Sequence[Snapshot]:
        found = []
        with faults(vfid):
            self._source(vfid)
            for place in self._taken(vfid):
                with suppress(InvalidPath, FileNotFoundError):
                    found.append(Snapshot(checked_label(place.name), subvolumes.created(place)))
        return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.label))

    async def drop_snapshot(self, vfid: VFolderId, label: str) -> None:
        await self._calls.run(self._drop, vfid, checked_label(label))

    def _drop(self, vfid: VFolderId, label: str) -> None:
        with faults(label):
            self._destroy(vfid, self._found(vfid, label))

    def _destroy(self, vfid: VFolderId, place: Path) -> None:
        """At once where that is permitted; else it is made an ordinary directory first, and emptied as such."""
        if self._destroyed(place):
            return
        subvolumes.make_writable(place)
        if self._destroyed(place):
            return
        aside = set_aside(place, self._layout.trash(vfid.scope), vfid.folder.hex)
        left = None if aside is None else empty_trash(aside.parent, aside.name)
        if left is not None:
            raise left

    def _destroyed(self, place: Path) -> bool:
        """Whether it was permitted. Whoever is not root has to be able to write in what goes."""
        try:
            subvolumes.destroy(place, self._helper)
        except OSError as error:
            if not_permitted(error) or is_read_only(error):
                return False
            raise
        return True

    async def open_snapshot(self, vfid: VFolderId, label: str) -> IFolder:
        place = await self._calls.quick(self._found, vfid, checked_label(label))
        storage = self._started()
        tree = attrs.evolve(self._tree(storage, vfid, Actor()), path=place)
        return ReadOnlyFolder(VfsFolder(self._calls_of(tree), tree, Staging(tree, storage.file_system, False)))

    def _found(self, vfid: VFolderId, label: str) -> Path:
        with faults(label):
            self._source(vfid)
            place = self._snapshots(vfid) / label
            if not subvolumes.is_subvolume(place):
                raise NotFound(label, f"no such snapshot: {label}")
            return place
