"""One vfolder on a share: paths checked, and refusals told as what they mean to somebody who sees no more than the vfolder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from vfgateway.backends.smb.facts import Shown
from vfgateway.backends.smb.faults import ACCESS_DENIED, NOT_A_DIRECTORY, Lost, Refused, RefusedByStorage, translate
from vfgateway.backends.smb.gates import Gates
from vfgateway.backends.smb.names import Place
from vfgateway.backends.smb.share import Share
from vfgateway.backends.smb.wire import Entry
from vfgateway.errors import GatewayError, NotFound, PathError, VFolderNotFound, VolumeUnavailable
from vfgateway.model import VFolderId
from vfgateway.paths import FolderPath


@attrs.frozen
class Tree:
    """Everything that is needed to work in one vfolder.

    :ivar trash: a directory of the same scope in which removed files lie until nobody has them open any more
    :ivar durable: whether what is acknowledged has to be on the server's disk
    """

    volume: str
    vfid: VFolderId
    share: Share
    place: Place
    trash: str
    gates: Gates
    shown: Shown
    durable: bool

    async def check(self) -> None:
        """``VFolderNotFound`` if the vfolder is not there."""
        async with self.faults(FolderPath()):
            await self.share.stat(self.place.root)

    async def find(self, path: FolderPath) -> Entry | None:
        """Facts about what has a name; ``None`` if it is free, or cannot be taken."""
        return await self.share.find(self.place.to_write(path))

    @asynccontextmanager
    async def faults(self, path: FolderPath, through: type[PathError] = NotFound) -> AsyncIterator[None]:
        """Translate what comes out of the block.

        :param through: what a path through a file means to the operation
        """
        try:
            yield
        except Refused as error:
            raise await self._meaning(error, path, through) from error
        except Lost as error:
            raise VolumeUnavailable(self.volume, str(error)) from None

    async def _meaning(self, error: Refused, path: FolderPath, through: type[PathError]) -> GatewayError:
        if error.missing:
            return await self._missing(path, through)
        if error.status == ACCESS_DENIED and self.share.personal:
            return RefusedByStorage(path, needed="a permission on the storage")
        if error.status == NOT_A_DIRECTORY and through is NotFound and path.parts:
            parent = await self._find_quietly(path.parent)
            return NotFound(path) if parent is None or not parent.is_dir else translate(error, path)
        return translate(error, path)

    async def _missing(self, path: FolderPath, through: type[PathError]) -> GatewayError:
        """What it is that is not there. Servers do not say."""
        if await self._find_quietly(FolderPath()) is None:
            return VFolderNotFound(self.vfid)
        if through is not NotFound:
            for depth in range(1, len(path.parts)):
                there = await self._find_quietly(FolderPath(path.parts[:depth]))
                if there is None:
                    break
                if not there.is_dir:
                    return through(path)
        return NotFound(path)

    async def _find_quietly(self, path: FolderPath) -> Entry | None:
        try:
            return await self.share.find("\\".join((self.place.root, *path.parts)))
        except Refused:
            return None
        except Lost as error:
            raise VolumeUnavailable(self.volume, str(error)) from None
