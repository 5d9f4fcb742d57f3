"""The one road on which something gets a name: conditional, and known again when the answer was lost.

Every write says in the blob's metadata who wrote it, and is bound to what was seen before it. If another writer was faster the storage
refuses, and it is looked again; if that other writer turns out to be ourselves, whose answer got lost, all is well.
"""

from __future__ import annotations

import mimetypes
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias
from uuid import uuid4

from twisted.logger import Logger

from vfgateway.backends.azureblob.container import FREE, Block, Container, same
from vfgateway.backends.azureblob.facts import MODE, WRITER, Blob
from vfgateway.backends.azureblob.faults import Refused
from vfgateway.backends.azureblob.names import blob_name
from vfgateway.backends.azureblob.places import look, look_with_parent
from vfgateway.backends.azureblob.together import together
from vfgateway.errors import GatewayError, IsADirectory, StorageFailure
from vfgateway.model import Expect
from vfgateway.paths import FolderPath
from vfgateway.targets import check_expected, check_kind

#: Seconds for which it is tried against other writers of the same name, and the waits between, which grow.
PATIENCE, FIRST_WAIT, LONGEST_WAIT = 90.0, 0.02, 1.0
#: Seconds for which a lease holds, and after which it is renewed.
LEASE, RENEW_AFTER = 60, 20.0
#: Bytes that the storage is asked to fetch at once, and such requests at once.
FETCH, FETCHES = 256 << 20, 4
#: The most blocks that a blob can have.
MOST_BLOCKS = 50_000

log = Logger()
#: Writes a blob of this name with this metadata under these conditions.
type_write: TypeAlias = Callable[[str, Mapping[str, str], Mapping[str, str]], Awaitable[Blob]]


async def publish(
    container: Container,
    target: FolderPath,
    expect: Expect,
    writer: str,
    metadata: Mapping[str, str],
    write: type_write,
) -> tuple[Blob, Blob | None]:
    """Have ``write`` give ``target`` its new content, and what that is and what it replaced.

    :param writer: names this write, and no other one
    :param metadata: of the file; a file that is replaced hands its mode down
    """
    transport, wait = container.transport, FIRST_WAIT
    deadline = transport.now() + PATIENCE
    while transport.now() < deadline:
        if target.is_root:
            raise IsADirectory(target)
        there = await look_with_parent(container, target)
        if there is not None and there.metadata.get(WRITER) == writer:
            return there, None
        check_expected(there, target, expect)
        check_kind(False, None if there is None else there.is_dir, target)
        described = {**metadata, WRITER: writer}
        if there is not None and MODE in there.metadata and MODE not in metadata:
            described[MODE] = there.metadata[MODE]
        try:
            made = await write(blob_name(target), described, FREE if there is None else same(there.etag))
        except Refused as refused:
            if not refused.conflict:
                raise
            now = await look(container, target)
            if now is not None and now.metadata.get(WRITER) == writer:
                return now, there
            await transport.pause(wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            wait = min(2 * wait, LONGEST_WAIT)
            continue
        return made, there
    raise StorageFailure(f"others write it all the time: {target}")


def content_headers(target: str) -> dict[str, str]:
    """What the storage says of the content to those who fetch it there."""
    kind, encoding = mimetypes.guess_type(target)
    return {"x-ms-blob-content-type": kind if kind and not encoding else "application/octet-stream"}


async def transplant(
    source: tuple[Container, Blob],
    container: Container,
    target: str,
    metadata: Mapping[str, str],
    headers: Mapping[str, str],
) -> Blob:
    """Give ``target`` the content of ``source`` in one step, without the bytes passing through us."""
    if not fetches(container):
        return await container.copy(target, source, metadata, headers)
    if not source[1].size:
        return await container.put(target, (), metadata, {**content_headers(target), **headers})
    lease = _Lease(container, target)
    if "If-Match" in headers:
        await lease.acquire()
    try:
        blocks = await _fetch_blocks(source, container, target, lease)
        return await container.commit(target, blocks, metadata, {**content_headers(target), **headers, **lease.headers})
    finally:
        await lease.release()


def fetches(container: Container) -> bool:
    """Whether the storage can make blocks of what it has. Azurite cannot, which copies at once whatever the size."""
    return not container.transport.server.startswith("Azurite")


async def _fetch_blocks(
    source: tuple[Container, Blob], container: Container, target: str, lease: _Lease
) -> Sequence[Block]:
    """Have the storage make blocks of ``target`` from all of ``source``; they are not committed."""
    size = source[1].size
    piece = max(FETCH, -(-size // MOST_BLOCKS))
    token = uuid4().hex[:8]
    starts = range(0, size, piece)
    blocks = [Block(f"{token}{at:024x}"[:32], min(piece, size - at)) for at in starts]
    for at in range(0, len(blocks), FETCHES):
        await lease.renew()
        await together(
            *(
                container.put_block_from(target, block.id, source, start, block.size, lease.headers)
                for block, start in zip(blocks[at : at + FETCHES], starts[at : at + FETCHES], strict=True)
            )
        )
    return blocks


class _Lease:
    """The sole right to write a blob that is there, so that nobody else's commit drops our blocks. It ends by itself if we do not come
    back."""

    def __init__(self, container: Container, blob: str) -> None:
        self._container = container
        self._blob = blob
        self._id = str(uuid4())
        self._held = False
        self._renewed = 0.0

    @property
    def headers(self) -> dict[str, str]:
        """What a write needs that is ours."""
        return {"x-ms-lease-id": self._id} if self._held else {}

    async def acquire(self) -> None:
        await self._container.lease(self._blob, "acquire", self._id, LEASE)
        self._held = True
        self._renewed = self._container.transport.now()

    async def renew(self) -> None:
        """Unless that was done a moment ago."""
        now = self._container.transport.now()
        if self._held and now - self._renewed > RENEW_AFTER:
            self._renewed = now
            await self._container.lease(self._blob, "renew", self._id)

    async def release(self) -> None:
        """Let others write. What goes wrong with that mends itself."""
        if self._held:
            self._held = False
            try:
                await self._container.lease(self._blob, "release", self._id)
            except (Refused, GatewayError) as error:
                log.debug("a lease ends by itself: {error}", error=str(error))
