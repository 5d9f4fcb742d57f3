"""Folders in which nothing can be changed: snapshots, and the directory that shows them. Whatever shows one fills in how it is read."""

from __future__ import annotations

from typing import Any

from zope.interface import alsoProvides, implementer

from vfgateway.abilities import IServerSideCopy
from vfgateway.errors import Unsupported
from vfgateway.interfaces import IDirectory, IFile, IFolder, IStagedFile
from vfgateway.model import Attrs, Expect, FileStat, OpenMode, Published
from vfgateway.paths import FolderPath


class RefusesChanges:
    """Whatever writes raises ``Unsupported``."""

    async def stage(self, target: FolderPath, expected_size: int | None) -> IStagedFile:
        raise _read_only()

    async def make_dir(self, path: FolderPath) -> None:
        raise _read_only()

    async def remove(self, path: FolderPath, expect: Expect) -> Published:
        raise _read_only()

    async def remove_dir(self, path: FolderPath) -> None:
        raise _read_only()

    async def rename(self, source: FolderPath, target: FolderPath, expect: Expect) -> Published:
        raise _read_only()

    async def set_attrs(self, path: FolderPath, attrs: Attrs) -> FileStat:
        raise _read_only()


@implementer(IFolder)
class ReadOnlyFolder(RefusesChanges):
    """A folder of which only reading is left. Provides ``IServerSideCopy`` if ``folder`` does.

    :param folder: how the storage reads it; nobody else may have it
    """

    def __init__(self, folder: IFolder) -> None:
        self._folder: Any = folder
        if IServerSideCopy.providedBy(folder):
            alsoProvides(self, IServerSideCopy)

    async def stat(self, path: FolderPath, follow: bool = False) -> FileStat:
        found: FileStat = await self._folder.stat(path, follow)
        return found

    async def open_dir(self, path: FolderPath) -> IDirectory:
        directory: IDirectory = await self._folder.open_dir(path)
        return directory

    async def open(self, path: FolderPath, mode: OpenMode) -> IFile:
        refuse_to_write(mode)
        file: IFile = await self._folder.open(path, mode)
        return file

    async def copy_file(self, source: FolderPath, folder: IFolder, target: FolderPath, expect: Expect) -> Published:
        """See ``IServerSideCopy``."""
        if isinstance(folder, ReadOnlyFolder):
            raise _read_only()
        copied: Published = await self._folder.copy_file(source, folder, target, expect)
        return copied


def refuse_to_write(mode: OpenMode) -> None:
    """``Unsupported`` unless ``mode`` is for reading alone."""
    if mode & ~OpenMode.READ:
        raise _read_only()


def _read_only() -> Unsupported:
    return Unsupported("changing what is read-only")
