"""The body of a request into a file: the one loop behind every PUT, and what is behind those of small files on the fast lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.defer import Deferred

from vfgateway.errors import AlreadyExists, PreconditionFailed, TooLarge
from vfgateway.model import ANY, Expect, FileStat, Published
from vfgateway.paths import FolderPath
from vfgateway.protocols.web.asked import Answer, Asked, type_served
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
            while True:
                if not checksums and upload.moves and await request.body.move(upload.write_from):
                    continue
                if not (chunks := await request.body.read()):
                    break
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


type_tell = Callable[[FileStat, bool], bytes]


def store_at_hand(asked: Asked, folder: FolderSession, path: FolderPath, *, limit: int, tell: type_tell) -> type_served:
    """A small file on the fast lane, with nothing said about it but its content.

    :param limit: bytes of the largest body
    :param tell: the fields of the answer (:func:`vfgateway.protocols.web.asked.lines_of`) about a file that was stored, and whether it is new
    """
    if asked.target.endswith(b"/") or len(asked.body) > limit:
        return None
    stored = folder.store_small(path, asked.body)
    if stored is None or type(stored) is Published:  # whether it is a Deferred takes longer to find out
        return _answer(stored, tell, folder)
    return cast("Deferred[Published | None]", stored).addCallback(_answer, tell, folder)


def _answer(published: Published | None, tell: type_tell, folder: FolderSession) -> Answer | None:
    if published is None or published.stat is None:
        return None
    is_new = published.replaced is None
    lines, user = tell(published.stat, is_new), folder.context.principal.name
    return Answer(201, lines + b"\r\nContent-Length: 0", b"", user) if is_new else Answer(204, lines, b"", user)
