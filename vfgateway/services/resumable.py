"""One upload that can be continued: by another request, another process, another protocol.

Bytes are appended to a stage of the volume. The *offset* that a client is told is a durable mark: the stage is synced, then the row
says so. After a crash on the same boot what lies beyond the mark is still whole and is kept; after a reboot the stage is
cut back to the mark; a stage shorter than its mark has lost acknowledged bytes and is given up, never padded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import attrs

from vfgateway.abilities import IDescriptorWrite, IResumableStaging
from vfgateway.errors import (
    GatewayError,
    IncompleteBody,
    InvalidArgument,
    IsADirectory,
    NotFound,
    TooLarge,
    Unsupported,
    UploadBusy,
    UploadLost,
    UploadNotFound,
)
from vfgateway.interfaces import IStagedFile, type_chunk, type_fill
from vfgateway.model import FileStat, Permission, Usage
from vfgateway.paths import FolderPath
from vfgateway.services import transfer
from vfgateway.services.context import FolderContext
from vfgateway.services.leases import Lease, Sender
from vfgateway.services.quota import Reservation
from vfgateway.services.standing import Standing
from vfgateway.services.uploadfacts import UploadFacts
from vfgateway.services.uploads import UploadRow, UploadState, changing, published_values
from vfgateway.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from vfgateway.services.staging import Staging


class ResumableUpload(UploadFacts):
    """One principal's hands on one upload. Made by :class:`vfgateway.services.staging.Staging`.

    What changes the upload needs the lease: :meth:`acquire`, then :meth:`write` and :meth:`mark`, then :meth:`release` or
    :meth:`finish`. A whole request body goes through :meth:`vfgateway.services.staging.Staging.receive`.
    """

    def __init__(self, staging: Staging, context: FolderContext, row: UploadRow) -> None:
        super().__init__(row)
        self._staging = staging
        self._context = context
        self._lease: Lease | None = None
        self._stage: IStagedFile | None = None
        self._reservation: Reservation | None = None

    # --- what is known ---

    @property
    def offset(self) -> int:
        """Bytes received, durable or not; without the lease, the mark as last read."""
        return self._row.mark if self._stage is None else self._stage.size

    @property
    def whole(self) -> bool:
        """Whether all declared bytes have been received."""
        return self.size is not None and self.offset == self.size

    @property
    def can_rewind(self) -> bool:
        """Whether bytes that were received can be given up again."""
        return IResumableStaging.providedBy(self._context.folder)

    @property
    def lease(self) -> Lease | None:
        """The lease, while this object has it."""
        return self._lease

    @property
    def standing(self) -> Standing:
        """The rights that it rests on."""
        return self._context.standing

    # --- the lease ---

    async def acquire(self, unverified: bool = False, sender: Sender | None = None) -> None:
        """Become the one who writes; the present holder is asked to let go. A published upload needs no lease and gets none.

        :param unverified: what comes counts only after :meth:`verified`
        :param sender: whose bytes are to be written; without one, whoever idles for a moment while another asks has lost
        :raises UploadBusy: another client is sending now
        :raises UploadNotFound: it is gone, or bytes that were acknowledged are
        """
        lease, row = await self._staging.leases.take(self.id, sender=sender)
        try:
            self._row = row
            if self.published:
                await self._give_up(lease)
                return
            self._stage = await self._staging.stages.open(self._context, row)
            if self._stage is None:  # it was published in the moment of a crash
                await self._record_published(lease)
                return
            state = UploadState.OPEN if row.state is UploadState.PUBLISHING else row.state
            self._row = attrs.evolve(row, boot_id=self._staging.boot_id, unverified=unverified, state=state)
            changed = {"boot_id": self._staging.boot_id, "unverified": unverified, "state": state}
            if (row.boot_id, row.unverified, row.state) != (self._row.boot_id, unverified, state):
                await self._staging.uploads.change(self.id, lease.serial, durable=False, **changed)
            self._reservation = await self._staging.reservation(self._context.vfolder, self.id)
        except UploadNotFound:  # the stage is gone, or has lost what was acknowledged: there is nothing to go on with
            await self._staging.stages.discard(self._context.vfolder, self._context.folder, row)
            self._staging.leases.release(lease)
            raise
        except BaseException:
            await self._close_stage()
            await self._give_up(lease)
            raise
        lease.working = False
        self._lease = lease

    async def release(self, told: bool = False) -> None:
        """Mark, and let the next one in; ``told``, if it was taken to tell somebody the offset. Idempotent."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            values = {} if lease.lost else await self._sync()
        except GatewayError:
            await self._close_stage()
            await self._give_up(lease)
            raise
        await self._close_stage()
        durable = bool(values)
        if told:
            values = {**values, "told": self._staging.now()}
        await self._give_up(lease, durable, **values)

    async def _give_up(self, lease: Lease, durable: bool = True, **values: Any) -> None:
        """End the lease, writing ``values`` with it."""
        try:
            if not lease.lost:
                durable = bool(values) and durable
                values = {"holder": None, "holder_until": None, **values}
                await self._staging.uploads.change(self.id, lease.serial, durable=durable, **values)
        finally:
            self._staging.leases.release(lease)

    async def _close_stage(self) -> None:
        stage, self._stage = self._stage, None
        reservation, self._reservation = self._reservation, None
        if reservation is not None:
            reservation.detach()
        if stage is not None:
            await self._staging.stages.close(stage)

    def _holding(self) -> tuple[Lease, IStagedFile, Reservation]:
        if self._lease is None or self._stage is None or self._reservation is None:
            raise UploadLost(self.id)
        self._staging.leases.check(self._lease)
        return self._lease, self._stage, self._reservation

    # --- bytes ---

    async def declare_size(self, size: int) -> None:
        """Say how many bytes it will have; once. ``InvalidArgument`` if something else was said before or more has come;
        ``QuotaExceeded``, ``TooLarge``."""
        if self.size is not None:
            if self.size != size:
                raise InvalidArgument("size", f"declared as {self.size} bytes before")
            return
        lease, stage, reservation = self._holding()
        if size < stage.size:
            raise InvalidArgument("size", f"{stage.size} bytes have been received already")
        self._staging.check_size(size)
        await reservation.ensure(await self._wanted(size))
        if not await self._staging.uploads.change(self.id, lease.serial, size=size):
            raise UploadLost(self.id)
        self._row = attrs.evolve(self._row, size=size)

    async def retarget(self, target: FolderPath) -> None:
        """Publish somewhere else than was said in the beginning. What is wrong with it is told now, as at the beginning."""
        if target != self.target:
            lease, _, reservation = self._holding()
            self._context.allow(Permission.RW, target, "write this")
            if target.is_root:
                raise IsADirectory(target)
            fence = await self._context.fence(target)
            before, self._row = self._row, attrs.evolve(self._row, target=target, fence=fence)
            if self.size is not None:
                try:
                    await reservation.ensure(await self._wanted(self.size))
                except BaseException:
                    self._row = before
                    raise
            await self._staging.uploads.change(self.id, lease.serial, target=target, fence=fence)

    async def _wanted(self, total: int) -> Usage:
        if self.partial:
            return Usage(total, 0)
        return await transfer.growth(self._context, self.target, total, self._row.expect)

    async def write(self, chunks: Sequence[type_chunk]) -> None:
        """Append. ``TooLarge`` past the declared size and ``QuotaExceeded`` where the room ends: nothing of ``chunks`` is kept then.
        ``UploadLost`` when another client has taken over, ``PermissionDenied`` once the principal may not write any more."""
        await self._append(sum(map(len, chunks)), lambda stage: stage.append(chunks))

    @property
    def moves(self) -> bool:
        """Whether :meth:`write_from` can be used."""
        return IDescriptorWrite.providedBy(self._stage)

    async def write_from(self, fill: type_fill, most: int) -> None:
        """As :meth:`write`, for up to ``most`` bytes that ``fill`` writes by itself."""
        await self._append(most, lambda stage: cast(IDescriptorWrite, stage).append_from(fill))

    async def _append(self, more: int, append: Callable[[IStagedFile], Awaitable[None]]) -> None:
        lease, stage, _ = self._holding()
        self._context.allow(Permission.RW, self.target, "write this")
        await self.make_room(stage.size + more)
        lease.working = True
        try:
            await append(stage)
        finally:
            lease.working = False

    async def make_room(self, total: int) -> None:
        """See that it may have ``total`` bytes; where the size is unknown, reserve, in steps that grow. ``TooLarge``, ``QuotaExceeded``."""
        _, _, reservation = self._holding()
        if self.size is not None:
            if total > self.size:
                raise TooLarge(self.size, total)
            return
        self._staging.check_size(total)
        await reservation.stretch((await self._wanted(total)).bytes)

    async def mark(self) -> int:
        """Make what was received durable; the new offset. Bytes that wait for their checksum are left out."""
        lease, _, _ = self._holding()
        values = await self._sync()
        if values and not await self._staging.uploads.change(self.id, lease.serial, **values):
            raise UploadLost(self.id)
        return self._row.mark

    async def _sync(self) -> Mapping[str, Any]:
        """Sync the stage; what is to be written into the row then."""
        stage = self._stage
        if stage is None or self._row.unverified or stage.size == self._row.mark:
            return {}
        await stage.sync()
        expires = self._staging.now() + self._row.lifetime
        self._row = attrs.evolve(self._row, mark=stage.size, expires=expires, told=None)
        return {"mark": stage.size, "expires": expires, "told": None}

    async def verified(self) -> None:
        """The checksum of what came was right: let it count."""
        lease, _, _ = self._holding()
        self._row = attrs.evolve(self._row, unverified=False)
        values = await self._sync()
        if not await self._staging.uploads.change(self.id, lease.serial, unverified=False, **values):
            raise UploadLost(self.id)

    async def rewind(self, offset: int) -> None:
        """Give up what lies beyond ``offset``, but never what was acknowledged. ``Unsupported`` where stages cannot be cut."""
        lease = self._lease
        keep = max(offset, self._row.mark)
        if lease is None or lease.lost or self._stage is None or self._stage.size <= keep:
            return
        folder = self._context.folder
        if not IResumableStaging.providedBy(folder):
            raise Unsupported("cutting an upload back")
        await self._stage.close()
        self._stage = await folder.resume(self.id, keep)

    # --- the end ---

    async def finish(self) -> FileStat | None:
        """Publish, once all bytes are there; the size is declared by this if it was not yet. Repeating it is harmless. A partial upload is
        only marked.

        :return: the file, ``None`` if it was published before and has changed since, or is partial
        :raises IncompleteBody: bytes are missing
        :raises GatewayError: what :func:`vfgateway.services.transfer.publish` raises; the stage is kept and it can be tried again
        """
        return await uninterrupted(self._finish())

    async def _finish(self) -> FileStat | None:
        if self._lease is None:
            await self.acquire()
        if self.published:
            return await self._present()
        try:
            if self.size is None:
                await self.declare_size(self.offset)
            if not self.whole:
                raise IncompleteBody(self.size, self.offset)
            if not self.partial:
                return await self._publish()
        finally:
            await self.release()
        return None

    async def _publish(self) -> FileStat:
        lease, stage, reservation = self._holding()
        uploads, size = self._staging.uploads, stage.size
        lease.working = True
        try:
            if not await uploads.change(self.id, lease.serial, state=UploadState.PUBLISHING):
                raise UploadLost(self.id)
            stat = await transfer.publish(
                self._context,
                stage,
                self.target,
                reservation,
                expect=self._row.expect,
                fence=self._row.fence,
                parents=True,
                also=[changing(self.id, lease.serial, **published_values(size, self._staging.now()))],
            )
        except BaseException:
            lease.working = False
            if not lease.lost:
                await uploads.change(self.id, lease.serial, state=UploadState.OPEN)
            raise
        self._lease = self._stage = self._reservation = None
        self._staging.stages.published(self.id)
        self._row = attrs.evolve(self._row, state=UploadState.PUBLISHED, mark=size)
        self._staging.leases.release(lease)
        self._staging.count_received(self._context.origin.protocol, size)
        return stat

    async def _record_published(self, lease: Lease) -> None:
        # The figures were not settled. The count that corrects them drops what is held and says so in the row, all in one step.
        await self._staging.recount(self._context.vfolder)
        self._row = attrs.evolve(self._row, state=UploadState.PUBLISHED, mark=self._row.size or 0)
        self._staging.leases.release(lease)

    async def absorb(self, info: Mapping[str, str]) -> None:
        """The bytes of this partial upload are part of another now: remove the stage, and remember for a while that all is well."""
        lease, stage, reservation = self._holding()
        size = stage.size
        self._lease = self._stage = self._reservation = None
        try:
            await stage.discard()
            await reservation.release(
                also=[changing(self.id, lease.serial, **published_values(size, self._staging.now()), info=info)]
            )
        finally:
            self._staging.leases.release(lease)

    async def _present(self) -> FileStat | None:
        try:
            return await self._context.folder.stat(self.target)
        except NotFound:
            return None

    async def refresh(self) -> int:
        """The durable offset now. Ends a holder that has gone silent, keeps what a crash left, and publishes what was whole but not yet
        published: an offset equal to the size means that the file is there.

        :raises UploadBusy: the last bytes are being published just now
        """
        return await uninterrupted(self._refresh())

    async def _refresh(self) -> int:
        await self._staging.arrivals.settled(self.id)
        self._row = await self._staging.uploads.get(self.id)
        if self.published or await self._staging.is_at_rest(self._context, self._row):
            return self._row.mark
        try:
            await self.acquire()
        except UploadBusy:
            self._row = await self._staging.uploads.get(self.id)  # whoever was waited for has gone on meanwhile
            if self._row.mark == self.size and not (self.partial or self.published):
                raise
            return self._row.mark
        if self._lease is not None and self.whole and not self.partial:
            await self._finish()
        else:
            await self.release(told=True)
        return self._row.mark

    async def cancel(self) -> None:
        """Remove it with all that came; whoever writes is cut off. A published file stays. ``UploadNotFound`` if it is gone."""
        await uninterrupted(self._cancel())

    async def _cancel(self) -> None:
        lease, self._lease = self._lease, None
        if self._reservation is not None:
            self._reservation.detach()
        if lease is None:
            lease, self._row = await self._staging.leases.take(self.id, force=True)
        try:
            await self._staging.stages.discard(self._context.vfolder, self._context.folder, self._row, self._stage)
            self._stage = None
        finally:
            self._staging.leases.release(lease)
