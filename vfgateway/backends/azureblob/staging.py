"""Files in the making. Bytes become blocks of a blob of their own, several on their way at once; what is small is never staged at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
from zope.interface import implementer

from vfgateway.backends.azureblob.blocks import BlockIds, in_a_row
from vfgateway.backends.azureblob.container import FREE, Block, Container
from vfgateway.backends.azureblob.facts import Blob
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.backends.azureblob.listing import walk
from vfgateway.backends.azureblob.names import STAGING, is_token, stage_name
from vfgateway.backends.azureblob.publish import FETCH, MOST_BLOCKS, content_headers, fetches, publish, transplant
from vfgateway.backends.azureblob.together import Shared
from vfgateway.errors import StorageFailure, TooLarge, UploadNotFound
from vfgateway.interfaces import IStagedFile, type_chunk
from vfgateway.model import Expect, Published
from vfgateway.paths import ROOT, FolderPath
from vfgateway.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from vfgateway.backends.azureblob.folder import AzureBlobFolder


@implementer(IStagedFile)
class AzureStagedFile:
    """An upload.

    :param blocks: what is stored of it already; ``None`` for a new one, of which nothing is
    :param next_number: greater than that of any block that there may be
    :param strays: whether there may be blocks that do not belong to it any more
    :ivar blocks: those that have arrived, one after the other
    """

    def __init__(
        self,
        folder: AzureBlobFolder,
        container: Container,
        token: str,
        blocks: list[Block] | None = None,
        next_number: int = 0,
        strays: bool = False,
    ) -> None:
        self.token = token
        self.size = sum(block.size for block in blocks or ())
        self._folder = folder
        self._container = container
        self._stored = blocks is not None
        self.blocks: list[Block] = blocks or []
        self._strays = strays
        self._ids = BlockIds()
        self._next = next_number
        self._sending: list[tuple[Block, int, Shared[None]]] = []
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._closed = self._discarded = False
        self._published: Published | None = None
        if not self._stored:
            folder.volume.open_stages.setdefault(container.name, {})[token] = self

    @property
    def _name(self) -> str:
        return stage_name(self.token)

    # --- bytes

    async def append(self, chunks: Sequence[type_chunk]) -> None:
        self._check()
        volume = self._folder.volume
        added = [bytes(chunk) for chunk in chunks if len(chunk)]
        count = sum(map(len, added))
        self._buffer += added
        self._hold(count)
        self.size += count
        while self._buffered >= volume.plan.size(self._count, volume.buffers.full):
            await self._send(volume.plan.size(self._count, volume.buffers.full))
        while volume.buffers.full and self._sending:
            await self._arrived()

    def _hold(self, count: int) -> None:
        self._buffered += count
        self._folder.volume.buffers.held += count

    @property
    def _count(self) -> int:
        """Blocks so far."""
        return len(self.blocks) + len(self._sending)

    async def _send(self, size: int) -> None:
        """Put the first ``size`` bytes of the buffer on their way; waits while too many are."""
        if self._count >= MOST_BLOCKS:
            raise TooLarge(self.size - self._buffered, self.size)
        with self._translated():
            try:
                await self._prepare()
            except BaseException:
                self._give_up()
                raise
        while len(self._sending) >= self._folder.volume.plan.parallel:
            await self._arrived()
        pieces = self._take(size)
        offset = self.size - self._buffered - size
        # What is on its way is held until it has arrived.
        self._folder.volume.buffers.held += size
        block = self._new_block(offset, size)
        self._sending.append((block, size, Shared(self._container.put_block(self._name, block.id, pieces))))

    def _new_block(self, offset: int, size: int) -> Block:
        block = Block(self._ids.make(self._next, offset), size)
        self._next += 1
        return block

    def _take(self, size: int) -> list[bytes]:
        pieces: list[bytes] = []
        left = size
        while left:
            first = self._buffer[0]
            if len(first) <= left:
                pieces.append(self._buffer.pop(0))
            else:
                pieces.append(first[:left])
                self._buffer[0] = first[left:]
            left -= len(pieces[-1])
        self._hold(-size)
        return pieces

    async def _prepare(self) -> None:
        """Have a blob for the blocks, without any that do not belong to it."""
        if not self._stored:
            await self._folder.check_container(self._container)
            try:
                await self._container.put(self._name, (), {}, FREE)
            except Refused as refused:
                if not (refused.conflict and refused.repeated):
                    raise
            self._stored = True
        elif self._strays:
            await self._container.commit(self._name, self.blocks, {}, {})
            self._strays = False

    async def _arrived(self) -> None:
        """Wait for the block that was sent first."""
        block, size, sending = self._sending[0]
        with self._translated():
            try:
                await sending.get()
            except BaseException:
                self._give_up()
                raise
        del self._sending[0]
        self._folder.volume.buffers.held -= size
        self.blocks.append(block)

    async def _flush(self) -> None:
        """Return when the storage has everything."""
        if self._buffered:
            await self._send(self._buffered)
        while self._sending:
            await self._arrived()

    def _give_up(self) -> None:
        """After a failure: keep what is there without a gap, and remember that there may be more."""
        sending, self._sending = self._sending, []
        for _, size, work in sending:
            work.cancel()
            self._folder.volume.buffers.held -= size
        self._strays = self._strays or bool(sending)
        self._buffer.clear()
        self._hold(-self._buffered)
        self.size = sum(block.size for block in self.blocks)

    # --- the end

    async def sync(self) -> None:
        self._check()
        if self.size:
            await self._flush()

    async def commit(self, target: FolderPath, expect: Expect, sync: bool = True) -> Published:
        if self._published is None:
            if self._discarded:
                raise UploadNotFound(self.token)
            self._check()
            self._published = await uninterrupted(self._commit(target, expect))
            self._closed = True
        return self._published

    async def _commit(self, target: FolderPath, expect: Expect) -> Published:
        with self._translated(target):
            if self._stored:
                await self._flush()
            else:
                await self._folder.check_container(self._container)
            put = self._transplant if self._stored else self._put
            made, replaced = await publish(self._container, target, expect, self.token, {}, put)
            self._let_go()
            if self._stored:
                await self._folder.forget(self._container, self._name)
        return self._folder.published(made, replaced)

    async def _put(self, name: str, metadata: Mapping[str, str], condition: Mapping[str, str]) -> Blob:
        return await self._container.put(name, self._buffer, metadata, {**content_headers(name), **condition})

    async def _transplant(self, name: str, metadata: Mapping[str, str], condition: Mapping[str, str]) -> Blob:
        try:
            whole = await self._container.commit(self._name, self.blocks, {}, {"If-Match": "*"})
        except Refused as refused:
            if refused.missing or refused.conflict:
                raise UploadNotFound(self.token) from None
            raise
        self._strays = False
        return await transplant((self._container, whole), self._container, name, metadata, condition)

    def _let_go(self) -> None:
        """Forget what is held in memory."""
        for _, size, work in self._sending:
            work.cancel()
            self._folder.volume.buffers.held -= size
        self._sending.clear()
        self._buffer.clear()
        self._hold(-self._buffered)
        others = self._folder.volume.open_stages.get(self._container.name, {})
        others.pop(self.token, None)
        if not others:
            self._folder.volume.open_stages.pop(self._container.name, None)

    async def discard(self) -> None:
        if self._published is None and not self._discarded:
            self._discarded = self._closed = True
            sending = [work for _, _, work in self._sending]
            self._let_go()
            if self._stored or sending:
                with self._translated():
                    await uninterrupted(self._remove())

    async def _remove(self) -> None:
        try:
            await self._container.delete(self._name, {})
        except Refused as refused:
            if not refused.missing_container:
                raise

    async def close(self) -> None:
        if self._closed:
            return
        try:
            with self._translated():
                if not self._stored:
                    await self._prepare()
                await self._flush()
        finally:
            self._closed = True
            self._let_go()

    def _check(self) -> None:
        if self._closed:
            raise StorageFailure("the staged file is closed")

    async def fetch(self, part: Blob) -> None:
        """Append all of another blob, which the storage fetches by itself. Nothing must be held in memory."""
        with self._translated():
            await self._prepare()
            for at in range(0, part.size, FETCH):
                block = self._new_block(self.size, min(FETCH, part.size - at))
                await self._container.put_block_from(self._name, block.id, (self._container, part), at, block.size, {})
                self.blocks.append(block)
                self.size += block.size

    def _translated(self, path: FolderPath = ROOT) -> AbstractContextManager[None]:
        return self._folder.faults(path)


class Stages:
    """The stages of one vfolder that are stored."""

    def __init__(self, folder: AzureBlobFolder, container: Container) -> None:
        self._folder = folder
        self._container = container

    async def resume(self, token: str, keep: int | None) -> AzureStagedFile:
        """See ``IResumableStaging.resume``."""
        if not is_token(token):
            raise UploadNotFound(token)
        by_id = {block.id: block for block in await self._blocks(token)}
        blocks = in_a_row(list(by_id.values()))
        number = max((BlockIds.read(each)[0] for each in by_id), default=-1) + 1
        size = sum(block.size for block in blocks)
        strays = len(blocks) < len(by_id)
        if keep is not None:
            if size < keep:
                raise UploadNotFound(token)
            if size > keep or strays:
                blocks, strays, number = await self._cut(token, blocks, keep, number), False, number + 1
        return AzureStagedFile(self._folder, self._container, token, blocks, number, strays)

    async def _blocks(self, token: str) -> Sequence[Block]:
        try:
            _, committed, waiting = await self._container.blocks(stage_name(token))
            return [*committed, *waiting]
        except Refused as refused:
            if refused.missing:
                raise UploadNotFound(token) from None
            raise

    async def _cut(self, token: str, blocks: list[Block], keep: int, number: int) -> list[Block]:
        """Keep the first ``keep`` bytes. Where that is in the middle of a block, its beginning is made a block of its own: blocks can be
        read only once they are committed, which for a stage nobody sees."""
        name = stage_name(token)
        kept: list[Block] = []
        offset = 0
        for block in blocks:
            if offset + block.size > keep:
                break
            kept.append(block)
            offset += block.size
        rest = b""
        if offset < keep:
            whole = await self._container.commit(name, blocks[: len(kept) + 1], {}, {})
            _, rest = await self._container.get(name, offset, keep - offset, whole.etag)
        await self._container.commit(name, kept, {}, {})
        if rest:
            last = Block(BlockIds().make(number, offset), len(rest))
            await self._container.put_block(name, last.id, [rest])
            kept.append(last)
        return kept

    async def sizes(self) -> Sequence[tuple[str, Blob]]:
        """Every stage, with as many bytes as can be gone on from."""
        prefix = f"{STAGING}/"
        found = [blob async for blob in walk(self._container, prefix)]
        stored = [blob for blob in found if is_token(blob.name.removeprefix(prefix))]
        return [(blob.name.removeprefix(prefix), await self._sized(blob)) for blob in stored]

    async def _sized(self, blob: Blob) -> Blob:
        try:
            _, committed, waiting = await self._container.blocks(blob.name)
        except Refused as refused:
            if refused.missing:
                return blob
            raise
        blocks = in_a_row([*committed, *waiting])
        return attrs.evolve(blob, size=sum(block.size for block in blocks))

    async def join(self, tokens: Sequence[str], new: Callable[[], AzureStagedFile]) -> AzureStagedFile:
        """See ``IResumableStaging.join``."""
        parts = {}
        for token in dict.fromkeys(tokens):
            staged = await self.resume(token, None)
            parts[token] = await self._container.commit(stage_name(token), staged.blocks, {}, {})
        joined = new()
        try:
            for token in tokens:
                await self._add(joined, parts[token])
        except BaseException:
            await joined.discard()
            raise
        return joined

    async def _add(self, joined: AzureStagedFile, part: Blob) -> None:
        if fetches(self._container):
            await joined.fetch(part)
            return
        piece = self._folder.volume.plan.usual
        for at in range(0, part.size, piece):
            _, content = await self._container.get(part.name, at, min(piece, part.size - at), part.etag)
            await joined.append([content])


def new_token() -> str:
    """A name for a new stage."""
    return uuid4().hex
