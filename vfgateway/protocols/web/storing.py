"""The body of a request into a file: the one loop behind every PUT."""

from __future__ import annotations

from collections.abc import Sequence

from vfgateway.errors import AlreadyExists, PreconditionFailed, TooLarge
from vfgateway.model import ANY, Expect, FileStat
from vfgateway.paths import FolderPath
from vfgateway.protocols.web.request import StreamingRequest
from vfgateway.services.checksums import Checksum
from vfgateway.services.session import FolderSession


async def store_body(
    request: StreamingRequest,
    folder: FolderSession,
    path: FolderPath,
    *,
    limit: int,
    expect: Expect = ANY,
    parents: bool = False,
    checksums: Sequence[Checksum] = (),
) -> FileStat:
    """Create or replace a file with what the client sends; whole or not at all. Everything is checked before the body is read.

    :param limit: bytes of the largest body
    :param parents: make missing directories
    :param checksums: digests that the body must have (``ChecksumMismatch``)
    :raises PreconditionFailed: ``expect`` does not hold, a file that appeared meanwhile included
    """
    size = request.body.length
    if size is not None and size > limit:
        raise TooLarge(limit, size)
    try:
        async with await folder.upload(path, size=size, expect=expect, parents=parents) as upload:
            while chunks := await request.body.read():
                if upload.received + sum(map(len, chunks)) > limit:
                    raise TooLarge(limit, request.body.received)
                for checksum in checksums:
                    checksum.update(chunks)
                await upload.write(chunks)
            for checksum in checksums:
                checksum.verify()
            return await upload.commit()
    except AlreadyExists:
        if not expect.absent:
            raise
        raise PreconditionFailed(path) from None
