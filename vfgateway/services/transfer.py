"""One file on its way into a vfolder: count, digest, reserve, write aside, publish.

:func:`publish` is the single road by which staged bytes become a file, for one-shot uploads here and resumable ones
in :mod:`vfgateway.services.staging`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self, cast

from sqlalchemy import Connection

from vfgateway.abilities import IDescriptorWrite
from vfgateway.errors import (
    AlreadyExists,
    IncompleteBody,
    IsADirectory,
    NotFound,
    PreconditionFailed,
    TooLarge,
    VFolderMoved,
)
from vfgateway.interfaces import IStagedFile, type_fill
from vfgateway.model import ANY, Expect, FileStat, Permission, Published, Usage
from vfgateway.paths import ROOT, FolderPath
from vfgateway.services import trees
from vfgateway.services.changes import Change
from vfgateway.services.context import FolderContext
from vfgateway.services.following import follow
from vfgateway.services.quota import Reservation
from vfgateway.uninterrupted import whole


async def growth(context: FolderContext, target: FolderPath, size: int, expect: Expect = ANY) -> Usage:
    """What publishing ``size`` bytes at ``target`` would add now; a replacement needs only its growth. Raises what the publish itself
    would: ``IsADirectory``, ``AlreadyExists``, ``PreconditionFailed``."""
    try:
        present = await context.folder.stat(target)
    except NotFound:
        if expect.identity is not None:
            raise PreconditionFailed(target) from None
        return Usage(size, 1)
    if present.is_dir:
        raise IsADirectory(target)
    if expect.absent:
        raise AlreadyExists(target)
    if expect.identity is not None and expect.identity != present.identity:
        raise PreconditionFailed(target)
    return Usage(size, 1) - trees.freed(present)


class Publishable(Protocol):
    """What :func:`publish` needs of a stage."""

    size: int

    async def commit(self, target: FolderPath, expect: Expect) -> Published:
        """As ``IStagedFile.commit``."""


@whole
async def publish(
    context: FolderContext,
    stage: IStagedFile | Publishable,
    target: FolderPath,
    reservation: Reservation,
    *,
    expect: Expect = ANY,
    fence: int | None = None,
    parents: bool = False,
    shared: bool = False,
    also: Sequence[Callable[[Connection], None]] = (),
) -> FileStat:
    """Make the stage the file ``target``, under an intent and with the figures settled in the same step; ``also`` is written with them.

    :param shared: other processes may store at ``target`` meanwhile, so that there has to be room for all of it

    Raises ``Locked``, ``LockLost``, ``QuotaExceeded`` and all that ``IStagedFile.commit`` may; the stage and the reservation are then as
    before, apart from directories made on the way.
    """
    await context.standing.refresh()
    context.allow(Permission.RW, target, "write this")
    async with context.publishing((target, False), fence=fence, shared=shared) as intent:
        made: list[Usage] = []
        wanted = await growth(context, target, stage.size, expect)
        if wanted.files:
            intent.names(context.lock_path(target))
        missing = await trees.missing_parents(context.folder, target) if parents else ()
        await reservation.ensure((Usage(stage.size, 1) if shared else wanted) + Usage(0, len(missing)))
        intent.more += map(Change, missing)
        try:
            await trees.make_dirs(context.folder, missing, made.append)
            published = await stage.commit(target, expect)
        except BaseException:
            if made:
                await context.gateway.quota.change(
                    context.vfolder, sum(made, Usage()), folder=context.folder_of(target)
                )
            raise
        change = Usage(stage.size, 1) - trees.freed(published.replaced) + sum(made, Usage())
        intent.touches(published.replaced)
        if published.replaced is None:
            also = [*also, *context.after_creation(intent, target)]
        await reservation.settle(change, also=[intent.end, *also], folder=context.folder_of(target))
    if published.replaced is None:
        await context.remember_creation(target)
    assert published.stat is not None
    return published.stat


class Upload:
    """A one-shot upload. Made by ``FolderSession.upload``; use it as a context manager, which aborts what was not committed.

    :ivar received: bytes taken so far
    """

    def __init__(
        self,
        context: FolderContext,
        target: FolderPath,
        stage: IStagedFile,
        reservation: Reservation,
        *,
        size: int | None,
        expect: Expect,
        fence: int,
        parents: bool,
        digests: Sequence[str],
        credit: int = 0,
    ) -> None:
        self._context = context
        self._target = target
        self._stage = stage
        self._reservation = reservation
        self._size = size
        self._expect = expect
        self._fence = fence
        self._parents = parents
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in digests}
        self._credit = credit  # bytes that the file to be replaced will give back
        self._ended = False
        self._unguard = context.standing.watch()
        self.received = 0

    async def write(self, chunks: Sequence[bytes | bytearray | memoryview]) -> None:
        """Add bytes. Raises ``TooLarge`` past the declared size and ``QuotaExceeded`` where the room ends; nothing of ``chunks`` is kept
        then; ``PermissionDenied`` once the principal may not write any more."""
        count = sum(map(len, chunks))
        await self._prepare(count)
        for digest in self._hashes.values():
            for chunk in chunks:
                digest.update(chunk)
        await self._stage.append(chunks)
        self.received += count

    @property
    def moves(self) -> bool:
        """Whether :meth:`write_from` can be used: nobody wants to see the bytes."""
        return not self._hashes and IDescriptorWrite.providedBy(self._stage)

    async def write_from(self, fill: type_fill, most: int) -> None:
        """As :meth:`write`, for up to ``most`` bytes that ``fill`` writes by itself."""
        await self._prepare(most)
        before = self._stage.size
        await cast(IDescriptorWrite, self._stage).append_from(fill)
        self.received += self._stage.size - before

    async def _prepare(self, more: int) -> None:
        self._context.allow(Permission.RW, self._target, "write this")
        await self._make_room(self.received + more)

    async def _make_room(self, total: int) -> None:
        if self._size is not None:
            if total > self._size:
                raise TooLarge(self._size, total)
            return
        await self._reservation.stretch(total - self._credit)

    def digests(self) -> Mapping[str, bytes]:
        """The digests asked for, of what has been received."""
        return {name: digest.digest() for name, digest in self._hashes.items()}

    async def commit(self) -> FileStat:
        """Publish. Raises ``IncompleteBody`` if fewer bytes came than were declared, and what :func:`publish` raises."""
        if self._size is not None and self.received != self._size:
            raise IncompleteBody(self._size, self.received)
        try:
            stat = await self._publish(self._context, self._stage, self._reservation)
        except VFolderMoved:
            stat = await self._publish_elsewhere()
        self._ended = True
        self._unguard()
        self._context.gateway.metrics.received(self._context.origin.protocol, self.received)
        return stat

    async def _publish(self, context: FolderContext, stage: IStagedFile, reservation: Reservation) -> FileStat:
        return await publish(
            context,
            stage,
            self._target,
            reservation,
            expect=self._expect,
            fence=self._fence,
            parents=self._parents,
        )

    async def _publish_elsewhere(self) -> FileStat:
        """Carry what was staged to where the vfolder lies now, by way of a file of the old place, in which nobody looks any more."""
        here, there = self._context, await follow(self._context)
        left = ROOT.child(f".moved-{self._stage.token}")
        wanted = await growth(there, self._target, self.received, self._expect)
        async with await there.gateway.quota.reserve(there.vfolder, wanted) as reservation:
            await self._stage.commit(left, ANY, sync=False)
            try:
                stage = await trees.stage_copy(here.folder, left, there.folder, self._target)
                try:
                    return await self._publish(there, stage, reservation)
                finally:
                    await stage.discard()
            finally:
                with suppress(NotFound):
                    await here.folder.remove(left, ANY)

    async def abort(self) -> None:
        """Leave nothing behind. Idempotent, and harmless after :meth:`commit`."""
        if not self._ended:
            self._ended = True
            self._unguard()
            try:
                await self._stage.discard()
            finally:
                await self._reservation.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.abort()
