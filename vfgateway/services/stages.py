"""The stages of uploads in their volumes: opened to be continued, and removed with all that belongs to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from vfgateway.abilities import IResumableStaging
from vfgateway.errors import GatewayError, NotFound, UploadBusy, UploadNotFound
from vfgateway.interfaces import IFolder, IStagedFile
from vfgateway.model import VFolder
from vfgateway.paths import FolderPath
from vfgateway.services import holds
from vfgateway.services.context import FolderContext
from vfgateway.services.uploads import UploadRow, Uploads, UploadState, conclude

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway


class Stages:
    """Where a volume's stages do not outlive their process, they are kept open here."""

    def __init__(self, gateway: Gateway, uploads: Uploads) -> None:
        self._gateway = gateway
        self._uploads = uploads
        self._kept: dict[str, IStagedFile] = {}

    def keep(self, stage: IStagedFile) -> None:
        """This one cannot be opened again."""
        self._kept[stage.token] = stage

    async def open(self, context: FolderContext, row: UploadRow) -> IStagedFile | None:
        """The stage, cut back to what can be relied on; ``None`` if the file was published in the moment of a crash. ``UploadNotFound`` if
        it is gone, or shorter than the mark."""
        folder = context.folder
        if not IResumableStaging.providedBy(folder):
            return await self._kept_stage(row)
        reliable = row.boot_id == self._gateway.processes.boot_id and not row.unverified
        try:
            stage: IStagedFile = await folder.resume(row.id, None if reliable else row.mark)
        except UploadNotFound:
            if row.state is UploadState.PUBLISHING and await _stands(folder, row.target, row.size):
                return None
            raise
        if stage.size < row.mark:
            await stage.close()
            raise UploadNotFound(row.id)
        return stage

    async def _kept_stage(self, row: UploadRow) -> IStagedFile:
        stage = self._kept.get(row.id)
        if stage is not None:
            return stage
        if row.process not in (None, self._gateway.processes.id) and await self._uploads.is_alive(row.process):
            raise UploadBusy(row.id)  # the process that has it is another one: try again, and come to it
        raise UploadNotFound(row.id)

    async def close(self, stage: IStagedFile) -> None:
        """Let go of a stage that can be opened again."""
        if stage.token not in self._kept:
            await stage.close()

    def published(self, upload_id: str) -> None:
        """The stage has become a file."""
        self._kept.pop(upload_id, None)

    async def discard(
        self, vfolder: VFolder, folder: IFolder, row: UploadRow, stage: IStagedFile | None = None
    ) -> None:
        """Remove stage, room and row; in this order, so that a crash in between leaves a row to find the rest by."""
        kept = self._kept.pop(row.id, None)
        stage = stage or kept
        if stage is None and row.state is not UploadState.PUBLISHED and IResumableStaging.providedBy(folder):
            with contextlib.suppress(UploadNotFound, NotFound):
                stage = await folder.resume(row.id)
        if stage is not None:
            with contextlib.suppress(NotFound):
                await stage.discard()
        await self.forget(vfolder, row.id)

    async def forget(self, vfolder: VFolder, upload_id: str) -> None:
        """Remove room and row."""
        with contextlib.suppress(GatewayError):  # the vfolder's row may be gone, and its holds with it
            await (await self._gateway.quota.resume(vfolder, upload_id)).release()
        await self._uploads.remove(upload_id)

    async def cut_off(self, vfolder: VFolder, folder: IFolder) -> Sequence[Callable[[Connection], None]]:
        """What to write of uploads whose stage is gone though they say otherwise: they ended in the moment of a crash, as a file or with
        nothing. To be asked while nobody else changes the vfolder, and written together with its figures: until then the room that
        they hold stands for what they became."""
        gone = []
        rows = [row for row in await self._uploads.list(vfolder.key) if row.state is not UploadState.PUBLISHED]
        present: frozenset[str] = frozenset()
        if rows and IResumableStaging.providedBy(folder):
            present = frozenset(token for token, _ in await folder.stages())
        for row in rows:
            if row.id not in present and not await self._is_watched(row, folder):
                size = row.size if row.state is UploadState.PUBLISHING else None
                published = size if await _stands(folder, row.target, size) else None
                gone.append(_conclusion(row, published, self._gateway.reactor.seconds()))
        return gone

    async def _is_watched(self, row: UploadRow, folder: IFolder) -> bool:
        """Whether a living process knows better than the row what becomes of an upload."""
        if not IResumableStaging.providedBy(folder):
            return row.process is None or await self._uploads.is_alive(row.process)
        return row.state is not UploadState.PUBLISHING and await self._uploads.is_alive(row.holder)


def _conclusion(row: UploadRow, published: int | None, now: float) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        if conclude(connection, row, published, now):
            holds.drop_holds(connection, row.id)

    return write


async def _stands(folder: IFolder, target: FolderPath, size: int | None) -> bool:
    """Whether a file of that size is where it was to be published."""
    with contextlib.suppress(NotFound):
        found = await folder.stat(target)
        return found.is_file and found.size == size
    return False
