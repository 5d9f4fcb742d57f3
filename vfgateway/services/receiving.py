"""One request's body on its way into an upload.

What arrived counts, however the request ends: cut, taken over by a newer one, or refused half-way for want of room. What the client
sealed with a checksum, or what is longer than was declared, counts as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred

from vfgateway.errors import (
    ChecksumMismatch,
    GatewayError,
    IncompleteBody,
    OffsetMismatch,
    TooLarge,
    Unsupported,
    UploadLost,
)
from vfgateway.interfaces import type_chunk, type_fill
from vfgateway.paths import FolderPath
from vfgateway.services.checksums import Checksum
from vfgateway.services.leases import Sender
from vfgateway.services.resumable import ResumableUpload
from vfgateway.uninterrupted import uninterrupted

#: Bytes after which a mark is set while a body is still coming in, so that a power loss costs no more.
MARK_EVERY = 256 << 20


class Body(Sender, Protocol):
    """Where bytes come from: a front end's view of one request.

    :ivar length: bytes that the client declared, if it did
    """

    length: int | None

    async def read(self, limit: int = ..., least: int = ...) -> Sequence[type_chunk]:
        """The next bytes once ``least`` are there; empty at the end, or when ``least`` is 0 and nothing waits. ``IncompleteBody``."""

    async def move(self, write: Callable[[type_fill, int], Awaitable[None]]) -> bool:
        """Have ``write`` move what comes next, without reading it; whether anything was moved. If not, it has to be read."""


@attrs.frozen
class Terms:
    """What the client says about a body.

    :ivar offset: where it begins
    :ivar size: the size of the whole, when told only now
    :ivar last: the end of this body is the end of the whole
    :ivar checksum: of this body
    :ivar target: where the whole shall be published, if not where was said at the beginning
    :ivar came: since when the request was there (``Arrivals.coming``)
    """

    offset: int
    size: int | None = None
    last: bool = False
    checksum: Checksum | None = None
    target: FolderPath | None = None
    came: float = math.inf


class Receiving:
    """Takes one body in. Use it once."""

    def __init__(self, upload: ResumableUpload, body: Body, terms: Terms, progress: Callable[[int], None]) -> None:
        self._upload = upload
        self._body = body
        self._terms = terms
        self._progress = progress
        self._read_under_way: Deferred[Sequence[type_chunk]] | None = None
        self._hung_up = False

    async def run(self) -> int:
        """The offset after it. Publishes when all is there. When the caller is cancelled, what has arrived is written first."""
        return await uninterrupted(self._run(), self._hang_up)

    def _hang_up(self) -> None:
        self._hung_up = True
        if self._read_under_way is not None:
            self._read_under_way.cancel()

    async def _run(self) -> int:
        upload, terms = self._upload, self._terms
        if not upload.published and terms.offset < upload.marked:
            # It cannot succeed, so whoever writes now is left in peace.
            raise OffsetMismatch(upload.marked, terms.offset)
        if terms.checksum is not None and not upload.can_rewind:
            raise Unsupported("checksums on this storage")
        if not upload.published:
            await upload.acquire(terms.checksum is not None, self._body)
        if upload.published:
            return self._add_nothing()
        lease = upload.lease
        assert lease is not None
        lease.on_ask = self._hang_up
        try:
            await self._agree()
            await self._take_in()
            if upload.whole:
                await upload.finish()
        except BaseException:
            with contextlib.suppress(GatewayError):
                await upload.release()
            raise
        await upload.release()
        return upload.offset

    def _add_nothing(self) -> int:
        """A client that missed the last answer repeats its last request, or ends an upload that has ended already."""
        size, terms = self._upload.offset, self._terms
        if terms.offset != size:
            raise OffsetMismatch(size, terms.offset)
        if self._body.length != 0:
            raise TooLarge(size, size + (self._body.length or 1))
        return size

    async def _agree(self) -> None:
        """Settle all that can be refused before the body is read."""
        upload, terms, length = self._upload, self._terms, self._body.length
        if upload.offset != terms.offset:
            raise OffsetMismatch(upload.offset, terms.offset)
        if self._is_overtaken():
            raise UploadLost(upload.id)
        if terms.target is not None:
            await upload.retarget(terms.target)
        if terms.size is not None:
            await upload.declare_size(terms.size)
        if terms.last and length is not None:
            await upload.declare_size(terms.offset + length)
        if length:
            await upload.make_room(terms.offset + length)

    def _is_overtaken(self) -> bool:
        """Whether the client has left, and while this request was waiting for its turn somebody was told to go on where it begins, as by another
        process, which could not know of it. It is that which stands."""
        told, body = self._upload.row.told, self._body
        return told is not None and told >= self._terms.came and body.over and not body.complete

    async def _take_in(self) -> None:
        upload, checksum = self._upload, self._terms.checksum
        lease = upload.lease
        assert lease is not None
        try:
            while await self._take():
                if upload.offset - upload.marked >= MARK_EVERY:
                    self._progress(await upload.mark())
            if self._hung_up:
                raise lease.reason
            if checksum is not None:
                checksum.verify()
                await upload.verified()
        except (TooLarge, ChecksumMismatch):
            await upload.rewind(self._terms.offset)
            raise
        except BaseException:
            lease.over = lambda: True
            if checksum is not None:
                await upload.rewind(self._terms.offset)
            raise
        finally:
            lease.on_ask = None
        if self._terms.last:
            await upload.declare_size(upload.offset)

    async def _take(self) -> bool:
        """Store what comes next; whether there was anything. What a checksum is made of has to be seen."""
        upload, checksum = self._upload, self._terms.checksum
        if checksum is None and upload.moves and not self._hung_up and await self._body.move(upload.write_from):
            return True
        chunks = await self._read()
        if chunks:
            if checksum is not None:
                checksum.update(chunks)
            await upload.write(chunks)
        return bool(chunks)

    async def _read(self) -> Sequence[type_chunk]:
        """The next chunks. After a hang-up, what is waiting and no more."""
        if not self._hung_up:
            self._read_under_way = Deferred.fromCoroutine(self._body.read())
            try:
                return await self._read_under_way
            except CancelledError:
                self._hung_up = True
            finally:
                self._read_under_way = None
        try:
            return await self._body.read(least=0)
        except IncompleteBody:
            return ()
