"""The volume on an NFS mount, and the plugin that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from vfgateway.backends.nfs.calls import NfsCalls
from vfgateway.backends.vfs import VfsSettings, syscalls
from vfgateway.backends.vfs.descriptors import Calls
from vfgateway.backends.vfs.faults import faults, is_in_use
from vfgateway.backends.vfs.folder import VfsFolder
from vfgateway.backends.vfs.staging import Staging
from vfgateway.backends.vfs.tree import Tree
from vfgateway.backends.vfs.volume import Storage, VfsVolume
from vfgateway.errors import DirectoryNotEmpty, StorageFailure, VolumeUnavailable
from vfgateway.interfaces import IFolder, IVolume, IVolumeFactory
from vfgateway.model import Expect, Published, VFolderId
from vfgateway.paths import FolderPath

if TYPE_CHECKING:
    from vfgateway.runtime import Runtime

#: What the kernel's client calls a file that was removed while somebody had it open, until nobody has (fs/nfs/unlink.c).
SILLY: Final = ".nfs" + 24 * "[0-9a-f]"

_log = Logger()


class NfsFolder(VfsFolder):
    """One vfolder on behalf of one actor."""

    async def copy_file(self, source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        published = await super().copy_file(source, folder, target, expect)
        # What the kernel's client knew of the copy while it was open may lack that it lost its first name.
        now, before = await folder.stat(target), published.stat
        same = before is not None and (now.size, now.mtime_ns) == (before.size, before.mtime_ns)
        return attrs.evolve(published, stat=now) if same else published


class NfsVolume(VfsVolume):
    """A directory below an NFS mount."""

    backend = "nfs"
    hidden = SILLY

    def _make_calls(self, runtime: Runtime) -> Calls:
        return NfsCalls(self.name, lambda: runtime.pool(self._settings.threads))

    def _probe(self) -> Storage:
        here = Path(self.path)
        with faults(self.name):
            if syscalls.file_system_type(str(here if here.is_dir() else here.parent)) != syscalls.NFS:
                raise VolumeUnavailable(self.name, f"{self.path} is not mounted by NFS; mount it, or correct `path`")
        return super()._probe()

    def _folder_of(self, tree: Tree) -> VfsFolder:
        return NfsFolder(self._calls_of(tree), tree, Staging(tree, self._started().file_system, flushes_late=True))

    def _delete(self, vfid: VFolderId) -> None:
        try:
            super()._delete(vfid)
        except (DirectoryNotEmpty, StorageFailure) as error:
            if not isinstance(error.__cause__, OSError) or not is_in_use(error.__cause__):
                raise
            # It is no vfolder any more, and all that can be removed is: the rest goes when the volume starts again.
            _log.info("volume {name}: files of {vfid} are still open; they go later", name=self.name, vfid=str(vfid))


@implementer(IVolumeFactory)
class NfsVolumeFactory:
    """Makes volumes on NFS mounts."""

    name = "nfs"
    summary = "a directory mounted by NFS: survives stale handles and servers that are away"

    def configure(self, name: str, settings: Mapping[str, Any], runtime: Runtime) -> IVolume:
        return NfsVolume(name, VfsSettings.model_validate(settings), runtime)
