"""System calls that Python does not offer, through libc. All raise ``OSError`` as ``os`` does."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2

#: ``f_type`` of ``statfs(2)``, from linux/magic.h.
TMPFS: Final = 0x01021994
EXT4: Final = 0xEF53
XFS: Final = 0x58465342
BTRFS: Final = 0x9123683E
NFS: Final = 0x6969
CIFS: Final = 0xFF534D42
SMB2: Final = 0xFE534D42
CEPH: Final = 0x00C36400
FUSE: Final = 0x65735546

_SYS_OPENAT2: Final = 437  # the same on every architecture
_AT_EMPTY_PATH: Final = 0x1000
_FALLOC_FL_KEEP_SIZE: Final = 1
_WRITE: Final = ctypes.c_uint(2)  # SYNC_FILE_RANGE_WRITE
_WRITE_AND_WAIT: Final = ctypes.c_uint(1 | 2 | 4)  # with _WAIT_BEFORE and _WAIT_AFTER
_FICLONE: Final = 0x40049409
_FICLONERANGE: Final = 0x4020940D

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


# Types said once, and structures kept: converting them anew would cost more than the call itself.
_openat2 = ctypes.CFUNCTYPE(
    ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, use_errno=True
)(("syscall", _libc))
_HOW_SIZE: Final = ctypes.sizeof(_OpenHow)
_linkat = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, use_errno=True
)(("linkat", _libc))


@lru_cache(256)
def _how(flags: int, mode: int, resolve: int) -> tuple[_OpenHow, int]:
    """A structure that is never changed, and its address."""
    how = _OpenHow(flags, mode, resolve)
    return how, ctypes.addressof(how)


def _failure(path: bytes = b"") -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)


def openat2(directory: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """``openat2(2)``; ``mode`` with ``O_CREAT`` only. ``EAGAIN`` tells that a rename raced with a ``..`` in a link: try again."""
    _, how = _how(flags | os.O_CLOEXEC, mode, resolve)
    while True:
        descriptor: int = _openat2(_SYS_OPENAT2, directory, path, how, _HOW_SIZE)
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() != errno.EINTR:
            raise _failure(path)


def opener(directory: int, path: bytes, flags: int, resolve: int) -> Callable[[], int]:
    """Calls ``openat2(2)`` so, as often as it is called: a descriptor, or a negative number where :func:`openat2` raises."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    return partial(_openat2, _SYS_OPENAT2, directory, path, ctypes.byref(how), _HOW_SIZE)


def has_openat2() -> bool:
    """Whether the kernel has it (5.6) and no seccomp filter forbids it."""
    try:
        os.close(openat2(-100, b".", os.O_PATH, RESOLVE_NO_MAGICLINKS))
    except OSError:
        return False
    return True


def rename_no_replace(source_dir: int, source: bytes, target_dir: int, target: bytes) -> None:
    """``renameat2`` with ``RENAME_NOREPLACE``. ``EEXIST``; ``EINVAL`` or ``ENOSYS`` where it is not to be had."""
    _rename(source_dir, source, target_dir, target, RENAME_NOREPLACE)


def rename_exchange(source_dir: int, source: bytes, target_dir: int, target: bytes) -> None:
    """``renameat2`` with ``RENAME_EXCHANGE``: both names are there at every moment. ``ENOENT``; ``EINVAL`` or ``ENOSYS`` where it is not to
    be had."""
    _rename(source_dir, source, target_dir, target, RENAME_EXCHANGE)


def _rename(source_dir: int, source: bytes, target_dir: int, target: bytes, flags: int) -> None:
    function = getattr(_libc, "renameat2", None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if function(source_dir, source, target_dir, target, flags) != 0:
        raise _failure(target)


def link_open(descriptor: int, directory: int, name: bytes) -> None:
    """``linkat(2)``: give an open file a name in ``directory``, be it its first. ``EEXIST``."""
    # By the number alone, since Linux 6.10 (before for CAP_DAC_READ_SEARCH): a third less time than by way of /proc.
    if _linkat(descriptor, b"", directory, name, _AT_EMPTY_PATH) != 0:
        if ctypes.get_errno() == errno.EEXIST:
            raise _failure(name)
        os.link(b"/proc/self/fd/%d" % descriptor, name, dst_dir_fd=directory)


def file_system_type(path: str) -> int:
    """The ``f_type`` of what is mounted at ``path``."""
    buffer = ctypes.create_string_buffer(512)
    if _libc.statfs(os.fsencode(path), buffer) != 0:
        raise _failure(os.fsencode(path))
    number: int = ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
    return number


def allocate(descriptor: int, size: int) -> None:
    """Reserve room for ``size`` bytes without changing the size of the file."""
    result = _libc.fallocate(
        ctypes.c_int(descriptor), ctypes.c_int(_FALLOC_FL_KEEP_SIZE), ctypes.c_int64(0), ctypes.c_int64(size)
    )
    if result != 0:
        raise _failure()


def write_out(descriptor: int) -> None:
    """Have the disk take over all data of a file, and wait until it has; its size and its blocks, and what is in the disk's own memory, are not made
    durable (``sync_file_range(2)``)."""
    _sync_file_range(descriptor, 0, 0, _WRITE_AND_WAIT)


def begin_to_write_out(descriptor: int, offset: int, length: int) -> None:
    """Have the disk take over a part of a file. What is under way to it already is not waited for, but room in its queue may be."""
    _sync_file_range(descriptor, offset, length, _WRITE)


def _sync_file_range(descriptor: int, offset: int, length: int, flags: ctypes.c_uint) -> None:
    if _libc.sync_file_range(ctypes.c_int(descriptor), ctypes.c_int64(offset), ctypes.c_int64(length), flags) != 0:
        raise _failure()


def sync_file_system(descriptor: int) -> None:
    """``syncfs(2)``: everything on the file system of ``descriptor`` is durable on return."""
    if _libc.syncfs(ctypes.c_int(descriptor)) != 0:
        raise _failure()


def reflink(source: int, target: int) -> None:
    """Let ``target`` share all blocks of ``source`` (Btrfs, XFS, bcachefs, NFS 4.2, SMB 3)."""
    fcntl.ioctl(target, _FICLONE, source)


def reflink_range(source: int, offset: int, length: int, target: int, target_offset: int) -> None:
    """Share a range; offsets must be multiples of the block size, the length too unless it ends at the end of file."""
    fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, offset, length, target_offset))
