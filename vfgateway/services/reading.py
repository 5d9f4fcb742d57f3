"""What is being read: listings, walks and downloads, for as long as the right to read lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast

import attrs

from vfgateway.abilities import IMappedListing
from vfgateway.interfaces import IDirectory, IFile
from vfgateway.model import DirEntry, FileStat, Permission
from vfgateway.paths import RESERVED_NAMES, FolderPath
from vfgateway.posix import IPosixListing, type_file
from vfgateway.services import trees
from vfgateway.services.context import FolderContext
from vfgateway.services.snapshotview import is_hidden
from vfgateway.services.standing import Standing
from vfgateway.services.trees import Walk, Walked

T = TypeVar("T")


class Listing:
    """A directory being listed, without the names that belong to the gateway. ``PermissionDenied`` once it may not be listed any more."""

    def __init__(self, directory: IDirectory, at_root: bool, context: FolderContext, path: FolderPath) -> None:
        self._directory = directory
        self._at_root = at_root
        self._allow = partial(context.allow, Permission.RO, path, "list this")
        self._unguard = context.standing.watch()

    async def read(self, limit: int) -> Sequence[DirEntry]:
        """Up to ``limit`` further entries; empty at the end."""
        self._allow()
        while entries := await self._directory.read(limit):
            shown = [e for e in entries if e.name not in RESERVED_NAMES] if self._at_root else entries
            if shown:
                return shown
        return ()

    async def read_mapped(self, limit: int, function: Callable[[Sequence[DirEntry]], T]) -> T | None:
        """What ``function`` makes of up to ``limit`` further entries, perhaps of none; ``None`` at the end. Where the volume can, it is
        called in the thread that read them, so that a long listing costs the reactor little: it must touch nothing that changes."""
        if not IMappedListing.providedBy(self._directory):
            entries = await self.read(limit)
            return function(entries) if entries else None
        self._allow()
        mapped = cast(IMappedListing, self._directory)
        if not self._at_root:
            return cast("T | None", await mapped.read_mapped(limit, function))

        def shown(entries: Sequence[DirEntry]) -> T:
            return function([entry for entry in entries if entry.name not in RESERVED_NAMES])

        return cast("T | None", await mapped.read_mapped(limit, shown))

    async def read_posix(
        self, limit: int, function: Callable[[Sequence[type_file], Sequence[DirEntry]], T]
    ) -> T | None:
        """As :meth:`read_mapped`, with regular files as the kernel tells of them apart from all else, where the volume can
        (:class:`vfgateway.posix.IPosixListing`)."""
        if not IPosixListing.providedBy(self._directory):
            return await self.read_mapped(limit, partial(function, ()))
        self._allow()
        posix = cast(IPosixListing, self._directory)
        if not self._at_root:
            return cast("T | None", await posix.read_posix(limit, function))

        def shown(files: Sequence[type_file], others: Sequence[DirEntry]) -> T:
            return function(
                [file for file in files if file[0] not in RESERVED_NAMES],
                [entry for entry in others if entry.name not in RESERVED_NAMES],
            )

        return cast("T | None", await posix.read_posix(limit, shown))

    async def close(self) -> None:
        """Let go. Idempotent."""
        self._unguard()
        await self._directory.close()


class FilteredWalk:
    """A walk without the names that belong to the gateway. ``PermissionDenied`` once the principal may not read any more."""

    def __init__(self, walk: Walk, context: FolderContext, top: FolderPath) -> None:
        self._walk = walk
        self._allow = partial(context.allow, Permission.RO, top, "read this")
        self._unguard = context.standing.watch()

    async def read(self, limit: int = trees.BATCH) -> Sequence[Walked]:
        """Up to ``limit`` further entries; empty at the end."""
        self._allow()
        while entries := await self._walk.read(limit):
            shown = [entry for entry in entries if not is_hidden(entry.path)]
            if shown:
                return shown
        return ()

    async def close(self) -> None:
        """Let go. Idempotent."""
        self._unguard()
        await self._walk.close()


def _nothing() -> None:
    """Nobody guards."""


@attrs.frozen
class Download:
    """A file opened for reading.

    :ivar standing: the rights that it rests on
    """

    path: FolderPath
    file: IFile
    stat: FileStat
    standing: Standing | None = None

    def guard(self, lost: Callable[[], object]) -> Callable[[], None]:
        """Have ``lost()`` called when the principal may not read any more; what is returned ends that."""
        return _nothing if self.standing is None else self.standing.guard(Permission.RO, lost)

    async def close(self) -> None:
        """Let go. Idempotent."""
        await self.file.close()
