"""``.snapshots/LABEL/…``: the snapshots of a vfolder, as every protocol shows them: reached by name, in no listing of the vfolder, never written.

This is the one place that knows of it. What reads in a vfolder asks :meth:`vfgateway.services.context.FolderContext.at` where a path is read; what
writes is refused before. Within a snapshot the names that belong to the gateway are as hidden as they are in the vfolder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from zope.interface import implementer

from vfgateway.abilities import IServerSideCopy
from vfgateway.errors import IsADirectory, NotFound, Unsupported
from vfgateway.interfaces import IDirectory, IFile, IFolder, IVolume
from vfgateway.model import Actor, DirEntry, Expect, FileStat, FileType, OpenMode, Published, Snapshot, VFolderId
from vfgateway.paths import ROOT, SNAPSHOTS_NAME, FolderPath
from vfgateway.readonly import RefusesChanges, refuse_to_write
from vfgateway.services import trees

#: The directory itself.
HERE: Final = FolderPath((SNAPSHOTS_NAME,))
#: Mode of that directory: nobody writes there.
_MODE: Final = 0o555


def is_here(path: FolderPath) -> bool:
    """Whether ``path`` is the directory or lies in it."""
    return bool(path.parts) and path.parts[0] == SNAPSHOTS_NAME


def place_in(label: str, path: FolderPath = ROOT) -> FolderPath:
    """Where ``path`` of a snapshot is shown."""
    return HERE.child(label).join(path)


def tree_path(path: FolderPath) -> FolderPath:
    """``path``, counted from the top of the tree that it lies in: the vfolder, or a snapshot."""
    return FolderPath(path.parts[2:]) if is_here(path) else path


def is_hidden(path: FolderPath) -> bool:
    """Whether what lies at ``path`` is the gateway's own, and nothing that a walk may show."""
    return tree_path(path).reserved


def is_top(path: FolderPath) -> bool:
    """Whether ``path`` is a directory in which names may be hidden."""
    return path.is_root or (is_here(path) and len(path.parts) == 2)


@implementer(IFolder, IServerSideCopy)
class SnapshotsView(RefusesChanges):
    """The directory and all in it, by paths that count from the top of the vfolder.

    :param volume: has ``ISnapshots``
    """

    def __init__(self, volume: IVolume, vfid: VFolderId) -> None:
        self._volume: Any = volume
        self._vfid = vfid

    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        if path == HERE:
            return await self._itself(await self._all())
        if len(path.parts) == 2:
            return await self._top(await self._named(path))
        folder, inside = await self._find(path)
        return await folder.stat(inside, follow)

    async def open_dir(self, path: FolderPath) -> IDirectory:
        if path == HERE:
            return _Tops(self, await self._all())
        folder, inside = await self._find(path)
        return await folder.open_dir(inside)

    async def open(self, path: FolderPath, mode: OpenMode) -> IFile:
        refuse_to_write(mode)
        if path == HERE:
            raise IsADirectory(path)
        folder, inside = await self._find(path)
        return await folder.open(inside, mode)

    async def copy_file(self, source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        """Through us where the storage cannot."""
        snapshot, inside = await self._find(source)
        return await trees.copy_file(snapshot, inside, folder, target, expect)

    async def top(self, snapshot: Snapshot) -> DirEntry:
        """A snapshot as an entry of the directory."""
        return DirEntry(snapshot.label, await self._top(snapshot))

    async def _find(self, path: FolderPath) -> tuple[IFolder, FolderPath]:
        inside = tree_path(path)
        if inside.reserved:
            raise NotFound(path)
        try:
            folder: IFolder = await self._volume.open_snapshot(self._vfid, path.parts[1])
        except Unsupported:  # this vfolder can have none
            raise NotFound(path) from None
        return folder, inside

    async def _all(self) -> Sequence[Snapshot]:
        try:
            found: Sequence[Snapshot] = await self._volume.snapshots(self._vfid)
        except Unsupported:
            raise NotFound(HERE) from None
        return found

    async def _named(self, path: FolderPath) -> Snapshot:
        for snapshot in await self._all():
            if snapshot.label == path.parts[1]:
                return snapshot
        raise NotFound(path)

    async def _top(self, snapshot: Snapshot) -> FileStat:
        """Dated by when it was taken, since that is what one looks for."""
        folder: IFolder = await self._volume.open_snapshot(self._vfid, snapshot.label)
        return (await folder.stat(ROOT))._replace(mtime_ns=_nanoseconds(snapshot))

    async def _itself(self, snapshots: Sequence[Snapshot]) -> FileStat:
        vfolder = await (await self._volume.folder(self._vfid, Actor())).stat(ROOT)
        changed = max(map(_nanoseconds, snapshots), default=vfolder.mtime_ns)
        identity = f"snapshots-{len(snapshots)}-{changed:x}"
        return FileStat(FileType.DIRECTORY, 0, _MODE, vfolder.uid, vfolder.gid, changed, changed, identity)


@implementer(IDirectory)
class _Tops:
    """The listing of the directory; a snapshot that is dropped meanwhile is left out."""

    def __init__(self, view: SnapshotsView, snapshots: Sequence[Snapshot]) -> None:
        self._view = view
        self._left = list(snapshots)

    async def read(self, limit: int) -> Sequence[DirEntry]:
        while self._left:
            batch, self._left = self._left[:limit], self._left[limit:]
            entries = []
            for snapshot in batch:
                try:
                    entries.append(await self._view.top(snapshot))
                except NotFound:
                    continue
            if entries:
                return entries
        return ()

    async def close(self) -> None:
        self._left = []


def _nanoseconds(snapshot: Snapshot) -> int:
    return round(snapshot.created * 1e9)
