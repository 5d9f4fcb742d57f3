"""Reading: what is asked for in a row is fetched ahead, several pieces at once, and kept for a while for whoever asks again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, TypeAlias
from urllib.parse import quote

from zope.interface import implementer

from vfgateway.backends.azureblob.container import Container
from vfgateway.backends.azureblob.credentials import Pass
from vfgateway.backends.azureblob.facts import Blob
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.backends.azureblob.together import Shared
from vfgateway.directaccess import IDirectRead
from vfgateway.errors import PreconditionFailed, StorageFailure
from vfgateway.interfaces import IFile
from vfgateway.model import FileStat
from vfgateway.paths import FolderPath

#: Bytes that come with opening a file; a file that is no longer can be read to its end whatever becomes of its name.
FIRST = 128 << 10
#: Bytes fetched at once of a file that is read in a row.
PIECE = 4 << 20
#: Container, blob, identity and number of the piece: what it holds never changes.
type_key: TypeAlias = tuple[str, str, str, int]


class PieceCache:
    """Pieces of files, fetched or on their way; those that were not asked for the longest go first.

    :param limit: bytes of all of them
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: OrderedDict[type_key, tuple[int, Shared[bytes]]] = OrderedDict()
        self.held = 0

    def get(self, key: type_key) -> Shared[bytes] | None:
        """A piece that is there, or will be."""
        found = self._pieces.get(key)
        if found is None:
            return None
        if found[1].done and found[1].failed:
            self._drop(key)
            return None
        self._pieces.move_to_end(key)
        return found[1]

    def begin(self, key: type_key, size: int, fetch: Callable[[], Coroutine[Any, Any, bytes]]) -> Shared[bytes] | None:
        """Fetch a piece; ``None`` if there is no room, since everything that is held is still on its way."""
        for old in list(self._pieces):
            if self.held + size <= self._limit:
                break
            if self._pieces[old][1].done:
                self._drop(old)
        if self.held + size > self._limit:
            return None
        piece = Shared(fetch())
        self._pieces[key] = size, piece
        self.held += size
        return piece

    def _drop(self, key: type_key) -> None:
        size, _ = self._pieces.pop(key)
        self.held -= size

    def clear(self) -> None:
        """Forget everything, and stop what is on its way."""
        for _, piece in self._pieces.values():
            piece.cancel()
        self._pieces.clear()
        self.held = 0


@implementer(IFile, IDirectRead)
class AzureFile:
    """A file opened for reading: what was there then, or an error once it has been replaced; never a mixture.

    :param first: its beginning
    :param ahead: pieces fetched before they are asked for
    :ivar lifetime: seconds for which URLs to it are good; 0 where it is to be read here
    """

    lifetime = 0.0

    def __init__(
        self,
        container: Container,
        path: FolderPath,
        blob: Blob,
        first: bytes,
        stat: FileStat,
        cache: PieceCache,
        ahead: int,
        faults: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._container = container
        self._path = path
        self._blob = blob
        self._first = first
        self._stat = stat
        self._cache = cache
        self._ahead = ahead
        self._faults = faults
        self._reached = 0
        self._closed = False

    async def read(self, offset: int, length: int) -> bytes:
        self._check()
        end = min(offset + length, self._blob.size)
        if offset >= end:
            return b""
        in_a_row = offset == self._reached
        self._reached = end
        if end <= len(self._first):
            return self._first[offset:end]
        if not in_a_row and not self._has(offset, end):
            with self._faults():
                return await self._fetch(offset, end)
        return await self._read_pieces(offset, end)

    async def _read_pieces(self, offset: int, end: int) -> bytes:
        pieces = {number: self._piece(number) for number in range(offset // PIECE, -(-end // PIECE))}
        for number in range(-(-end // PIECE), -(-end // PIECE) + self._ahead):
            if number * PIECE < self._blob.size:
                self._piece(number)
        parts: list[bytes | memoryview] = []
        for number, piece in pieces.items():
            begin = number * PIECE
            start, stop = max(offset, begin), min(end, begin + PIECE)
            with self._faults():
                if piece is None:
                    parts.append(await self._fetch(start, stop))
                else:
                    content = await piece.get()
                    parts.append(memoryview(content)[start - begin : stop - begin])
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def _key(self, number: int) -> type_key:
        return self._container.name, self._blob.name, self._blob.etag, number

    def _has(self, offset: int, end: int) -> bool:
        return all(self._cache.get(self._key(number)) for number in range(offset // PIECE, -(-end // PIECE)))

    def _piece(self, number: int) -> Shared[bytes] | None:
        key, begin = self._key(number), number * PIECE
        end = min(begin + PIECE, self._blob.size)
        return self._cache.get(key) or self._cache.begin(key, end - begin, lambda: self._fetch(begin, end))

    async def _fetch(self, begin: int, end: int) -> bytes:
        try:
            _, content = await self._container.get(self._blob.name, begin, end - begin, self._blob.etag)
        except Refused as refused:
            if refused.conflict or refused.missing or refused.status == 416:
                raise PreconditionFailed(self._path) from None
            raise
        if len(content) != end - begin:
            raise StorageFailure(f"the storage gave {len(content)} bytes of {end - begin}: {self._path}")
        return content

    def direct_url(self, name: str | None) -> str | None:
        self._check()
        if not self.lifetime:
            return None
        transport = self._container.transport
        disposition = None if name is None else attachment(name)
        expires = transport.now() + self.lifetime
        signed = transport.credential.blob_sas(self._container.name, self._blob.name, expires, disposition)
        return transport.address(f"{self._container.name}/{self._blob.name}", {}, Pass(signed))

    async def stat(self) -> FileStat:
        self._check()
        return self._stat

    async def sync(self) -> None:
        self._check()

    async def close(self) -> None:
        self._closed = True
        self._first = b""

    def _check(self) -> None:
        if self._closed:
            raise StorageFailure("the file is closed")


def attachment(name: str) -> str:
    """``Content-Disposition`` as the storage answers it (RFC 6266), in ASCII alone."""
    return "attachment; filename*=UTF-8''" + quote(name.encode("utf-8", "surrogateescape"), safe="")
