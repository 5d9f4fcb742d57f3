"""Copying bytes from descriptor to descriptor inside the kernel: shared blocks, else ``copy_file_range``, else by hand."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from typing import Final

from vfgateway.backends.vfs import syscalls
from vfgateway.backends.vfs.faults import at_hole, is_missing
from vfgateway.backends.vfs.gather import write_all
from vfgateway.privileged import btrfs

#: Bytes of one kernel call, and of the buffer where the kernel will not.
PIECE: Final = 64 << 20
BUFFER: Final = 1 << 20


def file_system_of(directory: int) -> Hashable:
    """What is the same for directories between which the kernel can copy by itself."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return btrfs.file_system(descriptor)  # whose subvolumes have device numbers of their own
    except OSError as error:
        if not is_missing(error):
            raise
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def copy_content(source: int, target: int) -> None:
    """Make the empty file ``target`` a copy of ``source``, holes included."""
    try:
        syscalls.reflink(source, target)
        return
    except OSError as error:
        if not is_missing(error):
            raise
    size = os.fstat(source).st_size
    for start, end in _data_ranges(source, size):
        copy_range(source, start, end - start, target, start)
    os.ftruncate(target, size)


def append_content(source: int, target: int, offset: int) -> int:
    """Put all of ``source`` at ``offset`` of ``target``; its size."""
    size = os.fstat(source).st_size
    try:
        syscalls.reflink_range(source, 0, 0, target, offset)
        return size
    except OSError as error:
        if not is_missing(error):
            raise
    copy_range(source, 0, size, target, offset)
    return size


def copy_range(source: int, start: int, length: int, target: int, offset: int) -> None:
    """Copy a range; stops early at the end of ``source``."""
    done = 0
    while done < length:
        try:
            copied = os.copy_file_range(source, target, min(PIECE, length - done), start + done, offset + done)
        except OSError as error:
            if not is_missing(error):
                raise
            _copy_by_hand(source, start + done, length - done, target, offset + done)
            return
        if copied == 0:
            _copy_by_hand(source, start + done, length - done, target, offset + done)
            return
        done += copied


def _copy_by_hand(source: int, start: int, length: int, target: int, offset: int) -> None:
    done = 0
    while done < length:
        piece = os.pread(source, min(BUFFER, length - done), start + done)
        if not piece:
            return
        for _ in write_all(target, offset + done, [piece]):
            pass
        done += len(piece)


def _data_ranges(source: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that are not holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if not at_hole(error):
                raise
            return
        end = os.lseek(source, start, os.SEEK_HOLE)
        yield start, end
