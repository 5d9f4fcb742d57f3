"""The one staging of all protocols: uploads that belong to an owner and a target, not to a connection.

Bytes lie in the volume (``IResumableStaging``), what is known of them in the table of uploads, and the room they take is held
under the upload's identifier. Where a volume's stages do not outlive their process, an upload lives as long as the
process that began it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from vfgateway.abilities import IResumableStaging
from vfgateway.errors import (
    ChecksumMismatch,
    InvalidArgument,
    IsADirectory,
    NotFound,
    PathError,
    QuotaExceeded,
    TooLarge,
    Unsupported,
    UploadNotFound,
    VFolderNotFound,
)
from vfgateway.interfaces import IStagedFile
from vfgateway.model import ANY, Actor, Expect, Permission, Usage, VFolder
from vfgateway.paths import FolderPath
from vfgateway.services import transfer
from vfgateway.services.arrivals import Arrivals
from vfgateway.services.concatenation import concatenate
from vfgateway.services.context import FolderContext
from vfgateway.services.leases import Leases, Patience
from vfgateway.services.quota import Reservation
from vfgateway.services.receiving import Body, Receiving, Terms
from vfgateway.services.resumable import ResumableUpload
from vfgateway.services.session import FolderSession, Session
from vfgateway.services.stages import Stages
from vfgateway.services.sweeping import LEFTOVER_AGE, Sweeper
from vfgateway.services.uploadfacts import UploadInfo, info_of, may_continue
from vfgateway.services.uploads import UploadRow, Uploads, UploadState
from vfgateway.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from vfgateway.services.gateway import Gateway

#: Seconds without progress after which an upload is removed, unless configured.
LIFETIME = 7 * 24 * 3600.0
#: Bytes of the largest resumable upload, unless configured.
LARGEST = 1 << 40


#: Errors after which a client that began an upload with its first bytes has nothing to come back to.
_REFUSALS = (ChecksumMismatch, InvalidArgument, PathError, QuotaExceeded, TooLarge, Unsupported)

__all__ = ["Staging", "UploadInfo"]


class Staging:
    """All uploads of the gateway, as one process sees them.

    :ivar max_size: the largest upload in bytes
    :ivar lifetime: seconds without progress after which an upload is removed, unless its maker says otherwise
    """

    def __init__(self, gateway: Gateway, patience: Patience | None = None) -> None:
        self._gateway = gateway
        self.max_size = LARGEST
        self.lifetime = LIFETIME
        self.uploads = Uploads(gateway.database, gateway.reactor)
        self.stages = Stages(gateway, self.uploads)
        self.arrivals = Arrivals(gateway.reactor, self._is_alone)
        self.leases = Leases(self.uploads, gateway.processes, gateway.reactor, patience or Patience())
        self._sweeper = Sweeper(gateway, self)

    async def start(self) -> None:
        """Begin to look after leases and to remove what has expired."""
        self.leases.start()
        self._sweeper.start()

    async def stop(self) -> None:
        """Let those who write end with what they have. Idempotent."""
        await self.leases.stop()

    async def expire(self) -> int:
        """Remove what has expired, now; how many there were."""
        return await self._sweeper.expire()

    async def collect_leftovers(self, age: float = LEFTOVER_AGE) -> int:
        """Remove stages that belong to nothing and were not written to for ``age`` seconds, now; how many there were."""
        return await self._sweeper.collect_leftovers(age)

    async def remove_abandoned(self, vfolder: VFolder) -> int:
        """Remove the stages of a vfolder that were no upload's and whose process has died; how many there were, as far as the storage knows."""
        return await self._sweeper.abandoned(vfolder)

    async def leftovers(self, vfolder: VFolder, remove: bool = False) -> int:
        """How many stages of a vfolder belong to nothing; with ``remove`` they are gone. As :meth:`collect_leftovers`."""
        return await self._sweeper.leftovers(vfolder, remove=remove)

    # --- uploads ---

    async def begin(
        self,
        folder: FolderSession,
        target: FolderPath,
        *,
        size: int | None,
        info: Mapping[str, str] = {},
        partial: bool = False,
        lifetime: float | None = None,
        owned_by_vfolder: bool = False,
        expect: Expect = ANY,
    ) -> ResumableUpload:
        """Begin an upload; an empty one is published at once. Permission, lock, condition, size and quota are settled when this returns.

        :param size: bytes to come, ``None`` if that is told later
        :param info: what the protocol wants to keep with it
        :param partial: it will only be joined with others (:meth:`join`); ``target`` does not matter
        :param lifetime: seconds without progress after which it is removed
        :param owned_by_vfolder: every writer of the vfolder may continue it
        """
        context = folder.context
        context.allow(Permission.RW, target, "write this")
        if size is not None and size < 0:
            raise InvalidArgument("size", "cannot be negative")
        if target.is_root and not partial:
            raise IsADirectory(target)
        self.check_size(size or 0)
        wanted = Usage(size or 0, 0) if partial else await transfer.growth(context, target, size or 0, expect)
        fence = 0 if partial else await context.fence(target, target if wanted.files else None)
        # By the mark the stage is found if this process dies before anything else tells of it.
        await self._gateway.processes.dirty.mark(context.vfolder.key)
        stage = await context.folder.stage(target, size)
        row = self._new_row(context, stage.token, target, size, info, expect, fence, lifetime or self.lifetime)
        if owned_by_vfolder:
            row = attrs.evolve(row, principal=None)
        if partial:
            row = attrs.evolve(row, state=UploadState.PARTIAL)
        return await uninterrupted(self._enter(context, stage, row, wanted), wait=True)

    def _new_row(
        self,
        context: FolderContext,
        token: str,
        target: FolderPath,
        size: int | None,
        info: Mapping[str, str],
        expect: Expect,
        fence: int,
        lifetime: float,
    ) -> UploadRow:
        now = self.now()
        return UploadRow(
            id=token,
            vfolder=context.vfolder.key,
            principal=context.principal_id,
            target=target,
            size=size,
            mark=0,
            boot_id=self.boot_id,
            unverified=False,
            state=UploadState.OPEN,
            info=dict(info),
            expect=expect,
            fence=fence,
            lifetime=lifetime,
            created=now,
            expires=now + lifetime,
            process=None if IResumableStaging.providedBy(context.folder) else self._gateway.processes.id,
        )

    async def _enter(
        self, context: FolderContext, stage: IStagedFile, row: UploadRow, wanted: Usage
    ) -> ResumableUpload:
        """Reserve, record, and publish what is whole already. On failure nothing is left."""
        try:
            reservation = await self._gateway.quota.reserve(context.vfolder, wanted, holder=row.id)
            try:
                await stage.sync()  # so that the upload is still there after a power loss, empty as it is
                await self.uploads.add(row, context.vfolder.volume)
            except BaseException:
                await reservation.release()
                raise
            reservation.detach()
        except BaseException:
            await stage.discard()
            raise
        if row.process is not None:
            self.stages.keep(stage)
        await self.stages.close(stage)
        upload = ResumableUpload(self, context, row)
        if row.size == 0 and row.state is UploadState.OPEN:
            try:
                await upload.finish()
            except BaseException:
                await upload.cancel()
                raise
        return upload

    async def resume(self, folder: FolderSession, upload_id: str) -> ResumableUpload:
        """Continue an upload: one's own, or one of the vfolder. ``UploadNotFound``, also for somebody else's."""
        context = folder.context
        row = await self.uploads.get(upload_id)
        if row.vfolder != context.vfolder.key or not may_continue(context, row):
            raise UploadNotFound(upload_id)
        context.allow(Permission.RW, row.target, "write this")
        return ResumableUpload(self, context, row)

    async def find(self, session: Session, upload_id: str) -> ResumableUpload:
        """As :meth:`resume`, in whichever vfolder it is."""
        row = await self.uploads.get(upload_id)
        try:
            vfolder = await self._gateway.vfolders.by_key(row.vfolder)
            folder = await session.folder(vfolder.id, vfolder.volume)
        except VFolderNotFound:
            raise UploadNotFound(upload_id) from None
        return await self.resume(folder, upload_id)

    async def receive(
        self,
        upload: ResumableUpload,
        body: Body,
        terms: Terms,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Take a request's body in and publish when all is there; the durable offset after it.

        :param progress: told each offset that became durable on the way
        :raises OffsetMismatch: the upload has reached another offset
        :raises UploadBusy: another client is sending now
        :raises UploadLost: a newer request took over while this one's client was silent
        :raises TooLarge: longer than declared; nothing of this body is kept
        :raises ChecksumMismatch: nothing of this body is kept
        :raises IncompleteBody: the client left; what arrived is kept, unless a checksum sealed it
        """
        with upload.standing.watched():
            return await Receiving(upload, body, terms, progress).run()

    async def receive_first(
        self,
        upload: ResumableUpload,
        body: Body,
        terms: Terms,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """As :meth:`receive`, for the body of the very request that began the upload: if that is refused, so is the upload, and nothing is
        left of it."""
        try:
            return await self.receive(upload, body, terms, progress)
        except _REFUSALS:
            with contextlib.suppress(UploadNotFound):
                await upload.cancel()
            raise

    async def join(
        self,
        folder: FolderSession,
        target: FolderPath,
        upload_ids: Sequence[str],
        *,
        info: Mapping[str, str] = {},
        expect: Expect = ANY,
    ) -> ResumableUpload:
        """Publish partial uploads, one after the other, as one file. They are gone afterwards; asking again with the same ones finds
        the same upload. ``InvalidArgument`` for one that is not partial or not whole, ``UploadNotFound``, ``Unsupported``."""
        context = folder.context
        context.allow(Permission.RW, target, "write this")
        if target.is_root:
            raise IsADirectory(target)
        parts = [await self.resume(folder, upload_id) for upload_id in upload_ids]
        fence = await context.fence(target)
        row = self._new_row(context, "", target, None, info, expect, fence, self.lifetime)
        return await uninterrupted(concatenate(self._gateway, self, context, row, parts))

    # --- for lists ---

    async def list(self, folder: FolderSession | VFolder | None = None) -> Sequence[UploadInfo]:
        """The uploads that are not published: of a vfolder, or all. In a person's hands only those that it may continue."""
        if isinstance(folder, FolderSession):
            rows = await self.uploads.list(folder.vfolder.key)
            rows = [row for row in rows if may_continue(folder.context, row)]
        else:
            rows = await self.uploads.list(None if folder is None else folder.key)
        return [self._info(row) for row in rows if row.state is not UploadState.PUBLISHED]

    async def list_of(self, principal_id: str) -> Sequence[UploadInfo]:
        """The uploads of one principal in all vfolders, published ones too."""
        return [self._info(row) for row in await self.uploads.list(principal=principal_id)]

    def describe(self, upload: ResumableUpload) -> UploadInfo:
        """One upload as lists show it."""
        return self._info(upload.row)

    def _info(self, row: UploadRow) -> UploadInfo:
        return info_of(row, self.leases.held(row.id) is not None or self.leases.is_held_elsewhere(row))

    async def cancel(self, upload_id: str) -> None:
        """Remove an upload, for an administrator. ``UploadNotFound``."""
        row = await self.uploads.get(upload_id)
        await self.remove(await self._gateway.vfolders.by_key(row.vfolder), row)

    async def cancel_all(self, vfolder: VFolder) -> None:
        """Remove all uploads of a vfolder that is being deleted; those who write to them are cut off."""
        for row in await self.uploads.list(vfolder.key):
            with contextlib.suppress(UploadNotFound):
                await self.remove(vfolder, row)

    async def remove(self, vfolder: VFolder, row: UploadRow) -> None:
        """Cut off whoever writes, and leave nothing."""
        lease, row = await self.leases.take(row.id, force=True)
        try:
            try:
                folder = await self._gateway.volumes.of(vfolder).folder(vfolder.id, Actor())
            except NotFound:
                await self.stages.forget(vfolder, row.id)
            else:
                await self.stages.discard(vfolder, folder, row)
        finally:
            self.leases.release(lease)

    # --- for uploads ---

    def _is_alone(self) -> bool:
        return self._gateway.settings.gateway.workers == 1 and self._gateway.processes.alone

    @property
    def boot_id(self) -> str:
        """This boot of the machine."""
        return self._gateway.processes.boot_id

    def now(self) -> float:
        """Epoch seconds."""
        seconds: float = self._gateway.reactor.seconds()
        return seconds

    def check_size(self, size: int) -> None:
        """``TooLarge`` beyond what is allowed for any upload."""
        if size > self.max_size:
            raise TooLarge(self.max_size, size)

    async def reservation(self, vfolder: VFolder, upload_id: str) -> Reservation:
        """The room that an upload holds."""
        return await self._gateway.quota.resume(vfolder, upload_id)

    async def recount(self, vfolder: VFolder) -> None:
        """Count a vfolder anew."""
        await self._gateway.lifecycle.recount(vfolder)

    def count_received(self, protocol: str, size: int) -> None:
        """Count bytes for the metrics."""
        self._gateway.metrics.received(protocol, size)

    async def is_at_rest(self, context: FolderContext, row: UploadRow) -> bool:
        """Whether nobody writes and the mark is the whole truth. ``UploadNotFound`` as ``Stages.open``."""
        quiet = self.leases.held(row.id) is None and not self.leases.is_held_elsewhere(row)
        if not quiet or row.unverified or row.state is UploadState.PUBLISHING or row.boot_id != self.boot_id:
            return False
        if row.size == row.mark and row.state is UploadState.OPEN:
            return False
        try:
            stage = await self.stages.open(context, row)
        except UploadNotFound:
            return False
        assert stage is not None
        size = stage.size
        await self.stages.close(stage)
        return size == row.mark and await self.uploads.tell(row)
