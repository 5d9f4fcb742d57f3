"""Copies that the server makes by itself ([MS-SMB2] section 3.3.5.15.6); by way of us where it does not know how."""

from __future__ import annotations

from typing import Final

from vfgateway.backends.smb import wire
from vfgateway.backends.smb.faults import INVALID_PARAMETER, LACKING, Refused
from vfgateway.backends.smb.files import READ_ACCESS, read_piece, write_all
from vfgateway.backends.smb.link import Handle, check
from vfgateway.backends.smb.share import Share
from vfgateway.backends.smb.wire import Opening
from vfgateway.errors import StorageFailure

#: Bytes of a chunk, and chunks of a command, that every server takes.
CHUNK: Final = 1 << 20
MOST_CHUNKS: Final = 16


async def copy_content(share: Share, path: str, size: int, target: Handle, offset: int) -> None:
    """Copy ``size`` bytes from the beginning of ``path`` to ``offset`` of an open file. ``Refused``, ``Lost``."""
    # Only what is open on the same connection can be copied.
    source, [found] = await target.link.open(
        Opening(path, READ_ACCESS, options=wire.NON_DIRECTORY_FILE), wire.query_all()
    )
    try:
        if wire.facts(found.body).size < size:
            raise StorageFailure("the file became shorter while it was copied")
        done = await _by_server(source, target, offset, size)
        await _by_us(source, target, offset, done, size)
    finally:
        await source.close()


async def _by_server(source: Handle, target: Handle, offset: int, size: int) -> int:
    """Bytes that the server has copied; 0 where it does not know how."""
    done = 0
    try:
        [asked] = await source.do(wire.ask_resume_key())
        key = wire.resume_key(asked.body)
        while done < size:
            starts = range(done, min(size, done + MOST_CHUNKS * CHUNK), CHUNK)
            chunks = [(start, offset + start, min(CHUNK, size - start)) for start in starts]
            reply = await target.ask(wire.copy_chunks(key, chunks))
            check(reply)
            copied = wire.copied(reply.body)[2]
            if not copied:
                break
            done += copied
    except Refused as error:
        if error.status not in LACKING | {INVALID_PARAMETER}:
            raise
    return done


async def _by_us(source: Handle, target: Handle, offset: int, done: int, size: int) -> None:
    largest = source.link.driver.largest_read
    while done < size:
        piece = await read_piece(source, done, min(largest, size - done))
        if not piece:
            raise StorageFailure("the file became shorter while it was copied")
        await write_all(target, offset + done, piece)
        done += len(piece)
